#!/usr/bin/env python3
"""Programs beside Apache Flink's DataStream API: the same job in Rust and in Java over the same records, one process each, parallelism 1.

  streams.py [CASE...] [--events N] [--runs N] [--flott PATH]

Cases: words, clicks, window-sum (from a generator in the process), kafka-words, kafka-clicks (the same topic for both), and zipf and uniform: running
clicks of --keys users (20 M) in RocksDB, both within --memory (2048 MB), checkpoints every ten seconds. Default: the first five.

The results are compared first. Flink's process runs the job once before it is measured, with object reuse on; CPU is user and system time of all threads
of the process, for Flink without the discarded run. The median of the runs counts, which alternate. `--flott` names a built benchmark
(`cargo bench -p flott --no-default-features --features connectors --bench peer --no-run`; zipf and uniform need the feature rocksdb); without it that is built.
"""
import argparse, json, os, shutil, statistics, subprocess, sys, tempfile
from pathlib import Path

from bench import BOOT, E, HERE
from compare import Peers, preload

ROOT = HERE.parent
OPENS = ["java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time", "java.util", "java.util.concurrent",
         "java.util.concurrent.atomic", "java.util.concurrent.locks"]
CASES = ["words", "clicks", "window-sum", "kafka-words", "kafka-clicks"]
EVENTS = {"words": 2_000_000, "clicks": 20_000_000, "window-sum": 20_000_000, "kafka-words": 4_000_000, "kafka-clicks": 8_000_000, "zipf": 40_000_000, "uniform": 20_000_000}
TOPIC = {"kafka-words": "words", "kafka-clicks": "traffic"}
BAR = {"words": 6, "clicks": 6, "kafka-words": 4, "kafka-clicks": 4, "zipf": 2}


def build(cases):
    features = "connectors,rocksdb" if {"zipf", "uniform"} & set(cases) else "connectors"
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
        if case not in ("zipf", "uniform"):
            return []
        checkpoints = self.folder / f"checkpoints-{engine}"
        shutil.rmtree(checkpoints, ignore_errors=True)
        ours = {"state.backend.rocksdb.memory.fixed-per-slot": f"{self.args.memory * 3 // 4} mb", "state.backend.rocksdb.localdir": self.folder / "state-flott"}
        # Half of the limit for RocksDB; the rest is the heap, metaspace, code and threads.
        theirs = {"taskmanager.memory.managed.size": f"{self.args.memory // 2}m", "execution.checkpointing.incremental": "true", "io.tmp.dirs": self.folder / "state-flink"}
        options = {"state.backend.type": "rocksdb", "execution.checkpointing.dir": f"file://{checkpoints}", "execution.checkpointing.interval": "10 s"}
        options.update(ours if engine == "flott" else theirs)
        for key in ("state.backend.rocksdb.localdir", "io.tmp.dirs"):
            if key in options:
                Path(options[key]).mkdir(exist_ok=True)
        return [f"keys={self.args.keys}", f"span={self.args.keys ** 0.1 - 1!r}", *(f"{k}={v}" for k, v in options.items())]

    def events(self, case):
        return self.args.events or EVENTS[case]

    def run(self, engine, case):
        job, events, options = case.removeprefix("kafka-"), self.events(case), self.options(case, engine)
        if engine == "flott":
            return last_json([self.flott, job, str(events), *options])
        is_large = case in ("zipf", "uniform")
        heap = self.args.memory // 4 if is_large else 1024
        classpath = f"{self.folder / 'classes'}:{E['FLINK_LIB']}/*:{E['FLINK_EXTRA']}/*"
        warmup = events if case in TOPIC else min(events, 2_000_000)
        return last_json(["java", f"-Xmx{heap}m", "-XX:+UseG1GC", *(f"--add-opens=java.base/{p}=ALL-UNNAMED" for p in OPENS), "-cp", classpath, "StreamJobs", job, str(events), str(warmup), *options])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--flott")
    parser.add_argument("--events", type=int)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keys", type=int, default=20_000_000)
    parser.add_argument("--memory", type=int, default=2048, help="MB that a process may have in zipf and uniform")
    args = parser.parse_args()
    peers, missed = Peers(), []
    subprocess.run(["bash", HERE / "fetch-peers.sh"], check=True, stdout=sys.stderr)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        both = Both(args.flott or build(args.cases), Path(folder), args)
        try:
            if any(case in TOPIC for case in args.cases):
                peers.kafka()
            print("| case | events | Flott k events per CPU s | Flink | ratio | Flott by time, k/s | Flink | Flott peak MB | Flink peak MB |")
            print("|---|---|---|---|---|---|---|---|---|")
            for case in args.cases:
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
