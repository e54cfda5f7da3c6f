//! Window aggregation as tables of text.

use super::aggregate::{Input, WindowAggregate};
use super::local::LocalWindowAggregate;
use super::table_function::WindowTableFunction;
use crate::nodes::*;
use crate::operators::harness::{Harness, in_tiers, lines, owner};
use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use flott_core::{Batch, Field, LogicalType, TypeKind};
use flott_state::StateBackend;
use std::sync::Arc;

pub(super) const SCHEMA: &str = "site STRING, n BIGINT, ts TIMESTAMP(3)";

pub(super) fn call(function: &str, args: &[usize]) -> AggregateCall {
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

pub(super) fn spec(window: WindowSpec, aggregates: Vec<AggregateCall>) -> WindowAggregateSpec {
    let property = |kind, name: &str| WindowProperty {
        kind,
        name: name.into(),
    };
    WindowAggregateSpec {
        input: vec![
            Field::new("site", LogicalType::string()),
            Field::new("n", LogicalType::bigint()),
            Field::new("ts", LogicalType::new(TypeKind::Timestamp(3))),
        ],
        keys: vec![0],
        aggregates,
        window,
        time: TimeAttribute::EventTime { column: 2 },
        properties: vec![
            property(WindowPropertyKind::Start, "s"),
            property(WindowPropertyKind::End, "e"),
        ],
        time_zone: "UTC".into(),
        input_retracts: false,
        legacy: false,
        emit: None,
    }
}

pub(super) fn tumble() -> WindowSpec {
    WindowSpec::Tumble {
        size_ms: 10,
        offset_ms: 0,
    }
}

pub(super) fn hop() -> WindowSpec {
    WindowSpec::Hop {
        size_ms: 6,
        slide_ms: 2,
        offset_ms: 0,
    }
}

pub(super) fn one_phase(spec: &WindowAggregateSpec) -> Harness {
    Harness::new(Box::new(WindowAggregate::new(spec, Input::Rows).unwrap()), SCHEMA)
}

/// Both phases in a row: what the local one emits goes into the global one before the same call.
fn two_phases(spec: &WindowAggregateSpec, script: &str) -> String {
    let mut local = Harness::new(Box::new(LocalWindowAggregate::new(spec).unwrap()), SCHEMA);
    let mut global = Harness::new(Box::new(WindowAggregate::new(spec, Input::Partials).unwrap()), SCHEMA);
    let mut out = vec![];
    let mut rows: Vec<&str> = vec![];
    for line in script.lines() {
        match line.strip_prefix("watermark ") {
            Some(time) => {
                let mut partial = local.process(local.batch(&std::mem::take(&mut rows)));
                partial.extend(local.watermark(time.parse().unwrap()));
                out.extend(partial.into_iter().flat_map(|b| global.process(b)));
                out.extend(global.watermark(time.parse().unwrap()));
            }
            None => rows.push(line),
        }
    }
    out.iter().flat_map(lines).collect::<Vec<_>>().join("\n")
}

const TRAFFIC: &str = "+I a.com 2 1
+I b.com 3 4
+I a.com 5 9
+I a.com NULL 3
watermark 8
+I b.com 7 10
+I b.com 1 2
watermark 9
+I b.com 100 5
watermark 30";

#[test]
fn a_window_fires_when_the_watermark_passes_its_last_millisecond() {
    let calls = vec![
        call("SUM", &[1]),
        call("COUNT", &[1]),
        call("COUNT", &[]),
        call("MIN", &[1]),
        call("AVG", &[1]),
    ];
    let spec = spec(tumble(), calls);
    let expected = "+I a.com 7 2 3 2 3 0 10
+I b.com 4 2 2 1 2 0 10
+I b.com 7 1 1 7 7 10 20";
    let mut op = one_phase(&spec);
    assert_eq!(op.run(TRAFFIC), expected);
    assert_eq!(
        op.metrics.late_records_dropped.get(),
        1,
        "b.com at 5 came behind watermark 9"
    );
    assert_eq!(two_phases(&spec, TRAFFIC), expected);
}

#[test]
fn a_row_is_late_against_the_watermark_before_its_batch_only() {
    let mut op = one_phase(&spec(tumble(), vec![call("SUM", &[1])]));
    assert_eq!(
        op.run("watermark 9\n+I a 1 15\n+I a 2 9\n+I a 4 11\nwatermark 19"),
        "+I a 5 10 20"
    );
    assert_eq!(op.metrics.late_records_dropped.get(), 1);
}

#[test]
fn hop_windows_are_put_together_from_slices_and_empty_ones_do_not_show() {
    let spec = spec(hop(), vec![call("SUM", &[1]), call("COUNT", &[]), call("MAX", &[1])]);
    let script = "+I a 1 0\n+I a 2 3\n+I b 4 3\nwatermark 1\n+I a 8 20\nwatermark 100";
    let expected = "+I a 1 1 1 -4 2
+I a 3 2 2 -2 4
+I b 4 1 4 -2 4
+I a 3 2 2 0 6
+I b 4 1 4 0 6
+I a 2 1 2 2 8
+I b 4 1 4 2 8
+I a 8 1 8 16 22
+I a 8 1 8 18 24
+I a 8 1 8 20 26";
    assert_eq!(one_phase(&spec).run(script), expected);
    assert_eq!(two_phases(&spec, script), expected);
}

fn cumulate() -> WindowSpec {
    WindowSpec::Cumulate {
        size_ms: 6,
        step_ms: 2,
        offset_ms: 0,
    }
}

#[test]
fn growing_windows_hold_what_came_before() {
    let spec = spec(
        cumulate(),
        vec![call("SUM", &[1]), call("COUNT", &[]), call("MAX", &[1])],
    );
    let script = "+I a 1 0\n+I a 2 3\n+I b 4 3\nwatermark 1\n+I a 8 9\nwatermark 100";
    let expected = "+I a 1 1 1 0 2
+I a 3 2 2 0 4
+I b 4 1 4 0 4
+I a 3 2 2 0 6
+I b 4 1 4 0 6
+I a 8 1 8 6 10
+I a 8 1 8 6 12";
    assert_eq!(one_phase(&spec).run(script), expected);
    assert_eq!(two_phases(&spec, script), expected);
}

#[test]
fn windows_larger_than_memory_give_what_they_give_in_memory() {
    const KEYS: u64 = 3_000;
    let two_slices = WindowSpec::Hop {
        size_ms: 4,
        slide_ms: 2,
        offset_ms: 0,
    };
    let mut distinct = call("COUNT", &[1]);
    distinct.distinct = true;
    let plain = ["SUM", "MIN", "MAX"].map(|function| call(function, &[1])).to_vec();
    let distinct = [plain.clone(), vec![distinct]].concat();
    let run = |spec: &WindowAggregateSpec, backend: StateBackend| {
        let operator = WindowAggregate::new(spec, Input::Rows).unwrap();
        let mut op = Harness::with_backend(Box::new(operator), SCHEMA, backend);
        let (mut given, mut held) = (vec![], 0);
        for time in 0..14 {
            for batch in 0..KEYS / 100 {
                let rows = |n: u64| {
                    let (key, value) = ((batch * 100 + n) * 7919 % KEYS, (time * 31 + n * 17) % 100);
                    // Some keys come seldom, so that they leave a window.
                    let key = if n.is_multiple_of(5) { key + time * KEYS } else { key };
                    let row = |kind: &str, value: u64| format!("{kind} key-{key} {value} {time}");
                    let taken_back = [row("+I", 1000), row("-D", 1000)];
                    let is_taken_back = spec.input_retracts && n.is_multiple_of(3);
                    let taken_back = taken_back.into_iter().filter(move |_| is_taken_back);
                    std::iter::once(row("+I", value)).chain(taken_back)
                };
                let rows: Vec<String> = (0..100).flat_map(rows).collect();
                assert!(
                    op.process(op.batch(&rows.iter().map(String::as_str).collect::<Vec<_>>()))
                        .is_empty()
                );
            }
            if time == 1 {
                held = op.state_bytes();
            }
            given.extend(op.watermark(time as i64));
        }
        given.extend(op.watermark(100));
        let mut lines: Vec<String> = given.iter().flat_map(lines).collect();
        lines.sort();
        (lines, held)
    };
    for window in [tumble(), hop(), two_slices, cumulate()] {
        for (calls, input_retracts) in [(&plain, false), (&distinct, false), (&distinct, true)] {
            let spec = WindowAggregateSpec {
                input_retracts,
                ..spec(window, calls.clone())
            };
            let (expected, in_memory) = run(&spec, StateBackend::default());
            let (given, in_tiers) = run(&spec, in_tiers("50"));
            assert!(expected.len() > KEYS as usize, "{window:?}: {} rows", expected.len());
            assert!(
                given == expected,
                "{window:?}: {} rows, not {}",
                given.len(),
                expected.len()
            );
            assert!(in_tiers * 4 < in_memory, "{window:?}: {in_tiers} bytes of {in_memory}");
        }
    }
}

#[test]
fn a_late_row_of_a_growing_window_counts_for_its_later_steps() {
    let mut distinct = call("COUNT", &[1]);
    distinct.distinct = true;
    let spec = spec(cumulate(), vec![call("SUM", &[1]), distinct]);
    let mut op = one_phase(&spec);
    assert_eq!(op.run("+I a 1 0\n+I a 2 2\nwatermark 3"), "+I a 1 1 0 2\n+I a 3 2 0 4");
    // After a restore the slices that have fired are one, which takes the late row.
    let operator = Box::new(WindowAggregate::new(&spec, Input::Rows).unwrap());
    let mut op = Harness::restored(operator, SCHEMA, (0, 1), vec![op.snapshot()]);
    assert_eq!(op.run("+I a 2 1\n+I b 9 3\nwatermark 5"), "+I a 5 2 0 6\n+I b 9 1 0 6");
    assert_eq!(op.metrics.late_records_dropped.get(), 0);
    assert_eq!(op.run("+I a 2 1\nwatermark 50"), "");
    assert_eq!(op.metrics.late_records_dropped.get(), 1);
}

#[test]
fn extremes_of_windows_follow_what_is_taken_back() {
    let mut distinct = call("SUM", &[1]);
    distinct.distinct = true;
    for window in [tumble(), hop(), cumulate()] {
        let mut spec = spec(window, vec![call("MAX", &[1]), call("MIN", &[1]), distinct.clone()]);
        spec.input_retracts = true;
        let mut op = one_phase(&spec);
        let out = op.run("+I a 5 0\n+I a 9 1\n+I a 5 1\n-D a 9 1\n-U a 5 1\n+U a 7 1\n+I b 1 0\n-D b 1 0\nwatermark 1");
        let first = |line: &str| line.split(' ').take(5).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = out.lines().map(first).collect();
        let expected: &[&str] = if window == tumble() { &[] } else { &["+I a 7 5 12"] };
        assert_eq!(lines, expected);
        let last = op.run("watermark 100");
        assert!(last.lines().all(|l| first(l) == "+I a 7 5 12"), "{last}");
        assert!(!last.is_empty());
    }
}

#[test]
fn windows_that_rows_bring_along_fire_by_the_clock_too() {
    let mut spec = spec(tumble(), vec![call("SUM", &[1])]);
    spec.time = TimeAttribute::Attached {
        window_end: 2,
        local_time: true,
        proctime: true,
    };
    let mut op = one_phase(&spec);
    assert_eq!(op.run("+I a 1 10\n+I a 2 20\nwatermark 50"), "");
    assert_eq!(op.next_timer(), Some(10));
    assert_eq!(op.run("timer 10"), "+I a 1 0 10");
    assert_eq!(op.next_timer(), Some(20));
}

#[test]
fn a_row_whose_first_windows_have_fired_counts_for_the_others() {
    let mut op = one_phase(&spec(hop(), vec![call("COUNT", &[])]));
    assert_eq!(
        op.run("watermark 3\n+I a 1 1\nwatermark 99"),
        "+I a 1 0 6",
        "windows 2 and 4 had passed"
    );
    assert_eq!(op.metrics.late_records_dropped.get(), 0);
    assert_eq!(op.run("+I a 1 90\nwatermark 200"), "");
    assert_eq!(op.metrics.late_records_dropped.get(), 1);
}

#[test]
fn without_keys_there_is_one_row_a_window() {
    let mut spec = spec(tumble(), vec![call("MAX", &[1])]);
    spec.keys = vec![];
    let script = "+I a 3 1\n+I b 9 2\n+I c NULL 11\nwatermark 50";
    assert_eq!(one_phase(&spec).run(script), "+I 9 0 10\n+I NULL 10 20");
    assert_eq!(two_phases(&spec, script), "+I 9 0 10\n+I NULL 10 20");
}

#[test]
fn distinct_values_count_once_a_window_also_across_slices() {
    let mut distinct = call("COUNT", &[1]);
    distinct.distinct = true;
    let mut sum = call("SUM", &[1]);
    sum.distinct = true;
    let script = "+I a 1 0\n+I a 1 1\n+I a 1 3\n+I a 2 3\n+I a NULL 3\nwatermark 99";
    let spec = spec(hop(), vec![distinct, sum, call("COUNT", &[1])]);
    let expected = "+I a 1 1 2 -4 2\n+I a 2 3 4 -2 4\n+I a 2 3 4 0 6\n+I a 2 3 2 2 8";
    assert_eq!(one_phase(&spec).run(script), expected);
    assert!(spec.supports_two_phases());
    assert_eq!(two_phases(&spec, script), expected);
}

/// The rows of the window of length 10 that ends at `end`, from rows (site, n, time).
fn window_of(rows: &[(usize, Option<i64>, i64)], end: i64) -> Vec<String> {
    let text = |v: Option<i64>| v.map_or("NULL".to_owned(), |v| v.to_string());
    let mut lines = vec![];
    for site in 0..4 {
        let of_window = rows
            .iter()
            .filter(|(s, _, t)| *s == site && (end - 10..end).contains(t));
        let values: Vec<Option<i64>> = of_window.map(|(_, n, _)| *n).collect();
        let numbers = || values.iter().flatten().copied();
        let sum = (numbers().count() > 0).then(|| numbers().sum::<i64>());
        let average = sum.map(|s| s / numbers().count() as i64);
        let shown = [sum, numbers().max(), numbers().min(), average].map(text).join(" ");
        if !values.is_empty() {
            lines.push(format!("+I {site} {} {shown} {} {end}", values.len(), end - 10));
        }
    }
    lines
}

#[test]
fn a_window_made_of_the_one_before_has_the_rows_of_its_slices() {
    let window = WindowSpec::Hop {
        size_ms: 10,
        slide_ms: 2,
        offset_ms: 0,
    };
    let arg = |f: &str| call(f, if f == "COUNT" { &[] } else { &[1] });
    let mut op = one_phase(&spec(window, ["COUNT", "SUM", "MAX", "MIN", "AVG"].map(arg).to_vec()));
    let (mut rows, mut state, mut told) = (vec![], 11u64, 0);
    for time in (20..600).step_by(2) {
        let mut script = String::new();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = (state >> 33) as i64;
            let site = (random >> 4) as usize % 4;
            // A site is silent for long, and one has no values for long.
            let is_silent = site == 3 && time / 30 % 3 != 0;
            let n = (random % 5 != 0 && (site, time / 20 % 4) != (2, 0)).then_some((random >> 8) % 100);
            // Some rows come when their first windows have fired.
            let late = if random % 11 == 0 { 7 } else { 0 };
            if !is_silent {
                rows.push((site, n, time + random % 2 - late));
                let text = n.map_or("NULL".into(), |n| n.to_string());
                script.push_str(&format!("+I {site} {text} {}\n", time + random % 2 - late));
            }
        }
        // Now and then three windows fire at once.
        if time % 12 >= 4 && time % 12 < 8 {
            assert_eq!(op.run(&script), "");
            continue;
        }
        let fired = if time % 12 == 8 { time - 8 } else { time - 4 };
        let out = op.run(&format!("{script}watermark {}", time - 3));
        let mut lines: Vec<&str> = out.lines().collect();
        let expected = (fired + 2..=time - 2).step_by(2).flat_map(|end| window_of(&rows, end));
        let mut expected: Vec<String> = expected.collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected, "at {time}");
        told += lines.len();
    }
    assert!(told > 500, "{told}");
}

