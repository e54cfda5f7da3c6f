#!/usr/bin/env python3
"""Programs beside Apache Flink's DataStream API: the same job in Rust and in Java over the same records, one process each, parallelism 1.

  streams.py [CASE...] [--events N] [--runs N] [--flott PATH]

Cases: words, clicks, window-sum (from a generator in the process), kafka-words, kafka-clicks (the same topic for both), and zipf and uniform: running
clicks of --keys users (20 M) in RocksDB, both within --memory (2048 MB), checkpoints every ten seconds. Default: the first five.
zipf-recovery and uniform-recovery: what checkpoints take while --hold (10 M) clicks run in, then the process is killed and another starts from the
last checkpoint: until its first result (without the start of the Java machine).

The results are compared first. Flink's process runs the job once before it is measured, with object reuse on; CPU is user and system time of all threads
of the process, for Flink without the discarded run. The median of the runs counts, which alternate. `--flott` names a built benchmark
(`cargo bench -p flott --no-default-features --features connectors --bench peer --no-run`; zipf and uniform need the feature rocksdb); without it that is built.
"""
import argparse, json, os, re, shutil, statistics, subprocess, sys, tempfile
from pathlib import Path

from bench import BOOT, E, HERE
from compare import Peers, preload

ROOT = HERE.parent
OPENS = ["java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time", "java.util", "java.util.concurrent",
         "java.util.concurrent.atomic", "java.util.concurrent.locks"]
CASES = ["words", "clicks", "window-sum", "kafka-words", "kafka-clicks"]
EVENTS = {"words": 2_000_000, "clicks": 20_000_000, "window-sum": 20_000_000, "kafka-words": 4_000_000, "kafka-clicks": 8_000_000, "zipf": 40_000_000, "uniform": 20_000_000}
TOPIC = {"kafka-words": "words", "kafka-clicks": "traffic"}
COMPLETED = re.compile(r"Completed checkpoint (\d+) for job .*\((\d+) bytes, checkpointDuration=(\d+) ms")
LOG = """status = error
rootLogger.level = error
logger.checkpoints.name = org.apache.flink.runtime.checkpoint.CheckpointCoordinator
logger.checkpoints.level = info
logger.checkpoints.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %m%n
"""
BAR = {"words": 6, "clicks": 6, "kafka-words": 4, "kafka-clicks": 4, "zipf": 2}


def is_large(case):
    return case.removesuffix("-recovery") in ("zipf", "uniform")


