#!/usr/bin/env python3
"""Run the scripts of examples/ on a running Apache Flink and Kafka (flink-up.sh, flink-gateway.sh, kafka-up.sh) and write their golden rows.

Flink does not know our option 'bad-rows': it is taken out, and with it the malformed lines of the input. Topics get names of their own, and
sources that would never end are bounded at the latest offset. NORMAL_PDF, which is ours, is written out. `record_examples.py files` leaves out what needs Kafka.
"""
import re, subprocess, sys, tempfile, time
from pathlib import Path

from bench import BOOT, E, REST, call
from record_peers import OUT, Session, split_script

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MALFORMED = re.compile(r"(^|\s)(x,y|b\.com,u2,many)(,|$)")


def run(script, variables, tag):
    """Run a script with one INSERT; give the lines that it printed."""
    text = script.read_text()
    for k, v in variables.items():
        text = text.replace("${" + k + "}", str(v))
    for topic in ("website-logs", "website-traffic-stats", "my-topic", "word-counts"):
        text = text.replace(f"'topic' = '{topic}'", f"'topic' = '{tag}{topic}'")
    text = re.sub(r"('scan.startup.mode' = '[^']*')", r"\1, 'scan.bounded.mode' = 'latest-offset'", text)
    text = re.sub(r"NORMAL_PDF\((.*), 0, 1\)", r"EXP(-POWER(\1, 2) / 2) / SQRT(2 * PI())", text)
    statements = [re.sub(r",\s*'bad-rows' = '[^']*'", "", s) for s in split_script(text)]
    s = Session()
    s.run("SET 'execution.checkpointing.checkpoints-after-tasks-finish.enabled' = 'true'")
    start = OUT.stat().st_size
    for st in statements[:-1]:
        s.run(st)
    r = s.run(statements[-1])
    jid = r.get("jobID") or r["results"]["data"][0]["fields"][0]
    while (state := call(f"{REST}/jobs/{jid}")["state"]) not in ("FINISHED", "FAILED", "CANCELED"):
        time.sleep(0.1)
    if state != "FINISHED":
        raise RuntimeError(f"{script}: {state} {call(f'{REST}/jobs/{jid}/exceptions')}"[:2000])
    s.close()
    time.sleep(0.1)
    with OUT.open("rb") as f:
        f.seek(start)
        return f.read().decode().splitlines()


def load(topic, *what):
    java = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{E['KAFKA_LIBS']}/*", str(Path(__file__).parent / "gen" / "KafkaLoad.java"), BOOT, topic, "1", *map(str, what)]
    subprocess.run(java, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read(topic, fmt="%s\n"):
    return subprocess.run(["kcat", "-C", "-b", BOOT, "-t", topic, "-e", "-q", "-f", fmt], capture_output=True, check=True, text=True).stdout.splitlines()


def without_malformed(path, folder):
    out = folder / path.name
    out.write_text("".join(l + "\n" for l in path.read_text().splitlines() if not MALFORMED.search(l)))
    return out


def put(path, lines):
    path.write_text("".join(l + "\n" for l in lines))
    print(path.relative_to(EXAMPLES), len(lines), "lines")


def lines_of(folder):
    """The lines of all visible files below a folder, each behind its own folder's path; marks of complete partitions too."""
    out = []
    for f in sorted(folder.rglob("*")):
        if f.is_file() and not f.name.startswith("."):
            at = str(f.parent.relative_to(folder))
            out += [f"{at} {f.name}"] if f.name == "_SUCCESS" else [f"{at} {l}" for l in f.read_text().splitlines()]
    return sorted(out)


def record_files(tag, tmp):
    """The examples that read files: printed rows, or the files that they write."""
    golden = lambda name: EXAMPLES / name / "golden"
    for name, script, given, to in (
        ("clicks-per-window", "tumble.sql", "clicks.csv", "tumble.txt"),
        ("clicks-per-window", "hop.sql", "clicks.csv", "hop.txt"),
        ("clicks-per-window", "session.sql", "clicks.csv", "session.txt"),
        ("iot-monitoring", "from-files.sql", "readings.csv", "printed.txt"),
        ("sales-trend", "job.sql", "events.json", "printed.txt"),
        ("traffic-alarm", "job.sql", "requests.csv", "printed.txt"),
    ):
        g = golden(name)
        put(g / to, sorted(run(g.parent / script, {"INPUT": g / given}, tag)))
    g = golden("times-two")
    put(g / "printed.txt", run(g.parent / "job.sql", {}, tag))
    g = golden("running-clicks")
    put(g / "printed.txt", run(g.parent / "from-files.sql", {"INPUT": g / "clicks.csv"}, tag))
    for name, script, given, to in (
        ("upper-case-csv", "from-files.sql", "my-topic.json", "my_sink.csv"),
        ("auction-files", "job.sql", "bids.json", "files.txt"),
        ("order-pipeline", "job.sql", "orders.json", "files.txt"),
    ):
        g = golden(name)
        run(g.parent / script, {"INPUT": g / given, "OUTPUT": tmp / name}, tag)
        lines = lines_of(tmp / name)
        put(g / to, [l.removeprefix(". ") for l in lines])
    g = golden("auction-files")
    put(g / "read.txt", sorted(run(g.parent / "read.sql", {"INPUT": tmp / "auction-files"}, tag)))


def main():
    tag, tmp = f"example-{int(time.time())}-", Path(tempfile.mkdtemp())
    record_files(tag, tmp)
    if sys.argv[1:] == ["files"]:
        return
    g = EXAMPLES / "website-traffic" / "golden"
    load(f"{tag}website-logs", "stamped", without_malformed(g / "records.txt", tmp))
    run(g.parent / "job.sql", {"BOOTSTRAP": BOOT}, tag)
    put(g / "stats.txt", sorted(read(f"{tag}website-traffic-stats")))
    put(g / "printed.txt", sorted(run(g.parent / "from-files.sql", {"INPUT": without_malformed(g / "website-logs.csv", tmp)}, tag)))
    g = EXAMPLES / "word-count" / "golden"
    put(g / "changelog.txt", run(g.parent / "from-files.sql", {"INPUT": g / "my-topic.txt"}, tag))
    load(f"{tag}my-topic", g / "my-topic.txt")
    if run(g.parent / "job.sql", {"BOOTSTRAP": BOOT}, tag) != (g / "changelog.txt").read_text().splitlines():
        raise RuntimeError("word count from Kafka prints other rows than from the file")
    run(g.parent / "to-kafka.sql", {"BOOTSTRAP": BOOT}, tag)
    last = dict(l.split(" ", 1) for l in read(f"{tag}word-counts", "%k %s\n"))
    put(g / "final.txt", sorted(re.sub(r'\{"word":"(.*)","cnt":(\d+)\}', r"\1,\2", v) for v in last.values()))


if __name__ == "__main__":
    main()
