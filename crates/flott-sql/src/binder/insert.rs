//! INSERT INTO: matches a query with its sink: number and types of columns, keys and changes.

use super::Binder;
use super::ExprScope;
use super::from::metadata_key;
use super::values::cast_to;
use crate::catalog::{Column, Object, Table};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Expr;
use crate::parser::ast::Insert;
use crate::rel::{ModifyKinds, Rel};
use flott_core::{Field, LogicalType, TypeKind, suggest};
use flott_runtime::connector::{ChangelogMode, MetadataKey, TableSpec};
use sqlparser::ast::{Ident, ObjectName, Spanned};
use sqlparser::tokenizer::Span;
use std::sync::Arc;

/// A query and the sink that it is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundInsert {
    /// The sink, with options of hints.
    pub table: TableSpec,
    /// Row kinds that it takes.
    pub changelog: ChangelogMode,
    /// The query's rows in the sink's columns: physical ones, then writable metadata.
    pub rel: Rel,
    /// The sink's columns.
    pub fields: Vec<Field>,
    /// Metadata behind the physical ones.
    pub metadata: Vec<MetadataKey>,
    /// What the connector warns of.
    pub warnings: Vec<String>,
}

impl Binder<'_> {
    /// Binds an INSERT.
    ///
    /// # Errors
    /// If the query or the sink is wrong, or they do not fit each other.
    pub fn insert(&self, insert: &Insert) -> SqlResult<BoundInsert> {
        let span = insert.table.span();
        let table = self.sink_table(&insert.table)?;
        let rel = self.query(&insert.query)?;
        let last = insert.table.0.last().and_then(|p| p.as_ident());
        let hints = last.map_or(&[][..], |i| self.source.hints.of(i.span.start));
        let mut spec = table.spec.clone();
        for (key, value) in hints {
            spec.options.set(key, value);
        }
        let info = self.check_table(&table, hints, span, |c| c.check_sink(&spec, self.options))?;
        let mut targets = targets(&table, &insert.columns)?;
        let partition = static_partition(&table, insert, &mut targets)?;
        check_count(&table, &targets, &rel, span)?;
        let rel = with_partition(&table, rel, &mut targets, partition);
        let rel = self.fit(&table, &targets, rel, span)?;
        let mut metadata = vec![];
        for column in spec.metadata.iter().filter(|m| !m.is_virtual) {
            let key = metadata_key(&info, &column.key, spec.connector()).map_err(|e| e.at_span(span))?;
            if !key.writable {
                return Err(SqlError::new(
                    Step::Sink,
                    format!(
                        "the metadata column '{}' ('{}') cannot be written",
                        column.name, column.key
                    ),
                )
                .at_span(span)
                .remedy("declare it VIRTUAL, then an INSERT leaves it out"));
            }
            metadata.push(key);
        }
        let rel = physical_first(&table, &metadata, rel)?;
        check_changes(&spec, info.changelog, &rel, span)?;
        Ok(BoundInsert {
            fields: sink_types(&table, &metadata)
                .into_iter()
                .map(|(name, ty)| Field::new(name, ty))
                .collect(),
            table: spec,
            changelog: info.changelog,
            rel,
            metadata,
            warnings: info.warnings,
        })
    }

    fn sink_table(&self, name: &ObjectName) -> SqlResult<Arc<Table>> {
        match self.catalog.find(name)? {
            Object::Table(table) => Ok(table.clone()),
            Object::View(_) => Err(
                SqlError::new(Step::Sink, format!("'{name}' is a view: it cannot be written to"))
                    .at_span(name.span())
                    .remedy("INSERT INTO a table"),
            ),
        }
    }

    /// Casts the query's columns to the sink's, in declared order; columns that the INSERT leaves out are NULL.
    fn fit(&self, table: &Table, targets: &[usize], rel: Rel, span: Span) -> SqlResult<Rel> {
        let sinks: Vec<&Column> = table.sink_columns().collect();
        let mut columns = vec![];
        for (position, sink) in sinks.iter().enumerate() {
            let Some(source) = targets.iter().position(|t| *t == position) else {
                if !sink.ty.nullable {
                    return Err(SqlError::new(
                        Step::Sink,
                        format!("the column '{}' is NOT NULL, but the INSERT leaves it out", sink.name),
                    )
                    .at_span(span)
                    .remedy("name it too, with a value for it, or declare it without NOT NULL"));
                }
                columns.push((sink.name.clone(), Expr::null(sink.ty.kind.clone())));
                continue;
            };
            let field = &rel.fields[source];
            let expr = Expr::input(source, field.ty.clone());
            if !fits(&field.ty, &sink.ty) {
                return Err(mismatch(table, &sinks, targets, &rel, (source, position)).at_span(span));
            }
            columns.push((
                sink.name.clone(),
                cast_to(expr, &relaxed(&field.ty, &sink.ty)).map_err(|e| e.at_span(span))?,
            ));
        }
        Ok(Rel::calc(rel, columns, None))
    }
}

