#!/usr/bin/env python3
"""Kill Flott again and again while it runs the website traffic job exactly once from a real Kafka, and count afterwards.

  exactly_once.py --flott PATH [--seed N] [--trials N]      trials with random kills, each with its own topics
  exactly_once.py --flott PATH --points a,b,c [--times 2]   one trial a fail point: the process kills itself there, so often
  exactly_once.py --flott PATH --broker                     trials in which the broker is killed and started again, too
  exactly_once.py --flott PATH --leaders                    leaders of its topics and of the transaction log move all the time, then one of two nodes
                                                            is killed and started again (KAFKA_NODES=2), and only then Flott too
  exactly_once.py --flott PATH --again                      restored twice from one checkpoint that it had long left behind, and from an old savepoint
  exactly_once.py --flott PATH --swallow                    every third answer to EndTxn is lost (the broker runs with KAFKA_PROXY=1)
  exactly_once.py --flott PATH --expired POINT              killed at POINT, before a commit, then the broker gives the transaction up: the job
                                                            must stop and name it
  exactly_once.py --flott PATH --prove a=skip,b=twice       the checker's own test: under each of these the count must be wrong

Several of these may be asked for at once. With --sink files the rows go to files instead of a topic, in every kind of trial that has no more than kills.

A trial: records flow into three partitions at a steady pace; Flott (parallelism 1 to 3, another one at each start) reads them with a checkpoint
every 300 ms into three partitions. It is killed after 0.2 to 4 seconds, again and again, each time restored from the newest checkpoint. In the end
a far record closes all windows, the last run is left alone until its output stands still, then stopped by SIGTERM. A read-committed reader must see each row of the
oracle once and nothing else, and no transaction may be left open (no unfinished file may be left). The seed of each trial is printed; the same seed gives
the same plan of kills.
"""
import argparse, os, random, re, shutil, signal, subprocess, sys, tempfile, time
from collections import Counter, defaultdict
from pathlib import Path

from bench import BOOT, E, HERE

JVM = ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m"]
LIBS = ["-cp", f"{E['KAFKA_LIBS']}/*"]
JOB = HERE.parent / "examples" / "website-traffic" / "job.sql"
CLOSE_MS = 600_000
PARTITIONS = 3
PORT = int(E["KAFKA_PORT"])
NODES = int(E["KAFKA_NODES"])
# All nodes, so that a start finds the one that is up.
BROKERS = ",".join(f"127.0.0.1:{PORT + 5 * n}" for n in range(NODES))
RETAINED = 1_000


