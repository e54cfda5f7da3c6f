//! The longer lines of EXPLAIN, in Flink's form.

use crate::expr::{Expr, Notation};
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
