//! Group aggregation as tables of text.

use super::aggregate::{GroupAggregate, Input};
use super::local::LocalGroupAggregate;
use crate::nodes::*;
use crate::operators::harness::{Harness, in_tiers, lines, owner};
use arrow_array::{ArrayRef, Int64Array, StringArray};
use flott_core::{Batch, Field, LogicalType, TypeKind};
use flott_state::StateBackend;
use std::sync::Arc;

const SCHEMA: &str = "k BIGINT, v BIGINT, ok BOOLEAN";

fn call(function: &str, args: &[usize]) -> AggregateCall {
    let ty = if function == "COUNT" {
        LogicalType::not_null(TypeKind::BigInt)
    } else {
        LogicalType::bigint()
    };
    AggregateCall {
        function: function.into(),
        args: args.to_vec(),
        distinct: false,
        filter: None,
        ty,
        name: function.to_lowercase(),
        detail: Default::default(),
    }
}

fn distinct(function: &str, args: &[usize], filter: Option<usize>) -> AggregateCall {
    AggregateCall {
        distinct: true,
        filter,
        ..call(function, args)
    }
}

fn spec(aggregates: Vec<AggregateCall>) -> GroupAggregateSpec {
    GroupAggregateSpec {
        input: vec![
            Field::new("k", LogicalType::bigint()),
            Field::new("v", LogicalType::bigint()),
            Field::new("ok", LogicalType::boolean()),
        ],
        keys: vec![0],
        aggregates,
        input_retracts: false,
        generate_update_before: true,
        mini_batch: None,
        ttl_ms: 0,
        is_incremental: false,
    }
}

fn retracting(aggregates: Vec<AggregateCall>) -> GroupAggregateSpec {
    GroupAggregateSpec {
        input_retracts: true,
        ..spec(aggregates)
    }
}

fn mini(spec: GroupAggregateSpec, latency_ms: u64, size: u64) -> GroupAggregateSpec {
    GroupAggregateSpec {
        mini_batch: Some(MiniBatch { latency_ms, size }),
        ..spec
    }
}

fn harness(spec: &GroupAggregateSpec) -> Harness {
    over(spec, StateBackend::default())
}

fn over(spec: &GroupAggregateSpec, backend: StateBackend) -> Harness {
    let operator = GroupAggregate::new(spec, Input::Rows).unwrap();
    Harness::with_backend(Box::new(operator), SCHEMA, backend)
}

#[test]
fn each_row_yields_its_own_update_in_order() {
    let spec = spec(vec![call("COUNT", &[]), call("SUM", &[1]), call("MAX", &[1])]);
    let rows = "+I 1 5 true\n+I 2 NULL true\n+I 1 3 true\n+I 1 7 true\n+I 2 1 true";
    let expected = "+I 1 1 5 5
+I 2 1 NULL NULL
-U 1 1 5 5
+U 1 2 8 5
-U 1 2 8 5
+U 1 3 15 7
-U 2 1 NULL NULL
+U 2 2 1 1";
    assert_eq!(harness(&spec).run(rows), expected);
    let one_by_one = rows.replace('\n', "\nbatch\n");
    assert_eq!(
        harness(&spec).run(&one_by_one),
        expected,
        "the batches make no difference"
    );
}

#[test]
fn without_update_before_only_new_values_are_told() {
    let spec = GroupAggregateSpec {
        generate_update_before: false,
        ..spec(vec![call("COUNT", &[])])
    };
    assert_eq!(harness(&spec).run("+I 1 5 true\n+I 1 5 true"), "+I 1 1\n+U 1 2");
}

#[test]
fn values_that_stay_are_not_told_again() {
    let mut op = harness(&spec(vec![call("MAX", &[1])]));
    assert_eq!(
        op.run("+I 1 5 true\n+I 1 3 true\n+I 1 6 true"),
        "+I 1 5\n-U 1 5\n+U 1 6"
    );
    assert_eq!(op.run("+I 1 6 true\n+I NULL 1 true\n+I NULL 0 true"), "+I NULL 1");
}

