//! `flott sql`, through piped input: statements over lines, Ctrl-C on a query.

use crate::support::{start_typing, wait_for};

#[test]
fn statements_are_executed_as_they_come() {
    let mut shell = start_typing(&["sql", "-p", "1"]);
    shell.type_in(
        "CREATE TABLE t (id INT, name STRING) WITH ('connector' = 'print');\n\
         SHOW\n  TABLES;\n\
         \\timing\n\
         DESCRIBE t;\n\
         SET 'sql-client.execution.result-mode' = 'tableau';\n\
         SELECT n, s FROM (VALUES (1, 'a'), (2, CAST(NULL AS STRING))) AS v(n, s);\n\
         SET 'table.dml-sync' = 'true'; INSERT INTO t VALUES (7, 'x');\n\
         SHOW JOBS; SELECT\n 12345 AS last",
    );
    let ended = shell.ended().expect(0);
    for expected in [
        "+------------+\n| table name |\n+------------+\n|          t |\n+------------+\n1 row in set\n",
        "timing is on\n",
        "|   id |    INT | TRUE |     |        |           |\n",
        "| op |           n |                              s |\n",
        "| +I |           2 |                         <NULL> |\n",
        "Received a total of 2 rows (",
        "+I[7, x]\n",
        "12345",
    ] {
        assert!(ended.out.contains(expected), "{expected}\n{}", ended.out);
    }
    let mut shell = start_typing(&["sql"]);
    shell.type_in("SELEC 1;\n");
    let ended = shell.ended().expect(1);
    assert!(ended.err.contains("did you mean 'SELECT'?"), "{}", ended.err);
}

#[test]
fn an_interrupt_stops_the_query_and_not_the_shell() {
    let mut shell = start_typing(&["sql", "-p", "1"]);
    shell.type_in(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50');\n\
         SELECT n FROM numbers;\n",
    );
    assert!(wait_for(|| shell.out().lines().count() > 10), "{}", shell.out());
    shell.interrupt();
    assert!(
        wait_for(|| shell.err().contains("the query was stopped")),
        "{}",
        shell.err()
    );
    shell.type_in("SELECT 12345 AS after_it;\nQUIT;\nSELECT 99999;\n");
    let ended = shell.ended().expect(0);
    assert!(
        ended.out.contains("12345") && !ended.out.contains("99999"),
        "{}",
        ended.out
    );
}

#[test]
fn a_script_ends_at_its_first_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let init = file("init.sql", "CREATE VIEW v AS SELECT 4711 AS n;");
    let script = file("script.sql", "SELECT n FROM v;\nSELECT m FROM v;\nSELECT 99999;");
    let ended = crate::support::flott(&["sql", "-i", &init, "-f", &script]).expect(1);
    assert!(
        ended.out.contains("4711") && !ended.out.contains("99999"),
        "{}",
        ended.out
    );
    assert!(
        ended.err.contains("script.sql") && ended.err.contains("line 2, column 8"),
        "{}",
        ended.err
    );
}

/// `cells.sql` in Flink's client 2.2.1 printed the lines of `cells.txt`.
#[test]
fn cells_look_as_in_flinks_client() {
    let ended =
        crate::support::flott(&["sql", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cells.sql")]).expect(0);
    let lines: Vec<&str> = ended.out.lines().filter(|l| l.starts_with("| ")).collect();
    let expected: Vec<&str> = include_str!("cells.txt").lines().collect();
    assert_eq!(lines, expected, "{}", ended.out);
}

#[test]
fn tables_of_a_file_catalog_are_there_for_the_next_command() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    let options = [
        "-D".to_owned(),
        "table.catalog-store.kind=file".to_owned(),
        "-D".to_owned(),
        format!("table.catalog-store.file.path={store}"),
    ];
    let run = |sql: &str| {
        let file = folder.path().join("script.sql").display().to_string();
        std::fs::write(&file, sql).unwrap();
        let args = ["sql", "-f", &file]
            .into_iter()
            .chain(options.iter().map(String::as_str));
        crate::support::flott(&args.collect::<Vec<_>>()).expect(0)
    };
    let lake = folder.path().join("lake").display().to_string();
    run(&format!(
        "CREATE CATALOG lake WITH ('type' = 'file', 'path' = '{lake}'); USE CATALOG lake; \
         CREATE VIEW numbers AS SELECT n FROM (VALUES (3), (1), (2)) AS t(n);"
    ));
    let text = std::fs::read_to_string(folder.path().join("lake/default/numbers.sql")).unwrap();
    assert_eq!(
        text,
        "CREATE VIEW `numbers` AS\nSELECT n FROM (VALUES (3), (1), (2)) AS t(n);\n"
    );
    let ended = run("SELECT MAX(n) + 4700 AS top FROM lake.`default`.numbers;");
    assert!(ended.out.contains("4703"), "{}", ended.out);
    std::fs::write(
        folder.path().join("lake/default/numbers.sql"),
        "CREATE VIEW `numbers` AS\nSELEC 1;\n",
    )
    .unwrap();
    let file = folder.path().join("script.sql").display().to_string();
    let args: Vec<&str> = ["sql", "-f", &file]
        .into_iter()
        .chain(options.iter().map(String::as_str))
        .collect();
    let ended = crate::support::flott(&args).expect(1);
    assert!(ended.err.contains("numbers.sql, line 2, column 1"), "{}", ended.err);
}

#[test]
fn a_job_of_the_shell_is_stopped_by_its_id() {
    // An error ends a shell that reads from a pipe, so each has its own.
    for (statements, says) in [
        ("STOP JOB 'nobody';", "this shell has started no job 'nobody'"),
        ("STOP JOB '{id}' WITH SAVEPOINT;", "WITH SAVEPOINT needs a folder"),
        ("STOP JOB '{id}';\nSHOW JOBS;\nSTOP JOB '{id}';", "has ended already"),
    ] {
        let mut shell = start_typing(&["sql", "-p", "1"]);
        shell.type_in(
            "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50');\n\
             CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');\n\
             INSERT INTO nowhere SELECT n FROM numbers;\n",
        );
        assert!(wait_for(|| shell.out().contains("' runs")), "{}", shell.out());
        let out = shell.out();
        let id = out.split("job ").nth(1).and_then(|rest| rest.split(' ').next());
        shell.type_in(&format!("{}\n", statements.replace("{id}", id.unwrap())));
        let ended = shell.ended().expect(1);
        assert!(ended.err.contains(says), "{says}\n{}", ended.err);
        assert!(!ended.out.contains("RUNNING |"), "{}", ended.out);
    }
}

#[test]
fn a_shell_waits_for_the_synchronous_job_alone() {
    let mut shell = start_typing(&["sql", "-p", "1"]);
    shell.type_in(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50');\n\
         CREATE TABLE few (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '3');\n\
         CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');\n\
         INSERT INTO nowhere SELECT n FROM numbers;\n\
         SET 'table.dml-sync' = 'true';\n\
         INSERT INTO nowhere SELECT n FROM few;\n\
         SHOW JOBS;\nQUIT;\n",
    );
    let ended = shell.ended().expect(0);
    assert!(
        ended.out.contains("RUNNING |") && ended.out.contains("FINISHED |"),
        "{}",
        ended.out
    );
}
