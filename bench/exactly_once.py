#!/usr/bin/env python3
"""Kill Flott again and again while it runs the website traffic job exactly once from a real Kafka to a real Kafka, and count afterwards.

  exactly_once.py --flott PATH [--seed N] [--trials N]      trials with random kills, each with its own topics
  exactly_once.py --flott PATH --points a,b,c [--times 2]   one trial a fail point: the process kills itself there, so often
  exactly_once.py --flott PATH --broker                     trials in which the broker is killed and started again, too
  exactly_once.py --flott PATH --swallow                    every third answer to EndTxn is lost (the broker runs with KAFKA_PROXY=1)
  exactly_once.py --flott PATH --expired POINT              killed at POINT, before a commit, then the broker gives the transaction up: the job
                                                            must stop and name it
  exactly_once.py --flott PATH --prove a=skip,b=twice       the checker's own test: under each of these the count must be wrong

A trial: records flow into three partitions at a steady pace; Flott (parallelism 1 to 3, another one at each start) reads them with a checkpoint
every 300 ms into three partitions. It is killed after 0.2 to 4 seconds, again and again, each time restored from the newest checkpoint. In the end
a far record closes all windows, the last run is left alone until its output stands still, then stopped by SIGTERM. A read-committed reader must see each row of the
oracle once and nothing else, and no transaction may be left open. The seed of each trial is printed; the same seed gives the same plan of kills.
"""
import argparse, os, random, re, shutil, signal, subprocess, sys, tempfile, time
from collections import Counter, defaultdict
from pathlib import Path

from bench import BOOT, E, HERE

