//! Keyed state by window: [`WindowTables`], one [`KeyedTable`] for each slice of time.
//!
//! A slice is named by its end. Keys of different slices share nothing, so closing one is a drop of its table, whatever its
//! size; the next checkpoint simply does not list it any more.
//!
//! Under a backend with tiers ([`WindowTables::tiered`]) all slices together keep to one share of memory: where they hold more, those
//! that nobody asked for since the last look go to the store first, whole, and give their memory back.

use crate::backend::{SharedTiers, StateBackend};
use crate::capture::TableCapture;
use crate::changes::ChainBook;
use crate::error::StateError;
use crate::table::{KEPT_EIGHTHS, KeyedTable};
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
    tables: BTreeMap<i64, Slice>,
    /// What is done to each new table.
    prepare: Option<fn(&mut KeyedTable)>,
    /// Shares with all slices whether increments are wanted.
    book: ChainBook,
    tiers: Option<SharedTiers>,
    /// Counts the looks at how much memory holds.
    looks: u64,
}

#[derive(Debug)]
struct Slice {
    table: KeyedTable,
    /// The look behind which it was asked for.
    used: u64,
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
            tiers: None,
            looks: 0,
        }
    }

    /// The same whose rows need not all be in memory, where the backend has tiers. Their operator calls [`Self::relieve`] where it holds no
    /// slot, and reads slices with [`KeyedTable::last_page`] or [`KeyedTable::next_page`].
    ///
    /// # Errors
    /// If there is no disk for them.
    pub fn tiered(mut self, backend: &StateBackend) -> Result<Self, StateError> {
        self.tiers = backend.shared_tiers(&self.descriptor.name)?;
        Ok(self)
    }

    /// The same, which prepares each new table: [`KeyedTable::keep_values`].
    pub fn preparing(mut self, prepare: fn(&mut KeyedTable)) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// The table of the slice that ends at `slice_end`, made if it is missing.
    pub fn table_mut(&mut self, slice_end: i64) -> &mut KeyedTable {
        let slice = self.tables.entry(slice_end).or_insert_with(|| {
            let mut table = KeyedTable::new(Arc::clone(&self.descriptor), self.max_parallelism, self.range);
            if let Some(tiers) = &self.tiers {
                table = table.with_tier(tiers.tier());
            }
            table.changes.book = self.book.fresh();
            if let Some(prepare) = self.prepare {
                prepare(&mut table);
            }
            Slice { table, used: 0 }
        });
        slice.used = self.looks;
        &mut slice.table
    }

    /// Makes room where memory holds more rows than it may; slots that were given out before mean nothing behind this call.
    ///
    /// # Errors
    /// If the store fails.
    pub fn relieve(&mut self) -> Result<(), StateError> {
        let Some(tiers) = &mut self.tiers else { return Ok(()) };
        let look = self.looks;
        self.looks += 1;
        let held: usize = self.tables.values().map(|s| s.table.len_in_memory()).sum();
        if held == 0 {
            return Ok(());
        }
        tiers.take_share();
        // Each slice fills its part of the memory by the size of its own rows, which grow with the age of a window.
        let mut filled = 0.0;
        for slice in self.tables.values_mut().filter(|s| s.table.len_in_memory() > 0) {
            let Some(allowed) = slice.table.allowed_rows(0) else {
                return Ok(());
            };
            filled += slice.table.len_in_memory() as f64 / allowed.max(1) as f64;
        }
        if filled <= 1.0 {
            return Ok(());
        }
        let allowed = (held as f64 / filled) as usize;
        let mut to_go = held - allowed * KEPT_EIGHTHS / 8;
        let mut idle: Vec<&mut Slice> = self
            .tables
            .values_mut()
            .filter(|s| s.used < look && s.table.len_in_memory() > 0)
            .collect();
        idle.sort_by_key(|s| s.used);
        for slice in idle {
            let count = slice.table.len_in_memory().min(to_go);
            slice.table.send_some_away(count)?;
            to_go -= count;
        }
        // The others give up their parts of the rest.
        let mut rest: usize = self.tables.values().map(|s| s.table.len_in_memory()).sum();
        for slice in self.tables.values_mut() {
            if to_go == 0 {
                break;
            }
            let of_slice = slice.table.len_in_memory();
            let count = (to_go * of_slice).div_ceil(rest.max(1)).min(of_slice);
            slice.table.send_some_away(count)?;
            (to_go, rest) = (to_go.saturating_sub(count), rest - of_slice);
        }
        Ok(())
    }

    /// The table of a slice, if it has one.
    pub fn get(&self, slice_end: i64) -> Option<&KeyedTable> {
        self.tables.get(&slice_end).map(|s| &s.table)
    }

    /// The table of a slice, to be written, if it has one.
    pub fn get_mut(&mut self, slice_end: i64) -> Option<&mut KeyedTable> {
        let slice = self.tables.get_mut(&slice_end)?;
        slice.used = self.looks;
        Some(&mut slice.table)
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
        self.tables.remove(&slice_end).map(|s| s.table)
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
            .map(|(slice_end, slice)| slice.table.capture(checkpoint).in_namespace(*slice_end))
            .collect()
    }

    /// Memory that all slices hold, in bytes.
    pub fn bytes(&self) -> usize {
        self.tables.values().map(|s| s.table.bytes()).sum()
    }

    /// What each table holds.
    pub fn descriptor(&self) -> &Arc<TableDescriptor> {
        &self.descriptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BackendSettings, LastPages};
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array};
    use flott_core::hash::hash_columns;
    use flott_core::{LogicalType, Options};
    use std::collections::BTreeSet;

    const HOT_ROWS: usize = 20;

    fn held(windows: &WindowTables) -> usize {
        windows.tables.values().map(|s| s.table.len_in_memory()).sum()
    }

    fn add(windows: &mut WindowTables, slice_end: i64, keys: impl Iterator<Item = i64>) {
        let keys: Vec<ArrayRef> = vec![Arc::new(keys.collect::<Int64Array>())];
        let hashes = hash_columns(&keys, keys[0].len()).unwrap();
        let table = windows.table_mut(slice_end);
        table.slots(&keys, &hashes, &mut vec![]).unwrap();
    }

    #[test]
    fn slices_keep_to_one_share_and_come_out_whole() {
        let options: Options = [("state.backend.hot-rows", "20")].into_iter().collect();
        let backend = StateBackend::new(&BackendSettings::from_options(&options).unwrap(), 1);
        let descriptor = TableDescriptor::new("slices", vec![LogicalType::bigint()]);
        let mut windows = WindowTables::new(descriptor, 8, KeyGroupRange::all(8))
            .tiered(&backend)
            .unwrap();
        for round in 0..10 {
            for slice_end in [10, 20, 30] {
                windows.relieve().unwrap();
                assert!(held(&windows) <= HOT_ROWS, "{} rows in round {round}", held(&windows));
                add(&mut windows, slice_end, round * 10..round * 10 + 10 + slice_end);
            }
        }
        // One that nobody asks for goes whole.
        for _ in 0..3 {
            add(&mut windows, 30, 0..HOT_ROWS as i64 / 2);
            windows.relieve().unwrap();
        }
        assert_eq!(windows.tables[&10].table.len_in_memory(), 0);

        for slice_end in [10, 20, 30] {
            let (mut pages, mut seen) = (LastPages::default(), BTreeSet::new());
            let table = windows.get_mut(slice_end).unwrap();
            let (most, count) = (table.len_in_memory() + 7, table.len());
            loop {
                let mut slots = vec![];
                let is_more = table.last_page(&mut pages, 7, &mut slots).unwrap();
                assert!(slots.len() <= 7 && table.len_in_memory() <= most);
                let keys = table.keys(&slots).unwrap();
                for key in keys[0].as_primitive::<Int64Type>().values() {
                    assert!(seen.insert(*key), "{key} came twice");
                }
                if !is_more {
                    break;
                }
            }
            assert_eq!(seen, (0..100 + slice_end).collect());
            assert_eq!(seen.len(), count);
            windows.remove(slice_end);
        }
        assert!(backend.is_store_empty(), "what was dropped has left the store");
    }

    #[test]
    fn what_rows_of_each_slice_take_counts_not_their_number() {
        let backend = StateBackend::in_bytes(1 << 20);
        let descriptor =
            TableDescriptor::new("slices", vec![LogicalType::bigint()]).column("text", crate::ColumnType::Bytes);
        let mut windows = WindowTables::new(descriptor, 8, KeyGroupRange::all(8))
            .tiered(&backend)
            .unwrap();
        add(&mut windows, 10, 0..200);
        let old = windows.get_mut(10).unwrap();
        let slots: Vec<u32> = old.live_slots().collect();
        for slot in slots {
            old.bytes_column_mut(0).set(slot, Some(&[7; 10_000]));
        }
        for _ in 0..3 {
            add(&mut windows, 20, 0..300);
            windows.relieve().unwrap();
        }
        let in_memory = |slice_end| windows.tables[&slice_end].table.len_in_memory();
        assert!(in_memory(10) < 100, "{} rows of 10 kB in 1 MB", in_memory(10));
        assert_eq!(windows.tables[&10].table.len(), 200);
    }
}
