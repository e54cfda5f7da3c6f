//! ORDER BY a time attribute: [`TemporalSort`].

use super::keys::SortKeys;
use super::{keep_rows, read_rows};
use crate::nodes::{OverOrder, TemporalSortSpec};
use crate::operators::{MAX_EMITTED_ROWS, spec_error};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, Int64Array, UInt32Array};
use bytes::Bytes;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, OperatorEntry, OperatorSnapshot, Redistribute};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the keyed state, as Flink's.
pub(crate) const STATE_NAME: &str = "dataState";
/// Name of the operator state that holds the time of the last row told, as Flink's.
const TOLD_STATE: &str = "lastTriggeringTsState";

/// Tells rows in the order of their time, those of one time by the further sort columns, then by arrival; all are inserts.
///
/// Event time: rows wait until the watermark passes their time. A row is late, dropped and counted in
/// `numLateRecordsDropped`, if one that is not older was told, as in Flink. Processing time: rows wait until the clock has moved
/// on from the millisecond in which they came.
///
/// State: `dataState` (time, number of arrival -> row) of rows that wait, and the time of the last row told.
pub(crate) struct TemporalSort {
    // Constant.
    time: OverOrder,
    time_name: String,
    keys: SortKeys,
    types: Vec<LogicalType>,
    state: Arc<TableDescriptor>,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    // State.
    table: KeyedTable,
    /// Rows that wait, by time, sort bytes and number.
    waiting: BTreeMap<(i64, Box<[u8]>, i64), u32>,
    next_number: i64,
    /// Time of the last row told.
    told: i64,
    /// Time up to which rows are being told.
    target: EventTime,
}

impl TemporalSort {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &TemporalSortSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let number = LogicalType::not_null(TypeKind::BigInt);
        let state = TableDescriptor::new(STATE_NAME, vec![number.clone(), number])
            .placed_by(0)
            .nullable("row", ColumnType::Bytes);
        let state = Arc::new(state);
        Ok(Self {
            time: spec.time,
            time_name: match spec.time {
                OverOrder::EventTime { column } => spec.input[column].name.clone(),
                OverOrder::ProcessingTime | OverOrder::Column { .. } => String::new(),
            },
            keys: SortKeys::new(&spec.order),
            types: spec.input.iter().map(|f| f.ty.clone()).collect(),
            // The real table is made in `open`, which knows the subtask's key groups.
            table: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            state,
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            waiting: BTreeMap::new(),
            next_number: 0,
            told: NO_WATERMARK,
            target: NO_WATERMARK,
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        vec![self.state.as_ref().clone()]
    }

    /// The rows of a batch that are not late, with their times; the others are counted.
    fn in_time(&self, batch: Batch) -> Result<(Batch, Vec<i64>), TaskError> {
        let OverOrder::EventTime { column } = self.time else {
            let now_ms = self.clock.now_ms().max(self.told.saturating_add(1));
            let rows = batch.num_rows();
            return Ok((batch, vec![now_ms; rows]));
        };
        let column = batch.column(column);
        if column.null_count() > 0 {
            return Err(TaskError::data(format!(
                "the time attribute '{0}' is NULL in {1} of {2} rows of a batch, so their place in ORDER BY is unknown: \
                 filter such rows with WHERE {0} IS NOT NULL before it",
                self.time_name,
                column.null_count(),
                column.len()
            )));
        }
        let times = column.as_primitive::<TimestampMillisecondType>().values();
        let is_late = |time: i64| self.told != NO_WATERMARK && time <= self.told;
        let kept: Vec<u32> = (0..times.len() as u32)
            .filter(|r| !is_late(times[*r as usize]))
            .collect();
        if kept.len() == times.len() {
            let times = times.to_vec();
            return Ok((batch, times));
        }
        self.metrics.late_records_dropped.add((times.len() - kept.len()) as u64);
        let times = kept.iter().map(|r| times[*r as usize]).collect();
        Ok((batch.take(&UInt32Array::from(kept))?, times))
    }

    /// Tells what waits up to the target, as far as a call may.
    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let mut due: Vec<u32> = vec![];
        let mut told = self.told;
        while due.len() < MAX_EMITTED_ROWS
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= self.target
        {
            told = first.key().0;
            due.push(first.remove());
        }
        if due.is_empty() {
            return Ok(Flow::Done);
        }
        // Rows of one time may be told by two calls, but none comes between them.
        self.told = told;
        let columns = read_rows(&self.table, &due, &self.types)?;
        self.table.remove(&due);
        out.emit(Batch::new(columns, due.len()));
        Ok(Flow::More)
    }

    /// Puts the restored rows in order.
    fn arrange(&mut self) -> Result<(), TaskError> {
        let slots: Vec<u32> = self.table.live_slots().collect();
        for slots in slots.chunks(MAX_EMITTED_ROWS) {
            let columns = self.table.keys(slots)?;
            let (times, numbers) = (
                columns[0].as_primitive::<Int64Type>(),
                columns[1].as_primitive::<Int64Type>(),
            );
            let order = self
                .keys
                .bytes(&read_rows(&self.table, slots, &self.types)?, slots.len())?;
            for (row, &slot) in slots.iter().enumerate() {
                let number = numbers.value(row);
                self.next_number = self.next_number.max(number + 1);
                self.waiting
                    .insert((times.value(row), order.row(row).into(), number), slot);
            }
        }
        Ok(())
    }
}

