//! Timers of a keyed function: a time per key at which `on_timer` is called, once however often it was registered.
//!
//! They lie in a [`TimerQueue`], which checkpoints keep. Registrations of a batch are applied together, in their order, before any timer can
//! fire.

use crate::key::{Key, Keys};
use arrow_array::Int64Array;
use flott_core::hash::hash_columns;
use flott_core::{CheckpointId, LogicalType, TypeKind};
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{KeyedTable, TableCapture, TableDescriptor, TimerQueue};
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
    queue: TimerQueue,
    /// Fields of the key that place a timer: all, or those before the window.
    placed_by: usize,
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
        Ok(Self {
            queue: TimerQueue::over(table)?,
            placed_by,
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
        let placement: Vec<u64> = requests.iter().map(|r| r.key_hash).collect();
        Ok(self.queue.apply(&columns, &placement, |row| requests[row].is_removal)?)
    }

    /// The time of the first timer, or one before it.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.queue.next_ms()
    }

    /// Takes the next timers that are due at `now_ms`: some of one time.
    ///
    /// # Errors
    /// If stored keys cannot be read.
    pub(crate) fn take_due(&mut self, now_ms: i64) -> Result<Option<Due<K>>, TaskError> {
        let Some(due) = self.queue.take_due(now_ms, DUE_AT_ONCE)? else {
            return Ok(None);
        };
        let hashes = hash_columns(&due.keys[..self.placed_by], due.count)?;
        Ok(Some(Due {
            time_ms: due.time_ms,
            keys: Keys::in_columns(due.keys, due.count),
            hashes,
        }))
    }

    pub(crate) fn capture(&mut self, checkpoint: CheckpointId) -> TableCapture {
        self.queue.capture(checkpoint)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.queue.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::{KeyGroupRange, Options};
    use flott_state::{BackendSettings, StateBackend};
    use std::collections::{BTreeMap, BTreeSet};

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
                assert!(
                    timers.queue.len_in_memory() <= most,
                    "{} timers in memory",
                    timers.queue.len_in_memory()
                );
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
                assert_eq!(timers.queue.len(), left);
            }
            while let Some(due) = timers.take_due(i64::MAX).unwrap() {
                let of_time = model.get_mut(&due.time_ms).unwrap();
                due.keys.values().iter().for_each(|key| assert!(of_time.remove(key)));
            }
            assert!(model.values().all(BTreeSet::is_empty));
            assert!(timers.queue.is_empty() && timers.next_ms().is_none());
        }
    }
}
