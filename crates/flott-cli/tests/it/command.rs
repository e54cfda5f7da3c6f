//! `flott run`, `explain` and `check`: statements, errors, exit codes, signals, metrics.

use crate::support::{flott, start, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ENDLESS: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT n FROM numbers WHERE n > 0;";

#[test]
fn a_select_prints_a_table() {
    let ended = flott(&[
        "run",
        "-e",
        "SELECT name, n * 2 AS twice FROM (VALUES ('a', 1), ('b', 20)) AS t(name, n)",
    ])
    .expect(0);
    assert!(ended.out.contains("twice"), "{}", ended.out);
    let row = |name: &str, n: &str| {
        ended
            .out
            .lines()
            .any(|l| l.contains(&format!(" {name} |")) && l.contains(&format!(" {n} |")))
    };
    assert!(row("a", "2") && row("b", "40"), "{}", ended.out);
    assert!(ended.err.contains("2 row(s)"), "{}", ended.err);
}

#[test]
fn statements_run_in_order() {
    let sql = "CREATE TABLE t (n INT) WITH ('connector' = 'print');
        SHOW TABLES;
        INSERT INTO t SELECT n FROM (VALUES (1), (2)) AS v(n);
        SELECT COUNT(*) AS c FROM (VALUES (1), (2)) AS v(n);";
    let ended = flott(&["run", "-p", "1", "-e", sql]).expect(0);
    assert!(
        ended.out.contains("| table name |") && ended.out.contains("+I[1]\n") && ended.out.contains("+I[2]\n"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.lines().any(|l| l.starts_with("| +U |") && l.contains(" 2 |")),
        "{}",
        ended.out
    );
}

#[test]
fn wrong_command_lines_are_2_and_failures_are_1() {
    flott(&["run"]).expect(2);
    flott(&["dance"]).expect(2);
    flott(&["demo", "--for", "soon"]).expect(2);
    let missing = flott(&["run", "/no/such/file.sql"]).expect(1);
    assert!(
        missing.err.contains("/no/such/file.sql cannot be read"),
        "{}",
        missing.err
    );
    let define = flott(&["run", "-e", "SELECT 1", "-D", "nothing"]).expect(1);
    assert!(define.err.contains("KEY=VALUE"), "{}", define.err);
    flott(&["--version"]).expect(0);
}

#[test]
fn shells_complete_commands_and_options() {
    for (shell, parts) in [
        ("bash", ["complete -F _flott", "--allow-non-restored-state"]),
        ("zsh", ["#compdef flott", "--allow-non-restored-state"]),
        ("fish", ["complete -c flott", "allow-non-restored-state"]),
    ] {
        let script = flott(&["completions", shell]).expect(0);
        for part in parts.into_iter().chain(["savepoint"]) {
            assert!(script.out.contains(part), "{part} is missing for {shell}");
        }
    }
    flott(&["completions", "cmd"]).expect(2);
}

#[test]
fn an_unset_variable_is_named_with_its_line() {
    let ended = flott(&["run", "examples/website-traffic/job.sql"]).expect(1);
    assert!(
        ended.err.contains("BOOTSTRAP") && ended.err.contains("line"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("job.sql"), "{}", ended.err);
}

#[test]
fn mistakes_name_place_and_nearest() {
    for (sql, says) in [
        ("SELEC 1", "line 1"),
        (
            "CREATE TABLE t (n INT) WITH ('connector' = 'prnt');\nINSERT INTO t VALUES (1)",
            "print",
        ),
        (
            "CREATE TABLE t (n INT) WITH ('connector' = 'print');\nINSERT INTO t SELECT m FROM (VALUES (1)) AS v(n)",
            "line 2",
        ),
        ("SELECT LOWR('A')", "LOWER"),
        (
            "CREATE TABLE numbers (n INT) WITH ('connector' = 'print');\nINSERT INTO number VALUES (1)",
            "numbers",
        ),
    ] {
        let ended = flott(&["run", "-e", sql]).expect(1);
        assert!(ended.err.contains(says), "{sql}: {}", ended.err);
        assert!(!ended.err.contains("panicked"), "{sql}: {}", ended.err);
    }
}

#[test]
fn an_unreachable_broker_is_an_error() {
    let sql = "CREATE TABLE t (line STRING) WITH ('connector' = 'kafka', 'topic' = 'x', 'format' = 'raw',
          'properties.bootstrap.servers' = '127.0.0.1:1', 'properties.default.api.timeout.ms' = '1000',
          'scan.startup.mode' = 'earliest-offset');
        CREATE TABLE p (line STRING) WITH ('connector' = 'print');
        SET 'restart-strategy.type' = 'none';
        INSERT INTO p SELECT * FROM t;";
    let ended = flott(&["run", "-e", sql]).expect(1);
    assert!(ended.err.contains("127.0.0.1:1"), "{}", ended.err);
}

#[test]
fn sigterm_stops_an_endless_job_with_code_0() {
    let job = start(&["run", "-e", &ENDLESS.replace("blackhole", "print")]);
    assert!(wait_for(|| !job.out().is_empty()), "{}", job.err());
    let began = Instant::now();
    job.terminate();
    let ended = job.ended().expect(0);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(ended.err.contains("records in"), "{}", ended.err);
}

#[test]
fn an_endless_select_ends_with_sigterm() {
    let sql = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50');
        SELECT n FROM numbers;
        SHOW CREATE TABLE numbers;
        SELECT 12345 AS after_it;";
    let job = start(&["run", "-e", sql]);
    assert!(wait_for(|| job.out().lines().count() > 10), "{}", job.err());
    job.terminate();
    let ended = job.ended().expect(0);
    assert!(
        !ended.out.contains("12345") && !ended.out.contains("CREATE TABLE"),
        "a stopped script must not go on: {}",
        ended.out
    );
}

#[test]
fn explain_and_check_do_not_run() {
    let ended = flott(&["explain", "-e", ENDLESS]).expect(0);
    assert!(
        ended.out.contains("numbers") && ended.out.contains("Physical"),
        "{}",
        ended.out
    );
    let ended = flott(&[
        "check",
        "examples/website-traffic/job.sql",
        "--var",
        "BOOTSTRAP=127.0.0.1:1",
    ])
    .expect(0);
    assert!(
        ended.out.contains("Website Traffic Stats: valid") && ended.out.contains("1 job(s)"),
        "{}",
        ended.out
    );
}

#[test]
fn metrics_are_served_and_printed() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    // A taken port is passed over for the next of the range.
    let range = format!("metrics.reporter.prom.port={port}-{}", port.saturating_add(20));
    let job = start(&["run", "-e", ENDLESS, "-D", &range, "--metrics"]);
    let mut page = String::new();
    let found = wait_for(|| {
        page = (port + 1..=port + 20).find_map(get).unwrap_or_default();
        page.contains("flink_taskmanager_job_task_operator_numRecordsOut")
    });
    drop(taken);
    assert!(found, "{page}");
    assert!(page.contains("# TYPE flink_jobmanager_job_uptime gauge"), "{page}");
    job.terminate();
    let ended = job.ended().expect(0);
    assert!(
        ended.out.contains("flink_taskmanager_job_task_busyTimeMsPerSecond{"),
        "{}",
        ended.out
    );
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn synchronous_jobs_run_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    // The second job reads all that the first has written, so it must not begin before the first has ended.
    let sql = format!(
        "CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'number-of-rows' = '3000', 'rows-per-second' = '10000',
            'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '3000');
        CREATE TABLE files (n INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');
        CREATE TABLE printed (c BIGINT) WITH ('connector' = 'print');
        INSERT INTO files SELECT n FROM numbers;
        INSERT INTO printed SELECT COUNT(*) FROM files;",
        folder.path().display()
    );
    let ended = flott(&["run", "-p", "1", "-q", "-D", "table.dml-sync=true", "-e", &sql]).expect(0);
    assert!(ended.out.ends_with("+U[3000]\n"), "{}", ended.out);
}
