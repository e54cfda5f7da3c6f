//! Tables of expressions with their types and values, recorded from Flink.
//!
//! A line holds an expression over constants, its type and its value cast to STRING, between tabs. `refused` in the
//! type's place: no such expression; `fails` in the value's: the job fails. Values are checked twice, folded while
//! compiling and run over a column, so that both paths of every kernel are taken.
//!
//! `bench/record_expressions.sh` makes such a table from a list of expressions.
//!
//! Left out is where we differ on purpose: tests/peers/DIFFERENCES.md lists these expressions, and a test holds the list true.

use super::cast::text::to_strings;
use super::{EvalContext, Expr, TimeZone, compile, fold_constants};
use crate::binder::ExprScope;
use crate::parser::parse_expr;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use flott_core::{Batch, TypeKind};

mod evaluation;

fn bind(text: &str) -> Result<Expr, String> {
    let parsed = parse_expr(text).map_err(|e| e.to_string())?;
    ExprScope::default().bind(&parsed).map_err(|e| e.to_string())
}

/// The value as the table has it: `NULL`, `fails` or quoted text.
fn value(expr: &Expr, batch: &Batch, context: &EvalContext) -> String {
    let result = compile(expr, context).and_then(|c| c.evaluate(batch));
    match result {
        Err(_) => "fails".to_owned(),
        Ok(array) => {
            assert_eq!(array.len(), batch.num_rows(), "{expr}");
            let last = array.slice(array.len() - 1, 1);
            let texts = to_strings(&last, &expr.ty().kind, &context.time_zone).unwrap();
            if texts.is_null(0) {
                "NULL".to_owned()
            } else {
                format!("'{}'", texts.as_string::<i32>().value(0))
            }
        }
    }
}

/// The same expression with its constants as columns of a batch of three rows.
fn with_columns(expr: &Expr) -> (Expr, Batch) {
    let mut columns: Vec<ArrayRef> = vec![];
    let moved = lift(expr, &mut columns);
    (moved, Batch::new(columns, 3))
}

fn lift(expr: &Expr, columns: &mut Vec<ArrayRef>) -> Expr {
    match expr {
        Expr::Literal { value, ty } if !matches!(value, super::Literal::Symbol(_)) && ty.kind != TypeKind::Null => {
            let one = super::literal::to_array(value, ty).unwrap();
            let column = super::value::Value::Scalar(one).into_column(3).unwrap();
            columns.push(column);
            Expr::input(columns.len() - 1, ty.clone())
        }
        Expr::Call { function, args, ty } => {
            // a field's position is part of the call
            let keep = function == "DOT";
            let args = args.iter().enumerate();
            let args = args.map(|(i, a)| if keep && i == 1 { a.clone() } else { lift(a, columns) });
            Expr::call(function.clone(), args.collect(), ty.clone())
        }
        other => other.clone(),
    }
}

fn check(table: &str) {
    check_in(table, TimeZone::UTC);
}

/// Checks a table that was recorded with this session time zone.
fn check_in(table: &str, time_zone: TimeZone) {
    let context = &EvalContext {
        time_zone,
        ..EvalContext::default()
    };
    let mut wrong = vec![];
    for line in table.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let [text, ty, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a line without three columns: {line:?}");
        };
        let expr = match bind(text) {
            Ok(expr) => expr,
            Err(_) if ty == "refused" => continue,
            Err(e) => {
                wrong.push(format!("{text}: {e}"));
                continue;
            }
        };
        if expr.ty().to_string() != ty {
            wrong.push(format!("{text}: is {}, should be {ty}", expr.ty()));
        }
        if ty == "refused" {
            continue;
        }
        let folded = value(&fold_constants(&expr, context), &Batch::new(vec![], 1), context);
        if folded != expected {
            wrong.push(format!("{text}: folds to {folded}, should be {expected}"));
        }
        let (moved, batch) = with_columns(&expr);
        let run = value(&moved, &batch, context);
        if run != expected {
            wrong.push(format!("{text}: runs to {run}, should be {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn literals_arithmetic_comparison_and_conditions() {
    check(include_str!("values.tsv"));
}

#[test]
fn text_functions() {
    check(include_str!("text.tsv"));
}

#[test]
fn time_and_collection_functions() {
    check(include_str!("time.tsv"));
}

#[test]
fn functions_of_bytes_digests_and_urls() {
    check(include_str!("functions.tsv"));
}

#[test]
fn numbers_tests_of_truth_and_clocks() {
    check(include_str!("numbers.tsv"));
}

#[test]
fn json_functions() {
    check(include_str!("json.tsv"));
}

#[test]
fn edges_of_text_functions_and_conditions() {
    check(include_str!("edges.tsv"));
}

#[test]
fn times_intervals_and_instants() {
    check(include_str!("temporal.tsv"));
}

#[test]
fn instants_follow_the_session_zone_over_its_changes() {
    check_in(include_str!("temporal_berlin.tsv"), "Europe/Berlin".parse().unwrap());
    check_in(include_str!("temporal_shanghai.tsv"), "Asia/Shanghai".parse().unwrap());
}

#[test]
fn arrays_maps_and_rows() {
    check(include_str!("collections.tsv"));
}

#[test]
fn casts() {
    check(include_str!("casts.tsv"));
}

/// What becomes of an expression over constants: `refused`, `fails`, or its value.
fn answer(text: &str, context: &EvalContext) -> String {
    match bind(text) {
        Err(_) => "refused".to_owned(),
        Ok(expr) => value(&fold_constants(&expr, context), &Batch::new(vec![], 1), context),
    }
}

#[test]
fn what_is_listed_as_different_differs() {
    let page = include_str!("../../../../../tests/peers/DIFFERENCES.md");
    let lines = page.lines().skip_while(|l| !l.starts_with("| expression |")).skip(2);
    let mut wrong = vec![];
    let mut count = 0;
    for line in lines.take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [text, flink, ours, _] = cells[..] else {
            panic!("a line without four columns: {line}");
        };
        count += 1;
        let text = text.trim_matches('`');
        let found = answer(text, &EvalContext::default());
        if found != ours.trim_matches('`') || flink == ours {
            wrong.push(format!("{text}: is {found} here, not {ours} (Flink: {flink})"));
        }
    }
    assert!(
        count > 0 && wrong.is_empty(),
        "{} of {count} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
