//! Leaves to a scan only the columns, metadata and fields of ROWs that anybody reads, watermark included.
//!
//! The needs of all scans of one table (with equal options) are put together, so that the sinks of a statement set
//! share one scan.

use crate::expr::{Expr, Literal};
use crate::rel::{Rel, RelField, RelOp, Scan};
use flott_core::{Field, LogicalType, TypeKind};
use flott_runtime::connector::ChangelogMode;
use std::collections::BTreeMap;

/// What is read of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// All of it.
    All,
    /// Some fields of a ROW.
    Fields(BTreeMap<usize, Need>),
}

impl Need {
    fn nothing() -> Self {
        Self::Fields(BTreeMap::new())
    }

    /// Adds the value at the end of `path`.
    fn add(&mut self, path: &[usize]) {
        let Self::Fields(fields) = self else { return };
        match path.split_first() {
            None => *self = Self::All,
            Some((first, rest)) => fields.entry(*first).or_insert_with(Self::nothing).add(rest),
        }
    }

    /// The type with only the needed fields.
    fn narrow(&self, ty: &LogicalType) -> LogicalType {
        match (self, &ty.kind) {
            (Self::Fields(needs), TypeKind::Row(fields)) => LogicalType {
                kind: TypeKind::Row(
                    needs
                        .iter()
                        .map(|(&i, need)| Field::new(fields[i].name.clone(), need.narrow(&fields[i].ty)))
                        .collect(),
                ),
                nullable: ty.nullable,
            },
            _ => ty.clone(),
        }
    }
}

/// Needs by column of a scan's full output.
type Columns = BTreeMap<usize, Need>;

/// Narrows the scans of all roots.
pub fn narrow(roots: Vec<Rel>) -> Vec<Rel> {
    let roots: Vec<Rel> = roots.into_iter().map(cover_scans).collect();
    let mut needs: Vec<(Scan, Columns)> = vec![];
    for root in &roots {
        gather(root, &mut needs);
    }
    roots.into_iter().map(|root| rewrite(root, &needs)).collect()
}

/// Puts a Calc over each scan that has none.
fn cover_scans(rel: Rel) -> Rel {
    match rel.op {
        RelOp::Scan(_) => {
            let columns = rel.identity();
            Rel::calc(rel, columns, None)
        }
        RelOp::Calc {
            input,
            projection,
            condition,
        } if matches!(input.op, RelOp::Scan(_)) => Rel {
            op: RelOp::Calc {
                input,
                projection,
                condition,
            },
            fields: rel.fields,
        },
        op => Rel { op, fields: rel.fields }.map_inputs(&mut cover_scans),
    }
}

fn gather(rel: &Rel, needs: &mut Vec<(Scan, Columns)>) {
    if let RelOp::Calc {
        input,
        projection,
        condition,
    } = &rel.op
        && let RelOp::Scan(scan) = &input.op
    {
        let position = needs.iter().position(|(s, _)| s == scan).unwrap_or_else(|| {
            needs.push((scan.clone(), Columns::new()));
            needs.len() - 1
        });
        let columns = &mut needs[position].1;
        let watermark = scan.watermark.iter().map(|(_, e)| e);
        for expr in projection.iter().chain(condition).chain(watermark) {
            add_needs(expr, columns);
        }
        for key in keys_of_changes(scan) {
            columns.insert(key, Need::All);
        }
        if !columns.keys().any(|c| *c < scan.physical.len()) && !scan.physical.is_empty() {
            // A row needs a column to be counted by; the first that is no collection is cheap.
            let cheap = scan.physical.iter().position(|f| !is_nested(&f.ty.kind)).unwrap_or(0);
            columns.insert(cheap, Need::All);
        }
        return;
    }
    for input in rel.inputs() {
        gather(input, needs);
    }
}

/// The primary key of a table that changes: by it the changes are put in order.
fn keys_of_changes(scan: &Scan) -> impl Iterator<Item = usize> {
    let changes = scan.traits.changelog != ChangelogMode::Append;
    let keys = scan.table.spec.primary_key.iter().filter(move |_| changes);
    keys.filter_map(|key| scan.physical.iter().position(|f| f.name == *key))
}

