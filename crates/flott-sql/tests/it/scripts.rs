//! Scripts as users write them: every statement, and what becomes of a session.

use crate::connectors::{jobs, run, session, session_with, variable};
use flott_plan::{Partitioning, Role};
use flott_sql::{Outcome, Script};

const SOURCE: &str = "CREATE TABLE orders (
  id BIGINT COMMENT 'number', amount DECIMAL(10, 2), `when` TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL,
  buyer ROW<name STRING, address ROW<city STRING, zip STRING>>, tags ARRAY<STRING>, props MAP<STRING, INT>,
  cents AS CAST(amount * 100 AS BIGINT), pt AS PROCTIME(),
  WATERMARK FOR `when` AS `when` - INTERVAL '5' SECOND
) COMMENT 'what came in' PARTITIONED BY (id) WITH ('connector' = 'kafka', 'topic' = '${TOPIC}',
  'properties.bootstrap.servers' = '${BOOTSTRAP}', 'format' = 'json');\n";

fn rows(outcome: &Outcome) -> Vec<Vec<String>> {
    match outcome {
        Outcome::Rows { rows, .. } => rows.clone(),
        other => panic!("{other:?}"),
    }
}

fn node_names(script: &str) -> Vec<String> {
    jobs(script).remove(0).plan.nodes.into_iter().map(|n| n.name).collect()
}

#[test]
fn show_functions_lists_signatures_and_texts() {
    let script = Script::parse("SHOW FUNCTIONS;", &variable).unwrap();
    let outcomes = session().execute_all(&script).unwrap();
    let [Outcome::Rows { columns, rows }] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert_eq!(columns, &["function name", "signature", "description"]);
    assert!(rows.len() > 150, "{} functions", rows.len());
    assert!(rows.iter().flatten().all(|cell| !cell.is_empty()), "{rows:?}");
    let md5 = rows.iter().find(|r| r[0] == "MD5").unwrap();
    assert_eq!(md5[1..], ["MD5(STRING)", "MD5 digest in hexadecimal digits"]);
}

#[test]
fn every_kind_of_statement_is_taken() {
    let script = format!(
        "{SOURCE}
-- a comment; with a semicolon
SET 'parallelism.default' = '2';
SET pipeline.name = nightly report;
RESET 'pipeline.name';
CREATE TEMPORARY VIEW IF NOT EXISTS cheap (id, cents) COMMENT 'small ones' AS SELECT id, cents FROM orders WHERE amount < 10;
CREATE TEMPORARY TABLE IF NOT EXISTS sink (id BIGINT PRIMARY KEY NOT ENFORCED, cents BIGINT) WITH ('connector' = 'print');
DESCRIBE orders;
SHOW TABLES;
SHOW VIEWS;
SET;
EXPLAIN SELECT * FROM cheap;
EXPLAIN CHANGELOG_MODE, ESTIMATED_COST INSERT INTO sink SELECT * FROM cheap;
EXPLAIN JSON_EXECUTION_PLAN SELECT id FROM orders;
EXPLAIN PLAN FOR STATEMENT SET BEGIN INSERT INTO sink SELECT * FROM cheap; END;
INSERT INTO sink (cents, id) SELECT cents, id FROM cheap /* why ; not */;
EXECUTE STATEMENT SET BEGIN
  INSERT INTO sink SELECT id, CASE WHEN cents > 5 THEN 1 ELSE 2 END FROM cheap;
  INSERT INTO sink VALUES (1, 2), (3, 4);
END;
BEGIN STATEMENT SET;
INSERT INTO sink SELECT 1, 2;
END;
DROP TEMPORARY TABLE sink;
DROP TABLE IF EXISTS sink;
DROP TEMPORARY VIEW cheap;
SELECT COUNT(*) FROM orders"
    );
    let outcomes = run(&script).unwrap_or_else(|e| panic!("{e}"));
    let jobs = outcomes.iter().filter(|o| matches!(o, Outcome::Job(_))).count();
    let texts = outcomes.iter().filter(|o| matches!(o, Outcome::Text(_))).count();
    assert_eq!((outcomes.len(), jobs, texts), (21, 4, 4));
    assert_eq!(rows(&outcomes[7]), [["cheap"], ["orders"], ["sink"]]);
    let described: Vec<String> = rows(&outcomes[6]).iter().map(|r| r.join("|")).collect();
    assert_eq!(
        described[2],
        "when|TIMESTAMP(3) *ROWTIME*|TRUE||METADATA FROM 'timestamp' VIRTUAL|`when` - INTERVAL '5' SECOND|"
    );
    assert!(
        described[6].starts_with("cents|BIGINT|TRUE||AS CAST("),
        "{}",
        described[6]
    );
    assert_eq!(described[7], "pt|TIMESTAMP_LTZ(3) *PROCTIME*|FALSE||AS PROCTIME()||");
}