#[test]
fn select_distinct_tells_each_key_once() {
    assert_eq!(
        harness(&spec(vec![])).run("+I 1 5 true\n+I 2 5 true\n+I 1 6 true"),
        "+I 1\n+I 2"
    );
    let mut op = harness(&retracting(vec![]));
    assert_eq!(
        op.run("+I 1 5 true\n+I 1 6 true\n-D 1 5 true\n-D 1 6 true\n+I 1 7 true"),
        "+I 1\n-D 1\n+I 1"
    );
}

#[test]
fn retractions_take_rows_back_and_the_last_takes_the_group() {
    let calls = vec![
        call("COUNT", &[1]),
        call("SUM", &[1]),
        call("AVG", &[1]),
        call("MIN", &[1]),
        call("MAX", &[1]),
    ];
    let rows = "+I 1 5 true
+I 1 9 true
-U 1 9 true
+U 1 1 true
-D 1 5 true
+I 1 NULL true
-D 1 1 true
-D 1 NULL true
-D 1 8 true
+I 1 2 true";
    let expected = "+I 1 1 5 5 5 5
-U 1 1 5 5 5 5
+U 1 2 14 7 5 9
-U 1 2 14 7 5 9
+U 1 1 5 5 5 5
-U 1 1 5 5 5 5
+U 1 2 6 3 1 5
-U 1 2 6 3 1 5
+U 1 1 1 1 1 1
-U 1 1 1 1 1 1
+U 1 0 NULL NULL NULL NULL
-D 1 0 NULL NULL NULL NULL
+I 1 1 2 2 2 2";
    let spec = retracting(calls);
    assert_eq!(harness(&spec).run(rows), expected);
    assert_eq!(
        harness(&spec).run(&rows.replace('\n', "\nbatch\n")),
        expected,
        "the batches make no difference"
    );
    let mut folded = harness(&mini(spec, 1000, 1000));
    assert_eq!(folded.run(rows), "");
    assert_eq!(folded.run("barrier"), "+I 1 1 2 2 2 2");
    assert_eq!(folded.run("-D 1 2 true\nbarrier"), "-D 1 1 2 2 2 2");
    assert_eq!(
        folded.run("+I 1 2 true\n-D 1 2 true\nbarrier"),
        "",
        "it came and went within a mini-batch"
    );
}

#[test]
fn a_retraction_of_what_was_never_there_is_ignored() {
    let mut op = harness(&retracting(vec![call("COUNT", &[]), call("SUM", &[1])]));
    assert_eq!(op.run("-D 1 5 true\n+I 1 2 true\n-D 2 2 true"), "+I 1 1 2");
}

#[test]
fn distinct_aggregates_share_one_set_and_filters_keep_it_apart() {
    let calls = vec![
        distinct("COUNT", &[1], None),
        distinct("COUNT", &[1], Some(2)),
        distinct("SUM", &[1], Some(2)),
        AggregateCall {
            filter: Some(2),
            ..call("COUNT", &[])
        },
    ];
    let rows = "+I 1 5 true\n+I 1 5 false\n+I 1 6 NULL\n+I 1 6 true\n+I 1 NULL true";
    let expected =
        "+I 1 1 1 5 1\n-U 1 1 1 5 1\n+U 1 2 1 5 1\n-U 1 2 1 5 1\n+U 1 2 2 11 2\n-U 1 2 2 11 2\n+U 1 2 2 11 3";
    let spec_of = spec(calls.clone());
    assert_eq!(
        GroupAggregate::new(&spec_of, Input::Rows).unwrap().state_tables().len(),
        2
    );
    assert_eq!(harness(&spec_of).run(rows), expected);
    let mut retracted = harness(&retracting(calls));
    assert_eq!(retracted.run(rows), expected);
    assert_eq!(
        retracted.run("-D 1 5 true"),
        "-U 1 2 2 11 3\n+U 1 2 1 6 2",
        "5 is still there once, unfiltered"
    );
    assert_eq!(retracted.run("-D 1 5 false"), "-U 1 2 1 6 2\n+U 1 1 1 6 2");
}

