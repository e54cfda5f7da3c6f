#!/usr/bin/env python3
"""Ask a real Flink's REST API for the fields of its answers and write them into crates/flott-rest/tests/flink.txt, against which Flott's answers are tested.

  record_rest.py             start a Flink at free ports, run small jobs on it, ask every path that flott-rest answers, record, stop it
  record_rest.py --check     ask again and compare with what is recorded; exit code 1 and the differing lines where they differ
  record_rest.py --running   use the Flink that the FLINK_* variables of env.sh name (flink-up.sh, flink-gateway.sh)

An answer is recorded as: method, path, status and situations; then its fields by JSON pointer, in which `*` stands for all elements of an array and
all keys that are ids, each with its JSON type. An `integer` has no point, a `number` has one, or is "NaN". A field that only some elements have is
marked with `?`, several types are separated by `|`; objects and arrays are told by what is in them. Situations are those of ASKED below.
"""
import argparse, datetime, difflib, json, os, re, shutil, sys, tempfile, time, urllib.error, urllib.request
from pathlib import Path

from parity import BENCH, Peers

RECORD = BENCH.parent / "crates" / "flott-rest" / "tests" / "flink.txt"
UNKNOWN = "000000000000000000000000000000ff"
LIMIT_S = 120
TABLES = ["CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100')",
          "CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole')"]
ENDLESS = "INSERT INTO nothing SELECT n FROM numbers WHERE n > 0"
FAILING = "INSERT INTO nothing SELECT 1 / (n - n) FROM numbers"
OPTIONS = {"execution.checkpointing.interval": "1 h", "parallelism.default": "2", "pipeline.operator-chaining.enabled": "false"}
JOB, VERTEX = "/jobs/:jobid", "/jobs/:jobid/vertices/:vertexid"

# What is asked in which situation: a job that runs and has a completed checkpoint and a savepoint; one that was started from that savepoint;
# one that has failed; one that was stopped; nothing that exists.
ASKED = {
    "running": [
        "/config", "/overview", "/jobmanager/config", "/jobmanager/environment", "/jobmanager/metrics", "/jobmanager/metrics?get=taskSlotsTotal",
        "/taskmanagers", "/taskmanagers/:taskmanagerid", "/jobs", "/jobs/overview", JOB, *(f"{JOB}/{part}" for part in (
            "status", "plan", "config", "jobmanager/config", "exceptions", "metrics", "metrics?get=uptime", "checkpoints", "checkpoints/config",
            "checkpoints/details/:checkpointid")),
        VERTEX, *(f"{VERTEX}/{part}" for part in (
            "watermarks", "backpressure", "metrics", "metrics?get=0.numRecordsOut", "subtasks/metrics", "subtasks/metrics?get=numRecordsOut",
            "taskmanagers", "subtasktimes", "accumulators", "subtasks/accumulators", "subtasks/0", "subtasks/0/attempts/0", "subtasks/0/metrics"))],
    "restored": [f"{JOB}/checkpoints"],
    "failed": ["/overview", "/jobs", "/jobs/overview", JOB, f"{JOB}/exceptions", f"{JOB}/checkpoints", VERTEX, f"PATCH {JOB}?mode=cancel"],
    "stopped": ["/jobs/overview", JOB, f"{JOB}/status", f"{JOB}/checkpoints", VERTEX, f"PATCH {JOB}?mode=cancel"],
    "absent": ["/nothing", "/jobs/xyz", f"/jobs/{UNKNOWN}", f"/jobs/{UNKNOWN}/checkpoints", f"{JOB}/vertices/{UNKNOWN}", f"PATCH /jobs/{UNKNOWN}?mode=cancel",
               f"{JOB}/checkpoints/details/99999999", f"{JOB}/savepoints/{UNKNOWN}", f"{JOB}/checkpoints/{UNKNOWN}", f"/savepoint-disposal/{UNKNOWN}",
               "/taskmanagers/nobody", f"PATCH {JOB}?mode=stop", f"PATCH {JOB}?mode=dance"],
}


