#!/usr/bin/env python3
"""A cluster of Flott, and of Flink beside it in one run: start, submission, idle memory, latency, and the gaps when a job is rescaled from 2 to 4
subtasks and when a TaskManager is killed; of Flott also the gaps when the leading of two JobManagers is killed, in output as it is written and in committed output.

  cluster.py [--flott PATH] [--engines flott,flink] [--after 20]

Needs kafka-up.sh. Each engine has a JobManager and two TaskManagers of two slots, checkpoints of 1 s, and the job of recovery.py at parallelism 2, so
one TaskManager is spare. Prints a JSON object an engine.
"""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path
import bench
from bench import call

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--flott", default=str(bench.HERE.parent / "target/release/flott")); p.add_argument("--engines", default="flott,flink")
p.add_argument("--after", type=float, default=20); p.add_argument("--port", type=int, default=18181)
a = p.parse_args()

ENDLESS = """SET 'pipeline.name' = 'endless';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');
CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nothing SELECT n FROM numbers;"""


def pss_mb(pids):
    lines = (l for q in pids for l in Path(f"/proc/{q}/smaps_rollup").read_text().splitlines())
    return round(sum(int(l.split()[1]) for l in lines if l.startswith("Pss:")) / 1024, 1)


def recovery(engine, *args, **env):
    r = subprocess.run([sys.executable, str(bench.HERE / "recovery.py"), "--engine", engine, "--after", str(a.after), *args],
                       check=True, capture_output=True, text=True, env={**os.environ, **env})
    return json.loads(r.stdout.splitlines()[-1])


def flott():
    rest = f"127.0.0.1:{a.port}"
    with tempfile.TemporaryDirectory() as d:
        env = {**os.environ, "FLOTT_PID_DIR": d, "FLOTT_LOG_DIR": d + "/log"}
        options = {"rest.port": a.port, "jobmanager.rpc.port": a.port + 1, "taskmanager.numberOfTaskSlots": 2}
        at = time.time()
        subprocess.run([a.flott, "cluster", "start", "-t", "2"] + [f"-D{k}={v}" for k, v in options.items()], check=True, env=env, stdout=subprocess.DEVNULL)
        res = {"engine": "flott", "start_ms": round((time.time() - at) * 1000)}
        try:
            time.sleep(3)
            pids = [int(l) for l in Path(d, "flott-cluster.pid").read_text().split()]
            # TaskManagers stand before the JobManager
            res["idle_pss_mb"] = {"jobmanager": pss_mb(pids[-1:]), "taskmanager": pss_mb(pids[:1])}
            script = Path(d, "endless.sql")
            script.write_text(ENDLESS)
            times, insides = [], []
            for _ in range(5):
                at = time.time()
                r = subprocess.run([a.flott, "run", "-d", "-m", rest, script], check=True, capture_output=True, text=True)
                jid = r.stdout.split()[-1]
                while call(f"http://{rest}/jobs/{jid}/status")["status"] != "RUNNING":
                    time.sleep(0.001)
                times.append(round((time.time() - at) * 1000))
                job = call(f"http://{rest}/jobs/{jid}")
                insides.append(job["timestamps"]["RUNNING"] - job["start-time"])
                call(f"http://{rest}/jobs/{jid}?mode=cancel", method="PATCH")
                while call(f"http://{rest}/jobs/{jid}/status")["status"] != "CANCELED":
                    time.sleep(0.01)
            # with the client's process, its planning included; and by the JobManager's own times
            res["submit_to_running_ms"] = {"client": sorted(times)[2], "jobmanager": sorted(insides)[2]}
            res["rescale"] = recovery("flott", "--kill", "rescale", "--to", "4", FLOTT=a.flott, FLOTT_REST=rest)
            res["recovery"] = recovery("flott", FLOTT=a.flott, FLOTT_REST=rest)
        finally:
            subprocess.run([a.flott, "cluster", "stop"], env=env, stdout=subprocess.DEVNULL)
    res["leader_killed"] = {"written": leaders(), "committed": leaders("--committed")}
    return res


def leaders(*args):
    """The gap when the leader is killed, of two JobManagers that find each other by a folder."""
    places = [f"127.0.0.1:{a.port + 2}", f"127.0.0.1:{a.port + 4}"]
    with tempfile.TemporaryDirectory() as d:
        common = ["-Dhigh-availability.type=FILESYSTEM", f"-Dhigh-availability.storageDir={d}/ha", "-Dtaskmanager.numberOfTaskSlots=2"]
        start = lambda *more: subprocess.Popen([a.flott, *more, *common], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes = []
        try:
            for place in places:
                port = int(place.rsplit(":", 1)[1])
                processes.append(start("jobmanager", f"-Drest.port={port}", f"-Djobmanager.rpc.port={port + 1}"))
                if len(processes) == 1:
                    await_overview(place, lambda overview: True)
            processes += [start("taskmanager") for _ in range(2)]
            await_overview(places[0], lambda overview: overview["taskmanagers"] == 2)
            return recovery("flott", "--kill", "jm", *args, FLOTT=a.flott, FLOTT_REST=places[0], FLOTT_NEXT=places[1], FLOTT_LEADER=str(processes[0].pid))
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def await_overview(place, wanted):
    deadline = time.time() + 30
    while True:
        try:
            if wanted(call(f"http://{place}/overview")):
                return
        except (OSError, RuntimeError):
            pass  # it does not listen yet, or nobody leads
        if time.time() > deadline:
            sys.exit(f"no JobManager at {place} is ready")
        time.sleep(0.05)


def flink():
    # its default scheduler cannot rescale, and the other waits longer before it does
    adaptive = {"scheduler": "adaptive", "adaptive-scheduler.executing.cooldown-after-rescaling": "1 s",
                "adaptive-scheduler.executing.resource-stabilization-timeout": "1 s"}
    extra = "\\n".join(f"jobmanager.{k}: {v}" for k, v in adaptive.items())
    env = {**os.environ, "FLINK_TMS": "2", "FLINK_TM_SLOTS": "2", "FLINK_PARALLELISM": "2", "FLINK_CHECKPOINT_MS": "1000", "FLINK_CONF_EXTRA": extra}
    up, down = str(bench.HERE / "flink-up.sh"), str(bench.HERE / "flink-down.sh")
    at = time.time()
    subprocess.run(["bash", up], check=True, env=env, stdout=subprocess.DEVNULL)
    res = {"engine": "flink", "start_ms": round((time.time() - at) * 1000)}
    try:
        time.sleep(3)
        res["idle_pss_mb"] = {"jobmanager": pss_mb([bench.pid("jm")]), "taskmanager": pss_mb([bench.pid("tm1")])}
        subprocess.run(["bash", str(bench.HERE / "flink-gateway.sh")], check=True, env=env, stdout=subprocess.DEVNULL)
        res["rescale"] = recovery("flink", "--kill", "rescale", "--to", "4")
        res["recovery"] = recovery("flink")
    finally:
        subprocess.run(["bash", down], env=env, stdout=subprocess.DEVNULL)
    return res


for name in a.engines.split(","):
    print(json.dumps({"flott": flott, "flink": flink}[name]()), flush=True)