#[test]
fn a_mini_batch_ends_by_size_by_time_or_at_a_barrier() {
    let spec = mini(spec(vec![call("COUNT", &[]), call("SUM", &[1])]), 100, 4);
    let mut op = harness(&spec);
    assert_eq!(
        op.run("+I 2 1 true\n+I 1 1 true\n+I 2 1 true\n+I 3 1 true"),
        "+I 2 2 2\n+I 1 1 1\n+I 3 1 1"
    );
    assert_eq!(op.next_timer(), None);
    assert_eq!(op.run("clock 130\n+I 1 0 true\n+I 9 9 true\nwatermark 5"), "");
    assert_eq!(op.next_timer(), Some(200), "bundles end at multiples of the latency");
    assert_eq!(op.run("timer 200"), "-U 1 1 1\n+U 1 2 1\n+I 9 1 9");
    assert_eq!(op.run("+I 9 1 true\nbarrier"), "-U 9 1 9\n+U 9 2 10");
    assert_eq!(op.run("+I 9 1 true\nend"), "-U 9 2 10\n+U 9 3 11");
}

#[test]
fn two_phases_tell_what_one_does() {
    let calls = vec![
        call("COUNT", &[]),
        call("SUM", &[1]),
        call("AVG", &[1]),
        AggregateCall {
            filter: Some(2),
            ..call("MAX", &[1])
        },
    ];
    let bundles = [
        "+I 1 5 true\n+I 2 3 true\n+I 1 9 false",
        "+I 2 NULL true\n+I 2 4 true\n+I 1 7 true",
    ];
    let spec_of = mini(spec(calls), 100, 1000);
    assert!(spec_of.supports_two_phases());
    let mut one = harness(&spec_of);
    let mut local = Harness::new(Box::new(LocalGroupAggregate::new(&spec_of).unwrap()), SCHEMA);
    let mut global = Harness::new(
        Box::new(GroupAggregate::new(&spec_of, Input::Partials).unwrap()),
        SCHEMA,
    );
    for bundle in bundles {
        let expected = one.run(&format!("{bundle}\nbarrier"));
        let rows: Vec<&str> = bundle.lines().collect();
        assert!(local.process(local.batch(&rows)).is_empty());
        for partial in local.flush() {
            assert!(global.process(partial).is_empty());
        }
        assert_eq!(global.run("barrier"), expected);
    }
}

#[test]
fn two_phases_take_rows_back() {
    let spec_of = mini(retracting(vec![call("SUM", &[1]), call("COUNT", &[1])]), 100, 1000);
    let mut local = Harness::new(Box::new(LocalGroupAggregate::new(&spec_of).unwrap()), SCHEMA);
    let mut global = Harness::new(
        Box::new(GroupAggregate::new(&spec_of, Input::Partials).unwrap()),
        SCHEMA,
    );
    let mut told = vec![];
    for bundle in [
        "+I 1 5 true\n+I 2 3 true",
        "-U 1 5 true\n+U 1 8 true\n-D 2 3 true",
        "-D 1 8 true\n+I 2 NULL true",
    ] {
        let rows: Vec<&str> = bundle.lines().collect();
        let mut partials = local.process(local.batch(&rows));
        partials.extend(local.flush());
        partials.into_iter().for_each(|p| drop(global.process(p)));
        told.push(global.flush().iter().flat_map(lines).collect::<Vec<_>>().join(", "));
    }
    assert_eq!(
        told,
        [
            "+I 1 5 1, +I 2 3 1",
            "-U 1 5 1, +U 1 8 1, -D 2 3 1",
            "-D 1 8 1, +I 2 NULL 0"
        ]
    );
}

/// Both phases, a bundle at a time, and what one phase tells.
fn phases(spec: &GroupAggregateSpec, bundles: &[&str]) -> (Vec<String>, Vec<String>) {
    assert!(spec.supports_two_phases());
    let mut one = harness(spec);
    let mut local = Harness::new(Box::new(LocalGroupAggregate::new(spec).unwrap()), SCHEMA);
    let mut global = Harness::new(Box::new(GroupAggregate::new(spec, Input::Partials).unwrap()), SCHEMA);
    let (mut of_one, mut of_two) = (vec![], vec![]);
    for bundle in bundles {
        of_one.push(one.run(&format!("{bundle}\nbarrier")));
        let rows: Vec<&str> = bundle.lines().collect();
        let mut partials = local.process(local.batch(&rows));
        partials.extend(local.flush());
        partials.into_iter().for_each(|p| drop(global.process(p)));
        of_two.push(global.flush().iter().flat_map(lines).collect::<Vec<_>>().join("\n"));
    }
    (of_one, of_two)
}

