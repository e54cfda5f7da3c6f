#!/usr/bin/env python3
"""Flott beside Apache Flink: the same SQL text, the same input, the same parallelism; outputs are compared first.

  compare.py --flott target/release/flott [JOB...]        jobs: s1 words q0 q1 q2 q14 q17 q5w q7w kq0 kq5w (default: these), and
                                                          q11 q12 q15 q16 q21 q22 cumulate over functions; --no-mini-batch, --duckdb
  compare.py --flott PATH --startup                       S1 from exec to its first output record, median of ten
  compare.py --flott PATH --checkpoints                   CPU per million events with 1 M keys, checkpoints every second against none
  compare.py --flott PATH --flink-memory [JOB...]         the smallest TaskManager with which Flink finishes, and its peak

s1: website traffic, Kafka to Kafka. words: word count, Kafka to upsert-kafka. q* and the named ones: queries over Nexmark's events from JSON files.
kq*: the same from Kafka. The plan that Flott would run is asserted first.
Kafka and Flink are fetched (fetch-peers.sh) and started when they are not up, and stopped again if started here.

Rules: a fresh TaskManager per job and one discarded run before the measured ones, object reuse and mini-batch on (Nexmark's settings) for both
engines, three alternating runs, medians. CPU is user and system time of every thread: of Flott's process from wait4, of Flink's TaskManager from
/proc (its JobManager beside it). Memory is VmHWM: of Flott's one process, of Flink's JobManager and TaskManager together. One JSON line a run goes to --out.
"""
import argparse, decimal, hashlib, json, os, re, shutil, statistics, subprocess, sys, tempfile, time
from collections import Counter
from pathlib import Path

import bench
from bench import BOOT, E, HERE, MINIBATCH, Session, fresh_tm, job_measure, pid, rss, statements

DATA = Path(E["BENCH_DATA"])
FILE_JOBS, KAFKA_JOBS = ["q0", "q1", "q2", "q14", "q17", "q5w", "q7w"], ["kq0", "kq5w"]
JOBS = ["s1", "words", *FILE_JOBS, *KAFKA_JOBS]
MORE_JOBS = ["q11", "q12", "q15", "q16", "q21", "q22", "cumulate", "over", "functions"]
# keys of the queries whose rows are updated: their outputs are compared through upsert-kafka
KEYS = {"q15": "`day`", "q16": "channel, `day`", "q17": "auction, `day`"}
# queries in processing time: which rows fall into which window differs from run to run, so the sum of a column per key is compared: (key, summed)
TOTALS = {"q12": (0, 1)}
BAR = {"q0": 4, "q1": 4, "q14": 4, "q21": 4, "q22": 4, "s1": 4}
# Chains of the plan that is measured, exchanges between them.
SCAN, SCANNED = "events -> Calc", "events -> Calc -> snk"
# DISTINCT aggregates with their sets spread over the subtasks (Nexmark's settings ask for it)
SPLIT = "LocalGroupAggregate | IncrementalGroupAggregate | GlobalGroupAggregate -> snk"
PLAN = {
    "s1": "website_logs -> LocalWindowAggregate | GlobalWindowAggregate -> Calc -> website_traffic_stats",
    "words": "sentences -> Correlate -> LocalGroupAggregate | GlobalGroupAggregate -> ConstraintEnforcer -> word_counts",
    "q0": SCANNED, "q1": SCANNED, "q2": SCANNED, "q14": SCANNED, "q21": SCANNED, "q22": SCANNED, "functions": SCANNED,
    "q17": f"{SCAN} -> LocalGroupAggregate | GlobalGroupAggregate -> snk",
    "q5w": f"{SCAN} -> LocalWindowAggregate | GlobalWindowAggregate -> snk", "q7w": f"{SCAN} -> LocalWindowAggregate | GlobalWindowAggregate -> snk",
    "cumulate": f"{SCAN} -> LocalWindowAggregate | GlobalWindowAggregate -> snk",
    "q11": f"{SCAN} | GroupWindowAggregate -> snk", "q12": f"{SCAN} | WindowAggregate -> snk", "over": f"{SCAN} | OverAggregate -> Calc -> snk",
    "q15": f"{SCAN} -> {SPLIT}", "q16": f"{SCAN} -> {SPLIT}",
}
# The same without mini-batch, where that makes a difference.
PLAN_NO_MINI_BATCH = {"q15": f"{SCAN} | GroupAggregate -> snk", "q16": f"{SCAN} | GroupAggregate -> snk", "q17": f"{SCAN} | GroupAggregate -> snk", "words": None}


