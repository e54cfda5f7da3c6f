//! What an operator hands over at a barrier ([`OperatorSnapshot`]) and gets back when it is restored ([`RestoredState`]).

use crate::capture::TableCapture;
use crate::error::StateError;
use crate::persist::PIECE_BYTES;
use crate::preload::{ListedRun, PreloadedState};
use crate::run::RunReader;
use crate::table::KeyedTable;
use crate::windows::WindowTables;
use bytes::Bytes;
use flott_checkpoint::{InFlightPlace, Location, Redistribute, Root, RunKind, RunRef, TableDescriptor};
use flott_core::{CheckpointId, OperatorId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// State of one subtask of an operator at a barrier.
#[derive(Debug, Default)]
pub struct OperatorSnapshot {
    /// Captures of keyed tables.
    pub keyed: Vec<TableCapture>,
    /// Operator state.
    pub operator_state: Vec<OperatorEntry>,
    /// What a sink has prepared; it is committed once the checkpoint exists, by this process or a later one.
    pub committables: Vec<Bytes>,
}

/// An entry of operator state: opaque bytes that restore gives to one subtask or to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorEntry {
    /// Name of the state.
    pub name: String,
    /// The bytes, in a versioned format of the operator's own.
    pub bytes: Bytes,
    /// Who gets it on restore.
    pub redistribute: Redistribute,
}

/// Rows in flight that a subtask recorded, as bytes in a format of the runtime's own.
#[derive(Debug, Clone)]
pub struct InFlightBytes {
    /// The first operator of the chain to which they were on their way.
    pub operator: OperatorId,
    /// Its subtask.
    pub subtask: usize,
    /// Who recorded them.
    pub place: InFlightPlace,
    /// The rows.
    pub bytes: Bytes,
}

/// Rows in flight of a checkpoint, read.
#[derive(Debug, Clone)]
pub struct RestoredInFlight {
    /// The subtask to which they were on their way.
    pub subtask: usize,
    /// How many there were.
    pub parallelism: usize,
    /// Who recorded them.
    pub place: InFlightPlace,
    /// The rows.
    pub bytes: Bytes,
}

impl OperatorSnapshot {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.keyed.is_empty() && self.operator_state.is_empty() && self.committables.is_empty()
    }
}

/// What a restore found changed, for those who started it: columns and states that came or went.
#[derive(Debug, Clone, Default)]
pub struct RestoreNotes(Arc<Mutex<BTreeSet<String>>>);

impl RestoreNotes {
    fn add(&self, note: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(note);
    }

    /// The notes, each once.
    pub fn list(&self) -> Vec<String> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().cloned().collect()
    }

    fn compare(&self, stored: &TableDescriptor, now: &TableDescriptor) {
        let has = |table: &TableDescriptor, name: &str| table.columns.iter().any(|c| c.name == name);
        for column in stored.columns.iter().filter(|c| !has(now, &c.name)) {
            self.add(format!("'{}' of '{}' is dropped", column.name, now.name));
        }
        for column in now.columns.iter().filter(|c| !has(stored, &c.name)) {
            self.add(format!("'{}' of '{}' is new and starts empty", column.name, now.name));
        }
    }
}

/// State of one subtask to start from, already read: what an operator gets in `open`.
///
/// State is found by name. What nobody asks for is reported by [`Self::unclaimed`], so that state of a removed table is
/// not dropped silently.
#[derive(Debug, Default)]
pub struct RestoredState {
    operator_state: Vec<OperatorEntry>,
    runs: Vec<LoadedRun>,
    committables: Vec<Bytes>,
    in_flight: Vec<RestoredInFlight>,
    claimed: RefCell<BTreeSet<String>>,
    notes: RestoreNotes,
    /// The checkpoint whose runs increments may continue.
    continued: Option<CheckpointId>,
    /// All runs of the state, those too that have nothing for the subtask.
    listed: Vec<ListedRun>,
    /// Tables that hold some of them already.
    preloaded: RefCell<PreloadedState>,
}

impl Drop for RestoredState {
    fn drop(&mut self) {
        for name in self.unclaimed() {
            self.notes.add(format!("the state '{name}' is not used any more"));
        }
    }
}

/// A run's header, and of its blocks those that the subtask needs.
#[derive(Debug, Clone)]
pub struct LoadedRun {
    /// What its table holds, by the manifest.
    pub descriptor: Arc<TableDescriptor>,
    /// What the manifest says of it.
    pub reference: RunRef,
    /// Its first bytes.
    pub header: Bytes,
    /// Bytes from `blocks_from` on.
    pub blocks: Bytes,
    /// Where in the run `blocks` begin.
    pub blocks_from: u64,
    /// Instead of `blocks`, of a run that is read once more when it is applied, piece by piece: so that little of a large state is held.
    pub later: Option<LaterBlocks>,
}

