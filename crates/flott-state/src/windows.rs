//! Keyed state by window: [`WindowTables`], one [`KeyedTable`] for each slice of time.
//!
//! A slice is named by its end. Keys of different slices share nothing, so closing one is a drop of its table, whatever its
//! size; the next checkpoint simply does not list it any more.

use crate::capture::TableCapture;
use crate::changes::ChainBook;
use crate::table::KeyedTable;
use flott_checkpoint::TableDescriptor;
use flott_core::{CheckpointId, KeyGroupRange};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tables of one descriptor, by the end of their slice.
#[derive(Debug)]
pub struct WindowTables {
    descriptor: Arc<TableDescriptor>,
    max_parallelism: usize,
    range: KeyGroupRange,
    tables: BTreeMap<i64, KeyedTable>,
    /// What is done to each new table.
    prepare: Option<fn(&mut KeyedTable)>,
    /// Shares with all slices whether increments are wanted.
    book: ChainBook,
}

impl WindowTables {
    /// No slices yet, for the keys of `range`.
    pub fn new(descriptor: impl Into<Arc<TableDescriptor>>, max_parallelism: usize, range: KeyGroupRange) -> Self {
        Self {
            descriptor: descriptor.into(),
            max_parallelism,
            range,
            tables: BTreeMap::new(),
            prepare: None,
            book: ChainBook::default(),
        }
    }

    /// The same, which prepares each new table: [`KeyedTable::keep_values`].
    pub fn preparing(mut self, prepare: fn(&mut KeyedTable)) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// The table of the slice that ends at `slice_end`, made if it is missing.
    pub fn table_mut(&mut self, slice_end: i64) -> &mut KeyedTable {
        self.tables.entry(slice_end).or_insert_with(|| {
            let mut table = KeyedTable::new(Arc::clone(&self.descriptor), self.max_parallelism, self.range);
            table.changes.book = self.book.fresh();
            if let Some(prepare) = self.prepare {
                prepare(&mut table);
            }
            table
        })
    }

    /// The table of a slice, if it has one.
    pub fn get(&self, slice_end: i64) -> Option<&KeyedTable> {
        self.tables.get(&slice_end)
    }

    /// The table of a slice, to be written, if it has one.
    pub fn get_mut(&mut self, slice_end: i64) -> Option<&mut KeyedTable> {
        self.tables.get_mut(&slice_end)
    }

    /// The end of the earliest slice.
    pub fn first(&self) -> Option<i64> {
        self.tables.keys().next().copied()
    }

    /// Ends of all slices, ascending.
    pub fn slices(&self) -> impl Iterator<Item = i64> {
        self.tables.keys().copied()
    }

    /// Takes a slice out; dropping the table frees it.
    pub fn remove(&mut self, slice_end: i64) -> Option<KeyedTable> {
        self.tables.remove(&slice_end)
    }

    /// Number of slices.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether there is no slice.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Captures of all slices.
    pub fn capture(&mut self, checkpoint: CheckpointId) -> Vec<TableCapture> {
        self.tables
            .iter_mut()
            .map(|(slice_end, table)| table.capture(checkpoint).in_namespace(*slice_end))
            .collect()
    }

    /// Memory that all slices hold, in bytes.
    pub fn bytes(&self) -> usize {
        self.tables.values().map(KeyedTable::bytes).sum()
    }

    /// What each table holds.
    pub fn descriptor(&self) -> &Arc<TableDescriptor> {
        &self.descriptor
    }
}
