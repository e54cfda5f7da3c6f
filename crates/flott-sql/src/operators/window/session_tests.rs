//! Sessions as tables of text.

use super::session_aggregate::SessionAggregate;
use super::session_rows::SessionRows;
use super::tests::{SCHEMA, call, sorted, spec};
use crate::nodes::*;
use crate::operators::harness::{Harness, in_tiers, lines, owner};
use flott_core::{Field, LogicalType, TypeKind};
use flott_runtime::Operator;
use flott_state::StateBackend;

const GAP: WindowSpec = WindowSpec::Session { gap_ms: 4 };

fn aggregate(spec: &WindowAggregateSpec) -> Harness {
    Harness::new(Box::new(SessionAggregate::new(spec).unwrap()), SCHEMA)
}

#[test]
fn sessions_of_a_key_merge_and_fire_when_the_gap_has_passed() {
    let calls = vec![
        call("SUM", &[1]),
        call("COUNT", &[]),
        call("MIN", &[1]),
        call("AVG", &[1]),
    ];
    let mut op = aggregate(&spec(GAP, calls));
    assert_eq!(op.run("+I a 1 1\n+I b 2 2\n+I a 4 9\nwatermark 4"), "+I a 1 1 1 1 1 5");
    // The rows at 5 and 2 join the session at 9; the one that has fired is not opened again.
    assert_eq!(
        op.run("+I a 8 5\n+I a 3 2\nwatermark 12"),
        "+I b 2 1 2 2 2 6\n+I a 15 3 3 5 2 13"
    );
    assert_eq!(op.metrics.late_records_dropped.get(), 0);
    assert_eq!(op.run("watermark 100"), "");
}

#[test]
fn a_late_row_counts_where_it_meets_an_open_session() {
    let mut op = aggregate(&spec(GAP, vec![call("COUNT", &[])]));
    assert_eq!(
        op.run("+I a 1 10\nwatermark 11\n+I a 1 6\n+I b 1 6\nwatermark 50"),
        "+I a 2 6 14"
    );
    assert_eq!(op.metrics.late_records_dropped.get(), 1);
}

#[test]
fn distinct_values_count_once_where_sessions_have_met() {
    let mut distinct = call("COUNT", &[1]);
    distinct.distinct = true;
    let mut sum = call("SUM", &[1]);
    sum.distinct = true;
    let spec = spec(GAP, vec![distinct, sum, call("COUNT", &[1])]);
    let rows = [
        "+I a 1 0\n+I a 1 1\n+I a 2 8",
        "+I a 1 9\n+I b 2 8",
        "+I a NULL 5\n+I a 2 5\nwatermark 99",
    ];
    let expected = "+I b 1 2 1 8 12\n+I a 2 3 5 0 13";
    let mut op = aggregate(&spec);
    let out = rows.map(|r| op.run(r)).join("");
    assert_eq!(out, expected);
    // The same with a restore between any two batches.
    let mut op = aggregate(&spec);
    let mut out = String::new();
    for batch in rows {
        let operator = Box::new(SessionAggregate::new(&spec).unwrap());
        op = Harness::restored(operator, SCHEMA, (0, 1), vec![op.snapshot()]);
        out += &op.run(batch);
    }
    assert_eq!(out, expected);
}

#[test]
fn sessions_follow_what_is_taken_back() {
    let mut distinct = call("SUM", &[1]);
    distinct.distinct = true;
    let mut spec = spec(GAP, vec![call("MAX", &[1]), call("SUM", &[1]), distinct]);
    spec.input_retracts = true;
    let mut op = aggregate(&spec);
    let first = "+I a 5 0\n+I a 9 8\n+I a 9 0\n+I b 1 0\n-D b 1 0";
    let second = "+I a 5 4\n-D a 9 0\n-D a 9 8\nwatermark 99";
    assert_eq!(op.run(first), "");
    assert_eq!(
        op.run(second),
        "+I a 5 10 5 0 12",
        "5 is there twice, 9 no more, b is empty"
    );
}

#[test]
fn without_keys_there_is_one_chain_of_sessions() {
    let mut spec = spec(GAP, vec![call("COUNT", &[])]);
    spec.keys = vec![];
    assert_eq!(
        aggregate(&spec).run("+I a 1 0\n+I b 1 4\n+I c 1 20\nwatermark 99"),
        "+I 2 0 8\n+I 1 20 24"
    );
}

