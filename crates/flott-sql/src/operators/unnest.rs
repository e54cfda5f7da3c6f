//! UNNEST of an ARRAY, MAP or MULTISET: [`Unnest`].

use crate::expr::program::{CompiledExpr, compile};
use crate::nodes::{CorrelateJoin, CorrelateUnnestSpec};
use crate::operators::calc::{prepare_error, run_error};
use crate::operators::{MAX_EMITTED_ROWS, eval_context};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use flott_core::clock::SharedClock;
use flott_core::{Batch, TypeKind};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::ops::Range;

/// Each input row once per element of its collection: the kept input columns, then the element (a ROW's fields, a MAP's key
/// and value), then its position where that is asked for. Kinds stay with their rows.
///
/// An element of a MULTISET comes as often as it is in there. A row whose collection is NULL or empty vanishes, or stays
/// with NULLs under LEFT JOIN. Elements are not copied where nothing is in between: the list's own values are the column.
pub(crate) struct Unnest {
    collection: CompiledExpr,
    keep: Vec<usize>,
    join: CorrelateJoin,
    ordinality: bool,
    is_multiset: bool,
    pending: Option<Pending>,
}

/// A batch whose elements are on their way out.
struct Pending {
    batch: Batch,
    collection: ArrayRef,
    /// The row to go on with.
    next: usize,
}

impl Unnest {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the collection's expression cannot be prepared.
    pub(crate) fn new(spec: &CorrelateUnnestSpec, clock: &SharedClock) -> Result<Self, TaskError> {
        let context = eval_context(&spec.time_zone, clock)?;
        Ok(Self {
            collection: compile(&spec.collection, &context).map_err(prepare_error)?,
            keep: spec.keep.clone(),
            join: spec.join,
            ordinality: spec.ordinality,
            is_multiset: matches!(spec.collection.ty().kind, TypeKind::Multiset(_)),
            pending: None,
        })
    }

    fn emit(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(Flow::Done);
        };
        let lengths = |row: usize| {
            if pending.collection.is_null(row) {
                0
            } else {
                length(&pending.collection, row)
            }
        };
        let rows = pending.batch.num_rows();
        let (start, mut until, mut elements) = (pending.next, pending.next, 0);
        while until < rows && (elements < MAX_EMITTED_ROWS) {
            elements += lengths(until).max(1);
            until += 1;
        }
        if let Some(batch) = self.apply(&pending, start..until)? {
            out.emit(batch);
        }
        if until == rows {
            return Ok(Flow::Done);
        }
        pending.next = until;
        self.pending = Some(pending);
        Ok(Flow::More)
    }

    /// Elements without anything else, if that is all there is: nothing is copied.
    fn apply_plain(&self, pending: &Pending, range: &Range<usize>) -> Result<Option<Batch>, TaskError> {
        let is_plain = self.keep.is_empty()
            && pending.batch.kinds().is_none()
            && self.join == CorrelateJoin::Inner
            && !self.ordinality
            && !self.is_multiset
            && pending.collection.null_count() == 0
            && null_rows(&pending.collection).is_none();
        if !is_plain {
            return Ok(None);
        }
        let (values, offsets) = parts(&pending.collection)?;
        let (first, count) = (
            offsets[range.start] as usize,
            (offsets[range.end] - offsets[range.start]) as usize,
        );
        let columns = values.iter().map(|v| v.slice(first, count)).collect();
        Ok(Some(Batch::new(columns, count)))
    }

    fn apply(&self, pending: &Pending, range: Range<usize>) -> Result<Option<Batch>, TaskError> {
        let collection = &pending.collection;
        if let Some(batch) = self.apply_plain(pending, &range)? {
            return Ok(Some(batch));
        }
        // The rows, elements and positions of the output; an element past the end stands for NULL.
        let (mut rows, mut elements, mut positions) = (vec![], vec![], vec![]);
        let (values, offsets) = parts(collection)?;
        let counts = self.is_multiset.then(|| values[1].as_primitive::<Int32Type>().clone());
        let null_rows = null_rows(collection);
        let none = values[0].len() as u32;
        let mut has_none = false;
        for row in range {
            let entries = if collection.is_null(row) {
                0..0
            } else {
                offsets[row] as u32..offsets[row + 1] as u32
            };
            let (mut position, before) = (0, rows.len());
            for entry in entries {
                // A ROW that is NULL is no row.
                if null_rows.is_some_and(|nulls| nulls.is_null(entry as usize)) {
                    position += 1;
                    continue;
                }
                let times = counts.as_ref().map_or(1, |c| c.value(entry as usize).max(0));
                for _ in 0..times {
                    position += 1;
                    rows.push(row as u32);
                    elements.push(entry);
                    positions.push(Some(position));
                }
            }
            if rows.len() == before && self.join == CorrelateJoin::Left {
                has_none = true;
                rows.push(row as u32);
                elements.push(none);
                positions.push(None);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let count = rows.len();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.keep.len() + 3);
        let kept = Batch::new(
            self.keep.iter().map(|&k| pending.batch.column(k).clone()).collect(),
            pending.batch.num_rows(),
        )
        .with_kinds(pending.batch.kinds().cloned());
        let kept = kept.take(&UInt32Array::from(rows))?;
        columns.extend(kept.columns().iter().cloned());
        let adjacent = elements.windows(2).all(|w| w[1] == w[0] + 1) && !has_none;
        for values in if self.is_multiset { &values[..1] } else { &values[..] } {
            columns.push(if adjacent {
                values.slice(elements[0] as usize, count)
            } else {
                let indices: UInt32Array = elements.iter().map(|e| (*e != none).then_some(*e)).collect();
                arrow_select::take::take(values.as_ref(), &indices, None)?
            });
        }
        if self.ordinality {
            columns.push(std::sync::Arc::new(Int32Array::from(positions)));
        }
        Ok(Some(Batch::new(columns, count).with_kinds(kept.kinds().cloned())))
    }
}

