//! Recorded answers of real Flink, row by row: every golden runs straight in this process.

use crate::goldens::{differing, events, examples, recorded};
use crate::harness::{Engine, Variation, difference};
use crate::parity::{How, differences, peers};
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

#[test]
fn what_is_listed_as_different_differs() {
    let engine = Engine::new();
    let listed = differences();
    let mut wrong = vec![];
    let goldens = differing();
    let missing = listed.keys().filter(|name| goldens.iter().all(|g| g.name != **name));
    wrong.extend(missing.map(|name| format!("{name}: no such script")));
    for golden in goldens {
        let run = engine.run(&golden, &Variation::default());
        let differs = match (listed[&golden.name], run.failure) {
            (How::Taken, failure) => golden.fails && failure.is_none(),
            (How::Fails, failure) => !golden.fails && failure.is_some(),
            (How::Rows | How::Types, Some(failure)) => {
                wrong.push(format!("{}: fails here: {failure}", golden.name));
                continue;
            }
            (How::Rows | How::Types, None) => golden.rows.is_some_and(|expected| {
                difference(&golden.name, &run.rows, &expected, golden.in_order, "Flink").is_some()
            }),
        };
        if !differs {
            wrong.push(format!(
                "{}: is listed in DIFFERENCES.md, but does not differ so",
                golden.name
            ));
        }
    }
    let unlisted = peers().into_iter().filter(|a| a.header["flink_is_wrong"].is_string());
    let unlisted = unlisted.filter(|a| !listed.contains_key(&a.name));
    wrong.extend(unlisted.map(|a| format!("{}: Flink is wrong, and DIFFERENCES.md does not say so", a.name)));
    report(&wrong);
}
