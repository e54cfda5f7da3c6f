//! Streams of a program as sources and sinks of SQL.
//!
//! A stream that SQL reads is a table whose `connector` is [`STREAM`]; who runs the job puts the stream's operators in the place of
//! its scan. A stream that SQL writes to is no table of the catalog: [`Binder::stream_sink`] matches a query's columns with
//! those of the program's records, by name or by place.

use super::Binder;
use super::insert::{BoundInsert, fits, query_schema, relaxed};
use super::values::cast_to;
use crate::catalog::backquoted;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Expr;
use crate::rel::{ModifyKinds, Rel, TimeKind};
use flott_core::{Field, LogicalType, Options, TypeKind, suggest};
use flott_runtime::connector::{ChangelogMode, MetadataKey, TableSpec};
use sqlparser::ast::Query;

/// `connector` of tables that are streams of the program.
pub const STREAM: &str = "datastream";
/// Key of the metadata that is the event time of a stream's records.
pub const ROWTIME: &str = "rowtime";
/// The watermark of a table whose stream brings its own.
pub const SOURCE_WATERMARK: &str = "SOURCE_WATERMARK";

/// Whether a table's watermark is [`SOURCE_WATERMARK`].
pub fn is_source_watermark(expr: &Expr) -> bool {
    matches!(expr, Expr::Call { function, .. } if function == SOURCE_WATERMARK)
}

/// Which columns the records of a stream have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamColumns {
    /// Those of the query.
    OfQuery,
    /// These, found by their names.
    Named(Vec<Field>),
    /// These, in the order of the query's.
    Placed(Vec<Field>),
}

/// A stream that SQL writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSink {
    /// Its name, by which the state behind it is found.
    pub name: String,
    /// Options of its table, `connector` aside.
    pub options: Options,
    /// The columns of its records.
    pub columns: StreamColumns,
    /// Row kinds that it takes.
    pub changelog: ChangelogMode,
    /// Columns of its primary key.
    pub primary_key: Vec<String>,
    /// The query's column that is the event time of a record and no column of it. `None`: the query's time attribute, which stays a column.
    pub time: Option<String>,
}

impl Binder<'_> {
    /// Binds a query whose rows become records of a program's stream. If they have an event time, it is the last column and the only metadata.
    ///
    /// # Errors
    /// If the query is wrong, or its columns or changes are not what the stream takes.
    pub fn stream_sink(&self, query: &Query, sink: &StreamSink) -> SqlResult<BoundInsert> {
        let rel = self.query(query)?;
        check_changes(sink, &rel)?;
        let time = time_column(sink, &rel)?;
        let mut columns = columns(sink, &rel)?;
        if let Some(missing) = sink
            .primary_key
            .iter()
            .find(|key| columns.iter().all(|(field, _)| field.name != **key))
        {
            let names = columns.iter().map(|(field, _)| field.name.as_str());
            let hint = suggest::hint(missing, names);
            return Err(error(format!(
                "the primary key's column '{missing}' is not in the stream's schema{hint}"
            ))
            .remedy("name columns of the schema"));
        }
        for (field, _) in &mut columns {
            if sink.primary_key.contains(&field.name) {
                field.ty.nullable = false;
            }
        }
        let mut metadata = vec![];
        if let Some(index) = time {
            let field = rel.fields[index].to_field();
            metadata.push(MetadataKey {
                key: ROWTIME.to_owned(),
                ty: field.ty.clone(),
                writable: true,
            });
            columns.push((Field::new(ROWTIME, field.ty.with_nullable(true)), index));
        }
        let mut options = sink.options.clone();
        options.set("connector", STREAM);
        let physical = columns.len() - metadata.len();
        let fields: Vec<Field> = columns.iter().map(|(field, _)| field.clone()).collect();
        let table = TableSpec {
            name: sink.name.clone(),
            options,
            columns: fields[..physical].to_vec(),
            metadata: vec![],
            primary_key: sink.primary_key.clone(),
            partition_keys: vec![],
        };
        let mut cast = vec![];
        for (field, index) in columns {
            let expr = Expr::input(index, rel.fields[index].ty.clone());
            let ty = relaxed(expr.ty(), &field.ty);
            cast.push((field.name, cast_to(expr, &ty)?));
        }
        Ok(BoundInsert {
            table,
            changelog: sink.changelog,
            rel: Rel::calc(rel, cast, None),
            fields,
            metadata,
            warnings: vec![],
        })
    }
}

fn error(message: String) -> SqlError {
    SqlError::new(Step::Sink, message)
}

fn check_changes(sink: &StreamSink, rel: &Rel) -> SqlResult<()> {
    let kinds = ModifyKinds::of(rel);
    if !kinds.is_append() && sink.changelog == ChangelogMode::Append {
        let what = if kinds.update { "updates" } else { "deletions" };
        return Err(error(format!(
            "the table has {what}, and a stream of plain records can only have new rows"
        ))
        .remedy("use to_changelog_stream, whose records say their RowKind, or aggregate in windows, whose results never change"));
    }
    if sink.changelog == ChangelogMode::Upsert && sink.primary_key.is_empty() {
        return Err(error(
            "a changelog of upserts tells rows apart by a primary key, and the schema has none".to_owned(),
        )
        .remedy("add primary_key([…]) to the schema, or take ChangelogMode::All"));
    }
    Ok(())
}

