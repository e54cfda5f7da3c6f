//! The keyed state of a checkpoint or savepoint as columns: [`SavedState`] finds it, [`TableRows`] hands its rows out.
//!
//! State is read a range of key groups at a time, as a restore does, increments included, so memory is bounded by the range. Values
//! have the types that the manifest names; where it names none (the accumulators of SQL), those of their storage.

use arrow_array::{ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array};
use arrow_buffer::BooleanBuffer;
use flott_checkpoint::{
    CheckpointError, ColumnDescriptor, ColumnType, Manifest, OperatorManifest, SubtaskRestore, TableDescriptor,
};
use flott_checkpoint::{RunRef, Snapshot};
use flott_core::encoding::RowDecoder;
use flott_core::types::MAX_LENGTH;
use flott_core::{KeyGroupRange, LogicalType, Options, TypeKind};
use flott_state::{KeyedTable, RestoredState, StateError, WindowTables, load_subtask};
use std::collections::VecDeque;
use std::sync::Arc;

/// State that a range of key groups has at most, about.
const RANGE_BYTES: u64 = 8 << 20;

/// A checkpoint or savepoint whose state is read.
#[derive(Debug)]
pub struct SavedState(Snapshot);

impl SavedState {
    /// The checkpoint or savepoint at a path; `options` say how its store is reached.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub async fn open(path: &str, options: &Options) -> Result<Self, CheckpointError> {
        Snapshot::open(path, options).await.map(Self)
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// How people name it.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Reads the rows of a table whose keys are of a range of key groups; [`LoadedTable::rows`] decodes them.
    ///
    /// # Errors
    /// If state is damaged or missing.
    pub async fn load(
        &self,
        operator: &OperatorManifest,
        table: &TableDescriptor,
        range: KeyGroupRange,
    ) -> Result<LoadedTable, StateError> {
        let runs = runs_of(operator, table).filter_map(|r| r.clipped(&range));
        let wanted = SubtaskRestore {
            index: 0,
            key_groups: range,
            runs: runs.collect(),
            entries: vec![],
            committables: vec![],
            in_flight: vec![],
        };
        Ok(LoadedTable {
            is_sliced: wanted.runs.iter().any(|r| r.namespace.is_some()),
            state: load_subtask(&self.0.root, operator, &wanted).await?,
            descriptor: Arc::new(table.clone()),
            max_parallelism: operator.max_parallelism,
            range,
        })
    }
}

fn runs_of<'a>(operator: &'a OperatorManifest, table: &'a TableDescriptor) -> impl Iterator<Item = &'a RunRef> {
    let all = operator.subtasks.iter().flat_map(|s| &s.runs);
    all.filter(|r| r.table == table.name)
}

/// Ranges of key groups that hold a table together, each small enough to be held in memory.
pub fn ranges(operator: &OperatorManifest, table: &TableDescriptor) -> Vec<KeyGroupRange> {
    let bytes: u64 = runs_of(operator, table).map(RunRef::bytes).sum();
    let count = bytes
        .div_ceil(RANGE_BYTES)
        .clamp(1, operator.max_parallelism.max(1) as u64) as usize;
    (0..count)
        .map(|i| KeyGroupRange::of_subtask(operator.max_parallelism, count, i))
        .collect()
}

/// Whether a table is one of windows by their ends.
pub fn is_sliced(operator: &OperatorManifest, table: &TableDescriptor) -> bool {
    runs_of(operator, table).any(|r| r.namespace.is_some())
}

/// The type of a column's values: what the manifest says, or for the storage of SQL's accumulators the type that holds all it can hold.
pub fn stored_type(column: &ColumnDescriptor) -> LogicalType {
    let kind = match (&column.value, column.ty) {
        (Some(value), _) => return value.with_nullable(true),
        (None, ColumnType::I64) => TypeKind::BigInt,
        (None, ColumnType::F64) => TypeKind::Double,
        (None, ColumnType::I128) => TypeKind::Decimal(38, 0),
        (None, ColumnType::Bool) => TypeKind::Boolean,
        (None, ColumnType::Bytes) => TypeKind::Varbinary(MAX_LENGTH),
    };
    LogicalType::new(kind)
}

/// Fields of an entry of a map with a time to live: its value, and when it was updated.
const STAMPED: [&str; 2] = ["value", "value.updated"];

/// The type of an entry's value, if the entries of a map have a time to live.
pub(super) fn without_stamp(entry: &LogicalType) -> Option<&LogicalType> {
    match &entry.kind {
        TypeKind::Row(fields) if fields.iter().map(|f| f.name.as_str()).eq(STAMPED) => Some(&fields[0].ty),
        _ => None,
    }
}

/// The state whose times of update a column holds.
pub fn stamped_state<'a>(table: &TableDescriptor, column: &'a str) -> Option<&'a str> {
    let state = column.strip_suffix(".updated")?;
    table.columns.iter().any(|c| c.name == state).then_some(state)
}

