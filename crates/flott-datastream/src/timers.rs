//! Timers of a keyed function: a time per key at which `on_timer` is called, once however often it was registered.
//!
//! A timer is a row of a table (key and time, placed by the key), which checkpoints keep, and an entry in the order of times, which
//! is made again from the table. Registrations of a batch are applied together, in their order, before any timer can fire.

use crate::key::Key;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array};
use flott_core::hash::hash_columns;
use flott_core::{CheckpointId, LogicalType, TypeKind};
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{KeyedTable, TableCapture, TableDescriptor};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a function asks of a timer.
#[derive(Debug)]
struct Request<K> {
    key: K,
    key_hash: u64,
    time_ms: i64,
    is_removal: bool,
}

/// All timers of one kind of time.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    table: KeyedTable,
    /// Fields of the key that place a timer: all, or those before the window.
    placed_by: usize,
    order: BTreeSet<(i64, u32)>,
    /// No timer is added any more.
    is_closed: bool,
    requests: Vec<Request<K>>,
}

/// Timers that are due, all at one time.
pub(crate) struct Due<K> {
    pub(crate) time_ms: i64,
    pub(crate) keys: Vec<K>,
    /// The keys as columns.
    pub(crate) columns: Vec<ArrayRef>,
    /// By which they are placed.
    pub(crate) hashes: Vec<u64>,
}

/// Timers that fire together at most.
const DUE_AT_ONCE: usize = 1024;

impl<K: Key> Timers<K> {
    /// The timers of `name`, restored if there is something to restore.
    ///
    /// # Errors
    /// If the restored state does not fit.
    pub(crate) fn open(name: &str, ctx: &OperatorContext) -> Result<Self, TaskError> {
        Self::open_placed(name, K::types().len(), ctx)
    }

    /// The same where the first `placed_by` fields of a key decide where it lives.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_placed(name: &str, placed_by: usize, ctx: &OperatorContext) -> Result<Self, TaskError> {
        let mut fields = K::types();
        let key_fields = fields.len();
        fields.push(LogicalType::not_null(TypeKind::BigInt));
        let descriptor = TableDescriptor::new(name, fields).placed_by(placed_by);
        let mut table = KeyedTable::new(descriptor, ctx.task.max_parallelism, ctx.task.key_groups());
        if let Some(restored) = &ctx.restored {
            restored.load_table(&mut table)?;
        }
        let slots: Vec<u32> = table.live_slots().collect();
        let columns = table.keys(&slots)?;
        let times = columns[key_fields].as_primitive::<Int64Type>().values();
        let order = times.iter().copied().zip(slots).collect();
        Ok(Self {
            table,
            placed_by,
            order,
            is_closed: false,
            requests: vec![],
        })
    }

    /// Ignores what is registered from now on: at the end of a job in batch mode, as in Flink.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Asks for a timer, or takes one back; `key_hash` is that by which the key is placed.
    pub(crate) fn request(&mut self, key: &K, key_hash: u64, time_ms: i64, is_removal: bool) {
        if self.is_closed && !is_removal {
            return;
        }
        self.requests.push(Request {
            key: key.clone(),
            key_hash,
            time_ms,
            is_removal,
        });
    }

    /// Carries out what was requested, in order.
    ///
    /// # Errors
    /// If there are too many timers.
    pub(crate) fn apply(&mut self) -> Result<(), TaskError> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let requests = std::mem::take(&mut self.requests);
        let mut columns = K::columns(requests.iter().map(|r| &r.key));
        columns.push(Arc::new(requests.iter().map(|r| r.time_ms).collect::<Int64Array>()));
        let hashes = hash_columns(&columns, requests.len())?;
        let placement: Vec<u64> = requests.iter().map(|r| r.key_hash).collect();
        let mut slots = Vec::with_capacity(requests.len());
        self.table
            .slots_with_placement(&columns, &hashes, &placement, &mut slots)?;
        // Of several requests for one timer the last counts; its slot must live until then.
        let mut removed = BTreeSet::new();
        for (request, slot) in requests.iter().zip(slots) {
            let timer = (request.time_ms, slot);
            match request.is_removal {
                true => {
                    self.order.remove(&timer);
                    removed.insert(slot);
                }
                false => {
                    self.order.insert(timer);
                    removed.remove(&slot);
                }
            }
        }
        let removed: Vec<u32> = removed.into_iter().collect();
        self.table.remove(&removed);
        Ok(())
    }

    /// The time of the first timer.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.order.first().map(|(time_ms, _)| *time_ms)
    }

    /// Takes the next timers that are due at `now_ms`: some of one time.
    ///
    /// # Errors
    /// If stored keys cannot be read.
    pub(crate) fn take_due(&mut self, now_ms: i64) -> Result<Option<Due<K>>, TaskError> {
        let Some(time_ms) = self.next_ms().filter(|t| *t <= now_ms) else {
            return Ok(None);
        };
        let mut slots = vec![];
        while slots.len() < DUE_AT_ONCE
            && let Some(timer) = self.order.first().copied()
            && timer.0 == time_ms
        {
            self.order.remove(&timer);
            slots.push(timer.1);
        }
        let mut columns = self.table.keys(&slots)?;
        columns.pop();
        let hashes = hash_columns(&columns[..self.placed_by], slots.len())?;
        let keys = (0..slots.len())
            .map(|row| K::from_columns(&mut columns.iter(), row))
            .collect();
        self.table.remove(&slots);
        Ok(Some(Due {
            time_ms,
            keys,
            columns,
            hashes,
        }))
    }

    pub(crate) fn capture(&mut self, checkpoint: CheckpointId) -> TableCapture {
        self.table.capture(checkpoint)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.order.len() * size_of::<(i64, u32)>()
    }
}