#[test]
fn expressions_of_every_form_are_bound() {
    let jobs = jobs(&format!(
        "{SOURCE} SELECT o.buyer.address.city, orders_too.id2, tags[1], props['a'], MAP['k', 1, 'l', 2]['k'], ARRAY[1, 2][1], ROW(1, 'a'),
  CAST(buyer AS ROW<n STRING, a ROW<c STRING, z STRING>>), TRY_CAST('x' AS INT), EXTRACT(DAY FROM `when`), FLOOR(`when` TO MINUTE), CEIL(amount),
  POSITION('a' IN 'banana'), SUBSTRING('abc' FROM 2 FOR 1), TRIM(LEADING 'x' FROM 'xab'),
  id BETWEEN SYMMETRIC 3 AND 1, id NOT BETWEEN 1 AND 3, id IN (1, 2), id NOT IN (cents, 3), 'a' LIKE 'b%', 'a' NOT LIKE 'x!%%' ESCAPE '!',
  id IS DISTINCT FROM cents, NOT (id > 1), -id, +id, id % 2, 'a' || 'b', CURRENT_TIMESTAMP, TIMESTAMPDIFF(DAY, `when`, `when`), X'0A',
  TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '1' MONTH, CASE id WHEN 1 THEN 'one' END, o.*, COALESCE(tags, ARRAY['x']), (buyer).name
FROM orders AS o CROSS JOIN UNNEST(ARRAY[o.id, cents]) WITH ORDINALITY AS orders_too (id2, n)"
    ));
    let fields = jobs[0].collect.clone().unwrap();
    let of = |i: usize| format!("{} {}", fields[i].name, fields[i].ty);
    assert_eq!(of(0), "city STRING");
    assert_eq!(of(1), "id2 BIGINT");
    assert_eq!(of(7), "EXPR$7 ROW<`n` STRING, `a` ROW<`c` STRING, `z` STRING>>");
    assert_eq!(fields.len(), 32 + 8 + 2);
}

#[test]
fn options_of_session_hint_and_table_reach_the_plan() {
    let script = format!(
        "{SOURCE} CREATE TABLE sink (id BIGINT PRIMARY KEY NOT ENFORCED, n BIGINT) WITH ('connector' = 'blackhole', 'sink.parallelism' = '3');
SET 'parallelism.default' = '2'; SET 'pipeline.max-parallelism' = '64'; SET 'pipeline.name' = 'counts';
INSERT INTO sink SELECT id, COUNT(*) FROM orders /*+ OPTIONS('scan.parallelism' = '4', 'scan.startup.mode' = 'earliest-offset') */ GROUP BY id;"
    );
    let job = jobs(&script).remove(0);
    let parallelism: Vec<(String, usize)> = job.plan.nodes.iter().map(|n| (n.name.clone(), n.parallelism)).collect();
    assert_eq!(
        parallelism,
        [
            ("Source: orders[1]".to_owned(), 4),
            ("Calc[2]".into(), 4),
            ("GroupAggregate[4]".into(), 2),
            ("ConstraintEnforcer[5]".into(), 2),
            ("sink[5]: Writer".into(), 3)
        ]
    );
    assert_eq!(job.plan.name, "counts");
    assert!(job.plan.nodes.iter().all(|n| n.max_parallelism == 64));
    let partitioning: Vec<&Partitioning> = job.plan.edges.iter().map(|e| &e.partitioning).collect();
    let by_key = Partitioning::Hash { keys: vec![0] };
    assert_eq!(
        partitioning,
        [&Partitioning::Forward, &by_key, &Partitioning::Forward, &by_key]
    );
    assert_eq!(
        job.plan.nodes[0].spec["table"]["options"]["scan.startup.mode"],
        "earliest-offset"
    );
}

