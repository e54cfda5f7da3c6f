//! What people do wrong at first: each mistake is told, by an error or a warning, and none loses anything without a word.

use crate::support::{Ended, flott, start, start_typing, wait_for};
use crate::trial::newest_checkpoint;
use std::path::Path;

/// A job that ends, with keyed state; `more` goes before it.
fn counting(more: &str, aggregate: &str) -> String {
    format!(
        "{more} CREATE TABLE g (id BIGINT, k INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200',
            'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '1000000', 'fields.k.min' = '0', 'fields.k.max' = '3');
        CREATE TABLE f (k INT, c BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO f SELECT k, {aggregate} FROM g GROUP BY k;"
    )
}

fn checkpoints(folder: &Path, name: &str) -> String {
    format!(
        "SET 'pipeline.name' = '{name}'; SET 'execution.checkpointing.interval' = '100 ms';
        SET 'execution.checkpointing.dir' = '{}';",
        folder.join("ck").display()
    )
}

/// Runs a script, whose checkpoints are in the folder, until it has reached one or failed, and stops it.
fn run_briefly(folder: &Path, sql: &str, more: &[&str]) -> Ended {
    let newest = || newest_checkpoint(&folder.join("ck"));
    let before = newest();
    let mut job = start(&[&["run", "-e", sql], more].concat());
    // A job that is told to stop before it runs has nothing to save.
    wait_for(|| newest() != before || !job.is_running());
    job.terminate();
    job.ended()
}

#[test]
fn a_restore_that_finds_nothing_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = flott(&["run", "-e", &counting("", "COUNT(*)"), "--restore", "latest"]).expect(1);
    assert!(
        nowhere.err.contains("--restore latest: there is no folder")
            && nowhere.err.contains("execution.checkpointing.dir"),
        "{}",
        nowhere.err
    );
    let sql = counting(&checkpoints(folder.path(), "other"), "COUNT(*)");
    let ended = run_briefly(folder.path(), &sql, &["--restore", "latest"]).expect(0);
    assert!(
        ended.err.contains("no checkpoint of 'other' below") && ended.err.contains("starting with empty state"),
        "{}",
        ended.err
    );
    let again = run_briefly(folder.path(), &sql, &["--restore", "latest"]).expect(0);
    assert!(
        again.err.contains("starts from") && !again.err.contains("empty state"),
        "{}",
        again.err
    );
    // A word that is nearly right, and the folder above.
    let misspelt = flott(&["run", "-e", &sql, "--restore", "lastest"]).expect(1);
    assert!(misspelt.err.contains("did you mean 'latest'?"), "{}", misspelt.err);
    let above = folder.path().join("ck").display().to_string();
    let above = flott(&["run", "-e", &sql, "--restore", &above]).expect(1);
    assert!(
        above.err.contains("the newest checkpoint or savepoint below it is"),
        "{}",
        above.err
    );
}

#[test]
fn columns_of_state_are_not_dropped_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let before = checkpoints(folder.path(), "cnt");
    let saved = folder.path().join("sp").display().to_string();
    let counted = counting(&before, "COUNT(*)");
    let ended = run_briefly(folder.path(), &counted, &["--savepoint-on-stop", &saved]).expect(0);
    assert!(
        ended.err.contains("STOPPED after") && !ended.err.contains("FINISHED"),
        "{}",
        ended.err
    );
    let path = ended.err.lines().find_map(|l| l.strip_prefix("savepoint: ")).unwrap();
    let shown = flott(&["state", "show", path]).expect(0);
    assert!(shown.out.contains(" UTC ("), "the trigger has a date: {}", shown.out);

    let changed = counting(&before, "MAX(id)");
    let checked = flott(&["state", "check", path, "-e", &changed]).expect(1);
    assert!(
        checked.err.contains("can start") && checked.err.contains("loses some of it"),
        "{}",
        checked.err
    );
    let allowed = flott(&["state", "check", path, "-e", &changed, "--allow-dropped-columns"]).expect(0);
    assert!(allowed.out.contains("but loses some of it"), "{}", allowed.out);
    flott(&["state", "check", path, "-e", &counting(&before, "COUNT(*)")]).expect(0);

    let refused = flott(&["run", "-e", &changed, "--restore", path]).expect(1);
    assert!(refused.err.contains("--allow-dropped-columns"), "{}", refused.err);
    let refused = flott(&["run", "-e", &changed, "--restore", "latest"]).expect(1);
    assert!(
        refused.err.contains("--allow-dropped-columns") && refused.err.contains("chk-"),
        "{}",
        refused.err
    );
    let allowed = run_briefly(folder.path(), &changed, &["--restore", path, "--allow-dropped-columns"]).expect(0);
    assert!(allowed.err.contains("starts from"), "{}", allowed.err);
}

