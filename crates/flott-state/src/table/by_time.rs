//! What a queue by time asks of a tiered table ([`crate::StateBackend::table_by_time`]) beside look-ups.
//!
//! The last field of such a table's key is a time, and the store has its rows in the order of their times. Which rows leave memory is said by
//! the queue, which knows the order of those in memory: the latest. What is in the store alone comes back from the earliest on.
//!
//! ```text
//!   memory  | earliest … |  whatever was asked for lately
//!   store                | rows that memory has not: none is before its first ─► later
//! ```

use super::tier::put_row;
use super::{KEPT_EIGHTHS, KeyedTable};
use crate::error::StateError;
use std::sync::Arc;

impl KeyedTable {
    /// Whether the rows of some keys are in the store alone.
    pub fn has_rows_elsewhere(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.cold > 0)
    }

    /// How many rows have to leave memory, where each takes `bytes_beside` bytes more than the table knows of. One row always stays.
    #[inline]
    pub fn rows_beyond_share(&mut self, bytes_beside: usize) -> usize {
        if self.tier.is_none() {
            return 0;
        }
        let live = self.len_in_memory();
        match self.allowed_rows(bytes_beside) {
            Some(allowed) if live > allowed => live - (allowed * KEPT_EIGHTHS / 8).max(1),
            _ => 0,
        }
    }

    /// A time before which no row is due that is in the store alone; `None` where all are in memory.
    pub fn elsewhere_from(&self) -> Option<i64> {
        let tier = self.tier.as_ref().filter(|tier| tier.cold > 0)?;
        Some(tier.id.time_of(&tier.cold_from).unwrap_or(i64::MIN))
    }

    /// Brings the earliest rows that memory has not into it, at most `limit` and no more than fit. Their slots are appended to `out`. Whether some
    /// are left behind them.
    ///
    /// The next call goes on behind the last row, and not with its time again: many rows may have that, and a store goes step by step over
    /// those that were removed of late.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn fetch_earliest(
        &mut self,
        limit: usize,
        bytes_beside: usize,
        out: &mut Vec<u32>,
    ) -> Result<bool, StateError> {
        let limit = match self.allowed_rows(bytes_beside) {
            Some(allowed) => limit.min(allowed / 2).max(1),
            None => return Ok(false),
        };
        let Self {
            tier: Some(tier),
            rows,
            columns,
            keys,
            descriptor,
            ..
        } = self
        else {
            return Ok(false);
        };
        let (mut fetched, mut next, mut problem) = (0, None, None);
        let settled = tier.settle();
        let (id, store) = (tier.id, Arc::clone(&tier.store));
        let (first, until) = id.rows();
        let from = std::mem::take(&mut tier.cold_from).max(first);
        let scanned = settled.and_then(|()| {
            store.scan(&from, &until, &mut |key, value| {
                if fetched == limit {
                    next = Some(key.to_vec());
                    return false;
                }
                let parts = (&mut *keys, &mut *rows, &mut columns[..]);
                match put_row(parts, descriptor, store.as_ref(), (id.group_and_key(key), value)) {
                    Ok((slot, true)) => {
                        tier.loaded(slot, value);
                        fetched += 1;
                        out.push(slot);
                    }
                    Ok((_, false)) => {}
                    Err(e) => problem = Some(e),
                }
                problem.is_none()
            })
        });
        scanned.map_err(|e| self.cold_error(e))?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let is_more = next.is_some();
        if let Some(tier) = &mut self.tier {
            tier.cold_from = next.unwrap_or(until);
        }
        Ok(is_more)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HotBudget, Tier};
    use super::*;
    use crate::TableDescriptor;
    use crate::cold::{ColdBatch, ColdError, ColdRead, ColdStore, MemoryStore, RowOrder, TableId};
    use arrow_array::{ArrayRef, Int64Array};
    use flott_core::encoding::EncodedRows;
    use flott_core::hash::hash_columns;
    use flott_core::{KeyGroupRange, LogicalType, TypeKind};
    use std::sync::Mutex;

    const GROUPS: usize = 16;

    /// Notes where walks begin, and how many keys were asked for.
    #[derive(Debug, Default)]
    struct Watched {
        rows: MemoryStore,
        walks: Mutex<Vec<Vec<u8>>>,
        asked: Mutex<usize>,
    }

    impl ColdRead for Watched {
        fn place(&self) -> String {
            self.rows.place()
        }
        fn get(&self, keys: &EncodedRows, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), ColdError> {
            *self.asked.lock().unwrap() += keys.len();
            self.rows.get(keys, found)
        }
        fn scan(&self, from: &[u8], until: &[u8], row: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ColdError> {
            self.walks.lock().unwrap().push(from.to_vec());
            self.rows.scan(from, until, row)
        }
    }

    impl ColdStore for Watched {
        fn write(&self, batch: &ColdBatch) -> Result<(), ColdError> {
            self.rows.write(batch)
        }
        fn snapshot(&self) -> Arc<dyn ColdRead> {
            self.rows.snapshot()
        }
    }

    /// Gives the slots of keys with a time.
    fn slots(table: &mut KeyedTable, keys: impl Iterator<Item = i64>, time: i64) -> Vec<u32> {
        let keys: Int64Array = keys.collect();
        let times: Int64Array = std::iter::repeat_n(time, keys.len()).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times)];
        let hashes = hash_columns(&columns, columns[0].len()).unwrap();
        let placement = hash_columns(&columns[..1], columns[0].len()).unwrap();
        let mut out = vec![];
        table
            .slots_with_placement(&columns, &hashes, &placement, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn rows_of_one_time_are_walked_over_once_and_what_is_due_before_them_is_not_looked_for() {
        let time = LogicalType::not_null(TypeKind::BigInt);
        let descriptor = TableDescriptor::new("timers", vec![time.clone(), time]).placed_by(1);
        let store = Arc::<Watched>::default();
        let tier = Tier::new(
            Arc::<Watched>::clone(&store),
            TableId(1, RowOrder::Time),
            HotBudget::new(usize::MAX, Some(40)),
        );
        let mut table = KeyedTable::new(descriptor, GROUPS, KeyGroupRange::all(GROUPS)).with_tier(tier);
        assert_eq!(table.elsewhere_from(), None);
        for start in (0..1000).step_by(20) {
            let made = slots(&mut table, start..start + 20, 7);
            table.send_away(&made).unwrap();
        }
        assert_eq!(table.elsewhere_from(), Some(7));
        let mut first = vec![];
        assert!(table.fetch_earliest(20, 0, &mut first).unwrap());
        assert_eq!((first.len(), table.elsewhere_from()), (20, Some(7)));
        table.remove(&first);

        let asked = |table: &mut KeyedTable, time| {
            *store.asked.lock().unwrap() = 0;
            let made = slots(table, 5000..5010, time);
            table.remove(&made);
            *store.asked.lock().unwrap()
        };
        assert_eq!((asked(&mut table, 6), asked(&mut table, 8)), (0, 10));

        let mut fetched = first.len();
        while table.elsewhere_from().is_some() {
            let mut page = vec![];
            table.fetch_earliest(20, 0, &mut page).unwrap();
            fetched += page.len();
            table.remove(&page);
        }
        assert_eq!((fetched, table.len()), (1000, 0));
        let walks = store.walks.lock().unwrap();
        assert!(walks.is_sorted_by(|a, b| a < b), "each walk goes on behind the last");

        // What goes away is looked for again, also behind the end.
        drop(walks);
        let made = slots(&mut table, 0..3, 5);
        table.send_away(&made).unwrap();
        assert_eq!(table.elsewhere_from(), Some(5));
        let mut page = vec![];
        assert!(!table.fetch_earliest(20, 0, &mut page).unwrap());
        assert_eq!((page.len(), table.elsewhere_from()), (3, None));
    }
}