/// Where blocks of a run are, which were found whole.
#[derive(Debug, Clone)]
pub struct LaterBlocks {
    pub(crate) root: Root,
    pub(crate) location: Location,
    pub(crate) bytes: u64,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Whether a table holds the run already that was read before: then nothing of it was read now, its header neither.
    pub(crate) is_known: bool,
}

impl LaterBlocks {
    /// Reads a piece of the run; from the store, where a local copy is not what `verify` expects.
    fn read(&self, piece: Range<u64>, verify: impl Fn(&Bytes) -> Result<(), StateError>) -> Result<Bytes, StateError> {
        let bytes = self.read_from(&self.root, piece.clone())?;
        match self.root.without_copies() {
            Some(store) if verify(&bytes).is_err() => self.read_from(&store, piece),
            _ => Ok(bytes),
        }
    }

    /// On a thread of its own, since whoever restores may be a task of the runtime that reads.
    fn read_from(&self, root: &Root, piece: Range<u64>) -> Result<Bytes, StateError> {
        let read = || self.runtime.block_on(root.read(&self.location, piece.clone()));
        let bytes = std::thread::scope(|scope| scope.spawn(read).join());
        let bytes = bytes.map_err(|_| StateError::Broken("the thread that read a run of state is gone".to_owned()))?;
        Ok(bytes?)
    }
}

impl RestoredState {
    /// State from its parts; runs of one table and slice are in the order in which they were written.
    pub fn new(runs: Vec<LoadedRun>, operator_state: Vec<OperatorEntry>, committables: Vec<Bytes>) -> Self {
        Self {
            operator_state,
            runs,
            committables,
            in_flight: vec![],
            claimed: RefCell::default(),
            notes: RestoreNotes::default(),
            continued: None,
            listed: vec![],
            preloaded: RefCell::default(),
        }
    }

    /// The same state, all of whose runs are `listed`; some of them are in `preloaded` tables, which take the place of those that are empty.
    pub(crate) fn with_preloaded(mut self, listed: Vec<ListedRun>, preloaded: PreloadedState) -> Self {
        self.listed = listed;
        self.preloaded = preloaded.into();
        self
    }

    /// All runs, those of them that were read, and the tables that hold some already.
    pub(crate) fn into_runs(mut self) -> (Vec<ListedRun>, Vec<LoadedRun>, PreloadedState) {
        let (listed, runs) = (std::mem::take(&mut self.listed), std::mem::take(&mut self.runs));
        (listed, runs, self.preloaded.take())
    }

    /// Whether an empty table went on with what was filled ahead for it.
    fn take_over(&self, table: &mut KeyedTable, namespace: Option<i64>) -> bool {
        let name = table.descriptor().name.clone();
        let filled = self.preloaded.borrow_mut().take(&name, namespace);
        filled.is_some_and(|filled| table.take_over(filled))
    }

    /// The same state with rows in flight, which the operator's chain processes first.
    pub fn with_in_flight(mut self, in_flight: Vec<RestoredInFlight>) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// Takes the rows in flight.
    pub fn take_in_flight(&mut self) -> Vec<RestoredInFlight> {
        std::mem::take(&mut self.in_flight)
    }

    /// Says that this is the state of `checkpoint` of the same job, whose files are kept as long as newer checkpoints refer to them, and of
    /// as many key groups. Tables that are of the same form then write increments to it; others begin with a full run.
    pub fn continue_from(&mut self, checkpoint: CheckpointId) {
        self.continued = Some(checkpoint);
    }

    /// Notes in a table what it was filled from; it `was_empty` before.
    fn filled(&self, table: &mut KeyedTable, runs: &[&LoadedRun], was_empty: bool) {
        let range = table.key_group_range();
        let is_same = runs.iter().all(|run| run.descriptor == *table.descriptor());
        let mut continued: Vec<RunRef> = runs.iter().filter_map(|r| r.reference.clipped(&range)).collect();
        // Those of several subtasks before have no key in common: an increment finds its bases in front.
        continued.sort_by_key(|run| run.kind == RunKind::Delta);
        match self.continued {
            Some(checkpoint) if was_empty && is_same && !continued.is_empty() => {
                table.continue_chain(checkpoint, continued);
            }
            _ => table.changes.restored(),
        }
    }

