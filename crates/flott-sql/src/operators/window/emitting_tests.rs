//! Windows that fire more than once, as tables of text.

use super::emitting::EmittingWindowAggregate;
use super::tests::{SCHEMA, call, spec, tumble};
use crate::nodes::*;
use crate::operators::factory::window_aggregate;
use crate::operators::harness::{Harness, in_tiers, lines};
use flott_state::StateBackend;

fn emitting(early_ms: Option<u64>, late_ms: Option<u64>) -> WindowAggregateSpec {
    let mut spec = spec(tumble(), vec![call("COUNT", &[]), call("MAX", &[1])]);
    spec.legacy = true;
    spec.emit = Some(EmitSpec {
        early_ms,
        late_ms,
        lateness_ms: 20,
        update_before: true,
    });
    spec
}

fn operator(spec: &WindowAggregateSpec) -> Box<EmittingWindowAggregate> {
    Box::new(EmittingWindowAggregate::new(spec).unwrap())
}

fn open(spec: &WindowAggregateSpec) -> Harness {
    Harness::new(operator(spec), SCHEMA)
}

#[test]
fn every_row_is_told_at_once_without_a_delay() {
    let mut op = open(&emitting(Some(0), None));
    let out = op.run("+I a 1 0\n+I b 1 11\n+I a 3 2\nwatermark 9");
    assert_eq!(out, "+I a 1 1 0 10\n+I b 1 1 10 20\n-U a 1 1 0 10\n+U a 2 3 0 10");
    assert_eq!(
        op.run("+I a 7 3\nwatermark 30"),
        "",
        "the window has gone, and the other did not change"
    );
    assert_eq!(op.metrics.late_records_dropped.get(), 1);
}

#[test]
fn a_delay_gathers_changes() {
    let mut op = open(&emitting(Some(100), None));
    assert_eq!(op.run("clock 5\n+I a 1 0\nclock 50\n+I a 2 0"), "");
    assert_eq!(op.next_timer(), Some(105));
    assert_eq!(op.run("timer 105"), "+I a 2 2 0 10");
    assert_eq!(op.next_timer(), None, "nothing is left to tell");
    assert_eq!(op.run("+I a 9 1\nwatermark 9"), "-U a 2 2 0 10\n+U a 3 9 0 10");
}

#[test]
fn late_rows_are_told_while_they_are_allowed() {
    let mut op = open(&emitting(None, Some(0)));
    assert_eq!(op.run("+I a 1 0\nwatermark 9"), "+I a 1 1 0 10");
    assert_eq!(
        op.run("+I a 1 0\n+I b 4 0"),
        "-U a 1 1 0 10\n+U a 2 1 0 10\n+I b 1 4 0 10"
    );
    assert_eq!(op.run("watermark 28\n+I b 1 0"), "-U b 1 4 0 10\n+U b 2 4 0 10");
    assert_eq!(op.run("watermark 29\n+I b 1 0"), "");
    assert_eq!(op.metrics.late_records_dropped.get(), 1);
}

#[test]
fn late_rows_that_wait_are_told_before_the_window_goes() {
    let mut op = open(&emitting(None, Some(1000)));
    assert_eq!(op.run("+I a 1 0\nwatermark 9\n+I a 5 1"), "+I a 1 1 0 10");
    assert_eq!(op.run("watermark 40"), "-U a 1 1 0 10\n+U a 2 5 0 10");
    assert_eq!(op.next_timer(), None);
}

#[test]
fn what_was_told_is_known_after_a_restore() {
    let spec = emitting(Some(100), Some(0));
    let mut op = open(&spec);
    assert_eq!(
        op.run("clock 1\n+I a 1 0\n+I b 2 0\ntimer 101\n+I b 3 0"),
        "+I a 1 1 0 10\n+I b 1 2 0 10"
    );
    let mut op = Harness::restored(operator(&spec), SCHEMA, (0, 1), vec![op.snapshot()]);
    assert_eq!(op.next_timer(), Some(100), "the clock of the test starts anew");
    assert_eq!(op.run("timer 100"), "-U b 1 2 0 10\n+U b 2 3 0 10");
    assert_eq!(op.run("watermark 9"), "");
}

#[test]
fn a_window_whose_rows_are_all_taken_back_is_deleted() {
    let mut spec = emitting(Some(0), None);
    spec.input_retracts = true;
    let out = open(&spec).run("+I a 1 0\n+I a 9 1\n-D a 9 1\n-D a 1 0\nwatermark 50");
    assert_eq!(
        out,
        "+I a 1 1 0 10\n-U a 1 1 0 10\n+U a 2 9 0 10\n-U a 2 9 0 10\n+U a 1 1 0 10\n-D a 1 1 0 10"
    );
}

