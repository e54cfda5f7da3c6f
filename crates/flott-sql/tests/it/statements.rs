//! Statements on the session: SHOW, DESCRIBE, databases, catalogs, LIKE, ALTER, with the answers of Flink's client.

use crate::connectors::variable;
use crate::snapshot::{folder, report};
use flott_core::Options;
use flott_sql::{Outcome, Script, Session, table_text};
use std::sync::Arc;

/// A session with the real connectors.
fn session() -> Session {
    Session::new(Arc::new(flott::registry()), Options::new())
}

/// What the client prints for each statement; the session goes on after an error.
fn answers(session: &mut Session, text: &str) -> Vec<(String, String)> {
    let script = Script::parse(text, &variable).unwrap();
    let statements = script.statements().iter();
    statements
        .map(|statement| {
            let answer = match session.execute(&script, statement) {
                Err(e) => format!("ERROR {e}"),
                Ok(Outcome::Rows { columns, rows }) => table_text::table(&columns, &rows),
                Ok(Outcome::Text(text)) => text,
                Ok(Outcome::Job(_)) => "JOB".to_owned(),
                Ok(_) => "OK".to_owned(),
            };
            (statement.text.clone(), answer)
        })
        .collect()
}

#[test]
fn answers_are_those_of_flink() {
    let folder = folder("statements");
    let text = std::fs::read_to_string(folder.join("session.sql")).unwrap();
    let expected = std::fs::read_to_string(folder.join("session.txt")).unwrap();
    let expected: Vec<&str> = expected.trim_end_matches('\n').split("\n----\n").collect();
    let given = answers(&mut session(), &text);
    assert_eq!(given.len(), expected.len());
    let mut differences = vec![];
    for ((statement, given), expected) in given.iter().zip(expected) {
        let same = given == expected || (expected == "ERROR" && given.starts_with("ERROR "));
        if !same {
            differences.push(format!("{statement}\n--- Flink\n{expected}\n--- here\n{given}"));
        }
    }
    report(&differences);
}

fn last(text: &str) -> String {
    answers(&mut session(), text).pop().unwrap().1
}

const TABLE: &str = "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'datagen');";

#[test]
fn a_table_as_select_is_made_and_filled() {
    let made = "CREATE TABLE s WITH ('connector' = 'print') AS SELECT id + 1 AS n, name FROM t;";
    let given = answers(&mut session(), &format!("{TABLE}{made}DESCRIBE s;"));
    assert_eq!(given[1].1, "JOB");
    assert!(given[2].1.contains("|    n | BIGINT |"), "{}", given[2].1);
    let refused = "CREATE TABLE s WITH ('connector' = 'nope') AS SELECT id FROM t; SHOW TABLES;";
    let given = answers(&mut session(), &format!("{TABLE}{refused}"));
    assert!(
        given[1].1.starts_with("ERROR") && !given[2].1.contains(" s |"),
        "{given:?}"
    );
}

#[test]
fn a_view_finds_its_tables_from_every_database() {
    let text = format!(
        "{TABLE} CREATE VIEW v AS SELECT id FROM t; CREATE DATABASE d; USE d;
        CREATE VIEW w AS SELECT id FROM default_database.v; SELECT * FROM w;"
    );
    assert_eq!(last(&text), "JOB");
    assert!(last(&format!("{text} SELECT * FROM v;")).contains("there is no table or view 'v'"));
}

#[test]
fn functions_have_signatures() {
    let given = last("SHOW FUNCTIONS LIKE 'upp%';");
    assert!(given.contains("|         UPPER | UPPER("), "{given}");
}

#[test]
fn a_view_is_shown_with_its_own_text() {
    let given = last(&format!(
        "{TABLE} CREATE VIEW v (a) COMMENT 'c' AS SELECT id FROM t; SHOW CREATE VIEW v;"
    ));
    assert!(
        given.contains("VIEW `default_catalog`.`default_database`.`v` (\n  `a`\n)\nCOMMENT 'c'\nAS SELECT id FROM t\n"),
        "{given}"
    );
}

#[test]
fn what_is_shown_of_odd_names_can_be_executed() {
    let given = last(&format!(
        "{TABLE} CREATE VIEW `v``1` (`a``b`) AS SELECT id FROM t; SHOW CREATE VIEW `v``1`;"
    ));
    assert!(
        given.contains("VIEW `default_catalog`.`default_database`.`v``1` (\n  `a``b`\n)\nAS SELECT id FROM t\n"),
        "{given}"
    );
}