#[test]
fn the_sinks_of_a_set_share_what_they_have_in_common() {
    let script = format!(
        "{SOURCE} CREATE TABLE a (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole'); CREATE TABLE b (n BIGINT) WITH ('connector' = 'blackhole');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO a SELECT id, COUNT(*) FROM orders GROUP BY id;
  INSERT INTO b SELECT SUM(n) FROM (SELECT id, COUNT(*) AS n FROM orders GROUP BY id);
  INSERT INTO b SELECT cents FROM orders WHERE cents > 100;
END;"
    );
    let job = jobs(&script).remove(0);
    let sources = job.plan.nodes.iter().filter(|n| n.role == Role::Source).count();
    assert_eq!(sources, 1, "{:?}", node_names(&script));
    assert_eq!(
        job.plan.name,
        "insert-into_default_catalog.default_database.a,default_catalog.default_database.b,default_catalog.default_database.b"
    );
    let fields = job.plan.nodes[0]
        .output
        .iter()
        .map(|f| f.name.as_str())
        .collect::<Vec<_>>();
    assert_eq!(fields, ["id", "amount", "when"]);
}

#[test]
fn operator_ids_stay_when_filters_columns_and_aggregates_change() {
    let ids = |query: &str| -> Vec<(String, String)> {
        let script = format!(
            "{SOURCE} CREATE TABLE sink (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO sink {query};"
        );
        let mut ids: Vec<(String, String)> = jobs(&script)
            .remove(0)
            .plan
            .nodes
            .into_iter()
            .filter(|n| !n.kind.contains("calc"))
            .map(|n| (n.kind, n.operator_id.to_string()))
            .collect();
        ids.sort();
        ids
    };
    let window =
        "TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`when`), INTERVAL '1' MINUTE)) GROUP BY id, window_start, window_end";
    let before = ids(&format!("SELECT id, COUNT(*) FROM {window}"));
    let after = ids(&format!(
        "SELECT id + 1, SUM(cents) + MAX(id) FROM {window} HAVING COUNT(*) > 3"
    ));
    assert_eq!(before, after);
    let other_key = ids("SELECT cents, COUNT(*) FROM orders GROUP BY cents");
    let one_key = ids("SELECT id, COUNT(*) FROM orders WHERE cents > 1 GROUP BY id");
    assert_ne!(other_key, one_key);
    assert_eq!(one_key, ids("SELECT id, SUM(cents) FROM orders GROUP BY id"));
}

#[test]
fn mini_batch_and_phases_follow_the_options() {
    let script = format!("{SOURCE} SELECT id, COUNT(*), SUM(cents) FROM orders GROUP BY id;");
    let names = |options: &[(&str, &str)]| -> Vec<String> {
        let mut session = session_with(options);
        let outcomes = session
            .execute_all(&Script::parse(&script, &variable).unwrap())
            .unwrap();
        match outcomes.last() {
            Some(Outcome::Job(job)) => job.plan.nodes.iter().map(|n| n.name.clone()).collect(),
            other => panic!("{other:?}"),
        }
    };
    let mini_batch = [
        ("table.exec.mini-batch.enabled", "true"),
        ("table.exec.mini-batch.allow-latency", "2 s"),
        ("table.exec.mini-batch.size", "50000"),
    ];
    assert!(names(&[]).contains(&"GroupAggregate[4]".to_owned()), "{:?}", names(&[]));
    let two = names(&mini_batch);
    assert!(two.iter().any(|n| n.starts_with("LocalGroupAggregate")), "{two:?}");
    let mut one_phase = mini_batch.to_vec();
    one_phase.push(("table.optimizer.agg-phase-strategy", "ONE_PHASE"));
    assert!(names(&one_phase).contains(&"GroupAggregate[4]".to_owned()));
}

#[test]
fn windows_of_windows_bring_their_windows_along() {
    let job = jobs(&format!(
        "{SOURCE} WITH per_id AS (SELECT window_start, window_end, window_time AS wt, id, COUNT(*) AS n
  FROM TABLE(HOP(DATA => TABLE orders, TIMECOL => DESCRIPTOR(`when`), SLIDE => INTERVAL '2' SECOND, SIZE => INTERVAL '10' SECOND))
  GROUP BY window_start, window_end, window_time, id)
SELECT window_start, window_end, MAX(n) FROM per_id GROUP BY window_start, window_end"
    ))
    .remove(0);
    let text = &job.explanation;
    assert_eq!(text.matches("GlobalWindowAggregate(").count(), 2, "{text}");
    assert!(
        job.warnings.iter().all(|w| !w.message.contains("for ever")),
        "{:?}",
        job.warnings
    );
    let cascade = jobs(&format!(
        "{SOURCE} CREATE VIEW per_minute AS SELECT window_time AS t, id, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`when`), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, window_time, id;
SELECT window_start, SUM(n) FROM TABLE(TUMBLE(TABLE per_minute, DESCRIPTOR(t), INTERVAL '1' HOUR)) GROUP BY window_start, window_end"
    ));
    assert_eq!(cascade[0].explanation.matches("GlobalWindowAggregate(").count(), 2);
}

