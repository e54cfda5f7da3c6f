#!/usr/bin/env python3
"""Ask a running Apache Flink (flink-up.sh, flink-gateway.sh) for its answers to tests/peers/*.sql and write them beside the scripts.

  record_peers.py [NAME...]            record these scripts, or all that have no answer yet
  record_peers.py --all                record all again
  record_peers.py --check [NAME...]    ask again and compare with what is recorded; exit code 1 where they differ

A script is Flink SQL that ends with one query or one INSERT into a print table of its own. `${DATA}` stands for the folder tests/peers/data. Its comment lines may say:
  -- deterministic: no       the order of rows or the intermediate updates may differ from run to run: only the final rows are compared
  -- print: OPTIONS          more options of the print table
  -- file: OPTIONS           the answer is the text of the file that a filesystem table with these options writes, in batch mode
  -- wrong: WHY              Flink's answer is wrong, and so not ours (kept as the reason for a difference)

NAME.expected: the first line is JSON: {"flink", "recorded", "columns": [[name, type], ...], "deterministic_changelog"}; then one line a row, as
the print connector writes it at parallelism 1 (`+I[a, 1]`). Where Flink refuses or fails: {"flink", "recorded", "error": true, "stage": "plan" or
"run", "message"} and, for "run", the rows printed before the failure. The message is Flink's own and only tells a reader why.
"""
import argparse, datetime, json, re, sys, tempfile, time
from collections import Counter
from pathlib import Path

from bench import E, GATE, REST, call

PEERS = Path(__file__).resolve().parent.parent / "tests" / "peers"
OUT = Path(E["FLINK_RUN"]) / "log" / "tm1.out"
PROPS = {"table.local-time-zone": "UTC", "parallelism.default": "1", "restart-strategy.type": "none"}


class Refused(Exception):
    pass


class Session:
    def __init__(self):
        self.h = call(f"{GATE}/sessions", {"properties": PROPS})["sessionHandle"]

    def run(self, sql):
        """Run one statement; give its result columns and rows, or raise Refused with the last cause."""
        op = call(f"{GATE}/sessions/{self.h}/statements", {"statement": sql})["operationHandle"]
        base = f"{GATE}/sessions/{self.h}/operations/{op}"
        while call(f"{base}/status")["status"] not in ("FINISHED", "ERROR", "CANCELED"):
            time.sleep(0.02)
        try:
            return call(f"{base}/result/0")
        except RuntimeError as e:
            raise Refused(cause(str(e)))

    def close(self):
        call(f"{GATE}/sessions/{self.h}", method="DELETE")


def cause(text):
    """The innermost "Caused by" line of a stack trace, one line."""
    text = text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    causes = re.findall(r"^Caused by: (.*)$", text, re.M)
    first = causes[-1] if causes else next((l for l in text.splitlines() if re.search(r"(Exception|Error)\b.*:", l) and "Exception on server side" not in l), text.splitlines()[0])
    return re.sub(r"^[\w.$]+\.([\w$]+(?:Exception|Error))", r"\1", first).strip()[:400]


def split_script(text):
    """Statements of a script without its comments (hints stay); semicolons inside quotes, comments and statement sets do not count."""
    out, cur = [], ""
    for m in re.finditer(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|`[^`]*`|;|[^;'`/-]+|[-/]", text, re.S):
        t = m.group(0)
        if t.startswith("--") or t.startswith("/*") and not t.startswith("/*+"):
            continue
        if t == ";" and not (re.match(r"\s*EXECUTE\s+STATEMENT\s+SET\b", cur, re.I) and not re.search(r"\bEND\s*$", cur, re.I)):
            out.append(cur.strip()); cur = ""
        else:
            cur += t
    out.append(cur.strip())
    return [s for s in out if s]