    /// The entries of an operator state, in order.
    pub fn operator_state<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.claim(name);
        let of_name = self.operator_state.iter().filter(move |e| e.name == name);
        of_name.map(|e| &e.bytes)
    }

    fn claim(&self, name: &str) {
        self.claimed.borrow_mut().insert(name.to_owned());
    }

    /// What sinks had prepared for the checkpoint; committing it again is harmless.
    pub fn committables(&self) -> &[Bytes] {
        &self.committables
    }

    /// Fills a table from the state of its name; without such state it stays as it is. Keys outside of the table's key
    /// groups are left out.
    ///
    /// # Errors
    /// If the state is damaged or of another shape.
    pub fn load_table(&self, table: &mut KeyedTable) -> Result<(), StateError> {
        let name = table.descriptor().name.clone();
        let was_empty = table.is_empty();
        let runs: Vec<&LoadedRun> = self.runs.iter().filter(|r| r.reference.table == name).collect();
        let goes_on = self.take_over(table, None);
        for run in &runs {
            if !(goes_on && run.is_known()) {
                run.apply(table)?;
            }
            self.notes.compare(&run.descriptor, table.descriptor());
        }
        self.filled(table, &runs, was_empty);
        self.claim(&name);
        Ok(())
    }

    /// Fills the tables of all slices from the state of their name.
    ///
    /// # Errors
    /// If the state is damaged or of another shape.
    pub fn load_windows(&self, windows: &mut WindowTables) -> Result<(), StateError> {
        let name = windows.descriptor().name.clone();
        let was_empty = windows.is_empty();
        let mut slices: BTreeMap<i64, (bool, Vec<&LoadedRun>)> = BTreeMap::new();
        for run in self.runs.iter().filter(|r| r.reference.table == name) {
            let slice_end = run.reference.namespace.unwrap_or_default();
            let table = windows.table_mut(slice_end);
            let (goes_on, of_slice) = slices
                .entry(slice_end)
                .or_insert_with(|| (self.take_over(table, run.reference.namespace), vec![]));
            if !(*goes_on && run.is_known()) {
                run.apply(table)?;
                windows.relieve()?;
            }
            self.notes.compare(&run.descriptor, windows.descriptor());
            of_slice.push(run);
        }
        for (slice_end, (_, runs)) in slices {
            match windows.get_mut(slice_end) {
                Some(table) if !table.is_empty() => self.filled(table, &runs, was_empty),
                _ => drop(windows.remove(slice_end)),
            }
        }
        self.claim(&name);
        Ok(())
    }

    /// Names of states that nobody has asked for.
    pub fn unclaimed(&self) -> BTreeSet<&str> {
        let runs = self.runs.iter().map(|r| r.reference.table.as_str());
        let entries = self.operator_state.iter().map(|e| e.name.as_str());
        let claimed = self.claimed.borrow();
        runs.chain(entries).filter(|n| !claimed.contains(*n)).collect()
    }

    /// Where what was found changed is noted; complete when the state itself is dropped.
    pub fn notes(&self) -> RestoreNotes {
        self.notes.clone()
    }

    /// Bytes that were read.
    pub fn bytes(&self) -> usize {
        let later = |r: &LoadedRun| r.later.as_ref().map_or(0, |l| l.bytes as usize);
        let of_run = |r: &LoadedRun| r.header.len() + r.blocks.len() + later(r);
        self.runs.iter().map(of_run).sum()
    }
}

impl LoadedRun {
    /// Whether a table holds it already, that was filled ahead.
    pub(crate) fn is_known(&self) -> bool {
        self.later.as_ref().is_some_and(|later| later.is_known)
    }

    /// Its first bytes; read now, if it was known.
    fn header(&self) -> Result<Bytes, StateError> {
        let is_whole = |header: &Bytes| RunReader::new(&self.reference, &self.descriptor, header).map(drop);
        match &self.later {
            Some(later) if later.is_known => later.read(0..u64::from(self.reference.header_bytes), is_whole),
            _ => Ok(self.header.clone()),
        }
    }

    pub(crate) fn apply(&self, table: &mut KeyedTable) -> Result<(), StateError> {
        let header = self.header()?;
        let reader = RunReader::new(&self.reference, &self.descriptor, &header)?;
        match &self.later {
            None => reader.apply(&self.blocks, self.blocks_from, table),
            Some(later) => {
                let groups = self.reference.groups();
                reader.pieces_of(groups, PIECE_BYTES).into_iter().try_for_each(|piece| {
                    let bytes = later.read(piece.clone(), |b| reader.verify_piece(b, piece.clone(), groups))?;
                    reader.apply_piece(&bytes, piece, table)
                })
            }
        }
    }
}
