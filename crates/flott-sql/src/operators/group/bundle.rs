//! A mini-batch: which groups rows have touched since the last emission, and what their values were ([`Bundle`]).
//!
//! State is folded at once; a bundle only remembers the groups, in the order in which they were first met, and what was
//! told about them before. When it is emitted, that is compared with the state.

use crate::nodes::MiniBatch;
use crate::operators::MAX_EMITTED_ROWS;
use arrow_array::ArrayRef;
use flott_runtime::TaskError;
use flott_state::bitmap::SlotSet;

/// Groups of an emission call: each yields two rows at most.
const STEPS_A_CALL: usize = MAX_EMITTED_ROWS / 2;

/// The groups of a mini-batch.
#[derive(Debug)]
pub(crate) struct Bundle {
    limits: MiniBatch,
    rows: u64,
    deadline_ms: Option<i64>,
    slots: Vec<u32>,
    existed: Vec<bool>,
    /// Values before the bundle, in pieces as groups were met.
    before: Vec<Vec<ArrayRef>>,
    met: SlotSet,
    /// Groups that are told already, while the bundle is emitted.
    told: usize,
}

/// A part of a bundle on its way out.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) slots: Vec<u32>,
    pub(crate) existed: Vec<bool>,
    pub(crate) before: Vec<ArrayRef>,
}

impl Bundle {
    pub(crate) fn new(limits: MiniBatch) -> Self {
        Self {
            limits,
            rows: 0,
            deadline_ms: None,
            slots: vec![],
            existed: vec![],
            before: vec![],
            met: SlotSet::default(),
            told: 0,
        }
    }

    /// Those of `slots` that the bundle meets for the first time, each once, in order.
    pub(crate) fn meet(&mut self, slots: &[u32]) -> Vec<u32> {
        let mut first = vec![];
        for &slot in slots {
            if !self.met.contains(slot) {
                self.met.insert(slot);
                first.push(slot);
            }
        }
        first
    }

    /// Remembers groups that [`Self::meet`] returned: whether they were there, with which values.
    pub(crate) fn remember(&mut self, slots: Vec<u32>, existed: impl Iterator<Item = bool>, before: Vec<ArrayRef>) {
        if slots.is_empty() {
            return;
        }
        self.existed.extend(existed);
        self.slots.extend(slots);
        self.before.push(before);
    }

    /// Whether a group waits to be told.
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.met.contains(slot)
    }

    /// Counts rows; whether the bundle is full. `deadline_ms`: when it ends at the latest, if these rows are its first.
    pub(crate) fn count(&mut self, rows: usize, deadline_ms: i64) -> bool {
        self.rows += rows as u64;
        self.deadline_ms.get_or_insert(deadline_ms);
        self.rows >= self.limits.size
    }

    /// When the bundle ends at the latest.
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        self.deadline_ms
    }

    /// The next groups to be told, at most `limit`; `None` when all are, and the bundle is empty again.
    ///
    /// # Errors
    /// If values cannot be put together, which is a defect of ours.
    pub(crate) fn next(&mut self, limit: usize) -> Result<Option<Told>, TaskError> {
        if self.told == 0 && self.before.len() > 1 {
            let columns = self.before[0].len();
            let mut whole = Vec::with_capacity(columns);
            for column in 0..columns {
                let pieces: Vec<_> = self.before.iter().map(|b| b[column].as_ref()).collect();
                whole.push(arrow_select::concat::concat(&pieces)?);
            }
            self.before = vec![whole];
        }
        let until = (self.told + STEPS_A_CALL.min(limit)).min(self.slots.len());
        if self.told == until {
            self.clear();
            return Ok(None);
        }
        let range = self.told..until;
        let before = self
            .before
            .iter()
            .flatten()
            .map(|b| b.slice(range.start, range.len()))
            .collect();
        self.told = until;
        Ok(Some(Told {
            slots: self.slots[range.clone()].to_vec(),
            existed: self.existed[range].to_vec(),
            before,
        }))
    }

    fn clear(&mut self) {
        self.rows = 0;
        self.deadline_ms = None;
        self.slots.clear();
        self.existed.clear();
        self.before.clear();
        self.met.clear();
        self.told = 0;
    }
}

/// The end of the mini-batch that `now_ms` lies in: Flink's bundles end at multiples of the latency.
pub(crate) fn bundle_end(now_ms: i64, latency_ms: u64) -> i64 {
    let latency_ms = i64::try_from(latency_ms).unwrap_or(i64::MAX).max(1);
    now_ms.saturating_add(latency_ms - now_ms.rem_euclid(latency_ms))
}