#[test]
fn windows_of_local_time_are_cut_and_shown_in_the_sessions_zone() {
    let mut spec = spec(
        WindowSpec::Tumble {
            size_ms: 24 * 3_600_000,
            offset_ms: 0,
        },
        vec![call("COUNT", &[])],
    );
    spec.input[2].ty = LogicalType::new(TypeKind::TimestampLtz(3));
    spec.time_zone = "GMT+08:00".into();
    spec.properties.push(WindowProperty {
        kind: WindowPropertyKind::Time,
        name: "t".into(),
    });
    let (day, eight) = (24 * 3_600_000i64, 8 * 3_600_000i64);
    // 15:59 UTC is 23:59 there; 16:00 UTC is the next day.
    let before = day - eight;
    let script = format!("+I a 1 {}\n+I a 1 {before}\nwatermark {}", before - 1, before - 2);
    let mut op = one_phase(&spec);
    assert_eq!(op.run(&script), "");
    assert_eq!(
        op.run(&format!("watermark {}", before - 1)),
        format!("+I a 1 0 {day} {}", before - 1)
    );
    assert_eq!(
        op.run("watermark 9223372036854775807"),
        format!("+I a 1 {day} {} {}", 2 * day, before + day - 1)
    );
}

#[test]
fn processing_time_windows_follow_the_clock_and_fire_at_the_end_of_input() {
    let mut spec = spec(tumble(), vec![call("SUM", &[1])]);
    spec.time = TimeAttribute::ProcessingTime;
    let mut op = one_phase(&spec);
    assert_eq!(op.run("clock 3\n+I a 1 0\nclock 9\n+I a 2 0\nwatermark 50"), "");
    assert_eq!(op.next_timer(), Some(10));
    assert_eq!(op.run("timer 9"), "");
    assert_eq!(op.run("timer 12"), "+I a 3 0 10");
    assert_eq!(op.next_timer(), None);
    assert_eq!(
        op.run("clock 5\n+I a 7 0\nend"),
        "+I a 7 10 20",
        "a clock that is set back makes no row late"
    );
}