fn distinct_calls() -> Vec<AggregateCall> {
    vec![
        distinct("COUNT", &[1], None),
        distinct("COUNT", &[1], Some(2)),
        distinct("SUM", &[1], None),
        distinct("AVG", &[1], Some(2)),
        call("COUNT", &[]),
        distinct("COUNT", &[2], None),
    ]
}

#[test]
fn distinct_values_of_two_phases_are_those_of_one() {
    let bundles = [
        "+I 1 5 true\n+I 1 5 false\n+I 2 5 false\n+I 1 NULL true",
        "+I 1 5 true\n+I 1 7 NULL\n+I 2 5 true\n+I 3 NULL NULL",
        "+I NULL 1 true\n+I 2 6 true",
    ];
    let (one, two) = phases(&mini(spec(distinct_calls()), 100, 1000), &bundles);
    assert_eq!(two, one);
    assert_eq!(one[0], "+I 1 1 1 5 5 3 2\n+I 2 1 0 5 NULL 1 1");
}

#[test]
fn distinct_values_of_two_phases_are_taken_back() {
    let bundles = [
        "+I 1 5 true\n+I 1 5 false\n+I 2 3 true",
        "-U 1 5 true\n+U 1 8 true\n-D 2 3 true",
        "-D 1 5 false\n+I 1 8 false\n+I 2 3 false",
        "-D 1 8 true\n-D 1 8 false\n+I 2 3 true\n-D 2 3 true",
    ];
    let (one, two) = phases(&mini(retracting(distinct_calls()), 100, 1000), &bundles);
    assert_eq!(two, one);
    assert!(one[3].starts_with("-D 1 1 1 8 8 2 2"), "{one:?}");
}