/// The values of PARTITION (…) by the sink's columns, which the query does not fill then.
fn static_partition(table: &Table, insert: &Insert, targets: &mut Vec<usize>) -> SqlResult<Vec<(usize, Expr)>> {
    let sinks: Vec<&Column> = table.sink_columns().collect();
    let keys = &table.spec.partition_keys;
    let mut values: Vec<(usize, Expr)> = vec![];
    for (name, value) in &insert.partition {
        let position = sinks
            .iter()
            .position(|c| c.name == name.value && keys.contains(&c.name));
        let Some(position) = position else {
            let hint = suggest::hint(&name.value, keys.iter().map(String::as_str));
            let error = SqlError::new(
                Step::Sink,
                format!(
                    "'{}' is no partition column of the table '{}'{hint}",
                    name.value,
                    table.spec.short_name()
                ),
            )
            .at_span(name.span);
            return Err(match keys.is_empty() {
                true => error.remedy("the table has no PARTITIONED BY: let the query give the value"),
                false => error.remedy(format!("it is PARTITIONED BY ({})", keys.join(", "))),
            });
        };
        let is_filled = !insert.columns.is_empty() && targets.contains(&position);
        if is_filled || values.iter().any(|(p, _)| *p == position) {
            return Err(
                SqlError::new(Step::Sink, format!("the column '{}' is named twice", name.value)).at_span(name.span),
            );
        }
        let value = ExprScope::default().bind(value)?;
        if !matches!(value, Expr::Literal { .. }) {
            return Err(SqlError::new(Step::Sink, "PARTITION takes literals").at_span(name.span));
        }
        let value = cast_to(value, &sinks[position].ty).map_err(|e| e.at_span(name.span))?;
        values.push((position, value));
    }
    targets.retain(|t| values.iter().all(|(p, _)| p != t));
    Ok(values)
}

/// The query's rows with the values of PARTITION (…) behind them.
fn with_partition(table: &Table, rel: Rel, targets: &mut Vec<usize>, partition: Vec<(usize, Expr)>) -> Rel {
    if partition.is_empty() {
        return rel;
    }
    let sinks: Vec<&Column> = table.sink_columns().collect();
    let mut columns = rel.identity();
    for (position, value) in partition {
        columns.push((sinks[position].name.clone(), value));
        targets.push(position);
    }
    Rel::calc(rel, columns, None)
}

/// Names and types of the sink's columns: physical, then metadata.
fn sink_types(table: &Table, metadata: &[MetadataKey]) -> Vec<(String, LogicalType)> {
    let physical = table.spec.columns.iter().map(|c| (c.name.clone(), c.ty.clone()));
    let names = table
        .spec
        .metadata
        .iter()
        .filter(|m| !m.is_virtual)
        .map(|m| m.name.clone());
    physical
        .chain(names.zip(metadata).map(|(n, m)| (n, m.ty.clone())))
        .collect()
}

/// The same columns with metadata last, in the connector's own types.
fn physical_first(table: &Table, metadata: &[MetadataKey], rel: Rel) -> SqlResult<Rel> {
    let position = |name: &str| rel.fields.iter().position(|f| f.name == name);
    let mut columns = vec![];
    for (name, ty) in sink_types(table, metadata) {
        let Some(index) = position(&name) else {
            return Err(SqlError::new(
                Step::Plan,
                format!("the sink's column '{name}' was lost"),
            ));
        };
        let expr = Expr::input(index, rel.fields[index].ty.clone());
        let ty = relaxed(expr.ty(), &ty);
        columns.push((name, cast_to(expr, &ty)?));
    }
    Ok(Rel::calc(rel, columns, None))
}

/// Positions of the sink's columns that the query's columns fill.
fn targets(table: &Table, names: &[Ident]) -> SqlResult<Vec<usize>> {
    let sinks: Vec<&Column> = table.sink_columns().collect();
    if names.is_empty() {
        return Ok((0..sinks.len()).collect());
    }
    let mut targets = vec![];
    for name in names {
        let Some(position) = sinks.iter().position(|c| c.name == name.value) else {
            let computed = table.columns.iter().any(|c| c.name == name.value);
            let hint = suggest::hint(&name.value, sinks.iter().map(|c| c.name.as_str()));
            let what = match computed {
                true => "is computed or VIRTUAL, so it cannot be written".to_owned(),
                false => format!("is not in the table{hint}"),
            };
            let names: Vec<&str> = sinks.iter().map(|c| c.name.as_str()).collect();
            return Err(SqlError::new(Step::Sink, format!("the column '{}' {what}", name.value))
                .at_span(name.span)
                .remedy(format!("the columns to be written are {}", names.join(", "))));
        };
        if targets.contains(&position) {
            return Err(
                SqlError::new(Step::Sink, format!("the column '{}' is named twice", name.value)).at_span(name.span),
            );
        }
        targets.push(position);
    }
    Ok(targets)
}