#[test]
fn windows_of_windows_keep_their_window() {
    let mut spec = spec(tumble(), vec![call("MAX", &[1])]);
    spec.keys = vec![];
    spec.time = TimeAttribute::Attached {
        window_end: 2,
        local_time: false,
        proctime: false,
    };
    let script = "+I a 1 10\n+I b 2 10\n+I c 3 20\nwatermark 9";
    assert_eq!(one_phase(&spec).run(script), "+I 2 0 10");
}

#[test]
fn state_is_taken_over_by_other_subtasks_at_every_barrier() {
    let mut spec = spec(hop(), vec![call("SUM", &[1]), call("AVG", &[1])]);
    spec.input[0].ty = LogicalType::bigint();
    let schema = "site BIGINT, n BIGINT, ts TIMESTAMP(3)";
    let operator = || Box::new(WindowAggregate::new(&spec, Input::Rows).unwrap());
    let rows: Vec<String> = (0..60).map(|i| format!("+I {} {i} {}", i % 7, i / 3)).collect();
    let straight = {
        let mut op = Harness::new(operator(), schema);
        let mut out = op.run(&rows[..30].join("\n"));
        out += &op.run("watermark 5");
        sorted(&[out, op.run(&rows[30..].join("\n")), op.run("watermark 99")])
    };
    for parallelism in [1, 2, 3] {
        let mut first = Harness::new(operator(), schema);
        let mut out = vec![first.run(&rows[..30].join("\n")), first.run("watermark 5")];
        for index in 0..parallelism {
            // One capture a subtask: captures are taken by value.
            let snapshot = first.snapshot();
            let mut second = Harness::restored(operator(), schema, (index, parallelism), vec![snapshot]);
            let mine = |row: &&String| owner(row.split(' ').nth(1).unwrap().parse().unwrap(), parallelism) == index;
            let rows: Vec<&str> = rows[30..].iter().filter(mine).map(String::as_str).collect();
            out.push(second.run(&rows.join("\n")));
            out.push(second.run("watermark 99"));
        }
        assert_eq!(sorted(&out), straight, "restored at parallelism {parallelism}");
    }
}