def tool(name, *args):
    """What one of Kafka's tools answers. A second try, since a busy machine can be too slow for its time-out; then its own words."""
    for _ in range(2):
        done = subprocess.run([*JVM, *LIBS, f"org.apache.kafka.tools.{name}", "--bootstrap-server", BROKERS, *args], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout
    sys.exit(f"{name} {' '.join(args)} failed with code {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")


def kcat(topic, fmt, isolation="read_committed"):
    out = subprocess.run(["kcat", "-C", "-b", BROKERS, "-t", topic, "-e", "-q", "-f", fmt, "-X", f"isolation.level={isolation}"], capture_output=True, text=True)
    return out.stdout.splitlines()


def make_topics(*names):
    for name in names:
        tool("TopicCommand", "--create", "--if-not-exists", "--topic", name, "--partitions", str(PARTITIONS))


def oracle(topic):
    """The rows that must come out, from the records that went in."""
    sums = defaultdict(int)
    for line in kcat(topic, "%T %s\n"):
        at, text = line.split(" ", 1)
        fields = text.split(",")
        if len(fields) != 3 or not fields[2].isdigit() or fields[0] == "close":
            continue
        minute = int(at) // 60_000 * 60
        sums[fields[0], minute] += int(fields[2])
    return Counter(f'{site},"{time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(minute))}",{n}' for (site, minute), n in sums.items())


class Topic:
    """Rows in a topic, as a read-committed reader sees them."""

    def __init__(self, name, prefix):
        self.name, self.prefix = name, prefix
        make_topics(name)

    def table(self, bootstrap):
        return f"'connector' = 'kafka', 'topic' = '{self.name}', 'properties.bootstrap.servers' = '{bootstrap}', 'format' = 'csv', 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{self.prefix}', 'properties.transaction.timeout.ms' = '900000'"

    def rows(self):
        return Counter(kcat(self.name, "%s\n"))

    def left(self):
        """What a clean stop must not leave: open transactions."""
        listed = tool("TransactionsCommand", "list").splitlines()
        return [l for l in listed if l.startswith(self.prefix) and not re.search(r"\b(CompleteCommit|CompleteAbort|Empty|Dead)\b", l)]


class Files:
    """Rows in files, as a reader of the folder sees them."""

    def __init__(self, folder):
        self.folder = folder

    def table(self, _):
        return f"'connector' = 'filesystem', 'path' = '{self.folder}', 'format' = 'csv'"

    def rows(self):
        rows = Counter()
        for part in self.folder.glob("part-*"):
            text = part.read_text()
            rows.update(text.split("\n")[:-1])
            rows.update([f"{part.name} ends in mid-line"] if text and text[-1] != "\n" else [])
        return rows

    def left(self):
        """What a clean stop must not leave: unfinished files."""
        return [str(p) for p in self.folder.glob(".*")]


class Trial:
    def __init__(self, a, seed):
        self.a, self.rng = a, random.Random(seed)
        self.tag = f"eo-{int(time.time() * 1000)}-{seed}"
        self.source = f"{self.tag}-in"
        make_topics(self.source)
        self.dir = Path(tempfile.mkdtemp(prefix="exactly-once-"))
        self.log = (self.dir / "flott.log").open("w")
        self.kills = self.number = 0
        self.note = ""
        self.too_quiet = False
        self.loader = None
        self.out = self.new_out()

    def new_out(self):
        """An output of its own for the runs from now on."""
        self.number += 1
        out = Files(self.dir / f"out-{self.number}") if self.a.sink == "files" else Topic(f"{self.tag}-out-{self.number}", self.tag)
        bootstrap = f"127.0.0.1:{PORT + 10}" if self.a.swallow else BROKERS
        sql = JOB.read_text().replace("${BOOTSTRAP}", bootstrap).replace("'topic' = 'website-logs'", f"'topic' = '{self.source}'")
        sql = sql.replace("'execution.checkpointing.interval' = '1 s'", "'execution.checkpointing.interval' = '300 ms'")
        # No partition is given up as idle while a broker or the loader is slow: what came later would rightly be dropped as late.
        sql = sql.replace("'table.exec.source.idle-timeout' = '5 s'", "'table.exec.source.idle-timeout' = '10 min'")
        head, tail = sql.split("CREATE TABLE website_traffic_stats", 1)
        columns, rest = tail.split(") WITH (", 1)
        self.sql = self.dir / f"job-{self.number}.sql"
        self.sql.write_text(f"{head}CREATE TABLE website_traffic_stats{columns}) WITH ({out.table(bootstrap)});\n\n" + rest.split(");", 1)[1])
        return out

    def start(self, failpoints="", restore="latest", more=()):
        parallelism = self.rng.randint(1, 3)
        cmd = [self.a.flott, "run", str(self.sql), "-p", str(parallelism), "-D", f"execution.checkpointing.dir=file://{self.dir}/checkpoints", *more]
        cmd += ["--restore", restore] if restore else []
        self.log.write(f"\n==== start from {restore or 'nothing'}, parallelism {parallelism}, fail points {failpoints!r}\n"); self.log.flush()
        return subprocess.Popen(cmd, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env={**os.environ, "FLOTT_FAILPOINTS": failpoints})

    def kill_after(self, p, seconds):
        try:
            p.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            p.kill(); p.wait()
            self.kills += 1
            return True

    def stop(self, p):
        """Stops a run by SIGTERM. Gives what is wrong, or nothing."""
        p.send_signal(signal.SIGTERM)
        try:
            code = p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill(); p.wait()
            return f"SIGTERM did not stop it within 10 s\n{self.tail()}"
        return f"exit code {code} after SIGTERM\n{self.tail()}" if code else ""

    def newest(self):
        """The folder of the newest checkpoint that is complete."""
        return str(max(self.dir.glob("checkpoints/*/chk-*/manifest-g*"), key=lambda m: int(m.parent.name[4:])).parent)

    def text(self):
        self.log.flush()
        return (self.dir / "flott.log").read_text()

    def tail(self):
        return self.text()[-3000:]

    def load(self, seconds=None):
        props = ["-Dacks=all", "-Drate=20", f"-Dpace={self.a.records // (seconds or self.a.seconds)}", f"-Dclose={CLOSE_MS}"]
        args = [BROKERS, self.source, str(PARTITIONS), "traffic", str(self.a.records), str(self.rng.randint(1, 10_000)), "500", "1000"]
        self.loader = subprocess.Popen([*JVM, *props, *LIBS, str(HERE / "gen" / "KafkaLoad.java"), *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def loaded(self):
        """Waits until all records are in. Gives what is wrong, or nothing."""
        return "the loader failed" if self.loader.wait() else ""

    def settle(self, failpoints="", restore="latest", want=None, patience=6):
        """The last run: left alone until the output stands still, then stopped. Gives what is wrong, or nothing."""
        p = self.start(failpoints, restore)
        want = oracle(self.source) if want is None else want
        seen, since = -1, time.time()
        while time.time() - since < patience:
            n = self.out.rows().total()
            if n != seen:
                seen, since = n, time.time()
            elif n >= want.total() and time.time() - since > 2:
                break
            if p.poll() is not None:
                return f"the last run ended by itself with code {p.returncode}\n{self.tail()}"
            time.sleep(0.3)
        return self.stop(p) or self.compare(want)

    def compare(self, want):
        """What is wrong with the output of a job that has stopped."""
        got, wrong = self.out.rows(), []
        if lost := want - got:
            wrong.append(f"{lost.total()} rows lost, e.g. {list(lost)[:3]}")
        if more := got - want:
            wrong.append(f"{more.total()} rows too many, e.g. {list(more)[:3]}")
        if left := self.out.left():
            wrong.append(f"left open: {left[:3]}")
        self.note = f"{want.total()} rows"
        return "; ".join(wrong)

    def done(self, wrong):
        self.log.close()
        if self.loader and self.loader.poll() is None:
            self.loader.terminate()
        if wrong:
            print(f"    kept: {self.dir}")
        else:
            shutil.rmtree(self.dir)


def random_trial(t, _):
    a = t.a
    t.load()
    broker_at = time.time() + t.rng.uniform(3, a.seconds - 1) if a.broker else None
    while t.loader.poll() is None or t.kills < a.kills:
        p = t.start()
        if broker_at and time.time() > broker_at - 2:
            time.sleep(t.rng.uniform(1, 2))
            kafka("down", KAFKA_KILL="1"); kafka("up")
            broker_at = None
        if not t.kill_after(p, t.rng.choice([t.rng.uniform(0.2, 0.8), t.rng.uniform(0.8, 4)])):
            return f"a run ended by itself with code {p.returncode}\n{t.tail()}"
    return t.loaded() or t.settle()


def point_trial(t, point):
    t.load()
    for _ in range(t.a.times):
        p = t.start(f"{point}=kill@{t.rng.randint(0, 3)}")
        if t.kill_after(p, 20):
            return f"fail point {point} was not reached in 20 s\n{t.tail()}"
        if p.returncode == 0:
            return f"the run ended with code 0 before fail point {point}"
        t.kills += 1
    return t.loaded() or t.settle()


def prove_trial(t, setting):
    """The checker must find what this fail point does wrong, across one crash.

    The crash comes only when the step was bent so often that a completed checkpoint was bent which the restore does not repair (a restore commits what its
    own checkpoint lists; positions of three subtasks make one checkpoint). So one that goes unnoticed is the checker's fault, unless the machine was so busy
    that no record was left to come by then: that trial is made again, with more of them.
    """
    name, action = setting.split("=")
    acts = 7 if name == "source-offsets" else 3
    t.load()
    # Where there is no record yet, reading ahead bends nothing: on a busy machine all steps would be over by then.
    first = ["kcat", "-C", "-b", BROKERS, "-t", t.source, "-o", "beginning", "-c", "1", "-q"]
    try:
        subprocess.run(first, stdout=subprocess.DEVNULL, timeout=60, check=True)
    except subprocess.TimeoutExpired:
        return "the loader wrote nothing in 60 s"
    p, deadline = t.start(setting), time.time() + 30
    while t.text().count(f"fail point {name} acts") < acts:
        if p.poll() is not None or time.time() > deadline:
            p.kill()
            return f"the step was not bent {acts} times in 30 s\n{t.tail()}"
        time.sleep(0.05)
    t.kill_after(p, 0.2)
    t.too_quiet = t.loader.poll() is not None
    if wrong := t.loaded():
        return wrong
    # Rows written twice before the crash may all have gone with it; those of the last run are there to see.
    wrong = t.settle(setting if action == "twice" else "")
    t.note = f"noticed: {wrong.splitlines()[0][:200] if wrong else 'nothing'}"
    return "" if re.search("rows (lost|too many)", wrong) else f"the checker did not notice {setting}: {wrong}"


def swallow_trial(t, _):
    proxy = subprocess.Popen([sys.executable, str(HERE / "proxy.py"), str(PORT + 10), str(PORT + 9), "26", "3"], stdout=subprocess.PIPE, text=True)
    try:
        wrong = random_trial(t, None)
    finally:
        proxy.terminate()
    lost = proxy.communicate()[0].count("swallowed")
    t.note += f", {lost} answers swallowed"
    return wrong or ("" if lost else "no answer was swallowed")


def expired_trial(t, point):
    """A transaction that a checkpoint lists and the broker has given up is lost data: no restart may pass over it."""
    t.load()
    p = t.start(f"{point}=kill@3")
    if t.kill_after(p, 20):
        return f"fail point {point} was not reached in 20 s\n{t.tail()}"
    left = [l.split()[0] for l in t.out.left()]
    if not left:
        return f"no transaction is open after {point}"
    for name in left:  # whoever comes next under the same id makes the broker abort what is open, as its own time-out does
        subprocess.run(["kcat", "-P", "-b", BROKERS, "-t", t.out.name, "-X", f"transactional.id={name}"], input=b"", capture_output=True)
    p = t.start()
    try:
        code = p.wait(20)
    except subprocess.TimeoutExpired:
        p.kill(); p.wait()
        return f"it ran on although {left} are lost\n{t.tail()}"
    named = any(name in t.tail() for name in left)
    return "" if code != 0 and named else f"code {code}, transaction {'' if named else 'not '}named\n{t.tail()}"


def again_trial(t, _):
    """Restored twice from one checkpoint after going on from it, and from an old savepoint.

    What was committed stays committed, in Flink as here: a restore from an older state writes again what came after it. So a read-committed reader must see,
    for each restore, what was there before it, and once each row that was not yet out when that state was taken.
    """
    def more_rows(p, seconds=20):
        """Waits until rows have come out that were not there. Gives what is wrong, or nothing."""
        before, deadline = t.out.rows().total(), time.time() + seconds
        while p.poll() is None and time.time() < deadline:
            if t.out.rows().total() > before:
                return ""
            time.sleep(0.1)
        return f"no row more in {seconds} s\n{t.tail()}"

    t.load()
    p = t.start(restore="", more=["--savepoint-on-stop", f"{t.dir}/savepoints"])
    if wrong := more_rows(p) or t.stop(p):
        return f"with a savepoint: {wrong}"
    savepoint, at_savepoint = str(next((t.dir / "savepoints").iterdir())), t.out.rows()

    keep = ["-D", f"execution.checkpointing.num-retained={RETAINED}"]
    p = t.start(restore=savepoint, more=keep)
    if wrong := more_rows(p) or t.stop(p):
        return f"restored from the savepoint: {wrong}"
    checkpoint, at_checkpoint = t.newest(), t.out.rows()
    for _ in range(2):  # it goes on, and is killed with a transaction open
        p = t.start(more=keep)
        if wrong := more_rows(p):
            return f"going on: {wrong}"
        t.kill_after(p, t.rng.uniform(0, 1))
    if wrong := t.loaded():
        return wrong
    whole = oracle(t.source)

    # The first time under default settings, by which older checkpoints go: not the one that a user has named. The second time with a crash in between.
    before = t.out.rows()
    passed_by = t.newest()
    if wrong := t.settle(restore=checkpoint, want=before + (whole - at_checkpoint)):
        return f"restored from {checkpoint}: {wrong}"
    before, newest = t.out.rows(), t.newest()
    p = t.start(restore=checkpoint)
    while t.newest() == newest and p.poll() is None:
        time.sleep(0.02)
    t.kill_after(p, t.rng.uniform(0, 0.5))
    if wrong := t.settle(want=before + (whole - at_checkpoint)):
        return f"restored from {checkpoint} again: {wrong}"
    t.out = t.new_out()
    if wrong := t.settle(restore=savepoint, want=whole - at_savepoint):
        return f"restored from the old savepoint {savepoint}: {wrong}"
    t.note = f"{whole.total()} rows, {at_savepoint.total()} at the savepoint, {at_checkpoint.total()} at {Path(checkpoint).name}, left behind up to {Path(passed_by).name}"
    return ""


def leaders_trial(t, _):
    """Leaders move under a run that nobody kills; it must ride that out without a restart. Then it is killed, too."""
    if NODES < 2:
        return "this needs a second node: KAFKA_NODES=2"
    t.load()
    moved = (t.dir / "moved.log").open("w+")
    topics = [t.source, t.out.name, "__transaction_state", "__consumer_offsets"]

    def mover(every_ms=500):
        return subprocess.Popen([*JVM, *LIBS, str(HERE / "gen" / "MoveLeaders.java"), BOOT, str(every_ms), *topics], stdout=moved, stderr=subprocess.STDOUT)

    p = t.start()
    time.sleep(2)  # the topic of the transaction log is made by the first transaction
    moves = mover()
    try:
        time.sleep(t.a.seconds * 0.4)
        moves.terminate(); moves.wait()
        kafka("down", "node", "2", KAFKA_KILL="1")
        time.sleep(t.rng.uniform(1, 6))
        kafka("up", "node", "2")
        moves = mover()
        time.sleep(3)
        if p.poll() is not None:
            return f"the run ended by itself with code {p.returncode}\n{t.tail()}"
        restarts = t.text().count("the job failed and is started again")
        p.kill(); p.wait()
        t.kills += 1
        while t.loader.poll() is None or t.kills < t.a.kills // 4:
            if not t.kill_after(t.start(), t.rng.uniform(0.5, 4)):
                return f"a run ended by itself\n{t.tail()}"
        # What was killed is aborted first, each transaction in several steps with its coordinator, which must stand still for as long: at two
        # moves a second that took 14 s of the 15 once.
        moves.terminate(); moves.wait()
        moves = mover(3000)
        wrong = t.loaded() or t.settle(patience=15)
    finally:
        moves.terminate(); moves.wait()
    moved.seek(0)
    text = moved.read()
    counts = {topic: text.count(f"moved {topic}-") for topic in topics}
    t.note += f", leaders moved: {counts[t.source]} in, {counts[t.out.name]} out, {counts['__transaction_state']} of the transaction log; {restarts} restarts"
    if not all(counts[topic] for topic in topics[:3]):
        return wrong or f"not every kind of leader moved: {counts}"
    return wrong or (f"moving leaders made the job restart {restarts} times\n{t.text()[:6000]}" if restarts else "")


def kafka(action, *args, **env):
    subprocess.run(["bash", str(HERE / f"kafka-{action}.sh"), *args], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **env})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flott", required=True, type=lambda x: str(Path(x).resolve())); p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--trials", type=int); p.add_argument("--kills", type=int, default=10, help="at least so many a random trial")
    p.add_argument("--records", type=int, default=20_000); p.add_argument("--seconds", type=int, default=15, help="how long the records flow")
    p.add_argument("--points", type=lambda v: v.split(","), default=[]); p.add_argument("--times", type=int, default=2)
    p.add_argument("--swallow", action="store_true"); p.add_argument("--expired", metavar="POINT")
    p.add_argument("--leaders", action="store_true"); p.add_argument("--again", action="store_true")
    p.add_argument("--broker", action="store_true"); p.add_argument("--prove", type=lambda v: v.split(","), default=[])
    p.add_argument("--sink", choices=["topic", "files"], default="topic")
    a = p.parse_args()
    if a.sink == "files" and (a.swallow or a.expired or a.leaders):
        p.error("--swallow, --expired and --leaders are about transactions: leave --sink files out")
    plan = [(f"fail point {x}", point_trial, x) for x in a.points] + [(f"proof {x}", prove_trial, x) for x in a.prove]
    plan += [("answers swallowed", swallow_trial, None)] if a.swallow else []
    plan += [("expired transaction", expired_trial, a.expired)] if a.expired else []
    plan += [("leaders move", leaders_trial, None)] if a.leaders else []
    plan += [("restored again", again_trial, None)] if a.again else []
    trials = a.trials if a.trials is not None else 0 if plan else 2
    plan += [(f"random kills {i + 1}", random_trial, None) for i in range(trials)]
    passed = failed = 0
    for i, (name, how, what) in enumerate(plan):
        seed, t0 = a.seed + i, time.time()
        for longer in (1, 2, 4):
            t = Trial(argparse.Namespace(**vars(a) | {"seconds": a.seconds * longer, "records": a.records * longer}), seed)
            wrong = how(t, what)
            if not (wrong and t.too_quiet):
                break
            t.done("")
        to = ", into files" if a.sink == "files" else ""
        print(f"{name}{to}: seed {seed}, {t.kills} kills, {t.note}, {time.time() - t0:.0f} s: {wrong or 'as it must be'}", flush=True)
        t.done(wrong)
        passed, failed = passed + (not wrong), failed + bool(wrong)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
