//! The longer lines of EXPLAIN, in Flink's form.

use crate::expr::{Expr, Notation};
use crate::nodes::{EmitSpec, WindowSpec};
use crate::rel::{AggCall, Rel, call_text, names_of};

/// `Calc(select=[a, (b + 1) AS c], where=[(a > 2)])`
pub fn calc_description(rel: &Rel, input: &Rel, projection: &[Expr], condition: Option<&Expr>) -> String {
    let names = names_of(input);
    let select: Vec<String> = rel
        .fields
        .iter()
        .zip(projection)
        .map(|(field, expr)| {
            let text = expr.explain(&names, Notation::Infix).to_string();
            if text == field.name {
                text
            } else {
                format!("{text} AS {}", field.name)
            }
        })
        .collect();
    let condition = condition.map_or_else(String::new, |c| {
        format!(", where=[{}]", c.explain(&names, Notation::Infix))
    });
    format!("Calc(select=[{}]{condition})", select.join(", "))
}

/// `TumblingGroupWindow('w$, ts, 60000)`
pub fn group_window_text(window: &WindowSpec, time: &str) -> String {
    match *window {
        WindowSpec::Hop { size_ms, slide_ms, .. } => format!("SlidingGroupWindow('w$, {time}, {size_ms}, {slide_ms})"),
        WindowSpec::Session { gap_ms } => format!("SessionGroupWindow('w$, {time}, {gap_ms})"),
        _ => format!("TumblingGroupWindow('w$, {time}, {})", window.size_ms()),
    }
}

/// `, emit=[early delay 1000 millisecond, late no delay]`
pub fn emit_text(emit: &EmitSpec) -> String {
    let part = |name: &str, delay: Option<u64>| {
        delay.map(|ms| match ms {
            0 => format!("{name} no delay"),
            ms => format!("{name} delay {ms} millisecond"),
        })
    };
    let parts: Vec<String> = [part("early", emit.early_ms), part("late", emit.late_ms)]
        .into_iter()
        .flatten()
        .collect();
    format!(", emit=[{}]", parts.join(", "))
}

/// `time_col=[ts]`
pub fn time_attribute(name: &str) -> String {
    format!("time_col=[{name}]")
}

/// `word, COUNT(*) AS cnt`
pub fn select_text(keys: &[String], calls: &[AggCall], names: &[String]) -> String {
    keys.iter()
        .cloned()
        .chain(calls.iter().map(|c| format!("{} AS {}", call_text(c, names), c.name)))
        .collect::<Vec<_>>()
        .join(", ")
}