#[test]
fn a_shell_knows_when_a_statement_is_whole() {
    for whole in [
        "SELECT 1;",
        "SELECT ';' ;\n",
        "SELECT 1 -- a\n;",
        "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;",
        "EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1; END;",
    ] {
        assert!(Script::is_complete(whole), "{whole}");
    }
    for open in [
        "SELECT 1",
        "SELECT ';",
        "/* ;",
        "BEGIN STATEMENT SET; INSERT INTO a SELECT 1;",
        "EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1;",
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT CASE WHEN b THEN 1 ELSE 2 END;",
        "SELECT 1 -- ;",
    ] {
        assert!(!Script::is_complete(open), "{open}");
    }
}

#[test]
fn a_view_with_an_order_is_described() {
    let sorted = format!("{TABLE} CREATE VIEW sorted AS SELECT id FROM t ORDER BY id DESC;");
    for (statement, expected) in [
        ("DESCRIBE sorted;", "| BIGINT |"),
        ("SHOW COLUMNS FROM sorted;", "|   id | BIGINT |"),
        ("SHOW CREATE VIEW sorted;", "ORDER BY id DESC"),
    ] {
        let given = last(&format!("{sorted} {statement}"));
        assert!(given.contains(expected), "{given}");
    }
}

/// In the shell every statement is a text of its own: what is wrong with an older part is said where ALTER or LIKE names its table.
#[test]
fn errors_of_derived_tables_point_into_their_own_statement() {
    let mut session = session();
    let made = "CREATE TABLE t (\n  a INT,\n  b AS a + 1\n) WITH ('connector' = 'datagen', 'rows-per-second' = 'x');";
    answers(&mut session, made);
    let mut error = |text: &str| answers(&mut session, text).pop().unwrap().1;
    let old = error("ALTER TABLE t\n MODIFY a ARRAY<INT>;");
    assert!(
        old.contains("at line 1, column 13") && old.contains("    1 | ALTER TABLE t\n"),
        "{old}"
    );
    let new = error("ALTER TABLE t ADD (\n  c AS a * d\n);");
    assert!(
        new.contains("at line 2, column 12") && new.contains("    2 |   c AS a * d\n"),
        "{new}"
    );
    let like = error("CREATE TABLE u (b AS 1,\n  c AS a * d) LIKE t (OVERWRITING GENERATED);");
    assert!(like.contains("at line 2, column 12"), "{like}");
    assert_eq!(error("CREATE TABLE v (c INT)\nLIKE t;"), "OK");
    let option = error("SELECT a FROM v;");
    assert!(option.contains("    2 | LIKE t;"), "{option}");
    assert_eq!(error("ALTER TABLE t ADD e INT;"), "OK");
    let option = error("SELECT a FROM t;");
    assert!(option.contains("    1 | ALTER TABLE t ADD e INT;"), "{option}");
}

#[test]
fn a_partition_has_one_value_in_all_rows() {
    let text = "CREATE TABLE parts (id INT, day STRING, n BIGINT) PARTITIONED BY (day) WITH ('connector' = 'print');
                EXPLAIN INSERT INTO parts PARTITION (day = 'x') (n) SELECT 7;";
    let plan = last(text);
    assert!(plan.contains("'x'"), "{plan}");
    assert_eq!(
        last(
            "CREATE TABLE parts (id INT, day STRING) PARTITIONED BY (day) WITH ('connector' = 'print'); INSERT INTO parts PARTITION (day = 'x') SELECT 7;"
        ),
        "JOB"
    );
}

#[test]
fn modules_and_advice_are_told() {
    let given = answers(
        &mut session(),
        &format!(
            "\u{feff}{TABLE}SHOW MODULES; SHOW FULL MODULES; EXPLAIN PLAN_ADVICE SELECT id, COUNT(*) FROM t GROUP BY id; EXPLAIN PLAN_ADVICE SELECT id FROM t;"
        ),
    );
    assert!(given[1].1.contains("| module name |") && given[1].1.contains("|        core |"));
    assert!(
        given[2].1.contains("used") && given[2].1.contains("TRUE"),
        "{}",
        given[2].1
    );
    assert!(
        given[3]
            .1
            .contains("== Advice ==\nadvice[1]: GROUP BY (id) keeps state"),
        "{}",
        given[3].1
    );
    assert!(
        given[4].1.ends_with("== Advice ==\nNo available advice.\n"),
        "{}",
        given[4].1
    );
}