fn is_nested(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Row(_) | TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_)
    )
}

/// The column and fields that a chain of field accesses reads.
fn path_of(expr: &Expr) -> Option<(usize, Vec<usize>)> {
    match expr {
        Expr::InputRef { index, .. } => Some((*index, vec![])),
        Expr::Call { .. } => {
            let [row, position] = expr.as_call("DOT")? else {
                return None;
            };
            let Some(Literal::Integer(field)) = position.as_literal() else {
                return None;
            };
            let (column, mut path) = path_of(row)?;
            path.push(usize::try_from(*field).ok()?);
            Some((column, path))
        }
        Expr::Literal { .. } => None,
    }
}

fn add_needs(expr: &Expr, columns: &mut Columns) {
    if let Some((column, path)) = path_of(expr) {
        columns.entry(column).or_insert_with(Need::nothing).add(&path);
        return;
    }
    for arg in expr.args() {
        add_needs(arg, columns);
    }
}

fn rewrite(rel: Rel, needs: &[(Scan, Columns)]) -> Rel {
    let Rel { op, fields } = rel;
    match op {
        RelOp::Calc {
            input,
            projection,
            condition,
        } if matches!(input.op, RelOp::Scan(_)) => {
            let RelOp::Scan(scan) = input.op else {
                return Rel {
                    op: RelOp::Calc {
                        input,
                        projection,
                        condition,
                    },
                    fields,
                };
            };
            let columns = needs.iter().find(|(s, _)| *s == scan).map(|(_, c)| c);
            let columns = columns.cloned().unwrap_or_default();
            let inner = input.fields;
            let map = |e: &Expr| narrow_expr(e, &columns, &inner);
            Rel {
                op: RelOp::Calc {
                    projection: projection.iter().map(map).collect(),
                    condition: condition.as_ref().map(map),
                    input: Box::new(narrow_scan(scan, &columns, &inner)),
                },
                fields,
            }
        }
        op => Rel { op, fields }.map_inputs(&mut |input| rewrite(input, needs)),
    }
}

fn narrow_scan(scan: Scan, columns: &Columns, fields: &[RelField]) -> Rel {
    let width = scan.physical.len();
    let physical = columns
        .range(..width)
        .map(|(&i, need)| Field::new(scan.physical[i].name.clone(), need.narrow(&scan.physical[i].ty)))
        .collect();
    let metadata = columns
        .range(width..)
        .map(|(&i, _)| scan.metadata[i - width].clone())
        .collect();
    let watermark = scan
        .watermark
        .as_ref()
        .map(|(name, expr)| (name.clone(), narrow_expr(expr, columns, fields)));
    let fields = columns
        .iter()
        .map(|(&i, need)| RelField {
            ty: need.narrow(&fields[i].ty),
            ..fields[i].clone()
        })
        .collect();
    Rel {
        op: RelOp::Scan(Scan {
            physical,
            metadata,
            watermark,
            ..scan
        }),
        fields,
    }
}

/// The expression over the narrowed columns.
fn narrow_expr(expr: &Expr, columns: &Columns, fields: &[RelField]) -> Expr {
    if let Some((column, path)) = path_of(expr)
        && let Some(narrowed) = narrow_path(column, &path, columns, fields)
    {
        return narrowed;
    }
    match expr {
        Expr::Call { function, args, ty } => Expr::Call {
            function: function.clone(),
            args: args.iter().map(|a| narrow_expr(a, columns, fields)).collect(),
            ty: ty.clone(),
        },
        other => other.clone(),
    }
}

fn narrow_path(column: usize, path: &[usize], columns: &Columns, fields: &[RelField]) -> Option<Expr> {
    let mut need = columns.get(&column)?;
    let position = columns.keys().position(|c| *c == column)?;
    let mut expr = Expr::input(position, need.narrow(&fields[column].ty));
    for step in path {
        expr = match need {
            Need::All => expr.field(*step)?,
            Need::Fields(inner) => {
                need = inner.get(step)?;
                let index = inner.keys().position(|k| k == step)?;
                expr.field(index)?
            }
        };
    }
    Some(expr)
}
