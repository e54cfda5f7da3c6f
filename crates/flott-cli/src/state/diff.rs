//! `flott state diff`: what two snapshots say differently.

use flott_checkpoint::{OperatorDescription, SnapshotDescription, StateDescription};
use std::fmt::Write as _;

/// What differs, operator by operator; those that are equal are counted.
pub fn text(before: &SnapshotDescription, after: &SnapshotDescription) -> String {
    let mut out = format!("{} -> {}\n", before.path, after.path);
    let mut equal = 0;
    let found = |operators: &[OperatorDescription], id: &str| operators.iter().position(|o| o.id == id);
    for operator in &before.operators {
        match found(&after.operators, &operator.id) {
            None => {
                let _ = writeln!(out, "- {}: gone, {}", operator.name, sizes(operator));
            }
            Some(index) => {
                let changes = changes(operator, &after.operators[index]);
                equal += usize::from(changes.is_empty());
                if !changes.is_empty() {
                    let _ = writeln!(out, "  {}\n{}", operator.name, changes);
                }
            }
        }
    }
    for operator in after
        .operators
        .iter()
        .filter(|o| found(&before.operators, &o.id).is_none())
    {
        let _ = writeln!(out, "+ {}: new, {}", operator.name, sizes(operator));
    }
    let _ = writeln!(
        out,
        "{equal} operator(s) without a difference; bytes of all state {}",
        change(before.state_bytes, after.state_bytes)
    );
    out
}

fn sizes(operator: &OperatorDescription) -> String {
    let (rows, bytes): (u64, u64) = operator
        .states
        .iter()
        .fold((0, 0), |(rows, bytes), s| (rows + s.rows, bytes + s.bytes));
    format!("{} state(s), {rows} rows, {bytes} bytes", operator.states.len())
}

/// `5`, or `5 -> 7 (+2)`.
fn change(before: u64, after: u64) -> String {
    match i128::from(after) - i128::from(before) {
        0 => before.to_string(),
        difference => format!("{before} -> {after} ({difference:+})"),
    }
}

/// Lines about one operator; none if there is nothing to say.
fn changes(before: &OperatorDescription, after: &OperatorDescription) -> String {
    let mut lines = vec![];
    let mut say = |what: &str, before: u64, after: u64| {
        if before != after {
            lines.push(format!("    {what} {}", change(before, after)));
        }
    };
    say("parallelism", before.parallelism as u64, after.parallelism as u64);
    say(
        "key groups",
        before.max_parallelism as u64,
        after.max_parallelism as u64,
    );
    say(
        "prepared transactions",
        before.committables as u64,
        after.committables as u64,
    );
    if before.name != after.name {
        lines.push(format!("    name '{}' -> '{}'", before.name, after.name));
    }
    let found = |states: &[StateDescription], name: &str| states.iter().position(|s| s.name == name);
    for state in &before.states {
        match found(&after.states, &state.name).map(|i| &after.states[i]) {
            None => lines.push(format!("    - {}: gone, {} rows", state.name, state.rows)),
            Some(now) => {
                if state.types != now.types {
                    lines.push(format!("    {}: {} -> {}", state.name, state.types, now.types));
                }
                if (state.rows, state.bytes) != (now.rows, now.bytes) {
                    let (rows, bytes) = (change(state.rows, now.rows), change(state.bytes, now.bytes));
                    lines.push(format!("    {}: rows {rows}, bytes {bytes}", state.name));
                }
            }
        }
    }
    for state in after.states.iter().filter(|s| found(&before.states, &s.name).is_none()) {
        lines.push(format!("    + {}: new, {} rows", state.name, state.rows));
    }
    lines.join("\n")
}