#[test]
fn misspelt_options_are_told_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, "parallelism:\n  defalt: 2\n").unwrap();
    let config = config.display().to_string();
    let args = [
        "-e",
        "SET 'execution.checkpointing.intervall' = '1 s'; SELECT 1 AS a",
        "-D",
        "table.exec.state.ttll=1 d",
        "--config",
        &config,
    ];
    let names = [
        "did you mean 'execution.checkpointing.interval'?",
        "did you mean 'table.exec.state.ttl'?",
        "did you mean 'parallelism.default'?",
    ];
    let checked = flott(&[&["check"], &args[..]].concat()).expect(0);
    let run = flott(&[&["run"], &args[..]].concat()).expect(0);
    for name in names {
        assert!(checked.out.contains(name), "{name}: {}", checked.out);
        assert!(run.err.contains(name), "{name}: {}", run.err);
    }
    assert!(checked.out.contains("1 job(s), 3 warning(s)"), "{}", checked.out);
}

#[test]
fn a_check_refuses_what_a_run_refuses() {
    for (option, says) in [
        ("execution.checkpointing.mode=exactly_onze", "EXACTLY_ONCE"),
        ("restart-strategy.type=sometimes", "fixed-delay"),
        ("execution.runtime-mode=batch", "streams only"),
        ("metrics.reporter.prom.port=nine", "9249-9260"),
        ("sql-client.execution.result-mode=tabel", "tableau"),
    ] {
        for command in ["check", "run"] {
            if command == "check" && option.starts_with("sql-client") {
                continue;
            }
            let ended = flott(&[command, "-e", "SELECT 1 AS a", "-D", option]).expect(1);
            assert!(ended.err.contains(says), "{command} {option}: {}", ended.err);
        }
    }
    let set = flott(&["check", "-e", "SET 'sql-client.execution.result-mode' = 'tabel'"]).expect(1);
    assert!(set.err.contains("tableau"), "{}", set.err);
}

#[test]
fn checkpoints_in_memory_are_warned_of() {
    let sql = "SET 'execution.checkpointing.interval' = '1 s';
        CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen');
        CREATE TABLE f (n BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO f SELECT n FROM g;";
    let checked = flott(&["check", "-e", sql]).expect(0);
    assert!(checked.out.contains("none outlives this process"), "{}", checked.out);
}

#[cfg(feature = "rocksdb")]
#[test]
fn state_that_no_backend_leaves_on_disk_is_warned_of() {
    let check = |query: &str| {
        let sql = format!(
            "SET 'state.backend.type' = 'rocksdb';
             CREATE TABLE g (n BIGINT, t TIMESTAMP(3), WATERMARK FOR t AS t) WITH ('connector' = 'datagen');
             CREATE TABLE f (n BIGINT, c BIGINT) WITH ('connector' = 'blackhole');
             INSERT INTO f {query};"
        );
        flott(&["check", "-e", &sql]).expect(0).out
    };
    let windows = |count: &str, function: &str| {
        check(&format!(
            "SELECT n, {count} FROM TABLE({function}, INTERVAL '1' MINUTE)) GROUP BY n, window_start, window_end"
        ))
    };
    let (tumble, session) = (
        "TUMBLE(TABLE g, DESCRIPTOR(t)",
        "SESSION(TABLE g PARTITION BY n, DESCRIPTOR(t)",
    );
    let without_key = check(
        "SELECT COUNT(n), COUNT(*) FROM TABLE(SESSION(TABLE g, DESCRIPTOR(t), INTERVAL '1' MINUTE)) \
         GROUP BY window_start, window_end",
    );
    assert!(
        without_key.contains("keeps the sessions that are open in memory"),
        "{without_key}"
    );
    let over = |frame: &str| {
        check(&format!(
            "SELECT n, COUNT(*) OVER (PARTITION BY n ORDER BY t {frame}) FROM g"
        ))
    };
    let by_number = check("SELECT n, COUNT(*) OVER (PARTITION BY n ORDER BY n) FROM g");
    assert!(
        by_number.contains("keeps the rows that its frames need in memory"),
        "{by_number}"
    );
    for bounded in [
        over(""),
        over("ROWS BETWEEN 1 PRECEDING AND CURRENT ROW"),
        windows("COUNT(*)", tumble),
        windows("COUNT(DISTINCT t)", tumble),
        windows("COUNT(*)", session),
        check("SELECT n, COUNT(*) FROM g GROUP BY n"),
    ] {
        assert!(!bounded.contains("in memory"), "{bounded}");
    }
}

#[test]
fn what_a_job_needs_at_its_end_is_tried_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("sp").display().to_string();
    let ended = flott(&["run", "-e", &counting("", "COUNT(*)"), "--savepoint-on-stop", &below]).expect(1);
    assert!(
        ended.err.contains("--savepoint-on-stop") && !ended.err.contains("' starts"),
        "{}",
        ended.err
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("metrics.reporter.prom.port={}", taken.local_addr().unwrap().port());
    let ended = flott(&["run", "-e", &counting("", "COUNT(*)"), "-D", &port]).expect(1);
    assert!(
        ended.err.contains("cannot listen") && !ended.err.contains("' starts"),
        "{}",
        ended.err
    );
}

#[test]
fn a_job_that_reads_what_another_still_writes_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out").display().to_string();
    let sql = format!(
        "CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '5');
        CREATE TABLE f (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv');
        INSERT INTO f SELECT n FROM g; SELECT n FROM f;"
    );
    let mut job = start(&["run", "-e", &sql]);
    let told = wait_for(|| job.err().contains("still writes; SET 'table.dml-sync'") || !job.is_running());
    job.terminate();
    assert!(
        told && job.err().contains("still writes; SET 'table.dml-sync'"),
        "{}",
        job.err()
    );
}

#[test]
fn nobody_who_reads_is_no_mistake() {
    let sql =
        "CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100000'); SELECT n FROM g;";
    let binary = env!("CARGO_BIN_EXE_flott");
    // The shell's status is that of the command before the pipe.
    let piped = format!("{{ {binary} run -q -e \"{sql}\" ; echo $? >&2; }} | head -n 5");
    let ended = std::process::Command::new("sh").args(["-c", &piped]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr).trim(), "141");
    assert_eq!(String::from_utf8_lossy(&ended.stdout).lines().count(), 5);
}

