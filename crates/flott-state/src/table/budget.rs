//! How much memory the rows of tiered tables may take: [`HotBudget`], one number for all tables of an attempt, and [`Share`].
//!
//! All shares are equal. A table takes one when it has its first row, so that what nobody uses costs the others nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory that the tables of one attempt share.
#[derive(Debug)]
pub(crate) struct HotBudget {
    /// For all tables together, in bytes.
    bytes: usize,
    /// Instead of it, rows of each table.
    rows: Option<usize>,
    tables: AtomicUsize,
}

impl HotBudget {
    pub(crate) fn new(bytes: usize, rows: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            rows,
            tables: AtomicUsize::new(0),
        })
    }

    /// Rows that a table may hold, whatever their size.
    pub(super) fn fixed_rows(&self) -> Option<usize> {
        self.rows
    }

    /// Rows that a table may hold, of so many bytes each.
    pub(super) fn rows(&self, bytes_a_row: usize) -> usize {
        let share = || self.bytes / self.tables.load(Ordering::Relaxed).max(1) / bytes_a_row.max(1);
        self.rows.unwrap_or_else(share).max(1)
    }
}

/// A share of the memory of a [`HotBudget`], as long as this lives.
#[derive(Debug)]
pub(crate) struct Share(Arc<HotBudget>);

impl Share {
    pub(crate) fn of(budget: &Arc<HotBudget>) -> Self {
        budget.tables.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(budget))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.tables.fetch_sub(1, Ordering::Relaxed);
    }
}
