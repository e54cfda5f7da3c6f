//! What stands before a sink: [`SinkConstraints`] (NOT NULL and lengths) and [`DropUpdateBefore`].

use super::within;
use crate::nodes::{DropUpdateBeforeSpec, NotNullEnforcer, SinkConstraintsSpec, TypeLengthEnforcer};
use arrow_array::BooleanArray;
use arrow_buffer::{BooleanBuffer, NullBuffer};
use flott_core::{Batch, RowKind, TypeKind};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::sync::Arc;

/// Enforces a sink's column types on rows that may break them: NULLs in NOT NULL columns
/// (`table.exec.sink.not-null-enforcer`) and lengths of CHAR, VARCHAR, BINARY, VARBINARY
/// (`table.exec.sink.type-length-enforcer`), also inside columns (`table.exec.sink.nested-constraint-enforcer`).
#[derive(Debug)]
pub(crate) struct SinkConstraints {
    spec: SinkConstraintsSpec,
    metrics: Arc<OperatorMetrics>,
}

impl SinkConstraints {
    /// The operator of a spec.
    pub(crate) fn new(spec: SinkConstraintsSpec) -> Self {
        Self {
            spec,
            metrics: Arc::default(),
        }
    }

    fn not_null(&self, batch: Batch) -> Result<Batch, TaskError> {
        let mut valid: Option<NullBuffer> = None;
        for (field, column) in self.spec.columns.iter().zip(batch.columns()) {
            let Some(broken) = within::nulls(&field.name, &field.ty, column, self.spec.nested) else {
                continue;
            };
            if self.spec.not_null == NotNullEnforcer::Error && self.spec.is_stream {
                return Err(TaskError::data(format!(
                    "column '{}' of the query is NULL, and its field in the records of the stream takes none: make the field an Option (in a schema, leave out NOT NULL), correct the query, or drop such rows with SET 'table.exec.sink.not-null-enforcer' = 'DROP'",
                    broken.path
                )));
            }
            if self.spec.not_null == NotNullEnforcer::Error {
                return Err(TaskError::data(format!(
                    "column '{}' of table '{}' is NOT NULL, but a NULL value is to be written into it: correct the query, or drop such rows with SET 'table.exec.sink.not-null-enforcer' = 'DROP'",
                    broken.path, self.spec.table
                )));
            }
            valid = NullBuffer::union(valid.as_ref(), Some(&NullBuffer::new(!&broken.rows)));
        }
        match valid {
            None => Ok(batch),
            Some(valid) => {
                let dropped = self.metrics.gauge("numRecordsDroppedByNotNullEnforcer");
                dropped.set(dropped.get() + valid.null_count() as i64);
                Ok(batch.filter(&BooleanArray::new(valid.into_inner(), None))?)
            }
        }
    }

    fn lengths(&self, batch: Batch) -> Result<Batch, TaskError> {
        if self.spec.type_length == TypeLengthEnforcer::Ignore {
            return Ok(batch);
        }
        let mut columns = batch.columns().to_vec();
        for (field, column) in self.spec.columns.iter().zip(&mut columns) {
            let allow = |path: &str, ty: &TypeKind, length: usize, unit: &str| match self.spec.type_length {
                TypeLengthEnforcer::Ignore | TypeLengthEnforcer::TrimPad => Ok(()),
                TypeLengthEnforcer::Error => Err(TaskError::data(format!(
                    "column '{path}' of table '{}' is {ty}, but a value of {length} {unit} is to be written into it: correct the query, or fit such values with SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD'",
                    self.spec.table
                ))),
            };
            if let Some(cut) = within::fitted(&field.name, &field.ty.kind, column, self.spec.nested, &allow)? {
                *column = cut;
            }
        }
        Ok(batch.with_columns(columns))
    }
}

impl Operator for SinkConstraints {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.metrics = ctx.metrics.clone();
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let batch = self.not_null(batch)?;
        out.emit(self.lengths(batch)?);
        Ok(Flow::Done)
    }
}