#[test]
fn what_will_hurt_is_warned_of() {
    let messages = |text: &str| -> Vec<String> {
        jobs(&format!("{SOURCE}{text}"))
            .into_iter()
            .flat_map(|j| j.warnings)
            .map(|w| w.to_string())
            .collect()
    };
    let has = |text: &str, part: &str| {
        let found = messages(text);
        assert!(found.iter().any(|m| m.contains(part)), "{part}: {found:#?}");
    };
    let sink = "CREATE TABLE sink (id BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'b', 'format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'p', 'properties.transaction.timeout.ms' = '60000');";
    has(
        "SELECT id, COUNT(*) FROM orders GROUP BY id;",
        "GROUP BY (id) keeps state for every key for ever",
    );
    has("SELECT DISTINCT id FROM orders;", "DISTINCT (id) keeps state");
    has("SELECT COUNT(DISTINCT id) FROM orders;", "keeps every value");
    has(
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`when`), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;",
        "holds the watermark back",
    );
    has(
        "SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`when`), INTERVAL '1' MINUTE)) GROUP BY window_start;",
        "group by both window_start and window_end",
    );
    has(
        &format!("{sink} INSERT INTO sink SELECT id FROM orders;"),
        "checkpoints are off",
    );
    has(
        &format!("{sink} SET 'execution.checkpointing.interval' = '10 s'; INSERT INTO sink SELECT id FROM orders;"),
        "expire after 60000 ms",
    );
    assert!(messages("SET 'table.exec.state.ttl' = '1 h'; SELECT id, COUNT(*) FROM orders GROUP BY id;").is_empty());
    let mut session = session();
    let script = Script::parse("SET 'paralelism.default' = '2'; SET 'my.own' = 'x';", &variable).unwrap();
    let outcomes = session.execute_all(&script).unwrap();
    assert!(matches!(&outcomes[0], Outcome::Warned(text) if text.contains("did you mean 'parallelism.default'?")));
}

#[test]
fn a_filter_above_updates_deletes_what_it_no_longer_passes() {
    let sink = "CREATE TABLE sink (id BIGINT PRIMARY KEY NOT ENFORCED, n BIGINT) WITH ('connector' = 'upsert-kafka', 'topic' = 't',
  'properties.bootstrap.servers' = 'b', 'key.format' = 'json', 'value.format' = 'json');";
    let explained = |having: &str| {
        jobs(&format!(
            "{SOURCE}{sink} INSERT INTO sink SELECT id, COUNT(*) FROM orders GROUP BY id {having};"
        ))
        .remove(0)
        .explanation
    };
    let plain = explained("");
    assert!(
        plain.contains("changelogMode=[I,UA]") && !plain.contains("DropUpdateBefore"),
        "{plain}"
    );
    let filtered = explained("HAVING COUNT(*) < 10");
    assert!(
        filtered.contains("DropUpdateBefore(asDelete=[true]), changelogMode=[I,UA,D]"),
        "{filtered}"
    );
    assert!(filtered.contains("changelogMode=[I,UB,UA]"), "{filtered}");
}

#[test]
fn the_plan_survives_its_text() {
    for job in jobs(&format!(
        "{SOURCE} SELECT id, cents FROM orders UNION ALL SELECT 1, CAST(2 AS BIGINT); SELECT t.x FROM (VALUES (ARRAY[1, 2])) AS v(a) LEFT JOIN UNNEST(a) AS t(x) ON TRUE;"
    )) {
        let json = job.plan.to_json().unwrap();
        assert_eq!(flott_plan::Plan::from_json(&json).unwrap().to_json().unwrap(), json);
    }
}

#[test]
fn options_that_do_nothing_are_told_with_what_holds_instead() {
    use flott_sql::check::unknown_option;
    for key in ["state.backend.local-recovery", "taskmanager.state.local.root-dirs"] {
        assert_eq!(unknown_option(key), None, "{key} is read");
    }
    let told = unknown_option("state.backend.rocksdb.compaction.style").unwrap();
    assert!(
        told.contains("has no effect") && told.contains("fixed-per-slot"),
        "{told}"
    );
    let mistyped = unknown_option("state.backend.rocksdb.local-dir").unwrap();
    assert!(
        mistyped.contains("did you mean 'state.backend.rocksdb.localdir'?"),
        "{mistyped}"
    );
    assert_eq!(unknown_option("state.backend.rocksdb.localdir"), None);
    assert_eq!(unknown_option("state.backend.type"), None);
}
