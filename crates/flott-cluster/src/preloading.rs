//! What a job master does so that a job with large state stands still for a moment only when it is rescaled: the TaskManagers to come read the
//! state of the last checkpoint while the job runs, in rounds, until little has come to it since; only then comes the checkpoint behind which
//! the job goes on at its new parallelism ([`crate::rescaling`]).
//!
//! Whatever goes wrong here costs time, not the job: what was not read ahead is read behind the barrier. The slots are not taken before, so
//! they may be others in the end.

use crate::deployment::{peers_of, states_by_manager};
use crate::job_master::{JobMaster, Message};
use crate::placement::Placement;
use crate::protocol::{AttemptId, Deployment, Order};
use crate::resources::{PreloadListener, TaskManagerRef};
use crate::storage::RestorePoint;
use flott_core::CheckpointId;
use flott_state::{BackendSettings, RunMode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A round that took no longer leaves little to do.
const SHORT_ROUND_MS: i64 = 1_000;
/// A round that takes longer is given up: a store may hang that nobody calls lost.
const LONGEST_ROUND_MS: i64 = 30 * 60_000;
/// Rounds after which the rescaling takes place whatever has come since.
const MOST_ROUNDS: u32 = 4;

/// State that is read for an attempt to come; given up by dropping it.
pub(crate) struct Preloading {
    attempt: AttemptId,
    /// Parallelism of the attempt, by vertex.
    target: Vec<usize>,
    managers: Vec<TaskManagerRef>,
    /// Of the round at hand.
    from: CheckpointId,
    rounds: u32,
    /// Number of the round at hand, of all of the job.
    round: u64,
    began_ms: i64,
    /// How long the round took, once it is over.
    took_ms: i64,
    /// Those that still read.
    waits_for: BTreeSet<usize>,
    /// What each has read.
    bytes: BTreeMap<usize, u64>,
    has_failed: bool,
}

impl Drop for Preloading {
    fn drop(&mut self) {
        for manager in &self.managers {
            manager.gateway.order(self.attempt, Order::ForgetPreloaded);
        }
    }
}

impl Preloading {
    /// Whether it is for this attempt.
    pub(crate) fn is_for(&self, attempt: AttemptId) -> bool {
        self.attempt == attempt
    }

    /// Whether TaskManagers read.
    pub(crate) fn is_reading(&self) -> bool {
        !self.waits_for.is_empty()
    }

    /// When the round is given up, in processing time.
    pub(crate) fn deadline_ms(&self) -> i64 {
        self.began_ms + LONGEST_ROUND_MS
    }
}

impl JobMaster {
    /// Whether the state is where the next attempt will need it at this parallelism, as far as it is read ahead at all. Otherwise that goes on, and
    /// the inbox hears of it.
    pub(crate) fn is_preloaded(&mut self, target: &[usize]) -> bool {
        let attempt = self.attempt_id(self.machine.attempt() + 1);
        let is_for = |preloading: &Preloading| preloading.is_for(attempt) && preloading.target == target;
        let mut before = self.preloading.take_if(|preloading| is_for(preloading));
        // Those for another parallelism are of no use.
        self.preloading = None;
        if let Some(preloading) = &mut before {
            if preloading.is_reading() && self.ctx.clock.now_ms() >= preloading.deadline_ms() {
                tracing::warn!(job = %attempt.job, "state that is read ahead takes too long; it is read when it is needed");
                preloading.has_failed = true;
                preloading.waits_for.clear();
            }
            if preloading.is_reading() || preloading.has_failed || self.is_close(preloading) {
                let is_done = !preloading.is_reading();
                self.preloading = before;
                return is_done;
            }
        }
        match self.begin_round(attempt, target, before) {
            Some(preloading) => {
                self.preloading = Some(preloading);
                false
            }
            None => true,
        }
    }

    /// Whether little has come to the state since the round that is over.
    fn is_close(&self, preloading: &Preloading) -> bool {
        let newest = self.storage.newest().map(|point| point.manifest().checkpoint_id);
        newest == Some(preloading.from) || preloading.took_ms <= SHORT_ROUND_MS || preloading.rounds >= MOST_ROUNDS
    }

    /// The checkpoint from which state is worth reading ahead.
    fn point_to_preload(&self) -> Option<RestorePoint> {
        // The job was accepted with these options.
        let is_tiered = BackendSettings::from_options(&self.ctx.options).is_ok_and(|settings| settings.is_tiered());
        // What is written whole has nothing in common with the checkpoint before.
        if !is_tiered || self.storage.is_in_memory() || self.storage.mode() != RunMode::Incremental {
            return None;
        }
        let point = self.storage.newest()?;
        let is_large = point.manifest().state_bytes() >= self.rescaling.settings.preloads_from_bytes;
        is_large.then_some(point)
    }

    /// Has the state of the newest checkpoint read where the slots would be, beyond what was read `before`; `None`: it is not.
    fn begin_round(&mut self, attempt: AttemptId, target: &[usize], before: Option<Preloading>) -> Option<Preloading> {
        let point = self.point_to_preload()?;
        let ctx = self.ctx.at(target);
        let had = self.deployed.as_ref()?.allocation.held.as_ref();
        let allocation = self.slots.foresee(&ctx.slots_needed(), had)?;
        let placement = Placement::from(allocation.placement(&ctx.graph));
        let states = self.storage.keyed_states(&ctx, &point).ok()?;
        let mut states = states_by_manager(&ctx, states, &placement, allocation.task_managers.len());
        let slots: Vec<usize> = (0..states.len()).map(|here| allocation.slots_of(here)).collect();
        let rounds = before.as_ref().map_or(0, |before| before.rounds) + 1;
        if let Some(mut before) = before {
            // Where it was read before, that is the beginning of what is read now.
            let goes_on = |of: &TaskManagerRef| allocation.task_managers.iter().any(|m| m.peer == of.peer);
            before.managers.retain(|manager| !goes_on(manager));
        }
        self.preload_rounds += 1;
        let preloading = Preloading {
            attempt,
            target: target.to_vec(),
            managers: allocation.task_managers,
            from: point.manifest().checkpoint_id,
            rounds,
            round: self.preload_rounds,
            began_ms: self.ctx.clock.now_ms(),
            took_ms: 0,
            waits_for: (0..states.len()).collect(),
            bytes: BTreeMap::new(),
            has_failed: false,
        };
        tracing::info!(
            job = %ctx.job_id,
            checkpoint = preloading.from,
            round = rounds,
            "the state of {attempt} is read ahead"
        );
        let peers = Arc::new(peers_of(&preloading.managers));
        for (here, manager) in preloading.managers.iter().enumerate() {
            let share = Deployment {
                id: attempt,
                plan: ctx.plan.clone(),
                peers: peers.clone(),
                here,
                placement: placement.clone(),
                slots: slots[here],
                states: std::mem::take(&mut states[here]),
                restore_from: self.storage.address_of(&point),
                write_to: String::new(),
                incremental: true,
                within: None,
            };
            let listener = self.preload_listener(preloading.round, here);
            manager.gateway.preload(share, preloading.round, listener);
        }
        Some(preloading)
    }

    fn preload_listener(&self, round: u64, here: usize) -> PreloadListener {
        let sender = self.sender.clone();
        Arc::new(move |read| {
            // Nobody listens to a job that has ended.
            let _ = sender.send(Message::Preloaded(round, here, read));
        })
    }

    /// A TaskManager has read its share, or could not.
    pub(crate) fn preloaded(&mut self, round: u64, here: usize, read: Result<u64, String>) {
        let preloading = self.preloading.as_mut().filter(|preloading| preloading.round == round);
        let Some(preloading) = preloading.filter(|preloading| preloading.waits_for.contains(&here)) else {
            return;
        };
        preloading.waits_for.remove(&here);
        match read {
            Ok(bytes) => drop(preloading.bytes.insert(here, bytes)),
            Err(why) => {
                preloading.has_failed = true;
                let at = preloading
                    .managers
                    .get(here)
                    .map_or("", |manager| manager.peer.id.as_str());
                tracing::warn!(job = %preloading.attempt.job, "TaskManager {at} has not read state ahead; it is read when it is needed: {why}");
            }
        }
        if preloading.waits_for.is_empty() {
            preloading.took_ms = self.ctx.clock.now_ms() - preloading.began_ms;
            let bytes = preloading.bytes.values().sum();
            self.stats.preloaded(preloading.from, bytes, preloading.took_ms);
            self.rescaling.is_open = true;
        }
    }
}