/// Drops -U rows, or makes them -D, for sinks that know rows by their key.
#[derive(Debug)]
pub(crate) struct DropUpdateBefore(pub(crate) DropUpdateBeforeSpec);

impl Operator for DropUpdateBefore {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let is_kept = |kind: &u8| *kind != RowKind::UpdateBefore as u8;
        let batch = match batch.kinds() {
            Some(kinds) if self.0.as_delete && !kinds.iter().all(is_kept) => {
                let deleted = |kind: &u8| if is_kept(kind) { *kind } else { RowKind::Delete as u8 };
                let kinds = kinds.iter().map(deleted).collect();
                batch.with_kinds(Some(kinds))
            }
            Some(kinds) if !kinds.iter().all(is_kept) => {
                let kept: BooleanBuffer = kinds.iter().map(is_kept).collect();
                batch.filter(&BooleanArray::new(kept, None))?
            }
            _ => batch,
        };
        out.emit(batch);
        Ok(Flow::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NestedEnforcer;
    use crate::operators::harness::Harness;
    use flott_core::{Field, LogicalType};

    fn constraints(not_null: NotNullEnforcer, type_length: TypeLengthEnforcer) -> Harness {
        let columns = vec![
            Field::new("id", LogicalType::not_null(TypeKind::BigInt)),
            Field::new("name", LogicalType::new(TypeKind::Varchar(3))),
            Field::new("code", LogicalType::new(TypeKind::Char(2))),
        ];
        let spec = SinkConstraintsSpec {
            table: "t".into(),
            columns,
            not_null,
            type_length,
            nested: NestedEnforcer::Ignore,
            is_stream: false,
        };
        Harness::new(
            Box::new(SinkConstraints::new(spec)),
            "id BIGINT, name STRING, code STRING",
        )
    }

    #[test]
    fn a_null_fails_the_job_or_the_row() {
        let rows = "+I 1 a x\n+I NULL b y\n-D 2 NULL NULL";
        let error = constraints(NotNullEnforcer::Error, TypeLengthEnforcer::Ignore).run(rows);
        assert!(error.contains("column 'id' of table 't' is NOT NULL"), "{error}");
        let mut dropping = constraints(NotNullEnforcer::Drop, TypeLengthEnforcer::Ignore);
        assert_eq!(dropping.run(rows), "+I 1 a x\n-D 2 NULL NULL");
        assert_eq!(dropping.metrics.gauge("numRecordsDroppedByNotNullEnforcer").get(), 1);
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let rows = "+I 1 äöü xy\n+I 2 äöüß x\n+I 3 NULL xyz";
        let error = constraints(NotNullEnforcer::Error, TypeLengthEnforcer::Error).run(rows);
        assert!(
            error.contains("column 'name' of table 't' is VARCHAR(3), but a value of 4 characters"),
            "{error}"
        );
        let fitted = constraints(NotNullEnforcer::Error, TypeLengthEnforcer::TrimPad).run(rows);
        assert_eq!(fitted, "+I 1 äöü xy\n+I 2 äöü x \n+I 3 NULL xy");
        let ignored = constraints(NotNullEnforcer::Error, TypeLengthEnforcer::Ignore).run(rows);
        assert_eq!(ignored, rows);
    }

    #[test]
    fn update_before_rows_are_dropped() {
        let drop = |as_delete| Box::new(DropUpdateBefore(DropUpdateBeforeSpec { as_delete }));
        let mut op = Harness::new(drop(false), "a BIGINT");
        assert_eq!(op.run("+I 1\n-U 1\n+U 2\n-D 2"), "+I 1\n+U 2\n-D 2");
        assert_eq!(op.run("-U 1"), "");
        let mut op = Harness::new(drop(true), "a BIGINT");
        assert_eq!(op.run("+I 1\n-U 1\n+U 2\n-U 2"), "+I 1\n-D 1\n+U 2\n-D 2");
    }
}