#[test]
fn a_restored_subtask_knows_what_has_fired() {
    let spec = spec(tumble(), vec![call("SUM", &[1])]);
    let mut first = one_phase(&spec);
    first.run("+I a 1 1\nwatermark 15");
    let operator = Box::new(WindowAggregate::new(&spec, Input::Rows).unwrap());
    let mut second = Harness::restored(operator, SCHEMA, (0, 1), vec![first.snapshot()]);
    assert_eq!(second.run("+I a 1 2\n+I a 5 12\nwatermark 19"), "+I a 5 10 20");
    assert_eq!(second.metrics.late_records_dropped.get(), 1);
}

pub(super) fn sorted(parts: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = parts.iter().flat_map(|p| p.lines()).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn many_keys(keys: i64, time: i64) -> Vec<Batch> {
    let batch = |from: i64| {
        let sites: ArrayRef = Arc::new(StringArray::from_iter_values(
            (from..from + 10_000).map(|i| format!("s{i}")),
        ));
        let ones: ArrayRef = Arc::new(Int64Array::from_value(1, 10_000));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_value(time, 10_000));
        Batch::new(vec![sites, ones, times], 10_000)
    };
    (0..keys / 10_000).map(|i| batch(i * 10_000)).collect()
}

#[test]
fn a_million_keys_fire_in_pieces() {
    let mut op = one_phase(&spec(tumble(), vec![call("SUM", &[1])]));
    for batch in many_keys(1_000_000, 3) {
        assert!(op.process(batch).is_empty());
    }
    let out = op.watermark(9);
    assert_eq!(out.iter().map(Batch::num_rows).sum::<usize>(), 1_000_000);
    assert!(op.largest_call <= 8192, "{} rows in one call", op.largest_call);
}

