//! What a job master does so that its job runs at the parallelism that it shall have.
//!
//! A change takes place behind a checkpoint of its own: its barriers stop the sources, so that nothing is read twice, the sinks are committed
//! as ever, and the next attempt, at another parallelism, goes on from it. The job keeps its slots until it has the new ones. What fails on
//! that way is a failure as any other, and up to the job's restart strategy. Large state is read where it will be needed before all that
//! ([`crate::preloading`]).

use crate::coordinator::CheckpointKind;
use crate::deploy::JobContext;
use crate::high_availability::jobs::{JobRecord, Noted};
use crate::job_master::{JobMaster, Message};
use crate::job_state::Event;
use crate::preloading::Preloading;
use crate::requirements::{RequestedBounds, ResourceRequirements, SchedulerSettings, parallelism_of};
use crate::taskmanager::LARGEST_INLINE_BYTES;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Gets whether the job will run within the bounds asked for.
pub(crate) type RequirementsAnswer = oneshot::Sender<Result<(), String>>;

/// Where a job is between its parallelism and the one that it shall have.
pub(crate) struct Rescaling {
    pub(crate) settings: SchedulerSettings,
    /// Somebody may have changed something: slots, or what is asked for.
    pub(crate) is_open: bool,
    /// A user has asked for what is not there yet: nobody waits any longer than needed.
    is_asked: bool,
    /// Its checkpoint is on its way.
    is_wanted: bool,
    /// Since when another parallelism is possible, in processing time.
    since_ms: Option<i64>,
    /// When the attempt that runs was deployed.
    deployed_ms: i64,
    /// When to look again.
    due_ms: Option<i64>,
}

impl Rescaling {
    pub(crate) fn new(settings: SchedulerSettings) -> Self {
        Self {
            settings,
            is_open: true,
            is_asked: false,
            is_wanted: false,
            since_ms: None,
            deployed_ms: 0,
            due_ms: None,
        }
    }

    /// When there is something to look at, in processing time.
    pub(crate) fn next_time(&self) -> Option<i64> {
        self.due_ms
    }

    /// An attempt is prepared.
    pub(crate) fn begins(&mut self) {
        self.is_wanted = false;
        self.is_open = false;
        self.due_ms = None;
    }

    /// It is deployed.
    pub(crate) fn deployed(&mut self, now_ms: i64) {
        self.deployed_ms = now_ms;
        self.since_ms = None;
        // Slots that come later come by themselves.
        self.is_asked = false;
        self.is_open = true;
    }

    /// Whether the change that has become possible takes place now; notes when, if it is not yet time.
    fn is_due(&mut self, now_ms: i64) -> bool {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let due_ms = match self.is_asked {
            true => now_ms,
            false => (since_ms + self.settings.stabilization_ms).max(self.deployed_ms + self.settings.cooldown_ms),
        };
        self.due_ms = Some(due_ms).filter(|due_ms| *due_ms > now_ms);
        self.due_ms.is_none()
    }
}

impl JobMaster {
    /// Asks for a rescaling if it is time.
    pub(crate) fn rescale_if_due(&mut self) -> Option<(u64, Event)> {
        let now_ms = self.ctx.clock.now_ms();
        let is_due = self.rescaling.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if !is_due && !self.rescaling.is_open {
            return None;
        }
        self.rescaling.is_open = false;
        self.rescaling.due_ms = None;
        let is_busy = self.rescaling.is_wanted || !self.machine.takes_checkpoints();
        if is_busy || self.deployed.is_none() || self.state_without_place().is_some() {
            return None;
        }
        let requirements = self.shown.requirements.borrow().clone();
        let available = self.slots.available(self.ctx.job_id);
        // Without the slots that it needs at least it waits for them, and runs on as it is.
        let target = requirements.fit(&self.ctx.graph, available)?;
        let current = parallelism_of(&self.ctx.graph);
        if target == current {
            self.rescaling.is_asked = false;
            self.rescaling.since_ms = None;
            self.preloading = None;
            return None;
        }
        if !self.rescaling.is_due(now_ms) {
            return None;
        }
        if !self.is_preloaded(&target) {
            self.rescaling.due_ms = self.preloading.as_ref().map(Preloading::deadline_ms);
            return None;
        }
        self.rescaling.is_wanted = true;
        self.stats.rescaling(&self.ctx.graph, &target, self.rescaling.is_asked);
        Some((self.machine.attempt(), Event::Want(CheckpointKind::Rescale)))
    }