#[test]
fn more_distinct_values_than_a_call_may_emit_come_in_further_rows() {
    let spec_of = mini(
        spec(vec![distinct("COUNT", &[1], None), call("COUNT", &[])]),
        100,
        1_000_000,
    );
    let rows: Vec<String> = (0..20_000).map(|i| format!("+I {} {i} true", i % 2)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let mut local = Harness::new(Box::new(LocalGroupAggregate::new(&spec_of).unwrap()), SCHEMA);
    let mut global = Harness::new(
        Box::new(GroupAggregate::new(&spec_of, Input::Partials).unwrap()),
        SCHEMA,
    );
    assert!(local.process(local.batch(&rows)).is_empty());
    let partials = local.flush();
    assert_eq!(partials.len(), 4);
    assert_eq!(partials.iter().map(flott_core::Batch::num_rows).sum::<usize>(), 4);
    partials.into_iter().for_each(|p| drop(global.process(p)));
    assert_eq!(global.run("barrier"), "+I 0 10000 10000\n+I 1 10000 10000");
}

#[test]
fn rows_that_are_passed_on_bring_their_distinct_values() {
    let spec_of = mini(spec(distinct_calls()), 100, 5_000);
    let mut one = harness(&spec_of);
    let mut local = Harness::new(Box::new(LocalGroupAggregate::new(&spec_of).unwrap()), SCHEMA);
    let mut global = Harness::new(
        Box::new(GroupAggregate::new(&spec_of, Input::Partials).unwrap()),
        SCHEMA,
    );
    // No key repeats, so the second batch is passed on as it comes.
    for start in [0, 6_000] {
        let ok = |i: i64| ["true", "false", "NULL"][i as usize % 3];
        let rows: Vec<String> = (start..start + 6_000)
            .map(|i| format!("+I {i} {} {}", i % 7, ok(i)))
            .collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let mut expected = one.process(one.batch(&rows));
        expected.extend(one.flush());
        let partials = local.process(local.batch(&rows));
        assert!(!partials.is_empty(), "the bundle is full, or rows are passed on");
        let mut told: Vec<_> = partials.into_iter().flat_map(|p| global.process(p)).collect();
        told.extend(global.flush());
        let text = |batches: &[flott_core::Batch]| batches.iter().flat_map(lines).collect::<Vec<_>>();
        assert_eq!(text(&told), text(&expected));
    }
}

#[test]
fn without_keys_there_is_one_group_from_the_first_row_on() {
    let mut spec_of = spec(vec![call("COUNT", &[]), call("MIN", &[1])]);
    spec_of.keys = vec![];
    let mut op = harness(&spec_of);
    assert_eq!(op.run("end"), "");
    assert_eq!(op.run("+I 1 5 true\n+I 2 3 true"), "+I 1 5\n-U 1 5\n+U 2 3");
}

#[test]
fn state_is_taken_over_at_another_parallelism() {
    let calls = vec![
        call("SUM", &[1]),
        call("MAX", &[1]),
        call("MIN", &[1]),
        distinct("COUNT", &[1], None),
    ];
    let spec_of = retracting(calls);
    let operator = || Box::new(GroupAggregate::new(&spec_of, Input::Rows).unwrap());
    let before: Vec<String> = (0..40).map(|i| format!("+I {} {} true", i % 6, i % 9)).collect();
    // Take extremes back, so that the order of the values matters after the restore.
    let behind: Vec<String> = (0..30).rev().map(|i| format!("-D {} {} true", i % 6, i % 9)).collect();
    let mut straight = harness(&spec_of);
    straight.run(&before.join("\n"));
    let mut expected: Vec<String> = straight.run(&behind.join("\n")).lines().map(str::to_owned).collect();
    expected.sort();
    for parallelism in [1, 3] {
        let mut first = harness(&spec_of);
        first.run(&before.join("\n"));
        let mut out = vec![];
        for index in 0..parallelism {
            let mut second = Harness::restored(operator(), SCHEMA, (index, parallelism), vec![first.snapshot()]);
            let mine = |row: &&String| owner(row.split(' ').nth(1).unwrap().parse().unwrap(), parallelism) == index;
            let rows: Vec<&str> = behind.iter().filter(mine).map(String::as_str).collect();
            out.extend(second.run(&rows.join("\n")).lines().map(str::to_owned));
        }
        out.sort();
        assert_eq!(out, expected, "restored at parallelism {parallelism}");
    }
}

#[test]
fn groups_that_no_row_touches_are_forgotten() {
    let spec_of = GroupAggregateSpec {
        ttl_ms: 1000,
        ..spec(vec![distinct("COUNT", &[1], None), call("SUM", &[1])])
    };
    for backend in [StateBackend::default(), in_tiers("1")] {
        let mut op = over(&spec_of, backend);
        assert_eq!(
            op.run("clock 100\n+I 1 5 true\n+I 1 5 true"),
            "+I 1 1 5\n-U 1 1 5\n+U 1 1 10",
            "each row shows that the group lives"
        );
        assert_eq!(op.run("clock 1099\n+I 1 6 true"), "-U 1 1 10\n+U 1 2 16");
        assert_eq!(
            op.run("clock 2099\n+I 1 5 true\n+I 2 7 true"),
            "+I 1 1 5\n+I 2 1 7",
            "distinct values are forgotten too"
        );
        assert!(op.next_timer().is_some());
        assert_eq!(
            op.run("timer 9000\ntimer 20000"),
            "",
            "nothing is told when groups are forgotten"
        );
        assert_eq!(op.next_timer(), None, "nothing is left to look at");
    }
}

#[test]
fn groups_larger_than_memory_are_forgotten_with_their_distinct_values() {
    let counting = GroupAggregateSpec {
        ttl_ms: 1000,
        ..spec(vec![distinct("COUNT", &[1], None), call("SUM", &[1])])
    };
    let run = |spec: &GroupAggregateSpec, backend: StateBackend| {
        let mut op = over(spec, backend);
        let mut told = vec![];
        for step in 0..40u64 {
            // No clock stands at 0, which is a group's time before its first row.
            let now_ms = step as i64 * 100 + 100;
            op.clock.set(now_ms);
            for batch in 0..5 {
                // A fifth of the groups are of each step, one in seven comes again when it is about to be forgotten, or was.
                let row = |n: u64| match n % 7 {
                    0 => format!("+I {} {} true", step.saturating_sub(9 + n % 3) * 100 + n, n % 5),
                    _ => format!("+I {} {} true", step * 100 + n, (n + batch) % 5),
                };
                let rows: Vec<String> = (0..100).map(row).collect();
                let batch = op.batch(&rows.iter().map(String::as_str).collect::<Vec<_>>());
                told.extend(op.process(batch));
            }
            if step % 3 == 0 {
                told.extend(op.flush());
            }
            if op.next_timer().is_some_and(|at| at <= now_ms) {
                assert_eq!(op.run(&format!("timer {now_ms}")), "");
            }
        }
        told.extend(op.flush());
        let lines: Vec<String> = told.iter().flat_map(lines).collect();
        for time in 0..100 {
            op.run(&format!("timer {}", 10_000 + time * 1000));
        }
        assert_eq!(op.next_timer(), None, "all is forgotten in the end");
        lines
    };
    for spec in [counting.clone(), mini(counting, 1_000_000, 700)] {
        let expected = run(&spec, StateBackend::default());
        assert!(expected.len() > 3000, "{} lines", expected.len());
        for rows in ["2", "60"] {
            assert!(
                run(&spec, in_tiers(rows)) == expected,
                "{rows} rows in memory: {spec:?}"
            );
        }
    }
}

#[test]
fn extremes_of_groups_larger_than_memory_follow_what_is_taken_back() {
    const GROUPS: u64 = 300;
    let extremes = GroupAggregateSpec {
        input_retracts: true,
        ..spec(vec![
            call("MAX", &[1]),
            call("MIN", &[1]),
            distinct("COUNT", &[1], None),
            call("SUM", &[1]),
        ])
    };
    let forgetting = GroupAggregateSpec {
        ttl_ms: 700,
        ..extremes.clone()
    };
    let run = |spec: &GroupAggregateSpec, backend: StateBackend| {
        let mut op = over(spec, backend.clone());
        let (mut told, mut held) = (vec![], vec![vec![]; GROUPS as usize]);
        let mut random = 1u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        for step in 0..150 {
            let now_ms = step * 10 + 10;
            op.clock.set(now_ms);
            let mut row = || {
                let key = below(GROUPS);
                let values: &mut Vec<u64> = &mut held[key as usize];
                match values.len() as u64 {
                    // What goes is often the largest, or the smallest.
                    held @ 1.. if below(5) < 2 => {
                        values.sort_unstable();
                        let index = [0, held - 1, below(held)][below(3) as usize];
                        format!("-D {key} {} true", values.remove(index as usize))
                    }
                    _ => {
                        values.push(below(40));
                        format!("+I {key} {} true", values[values.len() - 1])
                    }
                }
            };
            let rows: Vec<String> = (0..100).map(|_| row()).collect();
            let batch = op.batch(&rows.iter().map(String::as_str).collect::<Vec<_>>());
            told.extend(op.process(batch));
            if op.next_timer().is_some_and(|at| at <= now_ms) {
                assert_eq!(op.run(&format!("timer {now_ms}")), "");
            }
            if step == 80 {
                told.extend(op.flush());
                let operator = Box::new(GroupAggregate::new(spec, Input::Rows).unwrap());
                op = Harness::restored_with_backend(operator, SCHEMA, backend.clone(), op.snapshot());
            }
        }
        told.extend(op.flush());
        told.iter().flat_map(lines).collect::<Vec<String>>()
    };
    for spec in [extremes.clone(), forgetting, mini(extremes.clone(), 1_000_000, 350)] {
        let expected = run(&spec, StateBackend::default());
        assert!(expected.len() > 3000, "{} lines", expected.len());
        for rows in ["2", "60"] {
            let given = run(&spec, in_tiers(rows));
            for (line, (given, expected)) in given.iter().zip(&expected).enumerate() {
                assert_eq!(given, expected, "line {line}, {rows} rows in memory: {spec:?}");
            }
            assert_eq!(given.len(), expected.len());
        }
    }
}

#[test]
fn many_groups_are_told_in_pieces() {
    let mut op = harness(&mini(spec(vec![call("COUNT", &[])]), 1000, 1_000_000));
    let rows: String = (0..20_000).map(|i| format!("+I {i} 1 true\n")).collect();
    assert_eq!(op.run(&rows), "");
    assert_eq!(op.run("barrier").lines().count(), 20_000);
    op.run(&rows);
    assert_eq!(op.run("barrier").lines().count(), 40_000);
    assert!(op.largest_call <= 8192, "{} rows in one call", op.largest_call);
}

#[test]
fn values_that_grow_are_told_in_pieces() {
    let list = AggregateCall {
        ty: LogicalType::string(),
        ..call("LISTAGG", &[1])
    };
    let spec = GroupAggregateSpec {
        input: vec![
            Field::new("k", LogicalType::bigint()),
            Field::new("v", LogicalType::string()),
        ],
        ..spec(vec![list])
    };
    let mut op = Harness::new(
        Box::new(GroupAggregate::new(&spec, Input::Rows).unwrap()),
        "k BIGINT, v STRING",
    );
    let rows: String = (0..2000).map(|_| "+I 1 0123456789\n").collect();
    let told = op.run(&rows);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 1 + 1999 * 2);
    assert_eq!(lines[3998].len(), "+U 1 ".len() + 2000 * 11 - 1);
    assert!(op.largest_call < 2000, "{} rows in one call", op.largest_call);
    assert_eq!(op.run("+I 2 x"), "+I 2 x");
}

