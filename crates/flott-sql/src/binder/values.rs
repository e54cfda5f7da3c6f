//! VALUES and queries without FROM.

use super::Binder;
use super::expr::span_of;
use super::scope::ExprScope;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::types::least_restrictive;
use crate::expr::{Expr, Literal, resolve_cast};
use crate::rel::{Rel, RelField, RelOp, generated_name};
use flott_core::{LogicalType, TypeKind};
use sqlparser::ast::Values;

impl Binder<'_> {
    /// One row without columns.
    pub(super) fn one_row() -> Rel {
        Rel {
            op: RelOp::Values(vec![vec![]]),
            fields: vec![],
        }
    }

    /// Binds VALUES: every column has the common type of its rows.
    pub(super) fn values(&self, values: &Values) -> SqlResult<Rel> {
        let mut rows: Vec<Vec<Expr>> = vec![];
        let scope = ExprScope::default();
        for row in &values.rows {
            let cells = row_cells(&row.content);
            let bound = cells.iter().map(|e| scope.bind(e)).collect::<SqlResult<Vec<_>>>()?;
            if let Some(first) = rows.first()
                && first.len() != bound.len()
            {
                return Err(SqlError::new(
                    Step::Type,
                    format!(
                        "a row of VALUES has {} values, the first one {}",
                        bound.len(),
                        first.len()
                    ),
                )
                .at_span(
                    cells
                        .first()
                        .map_or_else(sqlparser::tokenizer::Span::empty, |c| span_of(c)),
                ));
            }
            rows.push(bound);
        }
        let width = rows.first().map_or(0, Vec::len);
        let mut types = vec![];
        for column in 0..width {
            let cells: Vec<&Expr> = rows.iter().map(|r| &r[column]).collect();
            types.push(common_type(&cells).map_err(|e| match values.rows.first() {
                Some(row) => e.at_span(span_of(row_cells(&row.content)[column])),
                None => e,
            })?);
        }
        let names: Vec<String> = (0..width).map(generated_name).collect();
        rows.iter_mut().try_for_each(|row| cast_row(row, &types))?;
        Ok(values_rel(rows, &names, &types))
    }
}

/// `VALUES (ROW(1, 2))` is `VALUES (1, 2)`.
fn row_cells(row: &[sqlparser::ast::Expr]) -> Vec<&sqlparser::ast::Expr> {
    use sqlparser::ast::Expr as E;
    match row {
        [E::Tuple(items)] => items.iter().collect(),
        other => other.iter().collect(),
    }
}

fn cast_row(row: &mut [Expr], types: &[LogicalType]) -> SqlResult<()> {
    for (cell, ty) in row.iter_mut().zip(types) {
        *cell = cast_to(cell.clone(), ty)?;
    }
    Ok(())
}

/// The same value in this type; nullability does not matter.
pub fn cast_to(expr: Expr, ty: &LogicalType) -> SqlResult<Expr> {
    if expr.ty().kind == ty.kind {
        return Ok(expr);
    }
    if let Expr::Literal {
        value: Literal::Null, ..
    } = expr
    {
        return Ok(Expr::null(ty.kind.clone()));
    }
    resolve_cast(expr, ty.clone(), false).map_err(|e| super::expr::function_error(&e))
}

/// The type that all expressions can have without a CAST.
pub fn common_type(exprs: &[&Expr]) -> SqlResult<LogicalType> {
    least_restrictive(exprs.iter().map(|e| e.ty())).ok_or_else(|| {
        let types: Vec<String> = exprs.iter().map(|e| e.ty().kind.to_string()).collect();
        SqlError::new(Step::Type, format!("no type is common to {}", types.join(", "))).remedy("CAST them to one type")
    })
}

/// Constant rows. Where a value needs computing, the rows are their numbers and a projection chooses by them, so that
/// they keep their order; what can be computed at planning is folded by a rule later.
fn values_rel(rows: Vec<Vec<Expr>>, names: &[String], types: &[LogicalType]) -> Rel {
    let literals: Option<Vec<Vec<Literal>>> = rows
        .iter()
        .map(|row| row.iter().map(|e| e.as_literal().cloned()).collect())
        .collect();
    let fields: Vec<RelField> = names
        .iter()
        .zip(types)
        .map(|(n, t)| RelField::new(n.clone(), t.clone()))
        .collect();
    if let Some(rows) = literals {
        return Rel {
            op: RelOp::Values(rows),
            fields,
        };
    }
    let int = LogicalType::not_null(TypeKind::Int);
    let numbers = Rel {
        op: RelOp::Values((0_i64..).zip(&rows).map(|(n, _)| vec![Literal::Integer(n)]).collect()),
        fields: vec![RelField::new("$row", int.clone())],
    };
    let column = |index: usize| -> Expr {
        let mut args = vec![];
        for (number, row) in (0_i32..).zip(&rows) {
            let is_row = vec![Expr::input(0, int.clone()), Expr::int(number)];
            args.push(Expr::call("=", is_row, LogicalType::not_null(TypeKind::Boolean)));
            args.push(row[index].clone());
        }
        // The last row needs no condition.
        args.remove(args.len() - 2);
        match args.len() {
            1 => args.remove(0),
            _ => Expr::call("CASE", args, types[index].clone()),
        }
    };
    let columns = names.iter().enumerate().map(|(i, n)| (n.clone(), column(i))).collect();
    let mut rel = Rel::calc(numbers, columns, None);
    for (field, ty) in rel.fields.iter_mut().zip(types) {
        field.ty = ty.clone();
    }
    rel
}