fn check_count(table: &Table, targets: &[usize], rel: &Rel, span: Span) -> SqlResult<()> {
    if targets.len() == rel.fields.len() {
        return Ok(());
    }
    let sinks: Vec<&Column> = table.sink_columns().collect();
    let error = SqlError::new(
        Step::Sink,
        format!(
            "the query has {} columns, but the sink '{}' takes {}\n  query: {}\n  sink:  {}",
            rel.fields.len(),
            table.spec.short_name(),
            targets.len(),
            query_schema(rel),
            sink_schema(&sinks, targets),
        ),
    );
    Err(error
        .at_span(span)
        .remedy("select as many columns as the sink has, or name the columns: INSERT INTO t (a, b) …"))
}

fn mismatch(table: &Table, sinks: &[&Column], targets: &[usize], rel: &Rel, pair: (usize, usize)) -> SqlError {
    let (field, sink) = (&rel.fields[pair.0], sinks[pair.1]);
    SqlError::new(
        Step::Sink,
        format!(
            "types of the query and the sink '{}' do not match at column {} ('{}'): the query gives {}, the sink takes {}\n  query: {}\n  sink:  {}",
            table.spec.short_name(),
            pair.0 + 1,
            sink.name,
            field.ty,
            sink.ty,
            query_schema(rel),
            sink_schema(sinks, targets),
        ),
    )
    .remedy(format!("CAST('{}' AS {}) in the query, or change the table", field.name, sink.ty.kind).replace('\'', ""))
}

pub(super) fn query_schema(rel: &Rel) -> String {
    let columns: Vec<String> = rel.fields.iter().map(|f| format!("{} {}", f.name, f.ty)).collect();
    format!("[{}]", columns.join(", "))
}

fn sink_schema(sinks: &[&Column], targets: &[usize]) -> String {
    let columns: Vec<String> = targets
        .iter()
        .map(|&t| format!("{} {}", sinks[t].name, sinks[t].ty))
        .collect();
    format!("[{}]", columns.join(", "))
}

/// Whether a value is written into a column of another type without a CAST: widening, within a family of types.
/// NULL into NOT NULL is decided at run time (`table.exec.sink.not-null-enforcer`).
pub(super) fn fits(from: &LogicalType, to: &LogicalType) -> bool {
    use TypeKind as T;
    match (&from.kind, &to.kind) {
        (T::Null, _) => true,
        (a, b) if a == b => true,
        (T::Char(_), T::Char(_)) | (T::Binary(_), T::Binary(_)) => true,
        (a, T::Varchar(_)) => a.is_string(),
        (a, T::Varbinary(_)) => a.is_binary(),
        (a, T::Decimal(..)) => a.is_numeric(),
        (a, T::Double) => a.is_numeric(),
        (a, T::Float) => a.is_integer() || matches!(a, T::Decimal(..)),
        (T::TinyInt, T::SmallInt | T::Int | T::BigInt)
        | (T::SmallInt, T::Int | T::BigInt)
        | (T::Int, T::BigInt)
        | (T::Timestamp(_), T::Date | T::Time(_))
        | (T::Time(_), T::Time(_)) => true,
        (a, b) if a.is_timestamp() && b.is_timestamp() => true,
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => fits(a, b),
        (T::Map(a, x), T::Map(b, y)) => fits(a, b) && fits(x, y),
        (T::Row(a), T::Row(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| fits(&a.ty, &b.ty)),
        _ => false,
    }
}

/// The sink's type with NULL allowed wherever inside it the query's has it: what is to be done about NULL in a NOT NULL field is
/// decided at run time (`table.exec.sink.nested-constraint-enforcer`).
pub(super) fn relaxed(from: &LogicalType, to: &LogicalType) -> LogicalType {
    use TypeKind as T;
    let within = |f: &LogicalType, t: &LogicalType| Box::new(relaxed(f, t).with_nullable(f.nullable || t.nullable));
    let kind = match (&from.kind, &to.kind) {
        (T::Array(f), T::Array(t)) => T::Array(within(f, t)),
        (T::Multiset(f), T::Multiset(t)) => T::Multiset(within(f, t)),
        (T::Map(f, x), T::Map(t, y)) => T::Map(within(f, t), within(x, y)),
        (T::Row(f), T::Row(t)) => {
            let fields = f.iter().zip(t);
            T::Row(
                fields
                    .map(|(f, t)| Field::new(&t.name, *within(&f.ty, &t.ty)))
                    .collect(),
            )
        }
        _ => to.kind.clone(),
    };
    LogicalType {
        kind,
        nullable: to.nullable,
    }
}

/// Whether the sink can take the query's changes; by which key they come is planning's to heed.
fn check_changes(table: &TableSpec, changelog: ChangelogMode, rel: &Rel, span: Span) -> SqlResult<()> {
    let kinds = ModifyKinds::of(rel);
    let name = table.short_name();
    if !kinds.is_append() && changelog == ChangelogMode::Append {
        let what = if kinds.update { "updates" } else { "deletions" };
        return Err(SqlError::new(
            Step::Sink,
            format!(
                "the query yields {what}, but the sink '{name}' ('connector' = '{}') takes inserts only",
                table.connector()
            ),
        )
        .at_span(span)
        .remedy(
            "write to a table that takes changes ('connector' = 'upsert-kafka' with a PRIMARY KEY, or 'print'), \
             or aggregate in windows, whose results never change",
        ));
    }
    Ok(())
}