fn over_texts(function: &str) -> GroupAggregateSpec {
    let call = AggregateCall {
        ty: LogicalType::string(),
        ..call(function, &[1])
    };
    GroupAggregateSpec {
        input: vec![
            Field::new("k", LogicalType::bigint()),
            Field::new("v", LogicalType::string()),
        ],
        ..spec(vec![call])
    }
}

fn texts(keys: impl Iterator<Item = i64>, length: usize) -> Batch {
    let keys: Vec<i64> = keys.collect();
    let texts = (0..keys.len()).map(|i| format!("{i:04}{}", "x".repeat(length - 4)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(texts)),
        Arc::new(Int64Array::from(keys.clone())),
    ];
    Batch::new(columns.into_iter().rev().collect(), keys.len())
}

#[test]
fn a_bundle_of_values_that_grow_is_told_in_pieces() {
    let spec = mini(over_texts("LISTAGG"), 1000, 1_000_000);
    let op = GroupAggregate::new(&spec, Input::Rows).unwrap();
    let mut op = Harness::new(Box::new(op), "k BIGINT, v STRING");
    // 30 groups of 500 KB, all of which a further row changes.
    let mut told = op.process(texts((0..1500).map(|i| i % 30), 10_000));
    told.extend(op.flush());
    assert_eq!(told.iter().map(Batch::num_rows).sum::<usize>(), 30);
    told = op.process(texts(0..30, 10_000));
    told.extend(op.flush());
    assert_eq!(told.iter().map(Batch::num_rows).sum::<usize>(), 60);
    let most = 2 * crate::operators::MAX_EMITTED_BYTES + 2_000_000;
    assert!(op.largest_bytes < most, "{} bytes in one call", op.largest_bytes);
    // 1500 new groups are as many steps, however long their lists were before.
    told = op.process(texts(100..1600, 10));
    told.extend(op.flush());
    assert_eq!(told.iter().map(Batch::num_rows).collect::<Vec<_>>(), [1500]);
}

#[test]
fn long_texts_are_told_in_pieces() {
    let op = GroupAggregate::new(&over_texts("MAX"), Input::Rows).unwrap();
    let mut op = Harness::new(Box::new(op), "k BIGINT, v STRING");
    let told = op.process(texts((0..70).map(|_| 1), 1_000_000));
    assert_eq!(told.iter().map(Batch::num_rows).sum::<usize>(), 1 + 69 * 2);
    let most = 2 * crate::operators::MAX_EMITTED_BYTES + 2_000_000;
    assert!(op.largest_bytes < most, "{} bytes in one call", op.largest_bytes);
}