/// Which elements are NULL, if they are rows and some are.
fn null_rows(collection: &ArrayRef) -> Option<&NullBuffer> {
    let rows = collection.as_list_opt::<i32>()?.values().as_struct_opt()?;
    rows.nulls().filter(|nulls| nulls.null_count() > 0)
}

fn length(collection: &ArrayRef, row: usize) -> usize {
    match collection.data_type() {
        DataType::List(_) => collection.as_list::<i32>().value_length(row) as usize,
        _ => collection.as_map().value_length(row) as usize,
    }
}

/// The columns of all elements and where each row's begin.
fn parts(collection: &ArrayRef) -> Result<(Vec<ArrayRef>, &[i32]), TaskError> {
    match collection.data_type() {
        DataType::List(_) => {
            let list = collection.as_list::<i32>();
            let values = list.values();
            let columns = match values.as_struct_opt() {
                Some(row) => {
                    let nulls = row.nulls();
                    row.columns()
                        .iter()
                        .map(|c| with_nulls(c, nulls))
                        .collect::<Result<_, _>>()?
                }
                None => vec![values.clone()],
            };
            Ok((columns, list.value_offsets()))
        }
        DataType::Map(..) => {
            let map = collection.as_map();
            Ok((map.entries().columns().to_vec(), map.value_offsets()))
        }
        other => Err(TaskError::internal(format!("UNNEST of a column of {other}"))),
    }
}

/// A field of a ROW is NULL where the ROW is.
fn with_nulls(column: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<ArrayRef, TaskError> {
    match nulls.filter(|n| n.null_count() > 0) {
        None => Ok(column.clone()),
        Some(nulls) => {
            let nulls = NullBuffer::union(column.nulls(), Some(nulls));
            Ok(arrow_array::make_array(
                column.to_data().into_builder().nulls(nulls).build()?,
            ))
        }
    }
}

impl Operator for Unnest {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        let collection = self.collection.evaluate(&batch).map_err(run_error)?;
        self.pending = Some(Pending {
            batch,
            collection,
            next: 0,
        });
        self.emit(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.emit(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;
    use crate::operators::harness::Harness;
    use flott_core::clock::SystemClock;
    use flott_core::{Field, LogicalType};
    use std::sync::Arc;

    fn unnest(collection: TypeKind, schema: &str, join: CorrelateJoin, ordinality: bool) -> Harness {
        let ty = LogicalType::new(collection);
        let spec = CorrelateUnnestSpec {
            input: vec![Field::new("id", LogicalType::bigint()), Field::new("c", ty.clone())],
            collection: Expr::input(1, ty),
            join,
            ordinality,
            keep: vec![0],
            names: vec!["e".into()],
            time_zone: "UTC".into(),
        };
        let clock: SharedClock = Arc::new(SystemClock);
        Harness::new(Box::new(Unnest::new(&spec, &clock).unwrap()), schema)
    }

    fn strings() -> TypeKind {
        TypeKind::Array(Box::new(LogicalType::string()))
    }

    const ROWS: &str = "+I 1 [a,b]\n-D 2 []\n+I 3 NULL\n-U 4 [NULL,c]";

    #[test]
    fn a_row_per_element_with_the_rows_kind() {
        let mut op = unnest(strings(), "id BIGINT, c ARRAY<STRING>", CorrelateJoin::Inner, false);
        assert_eq!(op.run(ROWS), "+I 1 a\n+I 1 b\n-U 4 NULL\n-U 4 c");
        assert_eq!(op.run("+I 1 []"), "");
    }

    #[test]
    fn left_join_keeps_rows_without_elements() {
        let mut op = unnest(strings(), "id BIGINT, c ARRAY<STRING>", CorrelateJoin::Left, true);
        assert_eq!(
            op.run(ROWS),
            "+I 1 a 1\n+I 1 b 2\n-D 2 NULL NULL\n+I 3 NULL NULL\n-U 4 NULL 1\n-U 4 c 2"
        );
    }

    #[test]
    fn a_map_gives_keys_and_values() {
        let map = TypeKind::Map(
            Box::new(LogicalType::string().with_nullable(false)),
            Box::new(LogicalType::bigint()),
        );
        let mut op = unnest(map, "id BIGINT, c MAP<STRING,BIGINT>", CorrelateJoin::Inner, false);
        assert_eq!(
            op.run("+I 1 {a=1,b=NULL}\n+I 2 {}\n+I 3 {z=26}"),
            "+I 1 a 1\n+I 1 b NULL\n+I 3 z 26"
        );
    }

    #[test]
    fn many_elements_come_in_pieces() {
        let mut op = unnest(strings(), "id BIGINT, c ARRAY<STRING>", CorrelateJoin::Inner, false);
        let list = format!("+I 7 [{}]\n", vec!["x"; 1000].join(","));
        let out = op.run(&list.repeat(50));
        assert_eq!(out.lines().count(), 50_000);
        assert!(op.largest_call < 10_000, "{} rows in one call", op.largest_call);
    }
}
