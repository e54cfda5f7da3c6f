//! `table.exec.state.ttl`: groups that no row has touched for so long are forgotten ([`Expiry`]).

use flott_runtime::TaskError;
use flott_state::{KeyedTable, TableCursor};

/// A sweep looks at all groups; there are so many of them within a time to live, but at most one a second.
const SWEEPS: i64 = 10;
/// The same where not all are in memory, so that each look reads them from disk.
const SWEEPS_OF_TIERS: i64 = 4;
const MIN_SWEEP_MS: i64 = 1000;
/// Groups that a call looks at where not all are in memory.
const SWEPT_ROWS: usize = 4096;
/// Name of the column with the time of the last touch, in processing time.
pub(crate) const COLUMN: &str = "last-access";

/// When groups are forgotten.
#[derive(Debug)]
pub(crate) struct Expiry {
    ttl_ms: i64,
    /// State column with the time of the last touch.
    column: usize,
    next_sweep_ms: Option<i64>,
    /// Where the look at a table that is not all in memory goes on.
    cursor: TableCursor,
}

impl Expiry {
    /// Groups live for `ttl_ms` behind the touch in `column`.
    pub(crate) fn new(ttl_ms: u64, column: usize) -> Self {
        Self {
            ttl_ms: i64::try_from(ttl_ms).unwrap_or(i64::MAX),
            column,
            next_sweep_ms: None,
            cursor: TableCursor::default(),
        }
    }

    /// Those of `slots` whose time is over.
    pub(crate) fn expired(&self, table: &KeyedTable, slots: impl Iterator<Item = u32>, now_ms: i64) -> Vec<u32> {
        let touched = table.column::<i64>(self.column);
        // A slot that was made just now holds zero; it is about to be touched.
        let is_over = |slot: &u32| {
            let last = touched.get(*slot);
            last > 0 && last.saturating_add(self.ttl_ms) <= now_ms
        };
        slots.filter(is_over).collect()
    }

    /// When the first group's time is over.
    pub(crate) fn earliest_ms(&self, table: &KeyedTable) -> Option<i64> {
        let touched = table.column::<i64>(self.column);
        let times = table.live_slots().map(|slot| touched.get(slot));
        times.min().map(|last| last.saturating_add(self.ttl_ms))
    }

    /// Notes that rows have come for `slots`.
    pub(crate) fn touch(&mut self, table: &mut KeyedTable, slots: &[u32], now_ms: i64) {
        table.column_mut::<i64>(self.column).update(slots, |_, t| *t = now_ms);
        if self.next_sweep_ms.is_none() {
            self.plan_sweep(table, now_ms);
        }
    }

    /// Plans the next look at all groups.
    pub(crate) fn plan_sweep(&mut self, table: &KeyedTable, now_ms: i64) {
        let sweeps = if table.is_tiered() { SWEEPS_OF_TIERS } else { SWEEPS };
        self.next_sweep_ms = Some(now_ms.saturating_add((self.ttl_ms / sweeps).max(MIN_SWEEP_MS)));
    }

    /// No group is left to look at.
    pub(crate) fn stop(&mut self) {
        self.next_sweep_ms = None;
        self.cursor = TableCursor::default();
    }

    /// Forgets groups of a table whose time is over, and plans the next look: all groups that are in memory alone, else some
    /// of them, and the others as soon as there is nothing else to do. No slot of the table may be held.
    ///
    /// # Errors
    /// If groups cannot be read.
    pub(crate) fn sweep(&mut self, table: &mut KeyedTable, now_ms: i64) -> Result<(), TaskError> {
        let forget = |table: &mut KeyedTable, expired: &[u32]| {
            table.remove(expired);
            Ok(())
        };
        self.sweep_but(table, now_ms, 0, |_| false, forget)
    }

    /// The same while `held` slots are held, those of which `is_held` says so: these stay. What has expired goes by `forget`.
    ///
    /// # Errors
    /// If groups cannot be read.
    pub(crate) fn sweep_but(
        &mut self,
        table: &mut KeyedTable,
        now_ms: i64,
        held: usize,
        is_held: impl Fn(u32) -> bool,
        forget: impl FnOnce(&mut KeyedTable, &[u32]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let mut is_whole = true;
        let free = |slot: &u32| !is_held(*slot);
        let expired = match table.is_tiered() {
            false => self.expired(table, table.live_slots().filter(free), now_ms),
            true => {
                let mut slots = vec![];
                table.relieve_but(held, &is_held)?;
                let until = now_ms.saturating_sub(self.ttl_ms);
                is_whole = !table.next_page_until(&mut self.cursor, SWEPT_ROWS, until, &mut slots)?;
                self.expired(table, slots.into_iter().filter(free), now_ms)
            }
        };
        forget(table, &expired)?;
        if table.is_empty() {
            self.stop();
        } else if is_whole {
            self.plan_sweep(table, now_ms);
        } else {
            self.next_sweep_ms = Some(now_ms);
        }
        Ok(())
    }

    /// When all groups are looked at next, in processing time.
    pub(crate) fn next_sweep_ms(&self) -> Option<i64> {
        self.next_sweep_ms
    }
}
