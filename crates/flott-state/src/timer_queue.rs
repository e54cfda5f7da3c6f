//! Keys with times, in the order of the times: [`TimerQueue`].
//!
//! A timer is a row of a table (key and time, placed by first fields of the key), which checkpoints may keep, and an entry in the order of
//! times, which is made again from the table.
//!
//! Under a backend with tiers, memory holds a part of them: those that are due first, and what was asked for lately. The latest go when it
//! is full; when time comes to where the store may have an earlier one than memory, the next ones are fetched from there.

use crate::capture::TableCapture;
use crate::error::StateError;
use crate::table::KeyedTable;
use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use flott_core::CheckpointId;
use flott_core::hash::hash_columns;
use std::collections::BTreeSet;

/// Timers that are fetched from the store together at most.
const FETCHED_AT_ONCE: usize = 4096;
/// What a timer takes in the order of times.
const ORDER_BYTES: usize = 2 * size_of::<(i64, u32)>();

/// The timers of a table of [`crate::StateBackend::table_by_time`].
#[derive(Debug)]
pub struct TimerQueue {
    table: KeyedTable,
    /// The timers in memory.
    order: BTreeSet<(i64, u32)>,
}

/// Timers that are due, all at one time.
#[derive(Debug)]
pub struct DueTimers {
    /// Their time.
    pub time_ms: i64,
    /// The columns of their keys.
    pub keys: Vec<ArrayRef>,
    /// How many they are.
    pub count: usize,
}

impl TimerQueue {
    /// The timers of a table.
    ///
    /// # Errors
    /// If stored keys cannot be read.
    pub fn over(table: KeyedTable) -> Result<Self, StateError> {
        let mut timers = Self {
            table,
            order: BTreeSet::new(),
        };
        let slots: Vec<u32> = timers.table.live_slots().collect();
        timers.put_in_order(&slots)?;
        if timers.table.elsewhere_from().is_some() {
            timers.fetch()?;
        }
        Ok(timers)
    }

    fn put_in_order(&mut self, slots: &[u32]) -> Result<(), StateError> {
        let columns = self.table.keys(slots)?;
        if let Some(times) = columns.last() {
            let times = times.as_primitive::<Int64Type>().values().iter().copied();
            self.order.extend(times.zip(slots.iter().copied()));
        }
        Ok(())
    }

    /// Lets the latest timers leave memory where it holds too many.
    fn relieve(&mut self) -> Result<(), StateError> {
        let count = self.table.rows_beyond_share(ORDER_BYTES);
        if count == 0 {
            return Ok(());
        }
        let latest: Vec<u32> = self.order.iter().rev().take(count).map(|(_, slot)| *slot).collect();
        self.table.send_away(&latest)?;
        for _ in latest {
            self.order.pop_last();
        }
        Ok(())
    }

    /// Brings the earliest timers that memory has not into it; whether some are left.
    fn fetch(&mut self) -> Result<bool, StateError> {
        let mut slots = vec![];
        let is_more = self.table.fetch_earliest(FETCHED_AT_ONCE, ORDER_BYTES, &mut slots)?;
        self.put_in_order(&slots)?;
        self.relieve()?;
        Ok(is_more)
    }

    /// Sees to it that memory has the first timer, if one is due at `now_ms`.
    fn bring_first(&mut self, now_ms: i64) -> Result<(), StateError> {
        while let Some(elsewhere_ms) = self.table.elsewhere_from().filter(|time_ms| *time_ms <= now_ms) {
            let is_in_memory = |(time_ms, _): &(i64, u32)| *time_ms <= elsewhere_ms;
            if self.order.first().is_some_and(is_in_memory) || !self.fetch()? {
                break;
            }
        }
        Ok(())
    }

    /// Registers timers, or takes them back, in their order: `columns` are their keys with the times behind, `placement_hashes` those of the
    /// fields that place them, and `is_removal` says of each row which it is. What is registered twice is one timer.
    ///
    /// # Errors
    /// If there are too many timers, or the store fails.
    pub fn apply(
        &mut self,
        columns: &[ArrayRef],
        placement_hashes: &[u64],
        is_removal: impl Fn(usize) -> bool,
    ) -> Result<(), StateError> {
        let Some(times) = columns.last().filter(|_| !placement_hashes.is_empty()) else {
            return Ok(());
        };
        let hashes = hash_columns(columns, placement_hashes.len()).map_err(|source| StateError::Hash {
            table: self.table.descriptor().name.clone(),
            source,
        })?;
        let mut slots = Vec::with_capacity(hashes.len());
        self.table
            .slots_with_placement(columns, &hashes, placement_hashes, &mut slots)?;
        // Of several requests for one timer the last counts; its slot must live until then.
        let mut removed = BTreeSet::new();
        let times = times.as_primitive::<Int64Type>().values();
        for (row, (&slot, &time_ms)) in slots.iter().zip(times).enumerate() {
            let timer = (time_ms, slot);
            if is_removal(row) {
                self.order.remove(&timer);
                removed.insert(slot);
            } else {
                self.order.insert(timer);
                removed.remove(&slot);
            }
        }
        let removed: Vec<u32> = removed.into_iter().collect();
        self.table.remove(&removed);
        self.relieve()
    }

    /// The time of the first timer, or one before it.
    pub fn next_ms(&self) -> Option<i64> {
        let first = self.order.first().map(|(time_ms, _)| *time_ms);
        first.into_iter().chain(self.table.elsewhere_from()).min()
    }

    /// Takes the next timers that are due at `now_ms`: at most `limit`, all of one time.
    ///
    /// # Errors
    /// If stored keys cannot be read.
    pub fn take_due(&mut self, now_ms: i64, limit: usize) -> Result<Option<DueTimers>, StateError> {
        self.bring_first(now_ms)?;
        let Some(time_ms) = self.order.first().map(|(time_ms, _)| *time_ms).filter(|t| *t <= now_ms) else {
            return Ok(None);
        };
        let mut slots = vec![];
        while slots.len() < limit
            && let Some(timer) = self.order.first().copied()
            && timer.0 == time_ms
        {
            self.order.remove(&timer);
            slots.push(timer.1);
        }
        let mut keys = self.table.keys(&slots)?;
        keys.pop();
        self.table.remove(&slots);
        Ok(Some(DueTimers {
            time_ms,
            keys,
            count: slots.len(),
        }))
    }

    /// The timers, for a checkpoint.
    pub fn capture(&mut self, checkpoint: CheckpointId) -> TableCapture {
        self.table.capture(checkpoint)
    }

    /// How many there are, wherever they are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many are in memory.
    pub fn len_in_memory(&self) -> usize {
        self.order.len()
    }

    /// Memory in bytes, about.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.order.len() * ORDER_BYTES
    }
}
