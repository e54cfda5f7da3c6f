#!/usr/bin/env python3
"""Run SQL scripts on real Apache Flink and on Flott over the same input and compare what they wrote.

  parity.py SCRIPT... [--flott PATH] [--var NAME=VALUE] [--topic NAME=FILE] [-D KEY=VALUE] [-p N]

It starts a Flink of its own (and a Kafka broker, where a script needs one) at free ports below a temporary folder, and stops them;
`--running` uses the Flink that the FLINK_* variables of env.sh name instead. The exit code is 0 where all scripts agree, 1 where one differs, 2 where
something could not be asked.

A script is anything that Flink's SQL takes. What is compared:
  SELECT, WITH, VALUES      the rows as the print connector writes them
  INSERT INTO a table of
    print                   the same
    filesystem              the lines of all files; each engine writes a folder of its own
    kafka, upsert-kafka     key and value of the records; each engine writes a topic of its own, and sources are bounded at the latest offset
    blackhole               nothing
Changelogs are compared change by change at parallelism 1. Where their order is not the same on every run only the final tables count: with
`--final`, at another parallelism, or where a comment line of the script says `-- deterministic: no`.
Where one engine refuses a script or its job fails, the other must too; both messages are shown.

`${DATA}` is the folder `data` beside the script, `${BOOTSTRAP}` the broker; further variables come from --var. --topic fills a topic with the
lines of a file before. -D sets an option for both. What Flink does not know ('bad-rows') is left out for it, and said.
Scripts of tests/peers that differ on purpose are listed in tests/peers/DIFFERENCES.md: for these a difference is no failure, but its absence is.
"""
import argparse, os, re, shutil, socket, subprocess, sys, tempfile, time
from collections import Counter
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
PEERS = ROOT / "tests" / "peers"
SHOWN = 20
OURS_ONLY = re.compile(r",\s*'bad-rows(?:\.[\w.-]+)?'\s*=\s*'[^']*'")
OPTION = lambda key: re.compile(rf"'{key}'\s*=\s*'((?:[^']|'')*)'")
CREATE = re.compile(r"CREATE\s+(?:TEMPORARY\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w.`]+)", re.I)
INSERT = re.compile(r"\bINSERT\s+(?:INTO|OVERWRITE)\s+([\w.`]+)", re.I)
QUERY = re.compile(r"\s*(?:SELECT|WITH|VALUES)\b|\s*\(\s*SELECT\b", re.I)


def free_ports(count):
    """The first of `count` free ports in a row."""
    for base in range(25000, 60000, count):
        sockets = []
        try:
            for port in range(base, base + count):
                s = socket.socket()
                sockets.append(s)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
    raise SystemExit("parity: no free ports")


