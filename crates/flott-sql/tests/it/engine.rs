//! Recorded answers of real Flink, row by row: every golden runs straight in this process.

use crate::goldens::{events, examples, recorded};
use crate::harness::{Engine, Variation, difference};
use crate::snapshot::report;

#[test]
fn rows_are_those_of_flink() {
    let engine = Engine::new();
    let mut differences = vec![];
    let mut compared = 0;
    for golden in recorded().into_iter().chain(events()).chain(examples()) {
        if golden.rows.is_none() && !golden.fails {
            continue;
        }
        compared += 1;
        let run = engine.run(&golden, &Variation::default());
        differences.extend(match (golden.fails, run.failure) {
            (true, Some(_)) => None,
            (true, None) => Some(format!("{}: Flink refuses it or fails", golden.name)),
            (false, Some(failure)) => Some(format!("{}: {failure}", golden.name)),
            (false, None) => {
                let expected = golden.rows.unwrap_or_default();
                difference(&golden.name, &run.rows, &expected, golden.in_order, "Flink")
            }
        });
    }
    assert!(compared > 115, "only {compared} scripts were compared");
    report(&differences);
}
