//! The rows of a table for the last time: [`KeyedTable::last_page`], for windows that fire and are dropped then.

use super::tier::{Next, put_row};
use super::{KeyedTable, TableCursor};
use crate::error::StateError;
use std::sync::Arc;

/// Bytes of rows that a page ends with, about.
const PAGE_BYTES: usize = 4 << 20;

/// Where [`KeyedTable::last_page`] goes on.
#[derive(Debug, Clone, Default)]
pub struct LastPages {
    at: TableCursor,
    /// Rows of the page before that memory had not.
    visitors: Vec<u32>,
}

impl KeyedTable {
    /// Appends slots of the next `limit` rows to `out`, and says whether there are more: first those in memory, then those that the store
    /// alone has, which memory holds for one page. Nothing is written for it. Slots of earlier pages mean nothing behind this call; no key
    /// comes or goes in between, and the table is dropped in the end.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn last_page(&mut self, pages: &mut LastPages, limit: usize, out: &mut Vec<u32>) -> Result<bool, StateError> {
        let from = match std::mem::take(&mut pages.at.0) {
            Next::Key(key) => key,
            Next::Start => return Ok(self.last_page_of_memory(pages, 0, limit, out)),
            Next::Slot(slot) => return Ok(self.last_page_of_memory(pages, slot, limit, out)),
        };
        self.forget_in_memory(&pages.visitors);
        pages.visitors.clear();
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
        let (mut bytes, mut problem) = (0, None);
        let settled = tier.settle();
        let (id, store) = (tier.id, Arc::clone(&tier.store));
        let visitors = &mut pages.visitors;
        let at = &mut pages.at;
        let scanned = settled.and_then(|()| {
            store.scan(&from, &id.rows().1, &mut |key, value| {
                if visitors.len() == limit || bytes >= PAGE_BYTES {
                    at.0 = Next::Key(key.to_vec());
                    return false;
                }
                let parts = (&mut *keys, &mut *rows, &mut columns[..]);
                match put_row(parts, descriptor, store.as_ref(), (id.group_and_key(key), value)) {
                    Ok((slot, true)) => {
                        bytes += value.len();
                        tier.loaded(slot, value);
                        visitors.push(slot);
                    }
                    // It came with those of memory.
                    Ok((_, false)) => {}
                    Err(e) => problem = Some(e),
                }
                problem.is_none()
            })
        });
        scanned.map_err(|e| self.cold_error(e))?;
        out.extend(&pages.visitors);
        match problem {
            Some(problem) => Err(problem),
            None => Ok(matches!(pages.at.0, Next::Key(_))),
        }
    }

    fn last_page_of_memory(&mut self, pages: &mut LastPages, from: u32, limit: usize, out: &mut Vec<u32>) -> bool {
        let next = self.scan(from, limit, out);
        pages.at.0 = match (next, &self.tier) {
            (Some(slot), _) => Next::Slot(slot),
            (None, Some(tier)) if tier.cold > 0 => Next::Key(tier.id.rows().0),
            (None, _) => return false,
        };
        true
    }
}