def build(cases):
    features = "connectors,rocksdb" if any(is_large(case) for case in cases) else "connectors"
    command = ["cargo", "bench", "-p", "flott", "--no-default-features", "--features", features, "--bench", "peer", "--no-run", "--message-format=json-render-diagnostics"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    made = [m["executable"] for m in map(json.loads, lines) if m.get("executable") and m["target"]["name"] == "peer"]
    return made[0]


def last_json(command, **env):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
    lines = [l for l in done.stdout.splitlines() if l.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"{command[:6]} failed: {done.stderr[-3000:]}")
    return json.loads(lines[-1])


class Both:
    def __init__(self, flott, folder, args):
        self.flott, self.folder, self.args = flott, folder, args
        subprocess.run(["javac", "-nowarn", "-d", folder / "classes", "-cp", f"{E['FLINK_LIB']}/*:{E['FLINK_EXTRA']}/*", HERE / "gen" / "StreamJobs.java"], check=True)

    def options(self, case, engine):
        """Arguments KEY=VALUE of a run."""
        if case in TOPIC:
            return [f"kafka={BOOT}", f"topic={TOPIC[case]}-{self.events(case)}"]
        if not is_large(case):
            return []
        checkpoints = self.checkpoints(engine)
        ours = {"state.backend.rocksdb.memory.fixed-per-slot": f"{self.args.memory * 3 // 4} mb", "state.backend.rocksdb.localdir": self.folder / "state-flott"}
        # Half of the limit for RocksDB; the rest is the heap, metaspace, code and threads.
        theirs = {"taskmanager.memory.managed.size": f"{self.args.memory // 2}m", "execution.checkpointing.incremental": "true", "io.tmp.dirs": self.folder / "state-flink"}
        options = {"state.backend.type": "rocksdb", "execution.checkpointing.dir": f"file://{checkpoints}", "execution.checkpointing.interval": "10 s"}
        options.update(ours if engine == "flott" else theirs)
        for key in ("state.backend.rocksdb.localdir", "io.tmp.dirs"):
            if key in options:
                Path(options[key]).mkdir(exist_ok=True)
        return [f"keys={self.args.keys}", f"span={self.args.keys ** 0.1 - 1!r}", *(f"{k}={v}" for k, v in options.items())]

    def checkpoints(self, engine):
        return self.folder / f"checkpoints-{engine}"

    def events(self, case):
        return self.args.events or EVENTS[case]

    def command(self, engine, case, events, warmup, options):
        job = case.removeprefix("kafka-").removesuffix("-recovery")
        if engine == "flott":
            return [self.flott, job, str(events), *options]
        heap = self.args.memory // 4 if is_large(case) else 1024
        classpath = f"{self.folder / 'classes'}:{E['FLINK_LIB']}/*:{E['FLINK_EXTRA']}/*"
        log = self.folder / "log4j2.properties"
        log.write_text(LOG)
        return ["java", f"-Xmx{heap}m", "-XX:+UseG1GC", f"-Dlog4j.configurationFile={log}", *(f"--add-opens=java.base/{p}=ALL-UNNAMED" for p in OPENS),
                "-cp", classpath, "StreamJobs", job, str(events), str(warmup), *options]

    def run(self, engine, case):
        events, options = self.events(case), self.options(case, engine)
        shutil.rmtree(self.checkpoints(engine), ignore_errors=True)
        warmup = events if case in TOPIC else min(events, 2_000_000)
        return last_json(self.command(engine, case, events, warmup, options))

    def recover(self, engine, case):
        """Checkpoints while clicks run in (milliseconds, bytes), and how long the next process takes from the last one to its first result."""
        options, hold = self.options(case, engine), self.args.hold
        shutil.rmtree(self.checkpoints(engine), ignore_errors=True)
        events = hold + 10_000_000
        first = subprocess.Popen(self.command(engine, case, events, 0, [*options, f"hold={hold}"]), stderr=subprocess.PIPE, text=True, env={**os.environ, "FLOTT_LOG": "flott_cluster=info"})
        taken, behind_hold = [], None
        try:
            for line in first.stderr:
                if line.startswith("held"):
                    behind_hold = 0
                elif found := COMPLETED.search(line):
                    behind_hold = None if behind_hold is None else behind_hold + 1
                    taken.append(tuple(map(int, found.groups())))
                    # The first behind the last click may have begun before it.
                    if behind_hold == 2:
                        break
        finally:
            first.kill()
            first.wait()
        if behind_hold != 2:
            sys.exit(f"{case}: {engine} ended before its checkpoints were taken")
        newest = max(self.checkpoints(engine).rglob("_metadata" if engine == "flink" else "manifest-*"), key=lambda p: p.stat().st_mtime)
        path = newest.parent if engine == "flink" else newest
        again = last_json(self.command(engine, case, events, 0, [*options, f"hold={hold}", "until=first", f"execution.state-recovery.path=file://{path}"]))
        size = sum(f.stat().st_size for f in self.checkpoints(engine).rglob("*") if f.is_file())
        # The last two hold next to nothing new.
        running = taken[:-2] or taken
        return {"checkpoints": len(running), "ms": statistics.median(t[2] for t in running), "most_ms": max(t[2] for t in running), "mib": size / 2**20, "first_s": again["first_s"]}


def recoveries(both, cases):
    print("| case | engine | checkpoints | median ms | longest ms | MiB in the folder | restored, s |")
    print("|---|---|---|---|---|---|---|")
    for case in cases:
        for engine in ("flott", "flink"):
            r = both.recover(engine, case)
            print(f"| {case} | {engine} | {r['checkpoints']} | {r['ms']:,.0f} | {r['most_ms']:,} | {r['mib']:,.0f} | {r['first_s']:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--flott")
    parser.add_argument("--events", type=int)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keys", type=int, default=20_000_000)
    parser.add_argument("--hold", type=int, default=10_000_000)
    parser.add_argument("--memory", type=int, default=2048, help="MB that a process may have in zipf and uniform")
    args = parser.parse_args()
    peers, missed = Peers(), []
    subprocess.run(["bash", HERE / "fetch-peers.sh"], check=True, stdout=sys.stderr)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        both = Both(args.flott or build(args.cases), Path(folder), args)
        try:
            if any(case in TOPIC for case in args.cases):
                peers.kafka()
            if any(case.endswith("-recovery") for case in args.cases):
                recoveries(both, [case for case in args.cases if case.endswith("-recovery")])
            measured = [case for case in args.cases if not case.endswith("-recovery")]
            if not measured:
                return
            print("| case | events | Flott k events per CPU s | Flink | ratio | Flott by time, k/s | Flink | Flott peak MB | Flink peak MB |")
            print("|---|---|---|---|---|---|---|---|---|")
            for case in measured:
                events = both.events(case)
                if case in TOPIC:
                    preload(f"{TOPIC[case]}-{events}", events, TOPIC[case], events)
                runs = [(both.run("flott", case), both.run("flink", case)) for _ in range(args.runs)]
                results = {r["result"] for pair in runs for r in pair}
                if len(results) > 1:
                    sys.exit(f"{case}: the results differ: {runs}")
                median = lambda side, key: statistics.median(pair[side][key] for pair in runs)
                rate = lambda side, key: events / median(side, key) / 1000
                ratio = rate(0, "cpu_s") / rate(1, "cpu_s")
                print(f"| {case} | {events:,} | {rate(0, 'cpu_s'):,.0f} | {rate(1, 'cpu_s'):,.0f} | {ratio:.1f} | {rate(0, 'wall_s'):,.0f} | {rate(1, 'wall_s'):,.0f} "
                      f"| {median(0, 'peak_mb'):,.0f} | {median(1, 'peak_mb'):,.0f} |", flush=True)
                if ratio < BAR.get(case, 0):
                    missed.append(f"{case}: {ratio:.1f} of {BAR[case]}")
        finally:
            peers.stop()
    if missed:
        sys.exit("below the bar: " + ", ".join(missed))


if __name__ == "__main__":
    main()