/// Rows that are read, not yet decoded.
#[derive(Debug)]
pub struct LoadedTable {
    state: RestoredState,
    descriptor: Arc<TableDescriptor>,
    is_sliced: bool,
    max_parallelism: usize,
    range: KeyGroupRange,
}

impl LoadedTable {
    /// Decodes the rows: work for the thread that wants them.
    ///
    /// # Errors
    /// If state is damaged.
    pub fn rows(self) -> Result<TableRows, StateError> {
        let mut slices = VecDeque::new();
        if self.is_sliced {
            let mut windows = WindowTables::new(self.descriptor, self.max_parallelism, self.range);
            self.state.load_windows(&mut windows)?;
            let ends: Vec<i64> = windows.slices().collect();
            slices.extend(
                ends.into_iter()
                    .filter_map(|end| Some((Some(end), windows.remove(end)?))),
            );
        } else {
            let mut table = KeyedTable::new(self.descriptor, self.max_parallelism, self.range);
            self.state.load_table(&mut table)?;
            slices.push_back((None, table));
        }
        Ok(TableRows { slices, from: 0 })
    }
}

/// Rows of a table, window by window, always in the same order.
#[derive(Debug)]
pub struct TableRows {
    slices: VecDeque<(Option<i64>, KeyedTable)>,
    /// Where the first of them is read on.
    from: u32,
}

/// Some rows of a table.
#[derive(Debug)]
pub struct RowChunk {
    /// End of the window that they belong to, if they belong to one.
    pub window_end_ms: Option<i64>,
    /// The fields of the key.
    pub keys: Vec<ArrayRef>,
    /// The columns that were asked for, of their [`stored_type`].
    pub states: Vec<ArrayRef>,
    /// Number of rows.
    pub rows: usize,
}

impl TableRows {
    /// The next rows, at most `limit`, with the columns of these indices; `None` at the end.
    ///
    /// # Errors
    /// If a value is damaged.
    pub fn next(&mut self, limit: usize, columns: &[usize]) -> Result<Option<RowChunk>, StateError> {
        while let Some((window_end_ms, table)) = self.slices.front() {
            let mut slots = Vec::with_capacity(limit);
            let next = table.scan(self.from, limit, &mut slots);
            let chunk = RowChunk {
                window_end_ms: *window_end_ms,
                keys: table.keys(&slots)?,
                states: columns
                    .iter()
                    .map(|i| column(table, *i, &slots))
                    .collect::<Result<_, _>>()?,
                rows: slots.len(),
            };
            match next {
                Some(from) => self.from = from,
                None => {
                    self.slices.pop_front();
                    self.from = 0;
                }
            }
            if chunk.rows > 0 {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

fn column(table: &KeyedTable, index: usize, slots: &[u32]) -> Result<ArrayRef, StateError> {
    let descriptor = &table.descriptor().columns[index];
    let Some(value) = &descriptor.value else {
        return Ok(storage(table, index, descriptor.ty, slots));
    };
    let damaged = |problem: String| StateError::DamagedRun {
        table: table.descriptor().name.clone(),
        place: format!("column '{}'", descriptor.name),
        problem,
    };
    let mut decoder = RowDecoder::new(&[value.with_nullable(true)]);
    let column = table.bytes_column(index);
    for slot in slots {
        // An absent value is the field of a NULL.
        let bytes = column.get(*slot).unwrap_or(&[0]);
        decoder.decode(bytes).map_err(|e| damaged(e.to_string()))?;
    }
    let columns = decoder.finish().map_err(|e| damaged(e.to_string()))?;
    columns
        .into_iter()
        .next()
        .ok_or_else(|| damaged("it has no values".to_owned()))
}

/// A column of a storage type.
fn storage(table: &KeyedTable, index: usize, ty: ColumnType, slots: &[u32]) -> ArrayRef {
    match ty {
        ColumnType::I64 => {
            let (values, nulls) = table.column::<i64>(index).gather(slots);
            Arc::new(Int64Array::new(values.into(), nulls))
        }
        ColumnType::F64 => {
            let (values, nulls) = table.column::<f64>(index).gather(slots);
            Arc::new(Float64Array::new(values.into(), nulls))
        }
        ColumnType::I128 => {
            let (values, nulls) = table.column::<i128>(index).gather(slots);
            let numbers = Decimal128Array::new(values.into(), nulls);
            let ty = LogicalType::new(TypeKind::Decimal(38, 0)).to_arrow();
            Arc::new(numbers.with_data_type(ty))
        }
        ColumnType::Bool => {
            let (values, nulls) = table.column::<bool>(index).gather(slots);
            Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
        }
        ColumnType::Bytes => {
            let column = table.bytes_column(index);
            Arc::new(slots.iter().map(|slot| column.get(*slot)).collect::<BinaryArray>())
        }
    }
}