#[test]
fn processing_time_sessions_end_by_the_clock() {
    let mut spec = spec(GAP, vec![call("SUM", &[1])]);
    spec.time = TimeAttribute::ProcessingTime;
    let mut op = aggregate(&spec);
    assert_eq!(op.run("clock 3\n+I a 1 0\nclock 5\n+I a 2 0\nwatermark 50"), "");
    assert_eq!(
        op.next_timer(),
        Some(7),
        "the session has grown since; the timer looks again"
    );
    assert_eq!(op.run("timer 7"), "");
    assert_eq!(op.next_timer(), Some(9));
    assert_eq!(op.run("timer 9"), "+I a 3 3 9");
    assert_eq!(op.next_timer(), None);
    assert_eq!(op.run("+I a 7 0\nend"), "+I a 7 9 13");
}

#[test]
fn sessions_are_taken_over_by_other_subtasks() {
    let mut spec = spec(GAP, vec![call("SUM", &[1]), call("AVG", &[1])]);
    spec.input[0].ty = LogicalType::bigint();
    let schema = "site BIGINT, n BIGINT, ts TIMESTAMP(3)";
    let operator = || Box::new(SessionAggregate::new(&spec).unwrap());
    let rows: Vec<String> = (0..80).map(|i| format!("+I {} {i} {}", i % 7, i * 37 % 90)).collect();
    let straight = {
        let mut op = Harness::new(operator(), schema);
        let out = [
            op.run(&rows[..40].join("\n")),
            op.run("watermark 30"),
            op.run(&rows[40..].join("\n")),
            op.run("watermark 999"),
        ];
        sorted(&out)
    };
    for parallelism in [1, 2, 3] {
        let mut first = Harness::new(operator(), schema);
        let mut out = vec![first.run(&rows[..40].join("\n")), first.run("watermark 30")];
        for index in 0..parallelism {
            let mut second = Harness::restored(operator(), schema, (index, parallelism), vec![first.snapshot()]);
            let mine = |row: &&String| owner(row.split(' ').nth(1).unwrap().parse().unwrap(), parallelism) == index;
            let rows: Vec<&str> = rows[40..].iter().filter(mine).map(String::as_str).collect();
            out.push(second.run(&rows.join("\n")));
            out.push(second.run("watermark 999"));
        }
        assert_eq!(sorted(&out), straight, "restored at parallelism {parallelism}");
    }
}

fn rows_spec() -> WindowTableFunctionSpec {
    WindowTableFunctionSpec {
        input: vec![
            Field::new("site", LogicalType::string()),
            Field::new("n", LogicalType::bigint()),
            Field::new("ts", LogicalType::new(TypeKind::Timestamp(3))),
        ],
        window: GAP,
        time: TimeAttribute::EventTime { column: 2 },
        partition: vec![0],
        time_zone: "UTC".into(),
    }
}

#[test]
fn rows_wait_for_the_end_of_their_session() {
    let operator = || Box::new(SessionRows::new(&rows_spec()).unwrap());
    let expected = "+I b NULL 2 2 6 5\n+I a 1 1 1 9 8\n+I a 3 5 1 9 8\n+I a 2 3 1 9 8";
    let mut op = Harness::new(operator(), SCHEMA);
    assert_eq!(op.run("+I a 1 1\n+I b NULL 2\n+I a 3 5\nwatermark 3"), "");
    let mut restored = Harness::restored(operator(), SCHEMA, (0, 1), vec![op.snapshot()]);
    for op in [&mut op, &mut restored] {
        assert_eq!(op.run("+I a 2 3\nwatermark 20\n+I a 9 16\nwatermark 30"), expected);
        assert_eq!(op.metrics.late_records_dropped.get(), 1, "16 + 4 has passed");
    }
}

#[test]
fn a_long_session_comes_out_in_pieces() {
    let mut op = Harness::new(Box::new(SessionRows::new(&rows_spec()).unwrap()), SCHEMA);
    let rows: Vec<String> = (0..20_000).map(|i| format!("+I a {i} {}", i / 10)).collect();
    assert_eq!(op.run(&rows.join("\n")), "");
    assert_eq!(op.run("watermark 99999").lines().count(), 20_000);
    assert!(op.largest_call <= 8192, "{} rows in one call", op.largest_call);
}

