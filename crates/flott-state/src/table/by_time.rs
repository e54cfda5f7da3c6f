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

    /// Lets rows leave memory; their slots mean nothing behind this call.
    ///
    /// # Errors
    /// If the store fails; then nothing has gone.
    pub fn send_to_store(&mut self, slots: &[u32]) -> Result<(), StateError> {
        self.send_away(slots)
    }

    /// Brings the earliest rows that memory has not into it, of those of time `from` and later, at most `limit` and no more than fit. Their
    /// slots are appended to `out`. Gives the time of the first row that is left behind them, if one is.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn fetch_from(
        &mut self,
        from: i64,
        limit: usize,
        bytes_beside: usize,
        out: &mut Vec<u32>,
    ) -> Result<Option<i64>, StateError> {
        let limit = match self.allowed_rows(bytes_beside) {
            Some(allowed) => limit.min(allowed / 2).max(1),
            None => return Ok(None),
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
            return Ok(None);
        };
        let (mut fetched, mut next, mut problem) = (0, None, None);
        let settled = tier.settle();
        let (id, store) = (tier.id, Arc::clone(&tier.store));
        let scanned = settled.and_then(|()| {
            store.scan(&id.rows_from(from), &id.rows().1, &mut |key, value| {
                if fetched == limit {
                    next = id.time_of(key);
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
        match problem {
            Some(problem) => Err(problem),
            None => Ok(next),
        }
    }
}
