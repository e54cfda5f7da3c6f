#!/usr/bin/env python3
"""Run a job for half an hour whose state is several times larger than its memory, with a time to live, and watch what it holds.

  soak.py --flott PATH [--minutes 30] [--backend rocksdb] [--memory 64mb] [--rate 20000] [--keys 20000000] [--ttl-s 120]

Random keys of a generator are summed in groups; what was not touched within the time to live is forgotten, so that the state stops growing soon after the first such span. Checkpoints are
increments, one every 10 s. Resident size is sampled each second. The mean of the last third must be within 5 % of that of the second, the folder on local disk and
that of the checkpoints must not have grown by more than half in between, and in the last third it must have read 95 % of --rate. Exit code 1 if not. --flott wants a release
build with the feature rocksdb.
"""
import argparse, os, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

JOB = """
SET 'pipeline.name' = 'soak';
SET 'table.exec.state.ttl' = '{ttl_s} s';
SET 'execution.checkpointing.interval' = '10 s';
SET 'execution.checkpointing.incremental' = 'true';
SET 'execution.checkpointing.dir' = 'file://{dir}/checkpoints';
SET 'state.backend.type' = '{backend}';
SET 'state.backend.rocksdb.localdir' = '{dir}/local';
SET 'state.backend.rocksdb.memory.fixed-per-slot' = '{memory}';
CREATE TABLE events (k BIGINT, v BIGINT, tag STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}',
  'fields.k.min' = '1', 'fields.k.max' = '{keys}', 'fields.v.min' = '1', 'fields.v.max' = '1000', 'fields.tag.length' = '40');
CREATE TABLE sums (k BIGINT, total BIGINT, events BIGINT, tag STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'blackhole');
INSERT INTO sums SELECT k, SUM(v), COUNT(*), LAST_VALUE(tag) FROM events GROUP BY k;
"""
ALLOWED = 0.05
READ = re.compile(r"^flink_taskmanager_job_task_numRecordsIn\{[^}]*GroupAggregate[^}]*\} (\d+)", re.M)


def resident_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def folder_mib(path):
    total = 0
    # Folders that are gone since they were listed are passed over.
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.stat(os.path.join(folder, file)).st_size
            except FileNotFoundError:
                pass
    return total / 2**20


def records_read(port):
    """What the aggregate has taken in so far."""
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    return sum(map(int, READ.findall(page)))


def check_alive(job, folder):
    if job.poll() is not None:
        sys.exit(f"the job ended with code {job.returncode}\n{(folder / 'err').read_text()[-2000:]}")


def rate(reads):
    """Records a second between the first and the last look."""
    (since, before), (until, behind) = reads[0], reads[-1]
    return (behind - before) / max(1e-9, until - since)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def mean(values):
    return sum(values) / max(1, len(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flott", required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--backend", default="rocksdb")
    parser.add_argument("--memory", default="64mb")
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=20_000_000)
    parser.add_argument("--ttl-s", type=int, default=120)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flott-soak-"))
    (folder / "job.sql").write_text(JOB.format(dir=folder, **vars(args)))
    port = free_port()
    with open(folder / "err", "w") as err:
        command = [args.flott, "run", str(folder / "job.sql"), "-p", "1", "-D", f"metrics.reporter.prom.port={port}"]
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err)
    samples, reads, start = [], [], time.monotonic()
    try:
        time.sleep(3)
        while time.monotonic() - start < args.minutes * 60:
            time.sleep(1)
            check_alive(job, folder)
            one = (resident_mib(job.pid), folder_mib(folder / "local"), folder_mib(folder / "checkpoints"))
            samples.append(one)
            try:
                reads.append((time.monotonic(), records_read(port)))
            except OSError as problem:
                # It may be going just now; if not, the next look may succeed.
                time.sleep(1)
                check_alive(job, folder)
                print(f"no metrics: {problem}", flush=True)
            if len(samples) % 60 == 0:
                print(f"{len(samples) // 60:3} min: {one[0]:.0f} MiB resident, {one[1]:.0f} MiB on local disk, {one[2]:.0f} MiB of checkpoints, "
                      f"{rate(reads[-60:]):.0f} records a second", flush=True)
        third = len(samples) // 3
        second, last = samples[third : 2 * third], samples[2 * third :]
        before, behind = ([mean([s[i] for s in part]) for i in range(3)] for part in (second, last))
        read = rate([look for look in reads if look[0] >= reads[-1][0] - third])
        print("resident {:.0f} -> {:.0f} MiB, local disk {:.0f} -> {:.0f} MiB, checkpoints {:.0f} -> {:.0f} MiB (second third -> last), {:.0f} records a second".format(
            before[0], behind[0], before[1], behind[1], before[2], behind[2], read))
        job.send_signal(signal.SIGTERM)
        code = job.wait(timeout=120)
        problems = []
        if abs(behind[0] - before[0]) > ALLOWED * before[0]:
            problems.append(f"resident size changed by {100 * (behind[0] / before[0] - 1):+.1f} %")
        problems += [f"{what} grew" for i, what in ((1, "local disk"), (2, "the checkpoints' folder")) if behind[i] > 1.5 * before[i] + 1]
        if read < (1 - ALLOWED) * args.rate:
            problems.append(f"it read {read:.0f} of {args.rate} records a second")
        if code != 0:
            problems.append(f"it ended with code {code}\n{(folder / 'err').read_text()[-2000:]}")
        print("; ".join(problems) or "steady")
        return 1 if problems else 0
    finally:
        if job.poll() is None:
            job.kill()
            job.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
