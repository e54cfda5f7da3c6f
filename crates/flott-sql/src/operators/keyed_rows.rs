//! Bytes by key, as operators that remember rows keep them: [`KeyedRows`].

use super::group::expiry::{self, Expiry};
use super::{hashes_of, key_columns};
use arrow_array::ArrayRef;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::encoding::RowEncoder;
use flott_core::{Batch, CheckpointId, Field, KeyGroupRange};
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{KeyedTable, NO_SLOT, OperatorSnapshot};
use std::sync::Arc;

const ROWS: usize = 0;

/// A table of one BYTES column by the key of a batch's rows; a key without bytes is not there.
///
/// With a time to live, keys that nothing changes are forgotten silently.
pub(crate) struct KeyedRows {
    key: Vec<usize>,
    state: Arc<TableDescriptor>,
    clock: SharedClock,
    table: KeyedTable,
    expiry: Option<Expiry>,
    touched: Vec<u32>,
}

impl KeyedRows {
    /// Rows of columns `input` by the columns `key`, kept for `ttl_ms` (0: for ever).
    pub(crate) fn new(name: &str, input: &[Field], key: &[usize], ttl_ms: u64) -> Self {
        let types = key.iter().map(|&k| input[k].ty.clone()).collect();
        let mut state = TableDescriptor::new(name, types).nullable("rows", ColumnType::Bytes);
        let expiry = (ttl_ms > 0).then(|| Expiry::new(ttl_ms, state.columns.len()));
        if expiry.is_some() {
            state = state.column(expiry::COLUMN, ColumnType::I64);
        }
        let state = Arc::new(state);
        Self {
            key: key.to_vec(),
            // The real table is made in `open`, which knows the subtask's key groups.
            table: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            state,
            clock: Arc::new(SystemClock),
            expiry,
            touched: vec![],
        }
    }

    /// What is kept in checkpoints.
    pub(crate) fn descriptor(&self) -> TableDescriptor {
        self.state.as_ref().clone()
    }

    /// Whether rows are forgotten by time.
    pub(crate) fn expires(&self) -> bool {
        self.expiry.is_some()
    }

    /// Makes the table of a subtask, and fills it from restored state.
    pub(crate) fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        self.table = ctx.table(Arc::clone(&self.state))?;
        if let Some(restored) = ctx.restored.take() {
            restored.load_table(&mut self.table)?;
        }
        if let Some(expiry) = &mut self.expiry
            && !self.table.is_empty()
        {
            expiry.plan_sweep(&self.table, self.clock.now_ms());
        }
        Ok(())
    }

    /// The slot of each row's key; keys whose time is over are emptied first. [`Self::settle`] must follow.
    pub(crate) fn locate(&mut self, batch: &Batch) -> Result<Vec<u32>, TaskError> {
        self.table.relieve()?;
        let keys = key_columns(batch.columns(), &self.key);
        let rows = batch.num_rows();
        let hashes = hashes_of(batch, &keys)?;
        let mut slots = Vec::with_capacity(rows);
        if let Some(expiry) = &self.expiry {
            self.table.find(&keys, &hashes, &mut slots)?;
            slots.retain(|s| *s != NO_SLOT);
            let expired = expiry.expired(&self.table, slots.iter().copied(), self.clock.now_ms());
            self.table.remove(&expired);
            slots.clear();
        }
        self.table.slots(&keys, &hashes, &mut slots)?;
        Ok(slots)
    }

    /// The bytes of a key.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&[u8]> {
        self.table.bytes_column(ROWS).get(slot)
    }

    /// Sets the bytes of a key, or takes them away.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, bytes: Option<&[u8]>) {
        self.table.bytes_column_mut(ROWS).set(slot, bytes);
        if self.expiry.is_some() {
            self.touched.push(slot);
        }
    }

    /// Ends the work on a batch with these slots: keys without bytes go.
    pub(crate) fn settle(&mut self, slots: &[u32]) {
        if let Some(expiry) = &mut self.expiry
            && !self.touched.is_empty()
        {
            expiry.touch(&mut self.table, &self.touched, self.clock.now_ms());
            self.touched.clear();
        }
        let rows = self.table.bytes_column(ROWS);
        let empty: Vec<u32> = slots.iter().copied().filter(|s| rows.get(*s).is_none()).collect();
        self.table.remove(&empty);
    }

    /// When [`Self::sweep`] wants to be called.
    pub(crate) fn next_timer(&self) -> Option<i64> {
        self.expiry.as_ref().and_then(Expiry::next_sweep_ms)
    }

    /// Forgets keys whose time is over.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub(crate) fn sweep(&mut self, now_ms: i64) -> Result<(), TaskError> {
        match &mut self.expiry {
            Some(expiry) => expiry.sweep(&mut self.table, now_ms),
            None => Ok(()),
        }
    }

    /// The state at a barrier.
    pub(crate) fn snapshot(&mut self, checkpoint: CheckpointId) -> OperatorSnapshot {
        OperatorSnapshot {
            keyed: vec![self.table.capture(checkpoint)],
            ..OperatorSnapshot::default()
        }
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// An encoder of rows for the state: every bit is kept.
pub(crate) fn row_encoder(columns: &[ArrayRef]) -> Result<RowEncoder, TaskError> {
    RowEncoder::of_values(columns).map_err(|e| TaskError::internal(e.to_string()))
}