#[test]
fn the_local_phase_gives_up_where_keys_do_not_repeat() {
    let spec = spec(tumble(), vec![call("SUM", &[1]), call("COUNT", &[])]);
    let mut local = Harness::new(Box::new(LocalWindowAggregate::new(&spec).unwrap()), SCHEMA);
    let batches = many_keys(200_000, 3);
    let out: Vec<usize> = batches
        .into_iter()
        .map(|b| local.process(b).iter().map(Batch::num_rows).sum())
        .collect();
    assert_eq!(out[..10], [0; 10], "keys are held back");
    assert_eq!(out[10], 110_000, "above the bound all are emitted");
    assert_eq!(out[11..], [10_000; 9], "then rows pass as they come");
    assert_eq!(local.run("+I a 5 3"), "+I a 5 1 10");
}

#[test]
fn nothing_is_held_back_at_a_barrier() {
    let spec = spec(tumble(), vec![call("AVG", &[1]), call("MAX", &[1])]);
    let mut local = Harness::new(Box::new(LocalWindowAggregate::new(&spec).unwrap()), SCHEMA);
    let out = local.run("+I a 5 3\n+I a 7 4\n+I b NULL 19\nbarrier\n+I a 1 3\nend");
    assert_eq!(out, "+I a 12 2 7 10\n+I b NULL 0 NULL 20\n+I a 1 1 1 10");
}

#[test]
fn a_table_function_shows_every_window_of_a_row() {
    let spec = WindowTableFunctionSpec {
        input: vec![
            Field::new("id", LogicalType::bigint()),
            Field::new("ts", LogicalType::new(TypeKind::Timestamp(3))),
        ],
        window: hop(),
        time: TimeAttribute::EventTime { column: 1 },
        partition: vec![],
        time_zone: "UTC".into(),
    };
    let mut op = Harness::new(
        Box::new(WindowTableFunction::new(&spec).unwrap()),
        "id BIGINT, ts TIMESTAMP(3)",
    );
    assert_eq!(
        op.run("+I 1 0\n-D 2 3"),
        "+I 1 0 0 6 5\n+I 1 0 -2 4 3\n+I 1 0 -4 2 1\n-D 2 3 2 8 7\n-D 2 3 0 6 5\n-D 2 3 -2 4 3"
    );
}