def ask(rest, method, path, body=None):
    """Status and JSON of an answer."""
    from bench import OPENER

    request = urllib.request.Request(rest + path, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
    try:
        with OPENER.open(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read())


def type_of(value):
    if value == "NaN":
        return "number"
    return {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}[type(value)]


def children(value):
    if isinstance(value, list):
        return [("*", one) for one in value]
    if isinstance(value, dict):
        return [("*" if re.fullmatch("[0-9a-f]{32}", key) else key, one) for key, one in value.items()]
    return []


def fields(values, pointer=""):
    """What stands at `pointer` in several values: its types, unless they follow from what is in it, then that."""
    parents = [value for value in values if isinstance(value, (list, dict))]
    if len(parents) < len(values) or not any(parents):
        yield pointer, "|".join(sorted({type_of(value) for value in values}))
    inner, has = {}, {}
    for value in parents:
        for key, one in children(value):
            inner.setdefault(key, []).append(one)
        for key in {key for key, _ in children(value)}:
            has[key] = has.get(key, 0) + 1
    for key in sorted(inner):
        is_optional = key != "*" and has[key] < len(parents)
        for at, types in fields(inner[key], f"{pointer}/{key}"):
            yield at + ("?" if is_optional and not at.endswith("?") else ""), types


class Recorder:
    def __init__(self, rest, folder):
        from record_peers import Session

        self.rest, self.folder, self.parts = rest, folder, {}
        self.session = Session()
        for sql in TABLES:
            self.session.run(sql)

    def note(self, method, path, situation, status, answer):
        told = [f"  {pointer or '/'} {types}" for pointer, types in fields([answer])]
        self.parts.setdefault((path, method, status, *told), set()).add(situation)

    def until(self, path, done):
        begun = time.time()
        while True:
            status, answer = ask(self.rest, "GET", path)
            if status == 200 and done(answer):
                return answer
            if time.time() - begun > LIMIT_S:
                raise SystemExit(f"record_rest: {path} never gave what was waited for: {answer}")
            time.sleep(0.05)

    def submit(self, sql, state, options=OPTIONS):
        """Submits a job and waits for its state; gives its id."""
        for key, value in options.items():
            self.session.run(f"SET '{key}' = '{value}'")
        job = self.session.run(sql)["jobID"]
        self.until(f"/jobs/{job}", lambda answer: answer["state"] == state
                   and (state != "RUNNING" or all(vertex["status"] == "RUNNING" for vertex in answer["vertices"])))
        return job

    def ask_all(self, situation, job):
        """Asks all paths of a situation of a job."""
        details = ask(self.rest, "GET", f"/jobs/{job}")[1]
        checkpoints = ask(self.rest, "GET", f"/jobs/{job}/checkpoints")[1]["latest"]
        manager = ask(self.rest, "GET", "/taskmanagers")[1]["taskmanagers"][0]
        stands_for = {":jobid": job, ":vertexid": details["vertices"][1]["id"], ":taskmanagerid": manager["id"],
                      ":checkpointid": str((checkpoints["savepoint"] or {}).get("id"))}
        for asked in ASKED[situation]:
            method, path = asked.split(" ") if " " in asked else ("GET", asked)
            real = re.sub(r":[a-z]+", lambda m: stands_for[m[0]], path)
            # Metrics come some seconds behind what they tell.
            if "metrics" in path or "watermarks" in path:
                self.until(real, lambda answer: answer)
            self.note(method, path, situation, *ask(self.rest, method, real))

    def operate(self, situation, path, job, body, progress=None):
        """Triggers an operation and waits for its end; gives its result."""
        status, answer = ask(self.rest, "POST", path.replace(":jobid", job), body)
        self.note("POST", path, situation, status, answer)
        path = f"{progress or path}/:triggerid"
        real = path.replace(":jobid", job).replace(":triggerid", answer["request-id"])
        ended = self.until(real, lambda answer: answer["status"]["id"] == "COMPLETED")
        self.note("GET", path, situation, 200, ended)
        return ended["operation"]

    def record(self):
        wrong = self.folder / "file"
        wrong.write_text("no folder")
        savepoints, stop = f"{JOB}/savepoints", f"{JOB}/stop"
        job = self.submit(ENDLESS, "RUNNING")
        self.operate("running", f"{JOB}/checkpoints", job, {"checkpointType": "CONFIGURED"})
        self.operate("refused", savepoints, job, {"target-directory": f"{wrong}/in", "cancel-job": False})
        savepoint = self.operate("running", savepoints, job, {"target-directory": str(self.folder), "cancel-job": False})["location"]
        self.ask_all("running", job)
        self.ask_all("absent", job)
        self.operate("running", stop, job, {"targetDirectory": str(self.folder), "drain": False}, savepoints)
        self.until(f"/jobs/{job}/status", lambda answer: answer["status"] == "FINISHED")
        self.ask_all("stopped", job)
        self.operate("refused", f"{JOB}/checkpoints", job, {})

        restored = self.submit(ENDLESS, "RUNNING", {**OPTIONS, "execution.state-recovery.path": savepoint})
        self.operate("running", f"{JOB}/checkpoints", restored, {})
        self.ask_all("restored", restored)
        self.note("PATCH", f"{JOB}?mode=cancel", "running", *ask(self.rest, "PATCH", f"/jobs/{restored}?mode=cancel"))
        self.until(f"/jobs/{restored}/status", lambda answer: answer["status"] == "CANCELED")
        self.session.run("RESET 'execution.state-recovery.path'")
        self.operate("running", "/savepoint-disposal", job, {"savepoint-path": savepoint})
        self.operate("refused", "/savepoint-disposal", job, {"savepoint-path": savepoint})
        self.ask_all("failed", self.submit(FAILING, "FAILED", {**OPTIONS, "parallelism.default": "1"}))
        last = self.submit(ENDLESS, "RUNNING")
        self.note("GET", f"{JOB}/yarn-cancel", "running", *ask(self.rest, "GET", f"/jobs/{last}/yarn-cancel"))
        self.session.close()
        answers = sorted(self.parts.items(), key=lambda item: item[0])
        return [line for (path, method, status, *told), situations in answers
                for line in (f"{method} {path} {status} {' '.join(sorted(situations))}", *told)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true", help="compare with what is recorded")
    p.add_argument("--running", action="store_true", help="use the Flink of env.sh's variables")
    a = p.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flott-record-rest-"))
    peers = Peers(folder, False, a.running, 2)
    try:
        from bench import E, REST
        lines = Recorder(REST, folder).record()
    finally:
        peers.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if a.check:
        recorded = [line for line in RECORD.read_text().splitlines() if not line.startswith("#")]
        difference = list(difflib.unified_diff(recorded, lines, "recorded", "asked again", lineterm="", n=1))
        print("\n".join(difference) or f"{RECORD.name}: the same")
        return 1 if difference else 0
    head = f"# What Apache Flink {E['FLINK_VERSION']} answers, recorded {datetime.date.today().isoformat()} by bench/record_rest.py, which says what the lines mean."
    RECORD.write_text("\n".join([head, *lines]) + "\n")
    print(f"{RECORD}: {len(lines)} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