class Peers:
    """Flink, and Kafka where it is needed; what this command started ends with it."""

    def __init__(self, folder, with_kafka, running, slots):
        self.started = []
        if not running:
            base = free_ports(16)
            own = {"FLINK_RUN": folder / "flink", "FLINK_REST_PORT": base, "FLINK_RPC_PORT": base + 1, "FLINK_GATEWAY_PORT": base + 2,
                   "KAFKA_PORT": base + 4, "KAFKA_DATA": folder / "kafka", "FLINK_TM_MEM": "1600m", "FLINK_TM_SLOTS": max(2, slots)}
            os.environ.update({k: str(v) for k, v in own.items()})
        os.environ["FLINK_PARALLELISM"] = str(slots)
        try:
            self.script("fetch-peers.sh")
            if with_kafka and not running:
                self.started.append("kafka-down.sh")
                self.script("kafka-up.sh")
            if not running:
                self.started.append("flink-down.sh")
                self.script("flink-up.sh")
                self.script("flink-gateway.sh")
        except BaseException:
            self.stop()
            raise

    def script(self, name):
        # what the servers inherit must not be a pipe that somebody waits for
        with tempfile.TemporaryFile("w+") as log:
            if subprocess.run([BENCH / name], stdout=log, stderr=log, stdin=subprocess.DEVNULL).returncode:
                log.seek(0)
                raise SystemExit(f"parity: {name} failed:\n{log.read()[-3000:]}")

    def stop(self):
        for name in reversed(self.started):
            subprocess.run([BENCH / name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def plain(name):
    return name.replace("`", "")


class Script:
    """A script with its variables in place, its queries made tables that print, its sinks known."""

    def __init__(self, path, variables):
        from record_peers import split_script

        self.path, text = path, path.read_text()
        self.is_deterministic = not re.search(r"^-- deterministic: no", text, re.M)

        def value(m):
            if m[1] not in variables:
                raise SystemExit(f"parity: {path}: the variable ${{{m[1]}}} has no value: --var {m[1]}=VALUE")
            return str(variables[m[1]])

        self.statements = split_script(re.sub(r"\$\{(\w+)\}", value, text))
        self.sinks = {}  # name: connector
        made = {}
        for i, st in enumerate(self.statements):
            if QUERY.match(st):
                name = f"query_{len(self.sinks) + 1}"
                self.statements[i] = f"CREATE TABLE {name} WITH ('connector' = 'print') AS {st}"
                self.sinks[name] = "print"
            elif m := CREATE.match(st):
                connector = OPTION("connector").search(st)
                made[plain(m[1])] = connector[1] if connector else ""
                if re.search(r"\)\s*AS\s+(?:SELECT|WITH)\b", st, re.I):
                    self.sinks[plain(m[1])] = made[plain(m[1])]
            for m in INSERT.finditer(st) if not QUERY.match(st) else ():
                self.sinks[plain(m[1])] = made.get(plain(m[1]), "")
        self.needs_kafka = any("kafka" in c for c in made.values())

    def for_engine(self, engine, folder):
        """The statements for an engine, and where it writes each sink: {name: (connector, place)}."""
        moved, places = {}, {}
        for st in self.statements:
            m = CREATE.match(st)
            name = m and plain(m[1])
            connector = self.sinks.get(name)
            if connector == "filesystem" and (path := OPTION("path").search(st)):
                places[name] = folder / engine / name
                moved[path[0]] = f"'path' = '{places[name]}'"
            elif connector in ("kafka", "upsert-kafka") and (topic := OPTION("topic").search(st)):
                places[name] = f"{engine}-{self.path.stem}-{topic[1]}"
                moved[topic[0]] = f"'topic' = '{places[name]}'"
        out = []
        for st in self.statements:
            m = CREATE.match(st)
            name = m and plain(m[1])
            if m:
                for was, now in moved.items():
                    st = st.replace(was, now)
                if self.sinks.get(name) == "print":
                    st = re.sub(r",?\s*'print-identifier'\s*=\s*'[^']*'", "", st)
                    st = OPTION("connector").sub(lambda c: f"{c[0]}, 'print-identifier' = '{name}'", st, count=1)
                if re.search(r"'connector'\s*=\s*'(?:upsert-)?kafka'", st) and "'scan.bounded.mode'" not in st:
                    st = OPTION("connector").sub(lambda c: f"{c[0]}, 'scan.bounded.mode' = 'latest-offset'", st, count=1)
                if engine == "flink":
                    st = OURS_ONLY.sub("", st)
            out.append(st)
        return out, places


class Answer:
    """What an engine made of a script: an error or the lines of each sink."""

    def __init__(self, error=None):
        self.error, self.sinks = error, {}

    def read(self, script, places, printed):
        current = None
        for line in printed.splitlines():
            m = re.match(r"([\w.]+)(?::\d+)?> (.*)", line)
            if m and script.sinks.get(m[1]) == "print":
                current = self.sinks.setdefault(m[1], [])
                current.append(m[2])
            elif current:
                current[-1] += "\n" + line  # text with a line break in it
        for name, place in places.items():
            if script.sinks[name] == "filesystem":
                files = sorted(f for f in place.rglob("*") if f.is_file() and not re.search(r"(^|/)[._](?!SUCCESS)", str(f.relative_to(place))))
                at = lambda f: "" if f.parent == place else f"{f.parent.relative_to(place)}: "
                text = lambda f: f.read_text(errors="backslashreplace").splitlines()
                self.sinks[name] = sorted(at(f) + l for f in files for l in (["_SUCCESS"] if f.name == "_SUCCESS" else text(f)))
            else:
                self.sinks[name] = read_topic(place)
        for name, connector in script.sinks.items():
            if connector != "blackhole":
                self.sinks.setdefault(name, [])


def read_topic(topic):
    from bench import BOOT

    args = ["kcat", "-C", "-b", BOOT, "-t", topic, "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%K\t%k\t%S\t%s\n"]
    out = subprocess.run(args, capture_output=True, text=True).stdout.splitlines()
    records = []
    for l in out:
        key_length, key, length, value = l.split("\t", 3)
        records.append(f"{'NULL' if key_length == '-1' else key}: {'NULL' if length == '-1' else value}")
    return records


def load(topic, file):
    """Make a topic of one partition and write the lines of a file to it."""
    from bench import BOOT, E

    java = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{E['KAFKA_LIBS']}/*", str(BENCH / "gen" / "KafkaLoad.java"), BOOT, topic, "1", str(file)]
    subprocess.run(java, check=True, stdout=subprocess.DEVNULL)


def make_topics(script, places):
    for name, place in places.items():
        if "kafka" in script.sinks[name]:
            load(place, "/dev/null")


def ask_flink(script, folder, options):
    import record_peers
    from bench import REST, call

    statements, places = script.for_engine("flink", folder)
    make_topics(script, places)
    start = record_peers.OUT.stat().st_size
    record_peers.PROPS.update({"execution.checkpointing.checkpoints-after-tasks-finish.enabled": "true", **options})
    session, answer = record_peers.Session(), Answer()
    try:
        for st in statements:
            r = session.run(st)
            jid = r.get("jobID")
            if not jid:
                continue
            begun = time.time()
            while (state := call(f"{REST}/jobs/{jid}")["state"]) not in ("FINISHED", "FAILED", "CANCELED"):
                if time.time() - begun > 120:
                    call(f"{REST}/jobs/{jid}?mode=cancel", method="PATCH")
                    raise record_peers.Refused("the job does not end: bound its sources ('scan.bounded.mode', 'number-of-rows')")
                time.sleep(0.05)
            if state != "FINISHED":
                entries = call(f"{REST}/jobs/{jid}/exceptions").get("exceptionHistory", {}).get("entries", [])
                raise record_peers.Refused(record_peers.cause(entries[0]["stacktrace"]) if entries else state)
    except record_peers.Refused as e:
        answer.error = str(e)
    finally:
        session.close()
    time.sleep(0.1)
    with record_peers.OUT.open("rb") as f:
        f.seek(start)
        answer.read(script, places, f.read().decode(errors="backslashreplace"))
    return answer


def ask_flott(script, folder, options, flott, parallelism):
    statements, places = script.for_engine("flott", folder)
    make_topics(script, places)
    settings = {"table.local-time-zone": "UTC", "table.dml-sync": "true", "restart-strategy.type": "none",
                "execution.checkpointing.dir": f"file://{folder}/checkpoints", **options}
    args = [flott, "run", "-", "-q", "-p", str(parallelism)] + [a for k, v in settings.items() for a in ("-D", f"{k}={v}")]
    try:
        done = subprocess.run(args, input=";\n".join(statements) + ";\n", capture_output=True, text=True, timeout=120, errors="backslashreplace")
        said = done.stderr.strip()
        answer = Answer((said[max(said.rfind("error: "), 0):] or f"exit code {done.returncode}") if done.returncode else None)
        out = done.stdout
    except subprocess.TimeoutExpired as e:
        answer, out = Answer("the job does not end: bound its sources"), (e.stdout or b"").decode(errors="backslashreplace")
    answer.read(script, places, out)
    return answer


def final_table(connector, lines):
    """The rows that are left, as a bag."""
    if connector == "upsert-kafka":
        last = {}
        for l in lines:
            key, value = l.split(": ", 1)
            last[key] = value
        return Counter(f"{k}: {v}" for k, v in last.items() if v != "NULL")
    if connector != "print":
        return Counter(lines)
    bag = Counter()
    for l in lines:
        bag[l[2:]] += 1 if l[:2] in ("+I", "+U") else -1
    return +bag


def show(title, bag, out):
    rows = sorted(bag.elements())
    out += [f"    {title} {r}" for r in rows[:SHOWN]] + ([f"    {title} … and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else [])


def compare(script, flink, flott, in_order):
    """The lines that say how the answers differ; none where they agree."""
    if flink.error or flott.error:
        if flink.error and flott.error:
            return []
        who, other, error = ("Flink", "Flott", flink.error) if flink.error else ("Flott", "Flink", flott.error)
        return [f"  {who} fails or refuses it, {other} does not: {error}"]
    out = []
    for name, connector in script.sinks.items():
        if connector == "blackhole":
            continue
        a, b = flink.sinks[name], flott.sinks[name]
        x, y = final_table(connector, a), final_table(connector, b)
        if x != y:
            out.append(f"  {name}: final tables differ ({sum(x.values())} rows on Flink, {sum(y.values())} on Flott)")
            show("only Flink:", x - y, out)
            show("only Flott:", y - x, out)
        elif in_order and connector == "print" and a != b:
            at = next((i for i, (p, q) in enumerate(zip(a, b)) if p != q), min(len(a), len(b)))
            out.append(f"  {name}: the final tables are the same, the changelogs differ from change {at + 1} on ({len(a)} changes on Flink, {len(b)} on Flott)")
            for title, lines in (("Flink:", a), ("Flott:", b)):
                out += [f"    {title} {l}" for l in lines[at:at + 5]] or [f"    {title} no more"]
    return out


def intended():
    """Names of the scripts of tests/peers that differ on purpose, and why."""
    text = (PEERS / "DIFFERENCES.md").read_text()
    return dict(re.findall(r"^\| `(\w+)` \| [^|]* \| (.*?) \|$", text, re.M))


def pairs(texts, what):
    for t in texts:
        if "=" not in t:
            raise SystemExit(f"parity: {what} {t}: should be NAME=VALUE")
    return dict(t.split("=", 1) for t in texts)


def find_flott(given):
    tried = [Path(given)] if given else [ROOT / "target" / p / "flott" for p in ("release", "debug")]
    found = next((str(p.resolve()) for p in tried if p.is_file()), None)
    if not found:
        raise SystemExit(f"parity: no flott at {', '.join(map(str, tried))}: build it (cargo build) or name it with --flott")
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("scripts", nargs="+", type=Path, metavar="SCRIPT"); p.add_argument("--flott", help="the binary (default: target/release/flott, else target/debug/flott)")
    p.add_argument("--var", action="append", default=[], metavar="NAME=VALUE"); p.add_argument("--topic", action="append", default=[], metavar="NAME=FILE")
    p.add_argument("-D", dest="options", action="append", default=[], metavar="KEY=VALUE"); p.add_argument("-p", dest="parallelism", type=int, default=1, metavar="N")
    p.add_argument("--final", action="store_true", help="compare final tables only"); p.add_argument("--running", action="store_true", help="use the Flink and Kafka of env.sh's variables")
    a = p.parse_args()
    flott, folder = find_flott(a.flott), Path(tempfile.mkdtemp(prefix="flott-parity-"))
    for s in a.scripts:
        if not s.is_file():
            raise SystemExit(f"parity: {s}: no such script")
    text = "".join(s.read_text() for s in a.scripts)
    peers = Peers(folder, bool(a.topic) or "kafka'" in text, a.running, a.parallelism)
    try:
        sys.path.insert(0, str(BENCH))
        from bench import BOOT
        options = {**pairs(a.options, "-D"), "parallelism.default": str(a.parallelism)}
        for topic, file in pairs(a.topic, "--topic").items():
            load(topic, file)
        differing = 0
        for path in a.scripts:
            variables = {"DATA": path.resolve().parent / "data", "BOOTSTRAP": BOOT, **pairs(a.var, "--var")}
            script = Script(path.resolve(), variables)
            at = folder / path.stem
            at.mkdir(exist_ok=True)
            flink = ask_flink(script, at, options)
            ours = ask_flott(script, at, options, flott, a.parallelism)
            in_order = script.is_deterministic and a.parallelism == 1 and not a.final
            difference = compare(script, flink, ours, in_order)
            why = intended().get(path.stem) if path.resolve().parent == PEERS else None
            if OURS_ONLY.search(path.read_text()):
                print(f"{path}: 'bad-rows' is left out for Flink")
            if why:
                differing += not difference
                print(f"{path}: " + (f"differs on purpose: {why}" if difference else "is listed in DIFFERENCES.md, but does not differ"), flush=True)
            else:
                differing += bool(difference)
                counts = ", ".join(f"{n} {len(l)}" for n, l in flink.sinks.items())
                agreed = f"both fail\n  Flink: {flink.error}\n  Flott: {ours.error}" if flink.error else f"same ({'changes' if in_order else 'final tables'}: {counts})"
                print(f"{path}: " + ("differs" if difference else agreed), flush=True)
            print("\n".join(difference) + "\n" if difference else "", end="", flush=True)
        print(f"{len(a.scripts)} scripts, {differing} differ" + (" without being meant to" if differing else ""))
        return 1 if differing else 0
    finally:
        peers.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as e:
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
            sys.exit(2)
        raise