    /// Why the job cannot be stopped at a checkpoint that the JobManager would have to keep in its memory: it may be too large for it, and
    /// then there would be nothing to go on from.
    fn state_without_place(&self) -> Option<String> {
        let is_at_hand = !self.storage.is_in_memory() || self.slots.are_within_process();
        if is_at_hand || !self.machine.takes_checkpoints() {
            return None;
        }
        let checkpoints = self.stats.checkpoints();
        let is_small = checkpoints.last_id.is_some() && checkpoints.last_bytes <= LARGEST_INLINE_BYTES as u64;
        (!is_small).then(|| {
            format!(
                "the job keeps its checkpoints in the JobManager's memory, and is rescaled only while all of its state, by its last checkpoint, \
                 is below {LARGEST_INLINE_BYTES} bytes: set 'execution.checkpointing.dir' to a folder or bucket that all processes reach"
            )
        })
    }

    /// Takes what a user asks for, once the next leader would know it, too.
    pub(crate) fn require(&mut self, requested: RequestedBounds, answer: RequirementsAnswer) {
        let before = self.shown.requirements.borrow().clone();
        let requirements = before.requested(&self.ctx.plan, &self.ctx.graph, &requested);
        let possible = self.state_without_place().map_or(Ok(()), Err);
        let requirements = match possible.and(requirements) {
            Ok(requirements) => requirements,
            Err(why) => return drop(answer.send(Err(why))),
        };
        let (sender, record) = (self.sender.clone(), self.record.clone());
        tokio::spawn(async move {
            match note(record, &requested).await {
                // Nobody listens to a job that has ended, and the answer says so.
                Ok(()) => drop(sender.send(Message::Required(Arc::new(requirements), answer))),
                Err(why) => drop(answer.send(Err(why))),
            }
        });
    }

    pub(crate) fn required(&mut self, requirements: Arc<ResourceRequirements>, answer: RequirementsAnswer) {
        self.rescaling.is_open = true;
        self.rescaling.is_asked = true;
        self.shown.requirements.send_replace(requirements);
        let _ = answer.send(Ok(()));
    }

    /// Has the inbox hear when slots come and go.
    pub(crate) fn hear_slots(&self) {
        if let Some(changes) = self.slots.changes() {
            let listening = tokio::spawn(pass_on(changes, self.sender.clone()));
            self.aside(&listening);
        }
    }

    /// From now on the job is what its next attempt runs.
    pub(crate) fn reshape(&mut self, ctx: JobContext) {
        self.ctx = ctx;
        self.shown.graph.send_replace(self.ctx.graph.clone());
        self.rescaling.deployed(self.ctx.clock.now_ms());
    }
}

async fn note(record: Option<JobRecord>, requested: &RequestedBounds) -> Result<(), String> {
    let Some(record) = record else {
        return Ok(());
    };
    match record.required(requested).await {
        Ok(Noted::Own) => Ok(()),
        Ok(Noted::TakenOver) => Err("the job has ended, or runs under another JobManager by now".to_owned()),
        Err(error) => Err(format!("the requirements cannot be kept for the next leader: {error}")),
    }
}

async fn pass_on(mut changes: watch::Receiver<()>, sender: tokio::sync::mpsc::UnboundedSender<Message>) {
    while changes.changed().await.is_ok() && sender.send(Message::SlotsChanged).is_ok() {}
}
