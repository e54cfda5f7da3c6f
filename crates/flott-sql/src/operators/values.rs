//! Constant rows (VALUES): [`Values`], a source with one split, whose state is the number of rows read, 8 bytes little
//! endian; no bytes are none.

use crate::expr::literal::to_array;
use crate::nodes::ValuesSpec;
use crate::operators::MAX_EMITTED_ROWS;
use crate::operators::calc::prepare_error;
use arrow_array::{Array, ArrayRef, new_empty_array};
use async_trait::async_trait;
use flott_core::{Batch, CheckpointId};
use flott_runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott_runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TaskError};
use std::time::Duration;

/// The only split.
const SPLIT: &str = "values";

/// Emits its rows once, from one subtask.
#[derive(Debug)]
pub(crate) struct Values {
    batch: Batch,
}

impl Values {
    /// The source of a spec.
    ///
    /// # Errors
    /// If a literal is not of its column's type, which is the plan's fault.
    pub(crate) fn new(spec: &ValuesSpec) -> Result<Self, TaskError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(spec.fields.len());
        for (index, field) in spec.fields.iter().enumerate() {
            let mut cells = Vec::with_capacity(spec.rows.len());
            for row in &spec.rows {
                let literal = row
                    .get(index)
                    .ok_or_else(|| TaskError::internal("a row of VALUES is too short"))?;
                cells.push(to_array(literal, &field.ty).map_err(prepare_error)?);
            }
            let cells: Vec<&dyn Array> = cells.iter().map(AsRef::as_ref).collect();
            columns.push(match cells.as_slice() {
                [] => new_empty_array(&field.ty.to_arrow()),
                cells => arrow_select::concat::concat(cells)?,
            });
        }
        Ok(Self {
            batch: Batch::new(columns, spec.rows.len()),
        })
    }
}

impl Source for Values {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(OneSplit {
            is_found: restored.is_some(),
        }))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(ValuesReader {
            rows: self.batch.clone(),
            batch_rows: ctx.task.batching()?.rows_or(MAX_EMITTED_ROWS),
            work: Work::Waiting,
        }))
    }
}

#[derive(Debug)]
struct OneSplit {
    is_found: bool,
}

#[async_trait]
impl SplitEnumerator for OneSplit {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        let is_new = !std::mem::replace(&mut self.is_found, true);
        Ok(is_new
            .then(|| Split {
                id: SPLIT.into(),
                state: vec![],
            })
            .into_iter()
            .collect())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, _split: &Split, _parallelism: usize) -> usize {
        0
    }

    fn snapshot(&self) -> Vec<u8> {
        vec![]
    }
}

#[derive(Debug)]
struct ValuesReader {
    rows: Batch,
    batch_rows: usize,
    work: Work,
}

/// What the reader has left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// It has no split, but may get one.
    Waiting,
    /// It emits the rows from this one on, then tells that the split is finished.
    From(usize),
    /// No split is left, and none will come.
    Done,
}

impl SourceReader for ValuesReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        if let Some(split) = splits.first() {
            let read = match split.state.as_slice() {
                [] => 0,
                state => state
                    .try_into()
                    .map(u64::from_le_bytes)
                    .map_err(|_| TaskError::internal("the position within VALUES in the checkpoint is unreadable"))?,
            };
            self.work = Work::From(usize::try_from(read).unwrap_or(usize::MAX).min(self.rows.num_rows()));
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        if self.work == Work::Waiting {
            self.work = Work::Done;
        }
    }

    fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
        match self.work {
            Work::Waiting => Ok(ReaderPoll::Idle { until_ms: None }),
            Work::From(row) if row < self.rows.num_rows() => {
                let count = self.batch_rows.min(self.rows.num_rows() - row);
                self.work = Work::From(row + count);
                Ok(ReaderPoll::Batch {
                    split: 0,
                    batch: self.rows.slice(row, count),
                })
            }
            Work::From(_) => {
                self.work = Work::Done;
                Ok(ReaderPoll::SplitFinished(0))
            }
            Work::Done => Ok(ReaderPoll::Finished),
        }
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(match self.work {
            Work::From(row) if row < self.rows.num_rows() => vec![Split {
                id: SPLIT.into(),
                state: (row as u64).to_le_bytes().to_vec(),
            }],
            // Behind the rows there is nothing to come back for.
            _ => vec![],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Literal;
    use crate::operators::harness::lines;
    use flott_core::{Field, LogicalType};

    fn reader(values: &Values, batch_rows: usize, state: Vec<u8>) -> ValuesReader {
        let mut reader = ValuesReader {
            rows: values.batch.clone(),
            batch_rows,
            work: Work::Waiting,
        };
        assert!(matches!(reader.poll(0).unwrap(), ReaderPoll::Idle { .. }));
        let id = SPLIT.into();
        reader.add_splits(vec![Split { id, state }]).unwrap();
        reader
    }

    #[test]
    fn rows_come_once_and_not_again_after_a_restore() {
        let fields = vec![
            Field::new("a", LogicalType::bigint()),
            Field::new("s", LogicalType::string()),
        ];
        let rows = vec![
            vec![Literal::Integer(1), Literal::String("x".into())],
            vec![Literal::Null, Literal::Null],
        ];
        let values = Values::new(&ValuesSpec { fields, rows }).unwrap();
        let mut whole = reader(&values, 10, vec![]);
        assert_eq!(whole.snapshot(1).unwrap().len(), 1);
        match whole.poll(0).unwrap() {
            ReaderPoll::Batch { batch, .. } => assert_eq!(lines(&batch), ["+I 1 x", "+I NULL NULL"]),
            other => panic!("rows expected, got {other:?}"),
        }
        assert!(whole.snapshot(2).unwrap().is_empty());
        assert!(matches!(whole.poll(0).unwrap(), ReaderPoll::SplitFinished(0)));
        assert!(matches!(whole.poll(0).unwrap(), ReaderPoll::Finished));

        let mut first = reader(&values, 1, vec![]);
        assert!(matches!(first.poll(0).unwrap(), ReaderPoll::Batch { .. }));
        let position = first.snapshot(3).unwrap().remove(0).state;
        let mut second = reader(&values, 1, position);
        match second.poll(0).unwrap() {
            ReaderPoll::Batch { batch, .. } => assert_eq!(lines(&batch), ["+I NULL NULL"]),
            other => panic!("the second row expected, got {other:?}"),
        }
        assert!(matches!(second.poll(0).unwrap(), ReaderPoll::SplitFinished(0)));
        let damaged = Split {
            id: SPLIT.into(),
            state: vec![1],
        };
        assert!(second.add_splits(vec![damaged]).is_err());
    }
}
