//! A mini-batch: which groups rows have touched since the last emission, and what their values were ([`Bundle`]).
//!
//! State is folded at once; a bundle only remembers the groups, in the order in which they were first met, and what was
//! told about them before. When it is emitted, that is compared with the state.

use crate::nodes::MiniBatch;
use crate::operators::{MAX_EMITTED_BYTES, MAX_EMITTED_ROWS};
use arrow_array::ArrayRef;
use flott_runtime::TaskError;
use flott_state::bitmap::SlotSet;
use std::collections::VecDeque;

/// Groups of an emission call: each yields two rows at most.
const STEPS_A_CALL: usize = MAX_EMITTED_ROWS / 2;

/// A bundle is full when it remembers so many bytes of texts and lists.
const MAX_BEFORE_BYTES: usize = 64 * 1024 * 1024;

/// The groups of a mini-batch.
#[derive(Debug)]
pub(crate) struct Bundle {
    limits: MiniBatch,
    rows: u64,
    deadline_ms: Option<i64>,
    slots: Vec<u32>,
    existed: Vec<bool>,
    /// Values before the bundle, in pieces as groups were met, each with the number of its groups.
    before: VecDeque<(usize, Vec<ArrayRef>)>,
    /// Bytes of those that are as long as they like.
    before_bytes: usize,
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
            before: VecDeque::new(),
            before_bytes: 0,
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

    /// Remembers groups that [`Self::meet`] returned: whether they were there, with which values. `bytes` is what those take
    /// that are as long as they like; they fit into one call.
    pub(crate) fn remember(
        &mut self,
        slots: &[u32],
        existed: impl Iterator<Item = bool>,
        before: Vec<ArrayRef>,
        bytes: usize,
    ) {
        self.existed.extend(existed.take(slots.len()));
        self.slots.extend(slots);
        self.before.push_back((slots.len(), before));
        self.before_bytes += bytes;
    }

    /// How many groups wait to be told.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a group waits to be told.
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.met.contains(slot)
    }

    /// Counts rows; whether the bundle is full. `deadline_ms`: when it ends at the latest, if these rows are its first.
    pub(crate) fn count(&mut self, rows: usize, deadline_ms: i64) -> bool {
        self.rows += rows as u64;
        self.deadline_ms.get_or_insert(deadline_ms);
        self.rows >= self.limits.size || self.before_bytes >= MAX_BEFORE_BYTES
    }

    /// When the bundle ends at the latest.
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        self.deadline_ms
    }

    /// The next groups to be told; of as many as could be, `fit` says how many of the first ones have room, at least one.
    /// `None` when all are told, and the bundle is empty again.
    ///
    /// # Errors
    /// If values cannot be put together, which is a defect of ours.
    pub(crate) fn next(&mut self, fit: impl Fn(&[u32]) -> usize) -> Result<Option<Told>, TaskError> {
        if self.told == 0 && self.before.len() > 1 && self.before_bytes <= MAX_EMITTED_BYTES {
            self.join()?;
        }
        let Some((groups, mut before)) = self.before.pop_front() else {
            self.clear();
            return Ok(None);
        };
        let most = self.told + groups.min(STEPS_A_CALL);
        let fit = fit(&self.slots[self.told..most]);
        if fit < groups {
            let rest = before.iter().map(|b| b.slice(fit, groups - fit)).collect();
            self.before.push_front((groups - fit, rest));
            before.iter_mut().for_each(|b| *b = b.slice(0, fit));
        }
        let range = self.told..self.told + fit;
        self.told = range.end;
        Ok(Some(Told {
            slots: self.slots[range.clone()].to_vec(),
            existed: self.existed[range].to_vec(),
            before,
        }))
    }

    /// Makes one piece of all.
    fn join(&mut self) -> Result<(), TaskError> {
        let columns = self.before.front().map_or(0, |(_, piece)| piece.len());
        let mut whole = Vec::with_capacity(columns);
        for column in 0..columns {
            let pieces: Vec<_> = self.before.iter().map(|(_, piece)| piece[column].as_ref()).collect();
            whole.push(arrow_select::concat::concat(&pieces)?);
        }
        self.before = VecDeque::from([(self.slots.len(), whole)]);
        Ok(())
    }

    fn clear(&mut self) {
        self.rows = 0;
        self.deadline_ms = None;
        self.slots.clear();
        self.existed.clear();
        self.before.clear();
        self.before_bytes = 0;
        self.met.clear();
        self.told = 0;
    }
}

/// The end of the mini-batch that `now_ms` lies in: Flink's bundles end at multiples of the latency.
pub(crate) fn bundle_end(now_ms: i64, latency_ms: u64) -> i64 {
    let latency_ms = i64::try_from(latency_ms).unwrap_or(i64::MAX).max(1);
    now_ms.saturating_add(latency_ms - now_ms.rem_euclid(latency_ms))
}