# ---- peers and data ----

def script(name, *args, **env):
    subprocess.run(["bash", str(HERE / name), *args], check=True, env={**os.environ, **env}, stdout=sys.stderr)


def alive(p):
    return p is not None and Path(f"/proc/{p}").exists() and Path(f"/proc/{p}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"


class Peers:
    """Starts what is down, and stops at the end what it started."""

    def __init__(self):
        self.started = []

    def kafka(self):
        script("fetch-peers.sh")
        if not alive(pid("kafka")):
            script("kafka-up.sh", KAFKA_HEAP="1g")
            self.started.append("kafka-down.sh")

    def flink(self, tm_mem=None):
        if alive(pid("jm")):
            return
        script("flink-up.sh", **({"FLINK_TM_MEM": tm_mem} if tm_mem else {}))
        script("flink-gateway.sh")
        if "flink-down.sh" not in self.started:
            self.started.append("flink-down.sh")

    def stop(self):
        for s in reversed(self.started):
            script(s)


def java(source, *args, props=()):
    subprocess.run(["java", *props, "-cp", f"{E['KAFKA_LIBS']}/*", str(HERE / "gen" / source), *map(str, args)], check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)


def nexmark_files(events):
    d = DATA / f"nexmark-{events}"
    if not (d / "done").exists():
        shutil.rmtree(d, ignore_errors=True)
        java("NexmarkGen.java", d / "json", events, 2, 1, 10_000)
        (d / "done").touch()
    return d / "json"


def topic_size(topic):
    """Records of a topic, 0 if there is none; waits for the leaders of a broker that has just been started."""
    known = subprocess.run(["kcat", "-L", "-b", BOOT], capture_output=True, text=True, check=True).stdout
    if f'topic "{topic}"' not in known:
        return 0
    for _ in range(100):
        got = subprocess.run(["kcat", "-Q", "-b", BOOT, *sum((["-t", f"{topic}:{p}:-1"] for p in range(4)), [])], capture_output=True, text=True)
        if got.returncode == 0:
            return sum(int(m) for m in re.findall(r"offset (\d+)", got.stdout))
        time.sleep(0.2)
    raise RuntimeError(f"the offsets of topic {topic} cannot be read: {got.stderr}")


def preload(topic, want, *what, props=()):
    """Fill a topic of four partitions once; a topic of that name and size is taken as it is."""
    have = topic_size(topic)
    if have and have != want:
        sys.exit(f"topic {topic} holds {have} records, not {want}: wipe the broker's data (KAFKA_WIPE=1 bench/kafka-down.sh)")
    if not have:
        java("KafkaLoad.java", BOOT, topic, 4, *what, props=props)
    return topic


def make_topic(topic):
    """Metadata of a missing topic makes it, where the broker allows that."""
    for _ in range(50):
        out = subprocess.run(["kcat", "-L", "-b", BOOT, "-t", topic], capture_output=True, text=True).stdout
        if "leader" in out:
            return topic
        time.sleep(0.1)
    raise RuntimeError(f"topic {topic} was not made: {out}")


# ---- one script for both engines ----

class Job:
    """The SQL text of one measured job and where its output goes."""

    def __init__(self, name, events, sink):
        """sink: 'blackhole' (files and kq*, measured), 'kafka' (outputs compared); s1 and words always write Kafka."""
        self.name, self.events, self.out, self.upsert = name, events, None, False
        if name in ("s1", "words"):
            seed, made, what = {"s1": ("website-traffic", "website-traffic-stats", "traffic"), "words": ("word-count", "word-counts", "words")}[name]
            topic = preload(f"bench-{what}-{events}", events, what, events)
            self.text = (HERE / "sql" / "seed" / f"{seed}.sql").read_text()
            self.text = self.text.replace(f"'topic' = '{'website-logs' if name == 's1' else 'sentences'}'", f"'topic' = '{topic}'")
            self.out_name, self.upsert = made, name == "words"
        else:
            q, source = (name[1:], "kafka") if name in KAFKA_JOBS else (name, "file")
            d, files = HERE / "sql" / "nexmark", nexmark_files(events)
            topic = preload(f"bench-nexmark-{events}", events, *sorted(files.glob("*.json"))) if source == "kafka" else ""
            query = (d / f"{q}.sql").read_text()
            cols = re.search(r"^-- sink: (.*)$", query, re.M).group(1)
            pre = "".join(f"{m};\n" for m in re.findall(r"^-- pre: (.*)$", query, re.M))
            body = re.sub(r"^--.*\n", "", query, flags=re.M).strip()
            self.out_name, self.upsert = (None, False) if sink == "blackhole" else (f"out-{name}", q in KEYS)
            if sink == "blackhole":
                opts = "'connector' = 'blackhole'"
            elif q in KEYS:
                cols += f", PRIMARY KEY ({KEYS[q]}) NOT ENFORCED"
                opts = f"'connector' = 'upsert-kafka', 'topic' = '{self.out_name}', 'properties.bootstrap.servers' = '{BOOT}', 'key.format' = 'json', 'value.format' = 'json'"
            else:
                opts = f"'connector' = 'kafka', 'topic' = '{self.out_name}', 'properties.bootstrap.servers' = '{BOOT}', 'format' = 'json'"
            source_sql = (d / f"source-{source}.sql").read_text().replace("${DATA}", str(files)).replace("${TOPIC}", topic)
            self.text = f"{source_sql}\n{(d / 'views.sql').read_text()}\n{pre}CREATE TABLE snk ({cols}) WITH ({opts});\nINSERT INTO snk {body};\n"
        self.text = self.text.replace("${BOOTSTRAP}", BOOT)

    def sql(self, tag):
        """The text with an output topic of its own."""
        self.out = None
        if not self.out_name:
            return self.text
        self.out = make_topic(f"bench-out-{self.name}-{tag}-{int(time.time() * 1000)}")
        return self.text.replace(f"'topic' = '{self.out_name}'", f"'topic' = '{self.out}'")

    def rows(self):
        """The output topic as a bag of canonical rows; of upserts the last row of each key."""
        raw = subprocess.run(["kcat", "-C", "-b", BOOT, "-t", self.out, "-e", "-q", "-f", "%k\t%S\t%s\n"], capture_output=True, check=True).stdout.decode()
        last, bag = {}, Counter()
        if self.name in TOTALS:
            key, summed = TOTALS[self.name]
            for row in (l.split("\t", 2)[2] for l in raw.split("\n")[:-1]):
                cells = canonical(row).split("|")
                bag[cells[key]] += int(cells[summed])
            return bag
        for l in raw.split("\n")[:-1]:
            key, size, value = l.split("\t", 2)
            if not self.upsert:
                bag[canonical(value)] += 1
            elif size == "-1":
                last.pop(canonical(key), None)
            else:
                last[canonical(key)] = canonical(value)
        return Counter(last.values()) if self.upsert else bag


def canonical(text):
    if not text.startswith("{"):
        return text
    def cell(v):
        if isinstance(v, decimal.Decimal):
            return format(v.normalize() + 0, "f")
        m = re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,3}))?", v) if isinstance(v, str) else None
        return f"{m[1]}.{(m[2] or '').ljust(3, '0')}" if m else json.dumps(v)
    return "|".join(cell(v) for v in json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal).values())


