//! What changed since which checkpoint: [`Changes`], and the chain of runs that an increment continues: [`ChainBook`].
//!
//! An increment must hold everything that changed since the newest *confirmed* checkpoint, not since the last capture: a
//! checkpoint that fails after its capture never reaches a manifest. So each capture closes an epoch; epochs are kept until
//! a checkpoint that holds them is confirmed, and an increment is the union of all that are kept.
//!
//! ```text
//! capture 7 ---- capture 8 ---- capture 9        confirmed: 7
//!          epoch 8        epoch 9   open         increment 9 = epochs 8 and 9, over the runs of checkpoint 7
//! ```
//!
//! Removed keys leave tombstones only while increments are wanted, which the first writer of an increment says through
//! the book; until then nothing is kept.

use crate::bitmap::SlotSet;
use crate::keys::KeyStore;
use flott_checkpoint::RunRef;
use flott_core::{CheckpointId, KeyGroup};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Epochs kept apart; older ones are merged, which only makes an increment larger.
const MAX_EPOCHS: usize = 8;

/// The key of a removed slot, with its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) group: KeyGroup,
    pub(crate) key: TombstoneKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TombstoneKey {
    Null,
    Number(i64),
    Blob(Box<[u8]>),
}

#[derive(Debug)]
struct Epoch {
    checkpoint: CheckpointId,
    changed: SlotSet,
    removed: Arc<Vec<Tombstone>>,
}

/// What a table changed and removed, by epoch.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    changed: SlotSet,
    removed: Vec<Tombstone>,
    epochs: Vec<Epoch>,
    /// Slots whose key may be in some written run.
    written: SlotSet,
    /// Whether removals are recorded, so that increments are possible.
    tracking: bool,
    pub(crate) book: Arc<ChainBook>,
}

/// What an increment would have to hold.
#[derive(Debug, Clone)]
pub(crate) struct Increment {
    /// The checkpoint whose state it continues.
    pub(crate) since: CheckpointId,
    /// The runs that it continues.
    pub(crate) base: Arc<Vec<RunRef>>,
    /// Slots to write; all are live.
    pub(crate) changed: SlotSet,
    /// Keys to take out before the changed ones are put in.
    pub(crate) removed: Vec<Arc<Vec<Tombstone>>>,
}

impl Changes {
    #[inline]
    pub(crate) fn mark(&mut self, slot: u32) {
        self.changed.insert(slot);
    }

    pub(crate) fn removed(&mut self, slot: u32, group: KeyGroup, keys: &KeyStore, is_null: bool) {
        self.changed.remove(slot);
        if !self.tracking || !self.written.remove(slot) {
            return;
        }
        let key = match keys {
            _ if is_null => TombstoneKey::Null,
            KeyStore::Number(keys) => TombstoneKey::Number(keys.get(slot as usize)),
            KeyStore::Blob(keys) => TombstoneKey::Blob(keys.get(slot).unwrap_or_default().into()),
        };
        self.removed.push(Tombstone { group, key });
    }

    /// The slot's key is not in memory any more; whether it may be in some written run. Nothing is noted of it here.
    pub(crate) fn left(&mut self, slot: u32) -> bool {
        self.changed.remove(slot);
        self.written.remove(slot)
    }

    /// Whether what changes is to be noted, for increments.
    pub(crate) fn is_tracking(&self) -> bool {
        self.tracking
    }

    /// All keys are gone: nothing that was written can be continued.
    pub(crate) fn cleared(&mut self) {
        let book = self.book.fresh();
        *self = Self {
            book,
            ..Self::default()
        };
    }

    /// The table has been filled from a checkpoint: that is no change, and the first run of this process is a full one.
    pub(crate) fn restored(&mut self) {
        self.changed.clear();
        self.removed.clear();
    }

    /// The table has been filled from these runs of `checkpoint`, and holds what they hold: the first run of this process may
    /// continue them. `live` are all of its slots.
    pub(crate) fn continues(&mut self, checkpoint: CheckpointId, runs: Arc<Vec<RunRef>>, live: &SlotSet) {
        self.restored();
        self.book.want_increments();
        self.book.record(checkpoint, runs);
        self.book.confirm(checkpoint);
        self.written.union_with(live);
        self.tracking = true;
    }