JAVA = ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", f"{E['KAFKA_LIBS']}/*"]
JOB = HERE.parent / "examples" / "website-traffic" / "job.sql"
CLOSE_MS = 600_000
PARTITIONS = 3
PORT = int(E["KAFKA_PORT"])


def kcat(topic, fmt, isolation="read_committed"):
    out = subprocess.run(["kcat", "-C", "-b", BOOT, "-t", topic, "-e", "-q", "-f", fmt, "-X", f"isolation.level={isolation}"], capture_output=True, text=True)
    return out.stdout.splitlines()


def make_topics(*names):
    for name in names:
        subprocess.run([*JAVA, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", BOOT, "--create", "--topic", name, "--partitions", str(PARTITIONS)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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


def open_transactions(prefix):
    out = subprocess.run([*JAVA, "org.apache.kafka.tools.TransactionsCommand", "--bootstrap-server", BOOT, "list"], capture_output=True, text=True, check=True).stdout
    return [l for l in out.splitlines() if l.startswith(prefix) and not re.search(r"\b(CompleteCommit|CompleteAbort|Empty|Dead)\b", l)]


class Trial:
    def __init__(self, a, seed):
        self.a, self.rng = a, random.Random(seed)
        tag = f"eo-{int(time.time() * 1000)}-{seed}"
        self.source, self.out, self.prefix = f"{tag}-in", f"{tag}-out", tag
        make_topics(self.source, self.out)
        self.dir = Path(tempfile.mkdtemp(prefix="exactly-once-"))
        sql = JOB.read_text().replace("${BOOTSTRAP}", f"127.0.0.1:{PORT + 10}" if a.swallow else BOOT)
        sql = sql.replace("'topic' = 'website-logs'", f"'topic' = '{self.source}'").replace("'topic' = 'website-traffic-stats'", f"'topic' = '{self.out}'")
        sql = sql.replace("'execution.checkpointing.interval' = '1 s'", "'execution.checkpointing.interval' = '300 ms'")
        sql = sql.replace("'sink.transactional-id-prefix' = 'website-traffic'", f"'sink.transactional-id-prefix' = '{tag}'")
        self.sql = self.dir / "job.sql"
        self.sql.write_text(sql)
        self.log = (self.dir / "flott.log").open("w")
        self.kills = self.rows = 0

    def start(self, failpoints=""):
        parallelism = self.rng.randint(1, 3)
        cmd = [self.a.flott, "run", str(self.sql), "-p", str(parallelism), "--restore", "latest", "-D", f"execution.checkpointing.dir=file://{self.dir}/checkpoints"]
        self.log.write(f"\n==== start, parallelism {parallelism}, fail points {failpoints!r}\n"); self.log.flush()
        return subprocess.Popen(cmd, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env={**os.environ, "FLOTT_FAILPOINTS": failpoints})

    def kill_after(self, p, seconds):
        try:
            p.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            p.kill(); p.wait()
            self.kills += 1
            return True

    def tail(self):
        self.log.flush()
        return (self.dir / "flott.log").read_text()[-3000:]

    def load(self):
        records = self.a.records
        props = ["-Drate=20", f"-Dpace={records // self.a.seconds}", f"-Dclose={CLOSE_MS}"]
        return subprocess.Popen([*JAVA[:3], *props, *JAVA[3:], str(HERE / "gen" / "KafkaLoad.java"), BOOT, self.source, str(PARTITIONS), "traffic", str(records), str(self.rng.randint(1, 10_000)), "500", "1000"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def settle(self, failpoints=""):
        """The last run: left alone until the output stands still, then stopped. Gives what is wrong, or nothing."""
        p = self.start(failpoints)
        want = oracle(self.source)
        seen, since = -1, time.time()
        while time.time() - since < 6:
            n = len(kcat(self.out, "%p\n"))
            if n != seen:
                seen, since = n, time.time()
            elif n >= sum(want.values()) and time.time() - since > 2:
                break
            if p.poll() is not None:
                return f"the last run ended by itself with code {p.returncode}\n{self.tail()}"
            time.sleep(0.3)
        p.send_signal(signal.SIGTERM)
        try:
            code = p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill(); p.wait()
            return f"SIGTERM did not stop it within 10 s\n{self.tail()}"
        if code != 0:
            return f"exit code {code} after SIGTERM\n{self.tail()}"
        got = Counter(kcat(self.out, "%s\n"))
        wrong = []
        if lost := want - got:
            wrong.append(f"{sum(lost.values())} rows lost, e.g. {list(lost)[:3]}")
        if more := got - want:
            wrong.append(f"{sum(more.values())} rows too many, e.g. {list(more)[:3]}")
        if left := open_transactions(self.prefix):
            wrong.append(f"transactions left open: {left[:3]}")
        self.rows = sum(want.values())
        return "; ".join(wrong)

    def done(self, wrong):
        self.log.close()
        if wrong:
            print(f"    kept: {self.dir}")
        else:
            shutil.rmtree(self.dir)


def expired_trial(a, point, seed):
    """A transaction that a checkpoint lists and the broker has given up is lost data: no restart may pass over it."""
    t = Trial(a, seed)
    loader = t.load()
    p = t.start(f"{point}=kill@3")
    if t.kill_after(p, 20):
        return t, f"fail point {point} was not reached in 20 s\n{t.tail()}"
    left = [l.split()[0] for l in open_transactions(t.prefix)]
    if not left:
        return t, f"no transaction is open after {point}"
    for name in left:  # whoever comes next under the same id makes the broker abort what is open, as its own time-out does
        subprocess.run(["kcat", "-P", "-b", BOOT, "-t", t.out, "-X", f"transactional.id={name}"], input=b"", capture_output=True)
    p = t.start()
    try:
        code = p.wait(20)
    except subprocess.TimeoutExpired:
        p.kill(); p.wait()
        return t, f"it ran on although {left} are lost\n{t.tail()}"
    finally:
        loader.terminate()
    named = any(name in t.tail() for name in left)
    return t, "" if code != 0 and named else f"code {code}, transaction {'' if named else 'not '}named\n{t.tail()}"


def kafka(action, **env):
    subprocess.run(["bash", str(HERE / f"kafka-{action}.sh")], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **env})


def swallow_trial(a, _, seed):
    proxy = subprocess.Popen([sys.executable, str(HERE / "proxy.py"), str(PORT + 10), str(PORT + 9), "26", "3"], stdout=subprocess.PIPE, text=True)
    try:
        t, wrong = random_trial(a, seed)
    finally:
        proxy.terminate()
    lost = proxy.communicate()[0].count("swallowed")
    return t, wrong or ("" if lost else "no answer was swallowed")


def random_trial(a, seed):
    t = Trial(a, seed)
    loader = t.load()
    broker_at = time.time() + t.rng.uniform(3, a.seconds - 1) if a.broker else None
    while loader.poll() is None or t.kills < a.kills:
        p = t.start()
        if broker_at and time.time() > broker_at - 2:
            time.sleep(t.rng.uniform(1, 2))
            kafka("down", KAFKA_KILL="1"); kafka("up")
            broker_at = None
        if not t.kill_after(p, t.rng.choice([t.rng.uniform(0.2, 0.8), t.rng.uniform(0.8, 4)])):
            return t, f"a run ended by itself with code {p.returncode}\n{t.tail()}"
    if loader.returncode:
        return t, "the loader failed"
    return t, t.settle()


def point_trial(a, point, seed):
    t = Trial(a, seed)
    loader = t.load()
    for i in range(a.times):
        p = t.start(f"{point}=kill@{t.rng.randint(0, 6)}")
        if t.kill_after(p, 20):
            return t, f"fail point {point} was not reached in 20 s\n{t.tail()}"
        if p.returncode == 0:
            return t, f"the run ended with code 0 before fail point {point}"
        t.kills += 1
    loader.wait()
    return t, t.settle()


def prove_trial(a, setting, seed):
    """The checker must find what this fail point does wrong, across one crash."""
    t = Trial(a, seed)
    loader = t.load()
    t.kill_after(t.start(setting), a.seconds / 2)
    loader.wait()
    wrong = t.settle(setting)
    return t, "" if wrong else f"the checker did not notice {setting}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flott", required=True, type=lambda x: str(Path(x).resolve())); p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--trials", type=int, default=2); p.add_argument("--kills", type=int, default=10, help="at least so many a random trial")
    p.add_argument("--records", type=int, default=20_000); p.add_argument("--seconds", type=int, default=15, help="how long the records flow")
    p.add_argument("--points", type=lambda v: v.split(",")); p.add_argument("--times", type=int, default=2)
    p.add_argument("--swallow", action="store_true"); p.add_argument("--expired", metavar="POINT")
    p.add_argument("--broker", action="store_true"); p.add_argument("--prove", type=lambda v: v.split(","))
    a = p.parse_args()
    plan = [(f"fail point {x}", point_trial, x) for x in a.points or []] + [(f"proof {x}", prove_trial, x) for x in a.prove or []]
    plan += [("answers swallowed", swallow_trial, None)] if a.swallow else []
    plan += [("expired transaction", expired_trial, a.expired)] if a.expired else []
    plan = plan or [(f"random kills {i + 1}", None, None) for i in range(a.trials)]
    passed = failed = 0
    for i, (name, how, what) in enumerate(plan):
        seed, t0 = a.seed + i, time.time()
        t, wrong = how(a, what, seed) if how else random_trial(a, seed)
        print(f"{name}: seed {seed}, {t.kills} kills, {t.rows} rows, {time.time() - t0:.0f} s: {wrong or 'as it must be'}", flush=True)
        t.done(wrong)
        passed, failed = passed + (not wrong), failed + bool(wrong)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
