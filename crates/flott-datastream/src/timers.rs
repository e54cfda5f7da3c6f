//! Timers of a keyed function: a time per key at which `on_timer` is called, once however often it was registered.
//!
//! A timer is a row of a table (key and time, placed by the key), which checkpoints keep, and an entry in the order of times, which
//! is made again from the table. Registrations of a batch are applied together, in their order, before any timer can fire.
//!
//! Under a backend with tiers, memory holds a part of them: those that are due first, and what was asked for lately. The latest go when it
//! is full; when time comes to where the store may have an earlier one than memory, the next ones are fetched from there.

use crate::key::{Key, Keys};
use arrow_array::Int64Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
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
    /// The timers in memory.
    order: BTreeSet<(i64, u32)>,
    /// No timer is added any more.
    is_closed: bool,
    requests: Vec<Request<K>>,
}

/// Timers that are due, all at one time.
pub(crate) struct Due<K> {
    pub(crate) time_ms: i64,
    pub(crate) keys: Keys<K>,
    /// By which they are placed.
    pub(crate) hashes: Vec<u64>,
}

/// Timers that fire together at most.
const DUE_AT_ONCE: usize = 1024;
/// Timers that are fetched from the store together at most.
const FETCHED_AT_ONCE: usize = 4096;
/// What a timer takes in the order of times.
const ORDER_BYTES: usize = 2 * size_of::<(i64, u32)>();

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
        fields.push(LogicalType::not_null(TypeKind::BigInt));
        let descriptor = TableDescriptor::new(name, fields).placed_by(placed_by);
        let mut table = ctx.table_by_time(descriptor)?;
        if let Some(restored) = &ctx.restored {
            restored.load_table(&mut table)?;
        }
        Self::over(table, placed_by)
    }

    /// The timers of a table.
    fn over(table: KeyedTable, placed_by: usize) -> Result<Self, TaskError> {
        let mut timers = Self {
            table,
            placed_by,
            order: BTreeSet::new(),
            is_closed: false,
            requests: vec![],
        };
        let slots: Vec<u32> = timers.table.live_slots().collect();
        timers.put_in_order(&slots)?;
        if timers.table.elsewhere_from().is_some() {
            timers.fetch()?;
        }
        Ok(timers)
    }

    fn put_in_order(&mut self, slots: &[u32]) -> Result<(), TaskError> {
        let columns = self.table.keys(slots)?;
        if let Some(times) = columns.last() {
            let times = times.as_primitive::<Int64Type>().values().iter().copied();
            self.order.extend(times.zip(slots.iter().copied()));
        }
        Ok(())
    }

    /// Lets the latest timers leave memory where it holds too many.
    fn relieve(&mut self) -> Result<(), TaskError> {
        let count = self.table.rows_beyond_share(ORDER_BYTES);
        if count == 0 {
            return Ok(());
        }
        let latest: Vec<u32> = self.order.iter().rev().take(count).map(|(_, slot)| *slot).collect();
        self.table.send_to_store(&latest)?;
        for _ in latest {
            self.order.pop_last();
        }
        Ok(())
    }

    /// Brings the earliest timers that memory has not into it; whether some are left.
    fn fetch(&mut self) -> Result<bool, TaskError> {
        let mut slots = vec![];
        let is_more = self.table.fetch_earliest(FETCHED_AT_ONCE, ORDER_BYTES, &mut slots)?;
        self.put_in_order(&slots)?;
        self.relieve()?;
        Ok(is_more)
    }

    /// Sees to it that memory has the first timer, if one is due at `now_ms`.
    fn bring_first(&mut self, now_ms: i64) -> Result<(), TaskError> {
        while let Some(elsewhere_ms) = self.table.elsewhere_from().filter(|time_ms| *time_ms <= now_ms) {
            let is_in_memory = |(time_ms, _): &(i64, u32)| *time_ms <= elsewhere_ms;
            if self.order.first().is_some_and(is_in_memory) || !self.fetch()? {
                break;
            }
        }
        Ok(())
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
        self.relieve()
    }

    /// The time of the first timer, or one before it.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        let first = self.order.first().map(|(time_ms, _)| *time_ms);
        first.into_iter().chain(self.table.elsewhere_from()).min()
    }

    /// Takes the next timers that are due at `now_ms`: some of one time.
    ///
    /// # Errors
    /// If stored keys cannot be read.
    pub(crate) fn take_due(&mut self, now_ms: i64) -> Result<Option<Due<K>>, TaskError> {
        self.bring_first(now_ms)?;
        let Some(time_ms) = self.order.first().map(|(time_ms, _)| *time_ms).filter(|t| *t <= now_ms) else {
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
        self.table.remove(&slots);
        Ok(Some(Due {
            time_ms,
            keys: Keys::in_columns(columns, slots.len()),
            hashes,
        }))
    }

    pub(crate) fn capture(&mut self, checkpoint: CheckpointId) -> TableCapture {
        self.table.capture(checkpoint)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.order.len() * ORDER_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::{KeyGroupRange, Options};
    use flott_state::{BackendSettings, StateBackend};
    use std::collections::BTreeMap;

    const GROUPS: usize = 16;

    /// Timers of which memory may hold so many.
    fn timers(hot_rows: &str) -> Timers<i64> {
        let options: Options = [("state.backend.hot-rows", hot_rows)].into_iter().collect();
        let backend = StateBackend::new(&BackendSettings::from_options(&options).unwrap(), 1);
        let time = LogicalType::not_null(TypeKind::BigInt);
        let descriptor = TableDescriptor::new("timers", vec![time.clone(), time]).placed_by(1);
        let table = backend
            .table_by_time(descriptor, GROUPS, KeyGroupRange::all(GROUPS))
            .unwrap();
        Timers::over(table, 1).unwrap()
    }

    /// Numbers that look random and come again.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> i64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % sides) as i64
        }
    }

    /// Whatever memory may hold, timers fire once, in the order of their times, and none that was taken back.
    #[test]
    fn timers_that_do_not_fit_into_memory_fire_in_order() {
        for (hot_rows, seed) in ["1", "2", "7", "40", "100000"]
            .iter()
            .flat_map(|h| (1..=6).map(move |s| (h, s)))
        {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
            let mut timers = timers(hot_rows);
            let mut model: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
            let mut now_ms = -100;
            let most: usize = hot_rows.parse().unwrap();
            for _ in 0..150 {
                for _ in 0..dice.roll(40) {
                    let (key, time_ms) = (dice.roll(30), now_ms + dice.roll(300));
                    let hash = hash_columns(&i64::columns(std::iter::once(&key)), 1).unwrap()[0];
                    let is_removal = dice.roll(4) == 0;
                    timers.request(&key, hash, time_ms, is_removal);
                    let of_time = model.entry(time_ms).or_default();
                    match is_removal {
                        true => drop(of_time.remove(&key)),
                        false => drop(of_time.insert(key)),
                    }
                }
                model.retain(|_, keys| !keys.is_empty());
                timers.apply().unwrap();
                assert!(timers.order.len() <= most, "{} timers in memory", timers.order.len());
                let next_ms = model.keys().next().copied();
                assert!(
                    timers.next_ms() <= next_ms || next_ms.is_none(),
                    "a timer would be overslept"
                );

                now_ms += dice.roll(60);
                let mut last_ms = i64::MIN;
                while let Some(due) = timers.take_due(now_ms).unwrap() {
                    assert!(due.time_ms <= now_ms && due.time_ms >= last_ms);
                    last_ms = due.time_ms;
                    for (row, key) in due.keys.values().iter().enumerate() {
                        assert!(model.get_mut(&due.time_ms).unwrap().remove(key), "fired twice");
                        let hash = hash_columns(&i64::columns(std::iter::once(key)), 1).unwrap()[0];
                        assert_eq!(due.hashes[row], hash);
                    }
                }
                model.retain(|_, keys| !keys.is_empty());
                assert!(model.keys().all(|t| *t > now_ms), "a timer was left behind");
                let left: usize = model.values().map(BTreeSet::len).sum();
                assert_eq!(timers.table.len(), left);
            }
            while let Some(due) = timers.take_due(i64::MAX).unwrap() {
                let of_time = model.get_mut(&due.time_ms).unwrap();
                due.keys.values().iter().for_each(|key| assert!(of_time.remove(key)));
            }
            assert!(model.values().all(BTreeSet::is_empty));
            assert!(timers.table.is_empty() && timers.next_ms().is_none());
        }
    }
}