    /// The newest confirmed checkpoint, which the next increment continues.
    pub(crate) fn confirmed(&self) -> Option<CheckpointId> {
        self.book.base().map(|(checkpoint, _)| checkpoint)
    }

    /// Whether the next increment must hold the slot as it is, where it continues `confirmed`.
    pub(crate) fn is_changed(&self, slot: u32, confirmed: Option<CheckpointId>) -> bool {
        let open = self
            .epochs
            .iter()
            .filter(|e| confirmed.is_none_or(|c| e.checkpoint > c));
        self.changed.contains(slot) || open.into_iter().any(|e| e.changed.contains(slot))
    }

    /// Closes the epoch of a capture. The increment, if one is possible; and whether later ones can build on this capture.
    pub(crate) fn capture(&mut self, checkpoint: CheckpointId, live: &SlotSet) -> (Option<Increment>, bool) {
        if !self.book.increments_are_wanted() {
            self.changed.clear();
            return (None, false);
        }
        let base = self.book.base();
        if let Some((confirmed, _)) = &base {
            self.epochs.retain(|e| e.checkpoint > *confirmed);
        }
        if self.tracking {
            self.epochs.push(Epoch {
                checkpoint,
                changed: std::mem::take(&mut self.changed),
                removed: Arc::new(std::mem::take(&mut self.removed)),
            });
        } else {
            self.tracking = true;
            self.changed.clear();
        }
        self.merge_old_epochs();
        self.written.union_with(live);
        let increment = base.map(|(since, base)| {
            let mut changed = SlotSet::default();
            for epoch in &self.epochs {
                changed.union_with(&epoch.changed);
            }
            changed.intersect_with(live);
            let removed = self.epochs.iter().map(|e| Arc::clone(&e.removed)).collect();
            Increment {
                since,
                base,
                changed,
                removed,
            }
        });
        (increment, true)
    }

    fn merge_old_epochs(&mut self) {
        while self.epochs.len() > MAX_EPOCHS {
            let oldest = self.epochs.remove(0);
            if let Some(next) = self.epochs.first_mut() {
                next.changed.union_with(&oldest.changed);
                let removed: Vec<_> = oldest.removed.iter().chain(next.removed.iter()).cloned().collect();
                next.removed = Arc::new(removed);
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let removed: usize = self.epochs.iter().map(|e| e.removed.len()).sum::<usize>() + self.removed.len();
        let sets: usize = self.epochs.iter().map(|e| e.changed.bytes()).sum();
        removed * size_of::<Tombstone>() + sets + self.changed.bytes() + self.written.bytes()
    }
}

/// The runs of a table by checkpoint; shared by the table, its captures and who writes them.
///
/// The lock is taken once per capture and once per upload.
#[derive(Debug, Default)]
pub struct ChainBook {
    chains: Mutex<Chains>,
    wanted: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Chains {
    base: Option<(CheckpointId, Arc<Vec<RunRef>>)>,
    pending: BTreeMap<CheckpointId, Arc<Vec<RunRef>>>,
}

impl ChainBook {
    /// A book without chains for a table of the same operator state: what is known about increments being wanted is shared.
    pub(crate) fn fresh(&self) -> Arc<Self> {
        Arc::new(Self {
            chains: Mutex::default(),
            wanted: Arc::clone(&self.wanted),
        })
    }

    fn chains(&self) -> MutexGuard<'_, Chains> {
        // Every section leaves the chains whole, so a panic elsewhere does not make them wrong.
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn want_increments(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    fn increments_are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn base(&self) -> Option<(CheckpointId, Arc<Vec<RunRef>>)> {
        self.chains().base.clone()
    }

    /// The runs that hold the table at `checkpoint` are written.
    pub(crate) fn record(&self, checkpoint: CheckpointId, runs: Arc<Vec<RunRef>>) {
        self.chains().pending.insert(checkpoint, runs);
    }

    /// The manifest of `checkpoint` exists: increments may build on its runs.
    pub(crate) fn confirm(&self, checkpoint: CheckpointId) {
        let mut chains = self.chains();
        if let Some(runs) = chains.pending.remove(&checkpoint)
            && chains.base.as_ref().is_none_or(|(id, _)| *id < checkpoint)
        {
            chains.base = Some((checkpoint, runs));
        }
        chains.pending.retain(|id, _| *id > checkpoint);
    }
}
