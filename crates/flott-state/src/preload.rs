//! State that is read while its job still runs: [`PreloadedState`].
//!
//! A job that is rescaled stands still from the barrier of its last checkpoint to the first batch of the next attempt. Large state is not
//! read in that time but before: the tables of a subtask to come are filled from an earlier checkpoint, and behind the barrier only the runs
//! are applied that have come to it since. What was filled lies in the store of the backend that the next attempt uses, none of it in
//! memory, so only tiered tables ([`KeyedTable::is_tiered`]) are filled ahead.
//!
//! ```text
//! checkpoint 7   base, delta 6, delta 7                       ── filled ahead
//! checkpoint 9   base, delta 6, delta 7, delta 8, delta 9     ── these two behind the barrier
//! ```
//!
//! A table's runs are only added to, until it is written whole again: what it was filled from is known where it comes in the same order. By
//! its content alone no run is known, since small ones lie in the manifest, and of two that are equal one may be newer. A table whose runs
//! are not all in the checkpoint that the attempt starts from is given up and read like any other.

use crate::backend::StateBackend;
use crate::error::StateError;
use crate::snapshot::{LoadedRun, RestoredState};
use crate::table::KeyedTable;
use flott_checkpoint::RunRef;
use flott_core::KeyGroupRange;
use std::collections::BTreeMap;

/// A run as it was read for the subtask; `None`: it has nothing for it.
pub(crate) type KnownRun = Option<RunRef>;

/// A run by the checkpoint's words, and as it was read.
pub(crate) type ListedRun = (RunRef, KnownRun);

/// Name of a table, and the end of its window slice.
type TableName = (String, Option<i64>);

/// Tables of a subtask of an operator, filled before they are needed.
#[derive(Debug, Default)]
pub struct PreloadedState {
    tables: BTreeMap<TableName, Filled>,
}

#[derive(Debug)]
struct Filled {
    table: KeyedTable,
    /// All its runs in the checkpoint that it was filled from, in their order.
    runs: Vec<ListedRun>,
}

impl PreloadedState {
    /// How each of `runs`, all of the state to go on from, was read, if a table holds it; tables that hold something else are given up.
    pub(crate) fn known(&mut self, runs: &[RunRef]) -> Vec<Option<KnownRun>> {
        let mut known = vec![None; runs.len()];
        self.tables.retain(|name, filled| {
            let mut of_table = runs.iter().enumerate().filter(|(_, run)| is_of(name, run));
            // Each behind the one before: so none is taken for a later one that is equal.
            let place = |(held, _): &ListedRun| of_table.find(|(_, run)| *run == held).map(|(place, _)| place);
            let places: Option<Vec<usize>> = filled.runs.iter().map(place).collect();
            let is_kept = places.is_some();
            for (place, (_, read)) in places.into_iter().flatten().zip(&filled.runs) {
                known[place] = Some(read.clone());
            }
            is_kept
        });
        known
    }

    /// Takes a table.
    pub(crate) fn take(&mut self, name: &str, namespace: Option<i64>) -> Option<KeyedTable> {
        let filled = self.tables.remove(&(name.to_owned(), namespace))?;
        Some(filled.table)
    }

    /// Bytes of the runs that the tables hold.
    pub fn bytes(&self) -> u64 {
        let runs = self.tables.values().flat_map(|filled| &filled.runs);
        runs.filter_map(|(_, read)| read.as_ref()).map(RunRef::bytes).sum()
    }

    /// Fills tables of `backend` for the key groups `range` of `max_parallelism` with `state`, from where an earlier call has come: with that one's
    /// result `state` was read. Takes as long as there is state: for a thread of its own, and asks `is_wanted` after each run.
    ///
    /// # Errors
    /// If a run is damaged, or the store fails, or it is not wanted any more.
    pub fn fill(
        state: RestoredState,
        backend: &StateBackend,
        (max_parallelism, range): (usize, KeyGroupRange),
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Self, StateError> {
        let (listed, loaded, mut preloaded) = state.into_runs();
        let mut loaded = loaded.into_iter();
        let mut runs: BTreeMap<TableName, Vec<ListedRun>> = BTreeMap::new();
        for (run, read) in listed {
            let part = read.as_ref().and_then(|_| loaded.next());
            let name = name_of(&run);
            if let Some(part) = part.filter(|part| !part.is_known()) {
                let filled = match preloaded.tables.remove(&name) {
                    Some(filled) => filled,
                    None => match Filled::empty(&part, backend, max_parallelism, range)? {
                        Some(filled) => filled,
                        None => continue,
                    },
                };
                let filled = preloaded.tables.entry(name.clone()).or_insert(filled);
                part.apply(&mut filled.table)?;
                filled.table.send_all_away()?;
            }
            runs.entry(name).or_default().push((run, read));
            if !is_wanted() {
                return Err(StateError::Broken(
                    "the state to read ahead is not wanted any more".to_owned(),
                ));
            }
        }
        for (name, filled) in &mut preloaded.tables {
            filled.runs = runs.remove(name).unwrap_or_default();
        }
        Ok(preloaded)
    }
}

impl Filled {
    /// A table for a run and those that follow; `None` where the backend has no tiers.
    fn empty(
        part: &LoadedRun,
        backend: &StateBackend,
        max_parallelism: usize,
        range: KeyGroupRange,
    ) -> Result<Option<Self>, StateError> {
        let table = backend.table_to_fill(part.descriptor.clone(), max_parallelism, range)?;
        Ok(table.map(|table| Self { table, runs: vec![] }))
    }
}

fn name_of(run: &RunRef) -> TableName {
    (run.table.clone(), run.namespace)
}

fn is_of((table, namespace): &TableName, run: &RunRef) -> bool {
    (&run.table, &run.namespace) == (table, namespace)
}