def digest(bag):
    h = hashlib.sha256()
    for row, n in sorted(bag.items()):
        h.update(f"{n} {row}\n".encode())
    return h.hexdigest()[:16]


# ---- running an engine ----

def run_flott(flott, sql, parallelism, options=MINIBATCH):
    """One bounded run: wall and CPU seconds, peak resident MB."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", delete=False) as f:
        f.write(sql)
    cmd = [flott, "run", f.name, "-p", str(parallelism), *sum((["-D", f"{k}={v}"] for k, v in options.items()), [])]
    with tempfile.TemporaryFile("w+") as log:
        t0 = time.time()
        p = subprocess.Popen(cmd, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        peak = 0
        while True:
            done, status, use = os.wait4(p.pid, os.WNOHANG)
            if done:
                break
            try:
                m = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{p.pid}/status").read_text())
                peak = max(peak, int(m.group(1)) // 1024) if m else peak
            except OSError:
                pass
            if time.time() - t0 > bench.LIMIT_S:
                p.kill()
            time.sleep(0.02)
        wall = time.time() - t0
        p.returncode = os.waitstatus_to_exitcode(status)
        os.unlink(f.name)
        if p.returncode != 0:
            log.seek(0)
            raise RuntimeError(f"flott: exit code {p.returncode}\n{log.read()[-3000:]}")
    return {"engine": "flott", "wall_s": round(wall, 2), "cpu_s": round(use.ru_utime + use.ru_stime, 2), "mem_mb": peak}


def run_flink(sql, tag, events, options=MINIBATCH):
    s = Session(options)
    try:
        st = statements(sql)
        for x in st[:-1]:
            m = re.match(r"SET '([^']+)' *= *'([^']*)'", x)
            s.run(f"SET '{m[1]}' = '{m[2]}'" if m else x)
        r = job_measure(s, st[-1], events, tag, True)
    finally:
        s.close()
    return {"engine": "flink", "wall_s": r["wall_s"], "cpu_s": r["tm_cpu_s"], "jm_cpu_s": r["jm_cpu_s"], "mem_mb": rss("tm1") + rss("jm"), "submit_s": r["submit_to_running_s"]}


def endless_flott(a, job):
    """Start a job that does not end; gives what stops it."""
    f = tempfile.NamedTemporaryFile("w", suffix=".sql")
    f.write(job.sql("flott")); f.flush()
    p = subprocess.Popen([a.flott, "run", f.name, "-p", str(a.parallelism), *sum((["-D", f"{k}={v}"] for k, v in a.options.items()), [])],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    def stop():
        p.terminate(); p.wait(); f.close()
    return stop


def endless_flink(a, job):
    s = Session(a.options)
    st = statements(job.sql("flink"))
    for x in st[:-1]:
        s.run(x)
    r = s.run(st[-1])
    jid = r.get("jobID") or r["results"]["data"][0]["fields"][0]
    def stop():
        bench.call(f"{bench.REST}/jobs/{jid}?mode=cancel", method="PATCH"); s.close()
    return stop


def until_still(job, stop, still_s=15, limit_s=90):
    """The output rows once no more have come for longer than a window; stops the job."""
    rows, since, t0 = Counter(), time.time(), time.time()
    while time.time() - since < still_s and time.time() - t0 < limit_s:
        now = job.rows()
        if now != rows or not now:
            rows, since = now, time.time()
        time.sleep(1)
    stop()
    return rows


DUCK = {
    "q0": "SELECT bit_xor(hash(bid.auction, bid.bidder, bid.price, bid.dateTime, bid.extra)) FROM b",
    "q1": "SELECT bit_xor(hash(bid.auction, bid.bidder, 0.908 * bid.price, bid.dateTime, bid.extra)) FROM b",
    "q2": "SELECT bit_xor(hash(bid.auction, bid.price)) FROM b WHERE bid.auction % 123 = 0",
    "q14": "SELECT bit_xor(hash(bid.auction, bid.bidder, 0.908 * bid.price, hour(bid.dateTime), bid.dateTime, bid.extra, length(bid.extra) - length(replace(bid.extra, 'c', '')))) FROM b WHERE 0.908 * bid.price > 1000000 AND 0.908 * bid.price < 50000000",
    "q17": "SELECT bit_xor(hash(x)) FROM (SELECT bid.auction, strftime(bid.dateTime, '%Y-%m-%d') d, count(*), count(*) FILTER (WHERE bid.price < 10000), count(*) FILTER (WHERE bid.price >= 10000 AND bid.price < 1000000), count(*) FILTER (WHERE bid.price >= 1000000), min(bid.price), max(bid.price), avg(bid.price), sum(bid.price) FROM b GROUP BY 1, 2) x",
    "q5w": "SELECT bit_xor(hash(x)) FROM (SELECT bid.auction, w, count(*) FROM (SELECT bid, unnest([time_bucket(INTERVAL 2 SECOND, bid.dateTime) - INTERVAL 2 SECOND * i FOR i IN range(5)]) w FROM b) GROUP BY 1, 2) x",
    "q7w": "SELECT bit_xor(hash(x)) FROM (SELECT time_bucket(INTERVAL 10 SECOND, bid.dateTime), max(bid.price) FROM b GROUP BY 1) x",
}


def run_duckdb(q, files, python):
    """The limit: DuckDB in batch over the same files, projected columns, two threads."""
    cols = "{event_type: 'INT', bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, \"dateTime\" TIMESTAMP, extra VARCHAR)'}"
    code = (f"import duckdb\nc = duckdb.connect(); c.execute('SET threads = 2'); c.execute('SET enable_progress_bar = false')\n"
            f"c.execute(\"\"\"CREATE VIEW b AS SELECT bid FROM read_json('{files}/*.json', format = 'newline_delimited', columns = {cols}) WHERE event_type = 2\"\"\")\n"
            f"c.execute(\"\"\"{DUCK[q]}\"\"\").fetchall()\n"
            "import resource\nu = resource.getrusage(resource.RUSAGE_SELF)\nprint(u.ru_utime + u.ru_stime, u.ru_maxrss // 1024)\n")
    t0 = time.time()
    out = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(out.stderr[-1000:])
    cpu, mem = out.stdout.split()[-2:]
    return {"engine": "duckdb", "wall_s": round(time.time() - t0, 2), "cpu_s": round(float(cpu), 2), "mem_mb": int(mem)}


def duck_python():
    venv = Path(E["BENCH_HOME"]) / "duckdb"
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "-q", "duckdb==2.0.0"], check=True, stdout=sys.stderr)
    return str(venv / "bin" / "python")


# ---- the protocols ----

def record(a, line):
    print(json.dumps(line), flush=True, file=sys.stderr)
    if a.out:
        with open(a.out, "a") as f:
            f.write(json.dumps(line) + "\n")


def check_plan(a, name):
    """What Flott would run has the chains that the figures are about."""
    wanted = PLAN.get(name.removeprefix("k"))
    if a.no_mini_batch:
        wanted = PLAN_NO_MINI_BATCH.get(name, wanted)
    if not wanted:
        return
    job = Job(name, a.check_events, "blackhole")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as f:
        f.write(job.text); f.flush()
        options = sum((["-D", f"{k}={v}"] for k, v in a.options.items()), [])
        text = subprocess.run([a.flott, "explain", f.name, "-p", str(a.parallelism), *options], capture_output=True, text=True, check=True).stdout
    chains = re.findall(r"^vertex \d+: (.*) \(parallelism", text, re.M)
    plan = " | ".join(re.sub(r"\[\d+\]|^Source: |: Writer", "", c) for c in chains)
    if plan != wanted:
        raise RuntimeError(f"the plan is {plan}, and {wanted} was to be measured")


def check_outputs(a, name):
    """Both engines over the small input, outputs through Kafka: (same, rows, digest)"""
    job = Job(name, a.check_events, "kafka")
    if name in TOTALS:
        # At the end of bounded input Flink drops windows of processing time that are still open, so this input does not end.
        job.text = job.text.replace("'connector' = 'filesystem'", "'connector' = 'filesystem', 'source.monitor-interval' = '1 s'")
        ours, theirs = until_still(job, endless_flott(a, job)), until_still(job, endless_flink(a, job))
    else:
        run_flott(a.flott, job.sql("flott"), a.parallelism, a.options)
        ours = job.rows()
        run_flink(job.sql("flink"), name, a.check_events, a.options)
        theirs = job.rows()
    if ours != theirs:
        for title, bag in (("only Flott", ours - theirs), ("only Flink", theirs - ours)):
            print(f"{name}: {title}: {sum(bag.values())} rows, e.g. {list(bag)[:3]}", file=sys.stderr)
    return ours == theirs, sum(theirs.values()), digest(ours)


def compare(a, peers):
    table, failed = [], []
    python = duck_python() if a.duckdb else None
    for name in a.jobs:
        try:
            check_plan(a, name)
            if not a.no_flink and not a.no_check:
                same, rows, dig = check_outputs(a, name)
                record(a, {"job": name, "outputs_same": same, "rows": rows, "digest": dig, "events": a.check_events})
                if not same:
                    failed.append(f"{name}: outputs differ")
                    continue
            job = Job(name, a.events, "blackhole")
            runs = {"flott": [], "flink": []}
            if not a.no_flink:
                fresh_tm()
                run_flink(job.sql("warm"), name, a.events, a.options)
            bags = {}
            for i in range(a.runs):
                r = run_flott(a.flott, job.sql("flott"), a.parallelism, a.options)
                runs["flott"].append(r); record(a, {"job": name, "events": a.events, "run": i, **r})
                if job.out and i == 0:
                    bags["flott"] = job.rows()
                if not a.no_flink:
                    r = run_flink(job.sql("flink"), name, a.events, a.options)
                    runs["flink"].append(r); record(a, {"job": name, "events": a.events, "run": i, **r})
                    if job.out and i == 0 and job.rows() != bags["flott"]:
                        failed.append(f"{name}: outputs of the measured runs differ")
            duck = run_duckdb(name, nexmark_files(a.events), python) if python and name in DUCK else None
            if duck:
                record(a, {"job": name, "events": a.events, **duck})
            table.append((name, {k: middle(v) for k, v in runs.items() if v}, duck))
        except RuntimeError as e:
            failed.append(f"{name}: {e}")
            print(f"{name}: {e}", file=sys.stderr)
    print(f"\n{a.events} events, parallelism {a.parallelism}, medians of {a.runs} alternating runs, Flink warm, load average {os.getloadavg()[0]:.1f}")
    head = ("job", "Flott k/CPU s", "Flink k/CPU s", "ratio", "bar", "Flott wall", "Flink wall", "Flott MB", "Flink MB", "DuckDB k/CPU s")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    rate = lambda r: a.events / max(r["cpu_s"], 0.01) / 1000
    for name, m, duck in table:
        fl, fk = m["flott"], m.get("flink")
        bar = BAR.get(name.removeprefix("k"), 5)
        cells = [name, f"{rate(fl):,.0f}", f"{rate(fk):,.0f}" if fk else "", f"{rate(fl) / rate(fk):.1f}x" if fk else "", f"{bar}x", f"{fl['wall_s']:.1f} s", f"{fk['wall_s']:.1f} s" if fk else "",
                 str(fl["mem_mb"]), str(fk["mem_mb"]) if fk else "", f"{rate(duck):,.0f}" if duck else ""]
        print("| " + " | ".join(cells) + " |")
    for f in failed:
        print("FAILED", f.splitlines()[0])
    return 1 if failed else 0


def middle(runs):
    return {k: statistics.median(r[k] for r in runs) for k in ("wall_s", "cpu_s", "mem_mb")}


def startup(a, peers):
    """Exec of an unbounded S1 over a preloaded topic to the first output record at a read-uncommitted consumer."""
    topic = preload("bench-startup", 20_000, "traffic", 20_000, props=("-Drate=100",))
    text = (HERE / "sql" / "seed" / "website-traffic.sql").read_text().replace("${BOOTSTRAP}", BOOT).replace("'scan.bounded.mode' = 'latest-offset', ", "").replace("'topic' = 'website-logs'", f"'topic' = '{topic}'")
    walls, cpus = [], []
    for i in range(10):
        out = make_topic(f"bench-startup-out-{int(time.time() * 1000)}")
        with tempfile.NamedTemporaryFile("w", suffix=".sql", delete=False) as f:
            f.write(text.replace("'topic' = 'website-traffic-stats'", f"'topic' = '{out}'"))
        reader = subprocess.Popen(["kcat", "-C", "-u", "-q", "-b", BOOT, "-t", out, "-o", "beginning", "-c", "1", "-X", "isolation.level=read_uncommitted", "-X", "fetch.wait.max.ms=10"], stdout=subprocess.PIPE)
        time.sleep(1)
        t0 = time.time()
        p = subprocess.Popen([a.flott, "run", f.name, "-p", str(a.parallelism)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        os.set_blocking(reader.stdout.fileno(), False)
        line = None
        while not line and time.time() - t0 < 30 and p.poll() is None:
            line = reader.stdout.readline()
            time.sleep(0.0005)
        wall = time.time() - t0
        fields = Path(f"/proc/{p.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / bench.HZ
        p.terminate(); reader.kill()
        err = p.communicate()[1].decode()
        os.unlink(f.name)
        if not line:
            print(f"no output record; flott said: {err[-2000:]}")
            return 1
        walls.append(wall * 1000); cpus.append(cpu * 1000)
        record(a, {"job": "startup", "run": i, "first_record_ms": round(walls[-1]), "cpu_ms": round(cpus[-1])})
    print(f"S1, exec to first output record: median {statistics.median(walls):.0f} ms (bar 500), CPU until then {statistics.median(cpus):.0f} ms (bar 150), worst {max(walls):.0f} ms")
    return 0 if statistics.median(walls) < 500 and statistics.median(cpus) < 150 else 1


def checkpoints(a, peers):
    """CPU per million events of a count over a million keys: checkpoints every second against none, five pairs."""
    f = DATA / f"keys-{a.events}.csv"
    if not f.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        with f.with_suffix(".tmp").open("w") as o:
            x = 1
            for i in range(0, a.events, 100_000):
                block = []
                for _ in range(min(100_000, a.events - i)):
                    x = (x * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
                    block.append(f"{(x >> 33) % 1_000_000},{x >> 60}\n")
                o.write("".join(block))
        f.with_suffix(".tmp").rename(f)
    sql = (f"CREATE TABLE k (id BIGINT, v INT) WITH ('connector' = 'filesystem', 'path' = '{f}', 'format' = 'csv');\n"
           "CREATE TABLE o (id BIGINT, n BIGINT, s INT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT id, COUNT(*), SUM(v) FROM k GROUP BY id;\n")
    ratios = []
    for i in range(5):
        with tempfile.TemporaryDirectory() as d:
            on = run_flott(a.flott, sql, a.parallelism, {**MINIBATCH, "execution.checkpointing.interval": "1 s", "execution.checkpointing.dir": f"file://{d}"})
        off = run_flott(a.flott, sql, a.parallelism)
        ratios.append(on["cpu_s"] / off["cpu_s"] - 1)
        record(a, {"job": "checkpoints", "run": i, "events": a.events, "cpu_on_s": on["cpu_s"], "cpu_off_s": off["cpu_s"], "wall_on_s": on["wall_s"], "mem_on_mb": on["mem_mb"], "mem_off_mb": off["mem_mb"]})
    print(f"checkpoints every second, 1 M keys: {statistics.median(ratios) * 100:+.1f} % CPU (median of five pairs, bar +5 %); pairs: {', '.join(f'{r * 100:+.1f} %' for r in ratios)}")
    return 0 if statistics.median(ratios) < 0.05 else 1


def flink_memory(a, peers):
    """For each job the smallest TaskManager with which Flink finishes, and the resident peak of both processes there."""
    for name in a.jobs:
        job = Job(name, a.events, "blackhole")
        ours = run_flott(a.flott, job.sql("flott"), a.parallelism, a.options)
        for size in ("1g", "1536m", "2g", "3g", "4g"):
            script("flink-down.sh")
            peers.flink(size)
            try:
                r = run_flink(job.sql("flink"), name, a.events, a.options)
            except RuntimeError as e:
                print(f"{name}: not with {size}: {str(e)[:120]}", file=sys.stderr)
                continue
            record(a, {"job": name, "flink_tm": size, "flink_mb": r["mem_mb"], "flink_wall_s": r["wall_s"], "flott_mb": ours["mem_mb"]})
            print(f"{name}: Flott {ours['mem_mb']} MB, Flink {r['mem_mb']} MB (TaskManager {size}): {ours['mem_mb'] / r['mem_mb']:.2f}")
            break
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("jobs", nargs="*"); p.add_argument("--flott", required=True, type=lambda x: str(Path(x).resolve()))
    p.add_argument("--events", type=int, default=10_000_000); p.add_argument("--check-events", type=int, default=50_000)
    p.add_argument("--runs", type=int, default=3); p.add_argument("--parallelism", type=int, default=2)
    p.add_argument("--no-flink", action="store_true"); p.add_argument("--no-check", action="store_true"); p.add_argument("--duckdb", action="store_true")
    p.add_argument("--no-mini-batch", action="store_true"); p.add_argument("--startup", action="store_true"); p.add_argument("--checkpoints", action="store_true"); p.add_argument("--flink-memory", action="store_true")
    p.add_argument("--out")
    a = p.parse_args()
    a.jobs = a.jobs or JOBS
    a.options = {} if a.no_mini_batch else MINIBATCH
    if unknown := [j for j in a.jobs if j not in JOBS + MORE_JOBS]:
        p.error(f"no such job: {' '.join(unknown)}")
    peers = Peers()
    protocol = startup if a.startup else checkpoints if a.checkpoints else flink_memory if a.flink_memory else compare
    try:
        if protocol is not checkpoints:
            peers.kafka()
        if protocol is compare and not a.no_flink:
            peers.flink()
        sys.exit(protocol(a, peers))
    finally:
        peers.stop()


if __name__ == "__main__":
    main()