/// The query's column that becomes the event time of records.
fn time_column(sink: &StreamSink, rel: &Rel) -> SqlResult<Option<usize>> {
    if let Some(name) = &sink.time {
        let index = found(rel, name).ok_or_else(|| {
            missing(rel, name, "the metadata 'rowtime' of the schema")
                .remedy(format!("SELECT a timestamp AS {}", backquoted(name)))
        })?;
        let ty = &rel.fields[index].ty;
        if !ty.kind.is_timestamp() {
            return Err(error(format!(
                "the event time of records is taken from column '{name}', which is {ty} and no timestamp"
            ))
            .remedy("CAST it to TIMESTAMP_LTZ(3), or use TO_TIMESTAMP_LTZ(millis, 3)"));
        }
        return Ok(Some(index));
    }
    let is_time = |index: &usize| rel.fields[*index].time == Some(TimeKind::Rowtime);
    let times: Vec<usize> = (0..rel.fields.len()).filter(is_time).collect();
    if times.len() > 1 {
        let names: Vec<String> = times.iter().map(|i| format!("'{}'", rel.fields[*i].name)).collect();
        return Err(error(format!(
            "the columns {} are time attributes, and a record has one event time",
            names.join(" and ")
        ))
        .remedy("CAST all but one to TIMESTAMP(3) or TIMESTAMP_LTZ(3): then they are plain columns"));
    }
    Ok(times.first().copied())
}

fn found(rel: &Rel, name: &str) -> Option<usize> {
    rel.fields.iter().position(|f| f.name == name)
}

fn missing(rel: &Rel, name: &str, who: &str) -> SqlError {
    let hint = suggest::hint(name, rel.fields.iter().map(|f| f.name.as_str()));
    error(format!(
        "{who} reads column '{name}', which the table does not have{hint}\n  table: {}",
        query_schema(rel)
    ))
}

/// The record's columns, each with the query's column that fills it.
fn columns(sink: &StreamSink, rel: &Rel) -> SqlResult<Vec<(Field, usize)>> {
    let columns: Vec<(Field, usize)> = match &sink.columns {
        StreamColumns::OfQuery => {
            let all = rel.fields.iter().map(|f| f.to_field()).zip(0..);
            let is_column = |(field, _): &(Field, usize)| sink.time.as_ref() != Some(&field.name);
            return Ok(all.filter(is_column).collect());
        }
        StreamColumns::Named(fields) => {
            let of = |field: &Field| {
                let index = found(rel, &field.name).ok_or_else(|| {
                    missing(rel, &field.name, "the record").remedy(format!(
                        "SELECT … AS {}, or take the field out of the record",
                        backquoted(&field.name)
                    ))
                })?;
                Ok((field.clone(), index))
            };
            fields.iter().map(of).collect::<SqlResult<_>>()?
        }
        StreamColumns::Placed(fields) => {
            let is_column = |index: &usize| sink.time.as_ref() != Some(&rel.fields[*index].name);
            let indices: Vec<usize> = (0..rel.fields.len()).filter(is_column).collect();
            if fields.len() != indices.len() {
                let beside = match indices.len() < rel.fields.len() {
                    true => " beside its event time",
                    false => "",
                };
                return Err(error(format!(
                    "the record has {} fields without names of their own, and the table {} columns{beside}\n  table: {}",
                    fields.len(),
                    indices.len(),
                    query_schema(rel)
                ))
                .remedy("SELECT as many columns, or take a struct, whose fields are found by name"));
            }
            fields.iter().cloned().zip(indices).collect()
        }
    };
    for (field, index) in &columns {
        let column = &rel.fields[*index];
        if !fits(&column.ty, &field.ty) {
            return Err(error(format!(
                "column '{}' of the table is {}, and field '{}' of the record {}",
                column.name, column.ty, field.name, field.ty
            ))
            .remedy(format!(
                "CAST({} AS {}) in the query, or give the field the column's type",
                backquoted(&column.name),
                field.ty.kind
            )));
        }
        if let Some((from, to)) = other_names(&column.ty, &field.ty) {
            return Err(error(format!(
                "the column '{}' of the table has {} where field '{}' of the record has {}: fields of a ROW go by place, and their names differ",
                column.name,
                names_text(from),
                field.name,
                names_text(to)
            ))
            .remedy(format!(
                "if they are meant in this order, CAST({0} AS {1}) in the query; else build it of its fields, ROW({0}.…, …), in the \
                 order of the record",
                backquoted(&column.name),
                field.ty.kind
            )));
        }
    }
    Ok(columns)
}

/// The fields of a ROW within `from` whose names are not those of the ROW in its place within `to`. Fields of tuples (`f0`, `f1`, …), and
/// those that a query gave no names (`EXPR$0`, …), take any.
fn other_names<'t>(from: &'t LogicalType, to: &'t LogicalType) -> Option<(&'t [Field], &'t [Field])> {
    match (&from.kind, &to.kind) {
        (TypeKind::Array(from), TypeKind::Array(to)) | (TypeKind::Multiset(from), TypeKind::Multiset(to)) => {
            other_names(from, to)
        }
        (TypeKind::Map(from_key, from), TypeKind::Map(to_key, to)) => {
            other_names(from_key, to_key).or_else(|| other_names(from, to))
        }
        (TypeKind::Row(from), TypeKind::Row(to)) => {
            let is_numbered = |fields: &[Field], prefix: &str| {
                let mut numbered = fields.iter().zip(0..);
                numbered.all(|(field, i): (_, usize)| field.name == format!("{prefix}{i}"))
            };
            let mut pairs = from.iter().zip(to);
            let is_free = is_numbered(to, "f") || is_numbered(from, "EXPR$");
            match is_free || pairs.clone().all(|(from, to)| from.name == to.name) {
                true => pairs.find_map(|(from, to)| other_names(&from.ty, &to.ty)),
                false => Some((from, to)),
            }
        }
        _ => None,
    }
}

fn names_text(fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
    format!("ROW<{}>", names.join(", "))
}
