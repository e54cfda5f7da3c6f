//! What a Calc's condition says about its projection: below `event_type = 2`, `event_type = 0` is FALSE, and a CASE on
//! it is one of its branches.
//!
//! Only rows for which the condition is TRUE are projected, so a column that it compares with a constant has that value
//! there. Conditions stay as they are.

use crate::expr::{Expr, Literal};
use crate::rel::{Rel, RelOp};
use flott_core::LogicalType;

/// Simplifies the projections of all Calcs.
pub fn imply(rel: Rel) -> Rel {
    let rel = rel.map_inputs(&mut imply);
    let Rel { op, fields } = rel;
    let op = match op {
        RelOp::Calc {
            input,
            projection,
            condition: Some(condition),
        } => {
            let known = Known::of(&condition);
            RelOp::Calc {
                input,
                projection: projection.iter().map(|e| known.simplify(e)).collect(),
                condition: Some(condition),
            }
        }
        op => op,
    };
    Rel { op, fields }
}

/// Expressions and the constants that they equal.
struct Known(Vec<(Expr, Literal, LogicalType)>);

impl Known {
    fn of(condition: &Expr) -> Self {
        let known = condition
            .conjuncts()
            .into_iter()
            .filter_map(|c| {
                let (expr, value, ty) = equality(c)?;
                expr.is_deterministic()
                    .then(|| (expr.clone(), value.clone(), ty.clone()))
            })
            .collect();
        Self(known)
    }

    fn simplify(&self, expr: &Expr) -> Expr {
        if self.0.is_empty() {
            return expr.clone();
        }
        let Expr::Call { function, args, ty } = expr else {
            return expr.clone();
        };
        if let Some(truth) = self.truth(expr) {
            return Expr::literal(Literal::Boolean(truth), ty.clone());
        }
        let args: Vec<Expr> = args.iter().map(|a| self.simplify(a)).collect();
        match function.as_str() {
            "CASE" => simplify_case(args, ty),
            _ => Expr::call(function.clone(), args, ty.clone()),
        }
    }

    /// Whether `expr` is a comparison whose answer is known.
    fn truth(&self, expr: &Expr) -> Option<bool> {
        let (left, value, ty) = equality(expr)?;
        let (_, known, _) = self.0.iter().find(|(e, _, t)| e == left && t.kind == ty.kind)?;
        // Strings that differ in length may still be equal as CHAR; integers cannot.
        matches!(known, Literal::Integer(_)).then(|| known == value)
    }
}

/// `expression = constant`, in either order.
fn equality(expr: &Expr) -> Option<(&Expr, &Literal, &LogicalType)> {
    let [a, b] = expr.as_call("=")? else { return None };
    match (a, b) {
        (Expr::Literal { .. }, Expr::Literal { .. }) => None,
        (e, Expr::Literal { value, ty }) | (Expr::Literal { value, ty }, e) => Some((e, value, ty)),
        _ => None,
    }
}

/// A CASE without the branches that cannot be taken. The type stays: a branch that has another one is not put in its
/// place.
fn simplify_case(args: Vec<Expr>, ty: &LogicalType) -> Expr {
    let is = |e: &Expr, value: bool| e.as_literal() == Some(&Literal::Boolean(value));
    let mut kept = vec![];
    let mut rest = args.as_slice();
    while let [condition, value, more @ ..] = rest {
        rest = more;
        if is(condition, false) {
            continue;
        }
        if is(condition, true) {
            rest = std::slice::from_ref(value);
            break;
        }
        kept.extend([condition.clone(), value.clone()]);
    }
    let [otherwise] = rest else {
        return Expr::call("CASE", args, ty.clone());
    };
    if kept.is_empty() && otherwise.ty().kind == ty.kind {
        return otherwise.clone();
    }
    if kept.is_empty() {
        return Expr::call("CASE", args, ty.clone());
    }
    kept.push(otherwise.clone());
    Expr::call("CASE", kept, ty.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binder::ExprScope;
    use crate::parser::parse_expr;
    use crate::rel::RelField;

    fn simplified(condition: &str, expr: &str) -> String {
        let fields = ["a", "b", "c"].map(|n| RelField::new(n, LogicalType::int()));
        let scope = ExprScope::of_table(&fields);
        let bind = |text: &str| scope.bind(&parse_expr(text).unwrap()).unwrap();
        let names = ["a", "b", "c"].map(str::to_owned);
        let known = Known::of(&bind(condition));
        known
            .simplify(&bind(expr))
            .explain(&names, crate::expr::Notation::Infix)
            .to_string()
    }

    #[test]
    fn a_case_on_what_the_condition_says_is_its_branch() {
        let case = "CASE WHEN a = 0 THEN b WHEN a = 1 THEN c ELSE b + c END";
        assert_eq!(simplified("a = 2", case), "(b + c)");
        assert_eq!(simplified("b > 0 AND 1 = a", case), "c");
        assert_eq!(simplified("b = 2", case), "CASE((a = 0), b, (a = 1), c, (b + c))");
        assert_eq!(
            simplified("a = 2", "CASE WHEN a = 0 THEN b WHEN c = 1 THEN c END"),
            "CASE((c = 1), c, null:INTEGER)"
        );
        assert_eq!(
            simplified("a = 2 OR b = 1", case),
            "CASE((a = 0), b, (a = 1), c, (b + c))"
        );
    }
}