/// A checkpoint is read a page at a time, and a key may be longer than some pages.
#[test]
fn a_session_of_several_pages_is_restored_once() {
    let spec = WindowTableFunctionSpec {
        window: WindowSpec::Session { gap_ms: 100_000 },
        ..rows_spec()
    };
    let operator = || -> Box<dyn Operator> { Box::new(SessionRows::new(&spec).unwrap()) };
    let mut op = Harness::with_backend(operator(), SCHEMA, in_tiers("2"));
    let mut rows: Vec<String> = (0..400).map(|key| format!("+I key-{key} 1 5")).collect();
    rows.extend((0..60_000).map(|i| format!("+I long-{} 1 {i}", i % 3)));
    for rows in rows.chunks(1000) {
        let batch = op.batch(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(op.process(batch).is_empty());
    }
    let mut op = Harness::restored_with_backend(operator(), SCHEMA, in_tiers("2"), op.snapshot());
    let told: Vec<String> = op.watermark(999_999).iter().flat_map(lines).collect();
    let of_long = told.iter().filter(|line| line.contains("long")).count();
    assert_eq!((told.len(), of_long), (60_400, 60_000));
}

/// What sessions of many keys tell step by step, with restores in between; and the most that they hold before the first, which reads
/// more rows at once than are here.
fn told_of_many_keys(
    operator: &dyn Fn() -> Box<dyn Operator>,
    retracts: bool,
    backend: StateBackend,
) -> (Vec<Vec<String>>, usize) {
    const KEYS: u64 = 3000;
    let mut op = Harness::with_backend(operator(), SCHEMA, backend.clone());
    let (mut told, mut held, mut random) = (vec![], 0, 1u64);
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % n
    };
    for step in 0..120 {
        let mut rows = vec![];
        for _ in 0..60 {
            // Some keys come often, so that they never pause; times are out of order, some too late.
            let key = if below(4) == 0 { below(5) } else { below(KEYS) };
            let late_by = if below(10) == 0 { 250 } else { 0 };
            let time = (step * 5 + below(40)).saturating_sub(late_by);
            let row = |kind: &str, value: u64| format!("{kind} key-{key} {value} {time}");
            rows.push(row("+I", below(7)));
            if retracts && below(3) == 0 {
                rows.extend([row("+I", 100), row("-D", 100)]);
            }
        }
        let batch = op.batch(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(op.process(batch).is_empty());
        if step < 40 {
            held = op.state_bytes().max(held);
        }
        let mut of_step: Vec<String> = op.watermark(step as i64 * 5).iter().flat_map(lines).collect();
        of_step.sort();
        told.push(of_step);
        if step % 40 == 39 {
            op = Harness::restored_with_backend(operator(), SCHEMA, backend.clone(), op.snapshot());
        }
    }
    told.push(op.watermark(10_000).iter().flat_map(lines).collect());
    told.iter_mut().for_each(|of_step| of_step.sort());
    (told, held)
}

#[test]
fn sessions_larger_than_memory_tell_what_they_tell_in_memory() {
    const GAP: WindowSpec = WindowSpec::Session { gap_ms: 200 };
    let mut distinct = call("COUNT", &[1]);
    distinct.distinct = true;
    let calls = vec![call("SUM", &[1]), call("MAX", &[1]), distinct];
    for retracts in [false, true] {
        let spec = WindowAggregateSpec {
            input_retracts: retracts,
            ..spec(GAP, calls.clone())
        };
        let aggregate = || -> Box<dyn Operator> { Box::new(SessionAggregate::new(&spec).unwrap()) };
        let rows = WindowTableFunctionSpec {
            window: GAP,
            ..rows_spec()
        };
        let rows = || -> Box<dyn Operator> { Box::new(SessionRows::new(&rows).unwrap()) };
        let operators: [&dyn Fn() -> Box<dyn Operator>; 2] = [&aggregate, &rows];
        for (number, operator) in operators.into_iter().enumerate().filter(|(n, _)| !retracts || *n == 0) {
            let (expected, in_memory) = told_of_many_keys(operator, retracts, StateBackend::default());
            assert!(expected.concat().len() > 1000, "{} rows", expected.concat().len());
            for hot_rows in ["2", "40"] {
                let (given, in_tiers) = told_of_many_keys(operator, retracts, in_tiers(hot_rows));
                for (step, (given, expected)) in given.iter().zip(&expected).enumerate() {
                    assert_eq!(
                        given, expected,
                        "operator {number}, {retracts}, {hot_rows} rows in memory, step {step}"
                    );
                }
                assert!(
                    in_tiers < in_memory,
                    "operator {number}: {in_tiers} bytes of {in_memory}"
                );
            }
        }
    }
}