def ask(path):
    """Flink's answer to one script: (header, row lines)"""
    head = {"flink": E["FLINK_VERSION"], "recorded": datetime.date.today().isoformat()}
    text = path.read_text()
    stmts = split_script(text.replace("${DATA}", str(PEERS / "data")))
    note = lambda k: (re.search(rf"^-- {k}: (.*)$", text, re.M) or [None, None])[1]
    s, written = Session(), None
    if note("wrong"):
        head["flink_is_wrong"] = note("wrong")
    options = "'connector' = 'print'" + (f", {note('print')}" if note("print") else "")
    if note("file"):
        written = Path(tempfile.mkdtemp()) / "out"
        options = f"'connector' = 'filesystem', 'path' = '{written}', {note('file')}"
        head["file"] = note("file")
    try:
        try:
            for st in stmts[:-1]:
                s.run(st)
            into = re.match(r"INSERT INTO (\S+)", stmts[-1])
            if not into:
                s.run(f"CREATE TEMPORARY VIEW asked__ AS {stmts[-1]}")
            cols = []
            for r in s.run(f"DESCRIBE {into[1] if into else 'asked__'}")["results"]["data"]:
                name, typ, nullable = r["fields"][:3]
                cols.append([name, typ + ("" if nullable else " NOT NULL")])
            start = OUT.stat().st_size
            # the sink takes the query's own types; `print` writes what it gets
            if written:
                s.run("SET 'execution.runtime-mode' = 'batch'")
            r = s.run(stmts[-1] if into else f"CREATE TABLE printed__ WITH ({options}) AS {stmts[-1]}")
        except Refused as e:
            return {**head, "error": True, "stage": "plan", "message": str(e)}, []
        jid = r.get("jobID") or r["results"]["data"][0]["fields"][0]
        t0 = time.time()
        while True:
            state = call(f"{REST}/jobs/{jid}")["state"]
            if state in ("FINISHED", "FAILED", "CANCELED"):
                break
            if time.time() - t0 > 60:
                call(f"{REST}/jobs/{jid}?mode=cancel", method="PATCH")
                raise RuntimeError(f"{path.name}: not done in 60 s")
            time.sleep(0.05)
        time.sleep(0.1)
        with OUT.open("rb") as f:
            f.seek(start)
            rows = f.read().decode().splitlines()
        if written:
            rows = [l for f in sorted(written.glob("*")) if f.is_file() for l in f.read_text().splitlines()]
        if state != "FINISHED":
            x = call(f"{REST}/jobs/{jid}/exceptions")
            entries = x.get("exceptionHistory", {}).get("entries", [])
            return {**head, "columns": cols, "error": True, "stage": "run", "message": cause(entries[0]["stacktrace"] if entries else json.dumps(x))}, rows
        return {**head, "columns": cols, "deterministic_changelog": note("deterministic") != "no"}, rows
    finally:
        s.close()


def final_rows(lines):
    bag = Counter()
    for l in lines:
        bag[l[2:]] += 1 if l[:2] in ("+I", "+U") else -1
    return sorted((+bag).elements())


def differs(was_head, was_rows, head, rows):
    strip = lambda h: {k: v for k, v in h.items() if k not in ("recorded", "message")}
    if strip(was_head) != strip(head):
        return f"header was {was_head}, is {head}"
    same = was_rows == rows if head.get("deterministic_changelog", True) else final_rows(was_rows) == final_rows(rows)
    return None if same else f"rows were {was_rows[:5]}, are {rows[:5]}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*"); p.add_argument("--all", action="store_true"); p.add_argument("--check", action="store_true")
    a = p.parse_args()
    scripts = [PEERS / f"{Path(n).stem}.sql" for n in a.names] or sorted(PEERS.glob("*.sql"))
    bad = done = 0
    for path in scripts:
        answer = path.with_suffix(".expected")
        if not a.check and not a.all and not a.names and answer.exists():
            continue
        head, rows = ask(path)
        done += 1
        if a.check:
            was = answer.read_text().split("\n")[:-1]
            d = differs(json.loads(was[0]), was[1:], head, rows)
            bad += d is not None
            print(f"{path.stem}: {d or 'same'}", flush=True)
        else:
            answer.write_text("".join(l + "\n" for l in [json.dumps(head, ensure_ascii=False), *rows]))
            print(path.stem, head.get("message", f"{len(rows)} rows"), flush=True)
    print(f"{done} scripts asked, {bad} differ" if a.check else f"{done} scripts recorded")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