impl Operator for TemporalSort {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        (self.clock, self.metrics) = (ctx.clock.clone(), ctx.metrics.clone());
        let (max_parallelism, key_groups) = (ctx.task.max_parallelism, ctx.task.key_groups());
        self.table = KeyedTable::new(Arc::clone(&self.state), max_parallelism, key_groups);
        let Some(restored) = ctx.restored.take() else {
            return Ok(());
        };
        restored.load_table(&mut self.table)?;
        let told = restored.operator_state(TOLD_STATE);
        let told = told.filter_map(|b| b.as_ref().try_into().ok().map(i64::from_le_bytes));
        self.told = told.max().unwrap_or(NO_WATERMARK);
        self.arrange()
    }

    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<Flow, TaskError> {
        let (batch, times) = self.in_time(batch)?;
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(Flow::Done);
        }
        let first = self.next_number;
        self.next_number += rows as i64;
        let keys: [ArrayRef; 2] = [
            Arc::new(Int64Array::from(times.clone())),
            Arc::new(Int64Array::from_iter_values(first..self.next_number)),
        ];
        let mut slots = Vec::with_capacity(rows);
        keep_rows(&mut self.table, &keys, batch.columns(), rows, &mut slots)?;
        let order = self.keys.bytes(batch.columns(), rows)?;
        let rows = times.iter().zip(first..).zip(slots).enumerate();
        self.waiting
            .extend(rows.map(|(row, ((time, number), slot))| ((*time, order.row(row).into(), number), slot)));
        Ok(Flow::Done)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        if !matches!(self.time, OverOrder::EventTime { .. }) {
            return Ok(Flow::Done);
        }
        self.target = watermark;
        self.advance(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let first = self.waiting.first_key_value()?;
        matches!(self.time, OverOrder::ProcessingTime).then_some(first.0.0 + 1)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = now_ms - 1;
        self.advance(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let told = OperatorEntry {
            name: TOLD_STATE.into(),
            bytes: Bytes::copy_from_slice(&self.told.to_le_bytes()),
            redistribute: Redistribute::Union,
        };
        Ok(OperatorSnapshot {
            keyed: vec![self.table.capture(checkpoint)],
            operator_state: vec![told],
            ..OperatorSnapshot::default()
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = END_OF_TIME;
        self.advance(out)
    }

    fn state_bytes(&self) -> usize {
        self.table.bytes() + self.waiting.len() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::SortKey;
    use crate::operators::harness::Harness;
    use flott_core::Field;

    const SCHEMA: &str = "t TIMESTAMP(3), s STRING";

    fn operator(time: OverOrder, is_sorted: bool) -> Box<TemporalSort> {
        let key = SortKey {
            column: 1,
            descending: false,
            nulls_last: false,
        };
        let spec = TemporalSortSpec {
            input: vec![
                Field::new("t", LogicalType::new(TypeKind::Timestamp(3))),
                Field::new("s", LogicalType::string()),
            ],
            time,
            order: if is_sorted { vec![key] } else { vec![] },
        };
        Box::new(TemporalSort::new(&spec).unwrap())
    }

    const EVENT: OverOrder = OverOrder::EventTime { column: 0 };

    #[test]
    fn rows_are_told_in_the_order_of_time() {
        let rows = "+I 30 b\n+I 10 b\n+I 20 x\n+I 10 a\n+I 10 b\nwatermark 10\n+I 5 late\n+I 10 late\n+I 15 c\nwatermark 25\nend";
        let by_arrival = "+I 10 b\n+I 10 a\n+I 10 b\n+I 15 c\n+I 20 x\n+I 30 b";
        let mut op = Harness::new(operator(EVENT, false), SCHEMA);
        assert_eq!(op.run(rows), by_arrival);
        assert_eq!(op.metrics.late_records_dropped.get(), 2);
        let by_name = by_arrival.replace("+I 10 b\n+I 10 a", "+I 10 a\n+I 10 b");
        assert_eq!(Harness::new(operator(EVENT, true), SCHEMA).run(rows), by_name);
        assert!(op.run("+I NULL x").contains("'t' is NULL"));
    }

    #[test]
    fn rows_that_wait_and_the_time_told_are_taken_over() {
        let mut first = Harness::new(operator(EVENT, true), SCHEMA);
        assert_eq!(first.run("+I 30 b\n+I 10 b\n+I 30 a\nwatermark 20"), "+I 10 b");
        let mut second = Harness::restored(operator(EVENT, true), SCHEMA, (0, 1), vec![first.snapshot()]);
        assert_eq!(
            second.run("+I 10 late\n+I 15 z\n+I 30 aa\nwatermark 40"),
            "+I 15 z\n+I 30 a\n+I 30 aa\n+I 30 b"
        );
    }

    #[test]
    fn rows_of_a_millisecond_are_sorted_when_it_is_over() {
        let mut op = Harness::new(operator(OverOrder::ProcessingTime, true), SCHEMA);
        assert_eq!(op.run("clock 7\n+I 1 b\n+I 2 a"), "");
        assert_eq!(op.next_timer(), Some(8));
        assert_eq!(op.run("timer 8\n+I 3 c"), "+I 2 a\n+I 1 b");
        assert_eq!(op.run("end"), "+I 3 c");
    }

    #[test]
    fn many_rows_are_told_by_several_calls() {
        let rows: Vec<String> = (0..20_000).map(|i| format!("+I 1 r{i}")).collect();
        let mut op = Harness::new(operator(EVENT, false), SCHEMA);
        let told = op.run(&(rows.join("\n") + "\nwatermark 5"));
        assert_eq!(told, rows.join("\n"));
        assert!(op.largest_call <= MAX_EMITTED_ROWS);
    }
}
