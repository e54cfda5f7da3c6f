//! Which records cross between tables and streams: structs by their derived schema, tuples and single values by place, [`Row`]s by the
//! table's columns, [`Change`]s with their kind.

use super::row::{Change, Row, Value};
use flott_core::{Field, LogicalType, RowKind, TypeKind};
use flott_datastream::{Data, StateValue};
use std::sync::Arc;

/// The columns of a table whose rows are records of a type: what is to be known of them once, not with each record.
#[derive(Debug, Clone)]
pub struct Shape {
    fields: Vec<Field>,
    names: Arc<[String]>,
    row: LogicalType,
    /// As [`TableRecord::is_row`].
    is_row: bool,
}

impl Shape {
    pub(super) fn of<T: TableRecord>(fields: &[Field]) -> Self {
        Self {
            is_row: T::is_row(),
            fields: fields.to_vec(),
            names: fields.iter().map(|f| f.name.clone()).collect(),
            row: LogicalType::not_null(TypeKind::Row(fields.to_vec())),
        }
    }

    /// Which column of `row` is no value of its field in `record`: the one in which reading has ended, `read` bytes behind the start.
    fn unread(&self, row: &[u8], read: usize, record: &str) -> String {
        let mut rest = row;
        for field in &self.fields {
            let value = Value::read_field(&field.ty, &mut rest);
            let is_it = row.len() - rest.len() >= read;
            match value {
                Some(Value::Null) if is_it => {
                    return format!(
                        "column '{}' is NULL, and its field of {record} takes none: make the field an Option",
                        field.name
                    );
                }
                Some(value) if is_it => {
                    return format!(
                        "column '{}' holds {value}, which its field of {record} does not take: a value within is NULL where there is no \
                         Option, or outside of the range of its type",
                        field.name
                    );
                }
                Some(_) => {}
                None => break,
            }
        }
        format!("its bytes are no {record}")
    }
}

/// Columns that a type of records has by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordColumns {
    /// The columns.
    pub fields: Vec<Field>,
    /// They have no names of their own (a tuple, a single value): they are found by place.
    pub is_placed: bool,
}

/// What can be a row of a table: everything that has a schema (`#[derive(StateValue)]`, tuples, single values), and [`Row`].
///
/// A struct's fields are columns by name, tuples have `f0`, `f1`, …, a single value `f0`. NULL is `None`. The bytes are those of
/// [`flott_core::encoding`].
pub trait TableRecord: Data {
    /// The columns, unless only the table knows them.
    fn columns() -> Option<RecordColumns>;

    /// Whether its fields are columns; else it is one itself.
    fn is_row() -> bool {
        true
    }

    /// What the record says about a table's change.
    fn kind(&self) -> RowKind {
        RowKind::Insert
    }

    /// Appends the record's columns.
    ///
    /// # Errors
    /// If a value is not what its column takes.
    fn write_columns(&self, shape: &Shape, out: &mut Vec<u8>) -> Result<(), String>;

    /// Reads a record.
    ///
    /// # Errors
    /// If a value is NULL where the record has no place for it, or outside of its range.
    fn read_columns(shape: &Shape, kind: RowKind, bytes: &mut &[u8]) -> Result<Self, String>;
}

/// Records that say what they are to a table's changes: [`Row`] and [`Change`].
pub trait ChangeRecord: TableRecord {}

impl ChangeRecord for Row {}
impl<T: TableRecord + StateValue> ChangeRecord for Change<T> {}

impl<T: Data + StateValue> TableRecord for T {
    fn columns() -> Option<RecordColumns> {
        let ty = T::state_type();
        Some(match ty.kind {
            TypeKind::Row(fields) if !ty.nullable => {
                let mut numbered = fields.iter().zip(0..);
                let is_placed = numbered.all(|(field, i): (_, usize)| field.name == format!("f{i}"));
                RecordColumns { fields, is_placed }
            }
            _ => RecordColumns {
                fields: vec![Field::new("f0", ty)],
                is_placed: true,
            },
        })
    }

    fn is_row() -> bool {
        let ty = T::state_type();
        matches!(ty.kind, TypeKind::Row(_)) && !ty.nullable
    }

    fn write_columns(&self, shape: &Shape, out: &mut Vec<u8>) -> Result<(), String> {
        match shape.is_row {
            true => self.write(out),
            false => self.write_field(out),
        }
        Ok(())
    }

    fn read_columns(shape: &Shape, _kind: RowKind, bytes: &mut &[u8]) -> Result<Self, String> {
        let whole = *bytes;
        let read = match shape.is_row {
            true => T::read(&shape.row, bytes),
            false => T::read_field(&shape.fields[0].ty, bytes),
        };
        read.map_err(|_| shape.unread(whole, whole.len() - bytes.len(), std::any::type_name::<T>()))
    }
}

impl TableRecord for Row {
    fn columns() -> Option<RecordColumns> {
        None
    }

    fn kind(&self) -> RowKind {
        Row::kind(self)
    }

    fn write_columns(&self, shape: &Shape, out: &mut Vec<u8>) -> Result<(), String> {
        self.write(&shape.fields, out)
    }

    fn read_columns(shape: &Shape, kind: RowKind, bytes: &mut &[u8]) -> Result<Self, String> {
        let values = shape.fields.iter().map(|f| Value::read_field(&f.ty, bytes));
        let values: Option<Vec<Value>> = values.collect();
        let values = values.ok_or("the bytes of a row are damaged")?;
        Ok(Row::named(kind, values, &shape.names))
    }
}

impl<T: TableRecord + StateValue> TableRecord for Change<T> {
    fn columns() -> Option<RecordColumns> {
        T::columns()
    }

    fn is_row() -> bool {
        T::is_row()
    }

    fn kind(&self) -> RowKind {
        self.kind
    }

    fn write_columns(&self, shape: &Shape, out: &mut Vec<u8>) -> Result<(), String> {
        self.row.write_columns(shape, out)
    }

    fn read_columns(shape: &Shape, kind: RowKind, bytes: &mut &[u8]) -> Result<Self, String> {
        Ok(Self {
            kind,
            row: T::read_columns(shape, kind, bytes)?,
        })
    }
}

/// Whether a column can be filled by a record's field: their bytes are the same, and NULL has a place.
pub(super) fn is_filled_by(column: &LogicalType, field: &LogicalType) -> bool {
    let kinds = match (&column.kind, &field.kind) {
        (TypeKind::Array(c), TypeKind::Array(f)) | (TypeKind::Multiset(c), TypeKind::Multiset(f)) => is_filled_by(c, f),
        (TypeKind::Map(ck, cv), TypeKind::Map(fk, fv)) => is_filled_by(ck, fk) && is_filled_by(cv, fv),
        (TypeKind::Row(c), TypeKind::Row(f)) => {
            let same = |(c, f): (&Field, &Field)| c.name == f.name && is_filled_by(&c.ty, &f.ty);
            c.len() == f.len() && c.iter().zip(f).all(same)
        }
        (column, field) => column == field,
    };
    kinds && (column.nullable || !field.nullable)
}
