//! A table at one moment: [`TableCapture`], taken on the operator's thread, encoded on another.

use crate::bitmap::SlotSet;
use crate::changes::{ChainBook, Increment};
use crate::chunk::Captured;
use crate::cold::{ColdCapture, ColdParts};
use crate::data::CapturedData;
use crate::error::StateError;
use crate::keys::CapturedKeys;
use crate::run::{EncodedRun, RunMode};
use crate::table::KeyedTable;
use flott_checkpoint::TableDescriptor;
use flott_core::{CheckpointId, KeyGroup, KeyGroupRange};
use std::sync::Arc;

/// The content of a table, shared with it; later writes to the table do not show here.
#[derive(Debug)]
pub struct TableCapture {
    pub(crate) descriptor: Arc<TableDescriptor>,
    pub(crate) namespace: Option<i64>,
    pub(crate) range: KeyGroupRange,
    pub(crate) max_parallelism: usize,
    pub(crate) keys: CapturedKeys,
    pub(crate) groups: Captured<KeyGroup>,
    pub(crate) live: SlotSet,
    pub(crate) live_count: usize,
    pub(crate) null_slot: Option<u32>,
    pub(crate) columns: Vec<CapturedData>,
    pub(crate) increment: Option<Increment>,
    /// Whether later increments can build on this capture.
    pub(crate) is_tracked: bool,
    pub(crate) book: Arc<ChainBook>,
    /// What a tiered table has elsewhere.
    pub(crate) cold: Option<Result<ColdCapture, StateError>>,
}

impl KeyedTable {
    /// Captures the table for a checkpoint: clones one pointer per 64 KiB, copies no row. Captures are taken in the order of
    /// their checkpoints.
    pub fn capture(&mut self, checkpoint: CheckpointId) -> TableCapture {
        let descriptor = Arc::clone(self.descriptor());
        let (range, max_parallelism, live_count) =
            (self.key_group_range(), self.max_parallelism(), self.len_in_memory());
        let (keys, rows, columns, changes) = self.parts_mut();
        let (increment, is_tracked) = changes.capture(checkpoint, &rows.live);
        let mut capture = TableCapture {
            descriptor,
            namespace: None,
            range,
            max_parallelism,
            keys: keys.capture(),
            groups: rows.groups.capture(),
            live: rows.live.clone(),
            live_count,
            null_slot: rows.null_slot,
            columns: columns.iter_mut().map(|c| c.capture()).collect(),
            increment,
            is_tracked,
            book: Arc::clone(&changes.book),
            cold: None,
        };
        let since = capture.increment.as_ref().map(|i| i.since);
        capture.cold = self.capture_cold(checkpoint, since);
        capture
    }
}

impl TableCapture {
    /// The capture as that of a window slice's table.
    pub fn in_namespace(mut self, namespace: i64) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// What the table holds.
    pub fn descriptor(&self) -> &Arc<TableDescriptor> {
        &self.descriptor
    }

    /// End of the window slice, if it is the table of one.
    pub fn namespace(&self) -> Option<i64> {
        self.namespace
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.live_count + self.cold.iter().flatten().map(|c| c.rows).sum::<usize>()
    }

    /// All of it as base runs, wherever its rows are: what a full checkpoint writes, at once.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn encode_whole(&self) -> Result<Vec<EncodedRun>, StateError> {
        let mut runs = vec![];
        if let Some(mut parts) = ColdParts::of(self, false)? {
            while let Some(run) = parts.next()? {
                runs.push(run);
            }
        }
        runs.extend(self.encode(RunMode::Full));
        Ok(runs)
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