#[test]
fn a_statement_may_begin_with_a_comment() {
    flott(&["run", "-e", "-- what is one\nSELECT 1 AS a"]).expect(0);
}

#[test]
fn an_absent_broker_is_told_of_at_once() {
    let sql = "CREATE TABLE t (line STRING) WITH ('connector' = 'kafka', 'topic' = 'x', 'format' = 'raw',
          'properties.bootstrap.servers' = '127.0.0.1:1', 'scan.startup.mode' = 'earliest-offset');
        CREATE TABLE p (line STRING) WITH ('connector' = 'print');
        INSERT INTO p SELECT * FROM t;";
    let mut job = start(&["run", "-e", sql]);
    let is_told = |err: &str| err.contains("127.0.0.1:1") && err.contains("tried again for up to 60 s");
    assert!(wait_for(|| is_told(&job.err()) || !job.is_running()), "{}", job.err());
    assert!(is_told(&job.err()), "{}", job.err());
    job.terminate();
    job.interrupt();
    job.ended();
}

#[test]
fn a_piped_script_waits_for_its_jobs_and_fails_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.csv");
    std::fs::write(&file, "1\nnot a number\n").unwrap();
    let table = format!(
        "CREATE TABLE bad (n INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');
        CREATE TABLE few (n INT) WITH ('connector' = 'datagen', 'number-of-rows' = '30', 'rows-per-second' = '20');
        CREATE TABLE p (n INT) WITH ('connector' = 'print');\n",
        file.display()
    );
    let piped = |statements: &str| {
        let mut shell = start_typing(&["sql", "-p", "1"]);
        shell.type_in(&format!("{table}{statements}"));
        shell.ended()
    };
    let whole = piped("INSERT INTO p SELECT n FROM few;\n").expect(0);
    assert_eq!(
        whole.out.lines().filter(|l| l.starts_with("+I[")).count(),
        30,
        "{}",
        whole.out
    );
    let failed = piped("INSERT INTO p SELECT n FROM bad;\n").expect(1);
    assert!(failed.err.contains("not a number"), "{}", failed.err);
    let wrong = piped("SELEC 1;\nSELECT 99999 AS after_it;\n").expect(1);
    assert!(!wrong.out.contains("99999"), "{}", wrong.out);
}

#[test]
fn a_job_that_fails_beside_the_shell_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.csv");
    std::fs::write(&file, "not a number\n").unwrap();
    let mut shell = start_typing(&["sql", "-p", "1"]);
    shell.type_in(&format!(
        "CREATE TABLE bad (n INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');
        CREATE TABLE p (n INT) WITH ('connector' = 'print');
        INSERT INTO p SELECT n FROM bad;\n",
        file.display()
    ));
    let told = wait_for(|| {
        shell.type_in("SHOW JOBS;\n");
        shell.err().contains("FAILED: ")
    });
    assert!(told && shell.err().contains("not a number"), "{}", shell.err());
    let id = shell
        .err()
        .split("job ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    shell.type_in(&format!("DESCRIBE JOB '{id}';\nQUIT;\n"));
    let ended = shell.ended();
    let described = ended.out.lines().filter(|l| l.contains("not a number")).count();
    assert!(described >= 2 && ended.out.contains("start time"), "{}", ended.out);
}

#[test]
fn sigterm_ends_a_shell_that_waits() {
    let mut shell = start_typing(&["sql", "-p", "1"]);
    shell.type_in(
        "CREATE TABLE few (n INT) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
        CREATE TABLE p (n INT) WITH ('connector' = 'print');
        SET 'table.dml-sync' = 'true'; INSERT INTO p SELECT n FROM few;
        SELECT 4711 AS it_ran;\n",
    );
    assert!(wait_for(|| shell.out().contains("4711")), "{}", shell.out());
    shell.terminate();
    assert!(
        wait_for(|| !shell.is_running()),
        "a signal behind a synchronous job is not lost"
    );
}