#[test]
fn readers_that_need_no_old_content_get_none() {
    let mut spec = emitting(Some(0), None);
    spec.emit.as_mut().unwrap().update_before = false;
    assert_eq!(open(&spec).run("+I a 1 0\n+I a 3 2"), "+I a 1 1 0 10\n+U a 2 3 0 10");
}

#[test]
fn windows_that_are_not_made_of_slices_are_told_apart_row_by_row() {
    let node = |size_ms, slide_ms, emit: bool| {
        let mut spec = emitting(Some(0), None);
        spec.window = WindowSpec::Hop {
            size_ms,
            slide_ms,
            offset_ms: 0,
        };
        if !emit {
            spec.emit = None;
        }
        Harness::new(window_aggregate(&spec).unwrap(), SCHEMA)
    };
    let script = "+I a 1 1\n+I a 2 4\nwatermark 99";
    assert_eq!(
        node(3, 2, false).run(script),
        "+I a 1 1 0 3\n+I a 1 2 2 5\n+I a 1 2 4 7"
    );
    assert_eq!(
        node(2, 4, false).run(script),
        "+I a 1 1 0 2\n+I a 1 2 4 6",
        "gaps are in no window"
    );
    assert_eq!(
        node(4, 2, true).run(script),
        "+I a 1 1 0 4\n+I a 1 1 -2 2\n+I a 1 2 4 8\n+I a 1 2 2 6"
    );
}

#[test]
fn windows_of_the_clock_fire_early_too() {
    let mut spec = emitting(Some(4), None);
    spec.time = TimeAttribute::ProcessingTime;
    let mut op = open(&spec);
    assert_eq!(op.run("clock 3\n+I a 1 0"), "");
    assert_eq!(op.next_timer(), Some(7));
    assert_eq!(
        op.run("timer 7\n+I a 2 0\ntimer 10"),
        "+I a 1 1 0 10\n-U a 1 1 0 10\n+U a 2 2 0 10"
    );
    assert_eq!(op.next_timer(), None);
}

#[test]
fn windows_larger_than_memory_tell_what_they_tell_in_memory() {
    const KEYS: u64 = 1_000;
    let run = |spec: &WindowAggregateSpec, backend: StateBackend| {
        let mut op = Harness::with_backend(operator(spec), SCHEMA, backend);
        let (mut told, mut held) = (vec![], 0);
        for step in 0..12u64 {
            let mut of_step = vec![];
            op.clock.set(step as i64 * 60);
            for batch in 0..KEYS / 100 {
                let rows = |n: u64| {
                    let key = (batch * 100 + n) * 7919 % KEYS + step / 4 * (n % 3) * KEYS;
                    // Rows of three windows, some of them late.
                    let time = step * 3 + n % 21;
                    let row = |kind: &str, value: u64| format!("{kind} key-{key} {value} {time}");
                    let taken_back = [row("+I", 1000), row("-D", 1000)];
                    let is_taken_back = spec.input_retracts && n.is_multiple_of(4);
                    let taken_back = taken_back.into_iter().filter(move |_| is_taken_back);
                    std::iter::once(row("+I", (step * 31 + n * 17) % 100)).chain(taken_back)
                };
                let rows: Vec<String> = (0..100).flat_map(rows).collect();
                let batch = op.batch(&rows.iter().map(String::as_str).collect::<Vec<_>>());
                of_step.extend(op.process(batch).iter().flat_map(lines));
            }
            if let Some(at) = op.next_timer().filter(|at| *at <= step as i64 * 60) {
                of_step.extend(op.run(&format!("timer {at}")).lines().map(str::to_owned));
            }
            held = op.state_bytes().max(held);
            of_step.extend(op.watermark(step as i64 * 3).iter().flat_map(lines));
            of_step.sort();
            told.push(of_step);
        }
        told.push(op.watermark(1000).iter().flat_map(lines).collect());
        told.iter_mut().for_each(|of_step| of_step.sort());
        (told, held)
    };
    let mut distinct = call("COUNT", &[1]);
    distinct.distinct = true;
    for (early_ms, late_ms) in [
        (Some(100), Some(100)),
        (Some(0), None),
        (None, Some(0)),
        (Some(100), Some(0)),
    ] {
        for input_retracts in [false, true] {
            let mut spec = emitting(early_ms, late_ms);
            spec.aggregates.push(distinct.clone());
            spec.input_retracts = input_retracts;
            let (expected, in_memory) = run(&spec, StateBackend::default());
            let (given, in_tiers) = run(&spec, in_tiers("50"));
            assert!(expected.concat().len() > KEYS as usize);
            for (step, (given, expected)) in given.iter().zip(&expected).enumerate() {
                assert!(
                    given == expected,
                    "{early_ms:?} {late_ms:?} {input_retracts}: step {step}"
                );
            }
            assert!(in_tiers * 3 < in_memory * 2, "{in_tiers} bytes of {in_memory}");
        }
    }
}
