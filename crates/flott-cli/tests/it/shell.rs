//! `flott sql`, through piped input: statements over lines, errors that do not end it, Ctrl-C on a query.

use crate::support::{start_typing, wait_for};

#[test]
fn statements_are_executed_as_they_come() {
    let mut shell = start_typing(&["sql", "-p", "1"]);
    shell.type_in(
        "CREATE TABLE t (id INT, name STRING) WITH ('connector' = 'print');\n\
         SHOW\n  TABLES;\n\
         SELEC 1;\n\
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
        "Received a total of 2 rows\n",
        "+I[7, x]\n",
        "12345",
    ] {
        assert!(ended.out.contains(expected), "{expected}\n{}", ended.out);
    }
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
