//! Where a job's checkpoints go: the leader's right to write them, their parts, their manifests, and what is restored.
//!
//! A savepoint is a checkpoint like any other that is copied once its sinks have committed; so restarts and `latest` never go
//! back behind what a savepoint made visible.
//!
//! A manifest of which the store does not say whether it exists stays *unsettled*: nothing that it lists may be given up before
//! it is known to exist ([`Storage::settle`]).
//!
//! Without `execution.checkpointing.dir` everything lies in memory: restarts within the process find their state there,
//! and a bounded job has the last checkpoint that commits its tail; nothing outlives the process.

use crate::coordinator::SubtaskId;
use crate::deploy::JobContext;
use crate::error::ClusterError;
use crate::prepare::read_split;
use crate::protocol::{OperatorStates, WrittenPart};
use crate::settings::{CheckpointSettings, ClaimMode, Retention};
use crate::submit::Restore;
use crate::timer;
use bytes::Bytes;
use flott_checkpoint::{
    CheckpointError, CheckpointStore, ClusterEpoch, CoordinatorState, InlineBytes, Leader, Manifest, OperatorManifest,
    Root, Savepoint, Snapshot, SnapshotKind, StateWriter, restore_plan,
};
use flott_core::clock::{Clock, SystemClock};
use flott_core::{CheckpointId, Generation, JobId, JobStatus, OperatorId, Options};
use flott_plan::{NodeId, Plan, Role};
use flott_runtime::TaskError;
use flott_runtime::connector::TimedSplit;
use flott_runtime::task::SPLITS_STATE;
use flott_state::persist::{load_operator, read_entry};
use flott_state::{RestoredState, RunMode, StateError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use in_memory::InMemory;

/// Name under which an enumerator's state lies in a manifest.
const ENUMERATOR_STATE: &str = "enumerator";

/// Age from which files of a job's folder that no checkpoint refers to are taken for left behind.
const SWEEP_AGE_MS: i64 = 24 * 3_600_000;

/// How often they are looked for: checkpoints that are given up leave files too.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How often a manifest is put again when the store does not say whether it has it.
const COMPLETE_ATTEMPTS: u32 = 4;

/// State by operator, for the subtasks of the job that is submitted.
type LoadedStates = HashMap<OperatorId, Vec<RestoredState>>;

/// A checkpoint or savepoint to start from.
#[derive(Debug, Clone)]
pub(crate) struct RestorePoint {
    snapshot: Arc<Snapshot>,
    /// Whether the sinks are known to be committed: by what storage says, or since by this process.
    is_committed: Arc<AtomicBool>,
    /// What was read when the checkpoint was judged, until the first attempt takes it.
    loaded: Arc<Mutex<LoadedStates>>,
}

impl RestorePoint {
    fn new(snapshot: Snapshot, loaded: LoadedStates) -> Self {
        Self {
            is_committed: Arc::new(snapshot.is_committed.into()),
            snapshot: Arc::new(snapshot),
            loaded: Arc::new(Mutex::new(loaded)),
        }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> String {
        self.snapshot.path.clone()
    }

    /// What it holds.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.snapshot.manifest
    }

    /// Takes what was read of an operator when the checkpoint was judged.
    pub(crate) fn take_loaded(&self, operator: OperatorId) -> Option<Vec<RestoredState>> {
        lock(&self.loaded).remove(&operator)
    }

    /// The folder that its files are in.
    pub(crate) fn root(&self) -> &Root {
        &self.snapshot.root
    }

    /// What the sink `operator` had prepared; nothing, if it is known to be committed: what is outside may have forgotten it by
    /// now, and would call it lost.
    pub(crate) fn committables(&self, operator: OperatorId) -> Vec<Bytes> {
        if self.is_committed.load(Ordering::Relaxed) {
            return vec![];
        }
        let subtasks = self.manifest().operator(operator).into_iter().flat_map(|o| &o.subtasks);
        subtasks
            .flat_map(|s| s.committables.iter().map(|c| c.0.clone()))
            .collect()
    }

    /// The state of the enumerator of source `operator`.
    pub(crate) fn coordinator_state(&self, operator: OperatorId) -> Option<Vec<u8>> {
        let mut states = self.manifest().coordinator.iter();
        let state = states.find(|s| s.operator == operator && s.name == ENUMERATOR_STATE)?;
        Some(state.state.0.to_vec())
    }
}

struct Inner {
    leader: Leader,
    options: Options,
    job_name: String,
    job_id: JobId,
    num_retained: usize,
    mode: RunMode,
    retention: Retention,
    claim_mode: ClaimMode,
    next_checkpoint: AtomicU64,
    newest: Mutex<Option<RestorePoint>>,
    /// The manifest of a checkpoint behind `newest` that may exist or not.
    unsettled: Mutex<Option<Manifest>>,
    in_memory: InMemory,
    /// Whether all of it is in this process's memory.
    is_in_memory: bool,
}

/// A job's checkpoint storage. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Storage(Arc<Inner>);

impl Storage {
    /// Opens the storage, probes it and claims leadership.
    pub(crate) async fn open(
        settings: &CheckpointSettings,
        options: &Options,
        job_name: &str,
        job_id: JobId,
        epoch: Option<&ClusterEpoch>,
    ) -> Result<Self, ClusterError> {
        let store = match &settings.dir {
            #[cfg(test)]
            Some(dir) if let Some(root) = crate::simulation::root(dir) => CheckpointStore::of_root(&root, job_name),
            Some(dir) => CheckpointStore::open(dir, job_name, options).await?,
            None => CheckpointStore::of_root(&Root::in_memory(), job_name),
        };
        Self::lead(store, settings, options, job_name, job_id, epoch).await
    }

    /// Claims leadership of an opened store.
    async fn lead(
        store: CheckpointStore,
        settings: &CheckpointSettings,
        options: &Options,
        job_name: &str,
        job_id: JobId,
        epoch: Option<&ClusterEpoch>,
    ) -> Result<Self, ClusterError> {
        let leader = store
            .claim_in(&format!("job {job_id} of process {}", std::process::id()), epoch)
            .await?;
        Ok(Self(Arc::new(Inner {
            leader,
            options: options.clone(),
            job_name: job_name.to_owned(),
            job_id,
            num_retained: settings.num_retained,
            mode: if settings.incremental {
                RunMode::Incremental
            } else {
                RunMode::Full
            },
            retention: settings.retention,
            claim_mode: settings.claim_mode,
            next_checkpoint: AtomicU64::new(1),
            newest: Mutex::default(),
            unsettled: Mutex::default(),
            in_memory: InMemory::new(options),
            is_in_memory: settings.dir.is_none(),
        })))
    }

    /// The leadership that was claimed.
    pub(crate) fn generation(&self) -> Generation {
        self.0.leader.generation()
    }

    /// Finds what `plan` starts from, and says so in the store. Called once, before anything is written.
    /// `is_taken_over`: the job has run under another leader, and goes on from its newest checkpoint, if it has one.
    /// `keeps`: what is read to judge it is kept for the first attempt.
    pub(crate) async fn find(
        &self,
        restore: &Restore,
        is_taken_over: bool,
        plan: &Plan,
        keeps: bool,
    ) -> Result<Option<RestorePoint>, ClusterError> {
        let own = match is_taken_over {
            true => self.newest_intact(plan, keeps, Some(self.0.job_id)).await?,
            false => None,
        };
        let point = match (own, restore) {
            (Some(own), _) => Some(own),
            (None, Restore::Fresh) => None,
            (None, Restore::Latest) => self.newest_intact(plan, keeps, None).await?,
            (None, Restore::Path(path)) => {
                self.check_claim(path)?;
                let snapshot = Snapshot::open(path, &self.0.options).await?;
                Some(RestorePoint::new(snapshot, LoadedStates::new()))
            }
        };
        self.start_from(point.as_ref(), 0).await?;
        if let Some(point) = &point
            && point.snapshot.id.is_none()
            && self.0.claim_mode == ClaimMode::Claim
        {
            self.0.leader.claim_snapshot(&point.snapshot).await?;
        }
        Ok(point)
    }

    /// Refuses to claim what nothing that lasts would follow.
    fn check_claim(&self, path: &str) -> Result<(), ClusterError> {
        if self.0.claim_mode == ClaimMode::NoClaim || !self.0.is_in_memory {
            return Ok(());
        }
        Err(ClusterError::Restore(format!(
            "{}: CLAIM would delete {path} once there is a newer checkpoint, and the job's own are in memory alone and end with it: set \
             execution.checkpointing.dir, or leave it NO_CLAIM",
            ClaimMode::KEY
        )))
    }

    /// The newest checkpoint that this job has completed under an earlier leader; its state is not looked at.
    pub(crate) async fn newest_of_job(&self) -> Result<Option<RestorePoint>, ClusterError> {
        let snapshot = self.0.leader.store().latest().await?;
        let own = snapshot.filter(|snapshot| snapshot.manifest.job_id == self.0.job_id);
        Ok(own.map(|snapshot| RestorePoint::new(snapshot, LoadedStates::new())))
    }

    /// Goes on from a checkpoint of an attempt that runs, and has begun checkpoints up to `begun`. In place of [`Self::find`].
    pub(crate) async fn go_on_from(&self, point: &RestorePoint, begun: CheckpointId) -> Result<(), ClusterError> {
        self.start_from(Some(point), begun + 1).await?;
        *lock(&self.0.newest) = Some(point.clone());
        Ok(())
    }

    /// Says what this leadership starts from; its checkpoints get numbers from `first` at least.
    async fn start_from(&self, point: Option<&RestorePoint>, first: CheckpointId) -> Result<(), ClusterError> {
        let next = self.0.leader.start_from(point.map(|p| &*p.snapshot)).await?;
        self.0.next_checkpoint.store(next.max(first), Ordering::SeqCst);
        if let Err(error) = self.0.leader.resume_claim(&self.0.options).await {
            tracing::warn!(%error, "what this job has claimed before is not found, and stays until it is started again");
        }
        let of_job = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(job) = of_job.upgrade() {
                if let Err(error) = job.leader.sweep(SystemClock.now_ms(), SWEEP_AGE_MS).await {
                    tracing::warn!(%error, "files that crashes and aborts left behind could not be deleted; tried again in a day");
                }
                drop(job);
                timer::sleep(SWEEP_EVERY).await;
            }
        });
        Ok(())
    }

    /// The newest checkpoint whose manifest and state files are intact. Its state is read here, since a job that is under way
    /// could no longer go back to the one before, and kept for the first attempt. `of`: only those of this job.
    async fn newest_intact(
        &self,
        plan: &Plan,
        keeps: bool,
        of: Option<JobId>,
    ) -> Result<Option<RestorePoint>, ClusterError> {
        let store = self.0.leader.store();
        let mut damaged = BTreeSet::new();
        while let Some(snapshot) = store.latest_but(&damaged).await? {
            if of.is_some_and(|job| snapshot.manifest.job_id != job) {
                if damaged.is_empty() {
                    return Ok(None);
                }
                // To start from nothing would be to do again what was committed.
                let folder = self.root().display("");
                return Err(ClusterError::Restore(format!(
                    "all checkpoints of the job in {folder} are damaged; those that can be read there are of another job of its name"
                )));
            }
            match (load_all(&snapshot, plan, keeps).await?, snapshot.id) {
                (Ok(loaded), _) => return Ok(Some(RestorePoint::new(snapshot, loaded))),
                (Err(error), Some(id)) => {
                    tracing::warn!(checkpoint = id.checkpoint, %error, "checkpoint is damaged; the one before it is tried");
                    damaged.insert(id);
                }
                (Err(error), None) => return Err(TaskError::from(error).into()),
            }
        }
        Ok(None)
    }

    /// The number of the next checkpoint: above every one that was begun.
    pub(crate) fn next_checkpoint_id(&self) -> CheckpointId {
        self.0.next_checkpoint.load(Ordering::SeqCst)
    }

    /// Notes that a checkpoint was begun, so that no later attempt uses its number again.
    pub(crate) fn begun(&self, id: CheckpointId) {
        self.0.next_checkpoint.fetch_max(id + 1, Ordering::SeqCst);
    }

    /// Begins a savepoint below `dir`.
    pub(crate) async fn savepoint(&self, dir: &str) -> Result<Savepoint, CheckpointError> {
        #[cfg(test)]
        if let Some(root) = crate::simulation::root(dir) {
            return Ok(Savepoint::within(&root, self.0.job_id));
        }
        Savepoint::create(dir, self.0.job_id, &self.0.options).await
    }

    /// Copies a checkpoint, whose sinks are committed, into a savepoint.
    pub(crate) async fn copy(&self, checkpoint: &RestorePoint, savepoint: &Savepoint) -> Result<(), ClusterError> {
        savepoint.complete_from(&checkpoint.snapshot).await?;
        Ok(savepoint.mark_committed().await?)
    }

    /// Writes state files of an attempt.
    pub(crate) fn writer(&self, id: CheckpointId, attempt: u64) -> StateWriter {
        self.0.leader.writer(id, attempt)
    }

    /// How runs are written.
    pub(crate) fn mode(&self) -> RunMode {
        self.0.mode
    }

    /// The folder of the job's checkpoints.
    pub(crate) fn root(&self) -> &Root {
        self.0.leader.store().root()
    }

    /// Where another process finds the files of a snapshot; empty if it has none, since all is in the manifest.
    pub(crate) fn address_of(&self, point: &RestorePoint) -> String {
        let address = point.root().display("");
        match self.is_in_memory() && address == self.root().display("") {
            true => String::new(),
            false => address,
        }
    }

    /// Whether checkpoints live in this process's memory alone.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.0.is_in_memory
    }

    /// The manifest of a checkpoint whose parts are all there.
    pub(crate) fn manifest(
        &self,
        ctx: &JobContext,
        id: CheckpointId,
        timestamp_ms: i64,
        parts: &BTreeMap<SubtaskId, WrittenPart>,
        enumerators: &[(OperatorId, Vec<u8>)],
    ) -> Manifest {
        for (operator, bytes) in parts.values().flat_map(|p| &p.in_memory_bytes) {
            if let Some(bound_bytes) = self.0.in_memory.outgrown(*operator, *bytes) {
                let node = ctx.plan.nodes.iter().find(|n| n.operator_id == *operator);
                let name = node.map_or("", |n| n.name.as_str());
                tracing::warn!(
                    operator = name,
                    bytes,
                    bound_bytes,
                    "this operator's state stays in memory under 'rocksdb' too, and has outgrown what a slot was given: the \
                     bound does not hold for it"
                );
            }
        }
        let mut operators: Vec<OperatorManifest> = vec![];
        for part in parts.values().flat_map(|p| &p.parts) {
            let Some(node) = ctx.plan.nodes.iter().find(|n| n.operator_id == part.id) else {
                continue;
            };
            let index = operators.iter().position(|o| o.id == part.id).unwrap_or_else(|| {
                operators.push(OperatorManifest {
                    id: part.id,
                    name: node.name.clone(),
                    kind: node.kind.clone(),
                    uid: node.uid.clone(),
                    parallelism: node.parallelism,
                    max_parallelism: node.max_parallelism,
                    tables: vec![],
                    subtasks: vec![],
                });
                operators.len() - 1
            });
            operators[index].add(part.clone());
        }
        // Only what holds something must be found again by a job that restores it.
        let holds = |s: &flott_checkpoint::SubtaskManifest| !s.is_empty();
        operators.retain(|o| !o.tables.is_empty() || o.subtasks.iter().any(holds));
        let coordinator = enumerators.iter().map(|(operator, state)| CoordinatorState {
            operator: *operator,
            name: ENUMERATOR_STATE.to_owned(),
            state: InlineBytes(Bytes::copy_from_slice(state)),
        });
        Manifest {
            job_name: self.0.job_name.clone(),
            job_id: self.0.job_id,
            generation: self.generation(),
            checkpoint_id: id,
            kind: SnapshotKind::Checkpoint,
            timestamp_ms,
            operators,
            coordinator: coordinator.collect(),
        }
    }

    /// Makes a checkpoint exist, and the newest. After an error that leaves open whether it exists, it is unsettled.
    pub(crate) async fn complete(&self, manifest: Manifest) -> Result<RestorePoint, CheckpointError> {
        #[cfg(test)]
        if crate::simulation::planted::commits_early() {
            return Ok(self.before_it_is_durable(manifest));
        }
        let mut attempt = 1;
        let permit = loop {
            let error = match self.0.leader.complete(&manifest).await {
                Ok(permit) => break permit,
                Err(error) => error,
            };
            let is_known = error.is_fenced() || matches!(error, CheckpointError::MissingBase { .. });
            if is_known {
                return Err(error);
            }
            if attempt == COMPLETE_ATTEMPTS {
                *lock(&self.0.unsettled) = Some(manifest);
                return Err(error);
            }
            tracing::warn!(attempt, %error, "a checkpoint's manifest could not be put and is tried again");
            timer::sleep(Duration::from_millis(100 * u64::from(attempt * attempt))).await;
            attempt += 1;
        };
        let snapshot = Snapshot {
            manifest,
            root: self.0.leader.store().root().clone(),
            path: permit.path,
            id: Some(permit.id),
            is_committed: false,
        };
        // Whatever was unsettled is behind this one, which lists all that it listed.
        *lock(&self.0.unsettled) = None;
        let point = RestorePoint::new(snapshot, LoadedStates::new());
        *lock(&self.0.newest) = Some(point.clone());
        Ok(point)
    }

    /// Comes before sinks are settled: makes sure that this job still leads, since what it would abort could be another's,
    /// and that the newest checkpoint is known, since what it would abort could be listed there.
    pub(crate) async fn settle(&self) -> Result<(), CheckpointError> {
        let unsettled = lock(&self.0.unsettled).take();
        match unsettled {
            Some(manifest) => self.complete(manifest).await.map(|_| ()),
            None => self.0.leader.check_leadership().await.map(|_| ()),
        }
    }

    /// The newest checkpoint of this process.
    pub(crate) fn newest(&self) -> Option<RestorePoint> {
        lock(&self.0.newest).clone()
    }

    /// Notes that all sinks have committed what a checkpoint lists. A restore of what was found by path has nowhere to note it.
    pub(crate) async fn committed(&self, point: &RestorePoint) {
        if point.is_committed.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(id) = point.snapshot.id
            && let Err(error) = self.0.leader.mark_committed(id).await
        {
            tracing::warn!(checkpoint = id.checkpoint, %error, "the commit could not be noted; a restore repeats it");
        }
    }

    /// Deletes checkpoints beyond those that are retained.
    pub(crate) async fn clean_up(&self) {
        if let Err(error) = self.0.leader.delete_superseded(self.0.num_retained).await {
            tracing::warn!(%error, "older checkpoints could not be deleted; a later clean-up tries again");
        }
    }

    /// The job has come to its end: what is not to be kept goes. What was stopped is to go on some day.
    pub(crate) async fn job_ended(&self, status: JobStatus, stopped: bool) {
        let delete = match status {
            JobStatus::Finished => !stopped,
            JobStatus::Canceled => !stopped && self.0.retention == Retention::DeleteOnCancellation,
            _ => false,
        };
        if !delete {
            self.clean_up().await;
        } else {
            // Twice: files are spared once for a checkpoint in the making, and none is any more.
            for _ in 0..2 {
                if let Err(error) = self.0.leader.delete_superseded(0).await {
                    tracing::warn!(%error, "the checkpoints of the ended job could not be deleted");
                }
            }
        }
    }

    /// What every operator of the job starts from, and the splits that its readers had, with their positions, by node.
    pub(crate) async fn restorable(
        &self,
        ctx: &JobContext,
        point: &RestorePoint,
    ) -> Result<(Vec<OperatorStates>, HashMap<NodeId, Vec<TimedSplit>>), ClusterError> {
        let all = self.states(ctx, point)?;
        let mut splits: HashMap<NodeId, Vec<TimedSplit>> = HashMap::new();
        for states in &all {
            let entries = states.subtasks.iter().flat_map(|s| &s.entries);
            let of_splits = entries.filter(|e| e.name == SPLITS_STATE);
            for entry in of_splits.filter(|_| ctx.plan.nodes[states.node].role == Role::Source) {
                let bytes = read_entry(&point.snapshot.root, entry).await.map_err(TaskError::from)?;
                splits.entry(states.node).or_default().push(read_split(&bytes)?);
            }
        }
        Ok((all, splits))
    }

    /// Of what every operator starts from the keyed state: the rest is small, and of no use before the attempt.
    pub(crate) fn keyed_states(
        &self,
        ctx: &JobContext,
        point: &RestorePoint,
    ) -> Result<Vec<OperatorStates>, ClusterError> {
        let mut all = self.states(ctx, point)?;
        for subtask in all.iter_mut().flat_map(|states| &mut states.subtasks) {
            subtask.entries.clear();
            subtask.committables.clear();
            subtask.in_flight.clear();
        }
        all.retain(|states| states.subtasks.iter().any(|subtask| !subtask.runs.is_empty()));
        Ok(all)
    }

    fn states(&self, ctx: &JobContext, point: &RestorePoint) -> Result<Vec<OperatorStates>, ClusterError> {
        let mut all = vec![];
        // Files of this job's checkpoints are kept while newer ones refer to them; those of a savepoint are somebody else's.
        let of_job = point.snapshot.id.filter(|_| self.0.mode == RunMode::Incremental);
        for node in &ctx.plan.nodes {
            let Some(manifest) = point.manifest().operator(node.operator_id) else {
                continue;
            };
            ctx.check_in_flight(node, manifest)?;
            let is_same = manifest.max_parallelism == node.max_parallelism;
            all.push(OperatorStates {
                node: node.id,
                operator: OperatorManifest {
                    subtasks: vec![],
                    ..manifest.clone()
                },
                continued: of_job.filter(|_| is_same).map(|id| id.checkpoint),
                subtasks: restore_plan(manifest, node.parallelism)?,
            });
        }
        Ok(all)
    }
}

/// Reads the state of every operator in a snapshot, for the subtasks that `plan` gives it; the inner error is damage.
///
/// # Errors
/// If it cannot be read for another reason.
async fn load_all(
    snapshot: &Snapshot,
    plan: &Plan,
    keeps: bool,
) -> Result<Result<LoadedStates, StateError>, ClusterError> {
    let mut all = LoadedStates::new();
    for operator in &snapshot.manifest.operators {
        let node = plan.nodes.iter().find(|n| n.operator_id == operator.id);
        // What does not fit the plan is refused later, with the reason; here it is only judged.
        let parallelism = node
            .map_or(1, |n| n.parallelism)
            .clamp(1, operator.max_parallelism.max(1));
        match load_operator(&snapshot.root, operator, parallelism).await {
            Ok(states) => {
                if keeps && node.is_some() {
                    all.insert(operator.id, states);
                }
            }
            Err(error) if error.is_damage() => return Ok(Err(error)),
            Err(error) => return Err(TaskError::from(error).into()),
        }
    }
    Ok(Ok(all))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

mod in_memory;

#[cfg(test)]
mod tests;
