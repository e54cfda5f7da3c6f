//! The jobs of a cluster, kept for the next leader: a log for each.
//!
//! ```text
//! jobs/
//!   5cd2e07b…/000000     submitted: its plan, and what it starts from
//!   5cd2e07b…/000001     taken over by the leader of epoch 4
//!   5cd2e07b…/000002     asked for another parallelism
//!   5cd2e07b…/000003     ended
//!   5cd2e07b…/program-…  the file of its program, if it is one's
//! ```
//! An entry is put under the number behind the last one, if it is absent: of a leader that ends a job and another that takes it over at
//! the same time one finds the number taken, and knows by that what is true. So a leader that was paused cannot end what another runs.

mod programs;

use crate::error::ClusterError;
use crate::high_availability::LeaderElection;
use crate::program::ProgramSpec;
use crate::protocol::AttemptId;
use crate::requirements::RequestedBounds;
use crate::submit::{Restore, Submission};
use bytes::Bytes;
use flott_checkpoint::{ClusterEpoch, Root};
use flott_core::{JobId, JobStatus};
use flott_plan::Plan;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happened to a job.
#[derive(Debug, Serialize, Deserialize)]
enum Entry {
    Submitted {
        /// Of the leader that took it: of two that submit the same, one has.
        #[serde(default)]
        epoch: u64,
        /// As text: the plan judges its version before its form.
        plan: Box<RawValue>,
        restore: Option<String>,
        allow_non_restored_state: bool,
        /// Of which its file lies beside this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<ProgramSpec>,
    },
    Taken {
        epoch: u64,
    },
    /// A user has asked for another parallelism.
    Required {
        epoch: u64,
        bounds: RequestedBounds,
    },
    Ended {
        epoch: u64,
        status: String,
        ended_ms: i64,
    },
}

impl Entry {
    /// Of the leader that has put it.
    fn epoch(&self) -> u64 {
        match self {
            Self::Submitted { epoch, .. }
            | Self::Taken { epoch }
            | Self::Required { epoch, .. }
            | Self::Ended { epoch, .. } => *epoch,
        }
    }
}

/// The logs of all jobs, for the leader of an epoch. Cloning shares them.
#[derive(Clone)]
pub struct JobStore {
    root: Root,
    epoch: u64,
    election: Option<Arc<dyn LeaderElection>>,
}

/// A job's log, of which this leader has put the last entry.
#[derive(Clone)]
pub struct JobRecord {
    store: JobStore,
    job: JobId,
    /// Whether an earlier leader has run it.
    is_taken_over: bool,
    /// Number of the next entry.
    next: Arc<tokio::sync::Mutex<u64>>,
}

/// A job as an earlier leader has left it.
pub struct TakenOver {
    /// What was submitted.
    pub submission: Submission,
    /// The program that has described it, and has what it is made of; none: SQL.
    pub program: Option<ProgramSpec>,
    /// The parallelism that users have asked for since.
    pub requested: Option<RequestedBounds>,
    /// The last attempt that was begun and noted: earlier ones go on no more.
    pub begun: Option<AttemptId>,
    /// Its log.
    pub record: JobRecord,
}

/// What the log of a job says of it.
pub struct Kept {
    /// What was submitted.
    pub plan: Plan,
    /// How it has ended; none: it has not.
    pub end: Option<JobStatus>,
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is in the log.
    Own,
    /// The job is another leader's.
    TakenOver,
}

impl JobStore {
    /// The logs in `root`, for the leader of `epoch`.
    pub fn new(root: Root, epoch: u64) -> Self {
        Self {
            root,
            epoch,
            election: None,
        }
    }

    /// The same, which takes no job when another leads by `election`.
    pub fn under(self, election: Arc<dyn LeaderElection>) -> Self {
        let election = Some(election);
        Self { election, ..self }
    }

    /// Whose jobs these are, for what they claim elsewhere.
    pub fn epoch(&self) -> ClusterEpoch {
        ClusterEpoch {
            cluster: self.root.display(""),
            epoch: self.epoch,
        }
    }

    /// Keeps a job that was accepted.
    ///
    /// # Errors
    /// If the store refuses; then no leader runs the job, whatever the store has of it.
    pub async fn put(&self, job: JobId, submission: &Submission) -> Result<JobRecord, ClusterError> {
        let record = self.record(job);
        // A leader that comes later claims before it looks for jobs: either it sees this one, or is seen here.
        let kept = match self.append(job, 0, &self.submitted(submission, None)?).await {
            Ok(_) => self.check_leadership().await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            // It may be there all the same.
            if let Err(also) = record.ended(JobStatus::Failed, 0).await {
                tracing::error!(%job, %also, "a job that was not accepted may be run by the next leader");
            }
            return Err(error);
        }
        Ok(record)
    }

    /// Keeps a job whose id is known before it is submitted, so that several leaders may try to. If it is kept and an error tells that
    /// another leads, that one finds it. The file of its `program` must be there ([`Self::put_program`]).
    ///
    /// # Errors
    /// If it is there already, another leads by now, or the store refuses.
    pub async fn put_once(
        &self,
        job: JobId,
        submission: &Submission,
        program: Option<&ProgramSpec>,
    ) -> Result<JobRecord, ClusterError> {
        if !self.append(job, 0, &self.submitted(submission, program)?).await? {
            return Err(ClusterError::Connection(format!(
                "job {job} was submitted by another JobManager"
            )));
        }
        self.check_leadership().await?;
        Ok(self.record(job))
    }

    /// The log of a job that has one entry.
    fn record(&self, job: JobId) -> JobRecord {
        JobRecord::new(self.clone(), job, 1, false)
    }

    /// What is kept of a job; `None`: nothing, it was never submitted or is forgotten.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub async fn look(&self, job: JobId) -> Result<Option<Kept>, ClusterError> {
        let Some(last) = self.logs().await?.remove(&job) else {
            return Ok(None);
        };
        let end = match self.read(job, last).await? {
            Entry::Ended { status, .. } => Some(match status.as_str() {
                "FINISHED" => JobStatus::Finished,
                "CANCELED" => JobStatus::Canceled,
                _ => JobStatus::Failed,
            }),
            Entry::Submitted { .. } | Entry::Taken { .. } | Entry::Required { .. } => None,
        };
        let plan = self.submission(job).await?.0.plan;
        Ok(Some(Kept { plan, end }))
    }

    /// The first entry of a job.
    fn submitted(&self, submission: &Submission, program: Option<&ProgramSpec>) -> Result<Entry, ClusterError> {
        let unwritten = |e: serde_json::Error| ClusterError::Connection(format!("the job cannot be kept: {e}"));
        Ok(Entry::Submitted {
            epoch: self.epoch,
            plan: serde_json::value::to_raw_value(&submission.plan).map_err(unwritten)?,
            restore: submission.restore.path(),
            allow_non_restored_state: submission.allow_non_restored_state,
            program: program.cloned(),
        })
    }

    async fn check_leadership(&self) -> Result<(), ClusterError> {
        let Some(election) = &self.election else {
            return Ok(());
        };
        match election.leader().await? {
            Some(leader) if leader.epoch > self.epoch => Err(ClusterError::Connection(format!(
                "this JobManager does not lead any more, but {leader}"
            ))),
            _ => Ok(()),
        }
    }

    /// Takes over every job that has not ended; those that ended before `forget_before_ms` are forgotten. A job that cannot be read is
    /// told, and left as it is.
    ///
    /// # Errors
    /// If the store refuses, or a later leader has taken a job.
    pub async fn take_over(&self, forget_before_ms: i64) -> Result<Vec<TakenOver>, ClusterError> {
        self.take_over_of(self.logs().await?, forget_before_ms).await
    }

    /// The same of one job alone; the others are left to who runs them.
    ///
    /// # Errors
    /// As [`Self::take_over`].
    pub async fn take_over_one(&self, job: JobId, forget_before_ms: i64) -> Result<Vec<TakenOver>, ClusterError> {
        let mut logs = self.logs().await?;
        logs.retain(|of, _| *of == job);
        self.take_over_of(logs, forget_before_ms).await
    }

    async fn take_over_of(
        &self,
        logs: BTreeMap<JobId, u64>,
        forget_before_ms: i64,
    ) -> Result<Vec<TakenOver>, ClusterError> {
        let mut taken = vec![];
        for (job, last) in logs {
            match self.take(job, last, forget_before_ms).await {
                Ok(found) => taken.extend(found),
                Err(ClusterError::Checkpoint(error)) if error.is_not_found() => {
                    tracing::error!(%job, %error, "a job was not taken over, of whose log an entry is missing");
                }
                Err(error @ (ClusterError::Checkpoint(_) | ClusterError::Connection(_))) => return Err(error),
                Err(error) => tracing::error!(%job, %error, "a job was not taken over"),
            }
        }
        Ok(taken)
    }

    /// All jobs, with the numbers of their last entries.
    async fn logs(&self) -> Result<BTreeMap<JobId, u64>, ClusterError> {
        let mut logs: BTreeMap<JobId, u64> = BTreeMap::new();
        for file in self.root.list().await? {
            let parsed = file.path.split_once('/');
            if let Some((Ok(job), Ok(number))) = parsed.map(|(job, number)| (job.parse(), number.parse::<u64>())) {
                logs.entry(job)
                    .and_modify(|last| *last = number.max(*last))
                    .or_insert(number);
            }
        }
        Ok(logs)
    }

    async fn take(&self, job: JobId, mut last: u64, forget_before_ms: i64) -> Result<Option<TakenOver>, ClusterError> {
        loop {
            match self.read(job, last).await? {
                Entry::Ended { ended_ms, .. } => {
                    if ended_ms < forget_before_ms {
                        self.forget(job, last).await;
                    }
                    return Ok(None);
                }
                Entry::Taken { epoch } | Entry::Required { epoch, .. } if epoch > self.epoch => {
                    let text = format!(
                        "the leader of epoch {epoch} has taken over from this one, of epoch {}",
                        self.epoch
                    );
                    return Err(ClusterError::Connection(text));
                }
                Entry::Taken { .. } | Entry::Required { .. } | Entry::Submitted { .. } => {}
            }
            last += 1;
            if self.append(job, last, &Entry::Taken { epoch: self.epoch }).await? {
                break;
            }
        }
        let (submission, program) = self.submission(job).await?;
        Ok(Some(TakenOver {
            submission,
            program,
            requested: self.last_required(job, last).await?,
            begun: self.begun(job).await?.into_iter().max(),
            record: JobRecord::new(self.clone(), job, last + 1, true),
        }))
    }

    async fn submission(&self, job: JobId) -> Result<(Submission, Option<ProgramSpec>), ClusterError> {
        let Entry::Submitted {
            plan,
            restore,
            allow_non_restored_state,
            program,
            ..
        } = self.read(job, 0).await?
        else {
            let place = self.root.display(&path(job, 0));
            return Err(ClusterError::Restore(format!(
                "{place} does not say what was submitted"
            )));
        };
        let submission = Submission {
            plan: Plan::from_json(plan.get())?,
            restore: Restore::from_path(restore.as_deref()),
            allow_non_restored_state,
        };
        Ok((submission, program))
    }

    /// The parallelism that was asked for last.
    async fn last_required(&self, job: JobId, last: u64) -> Result<Option<RequestedBounds>, ClusterError> {
        for number in (1..=last).rev() {
            if let Entry::Required { bounds, .. } = self.read(job, number).await? {
                return Ok(Some(bounds));
            }
        }
        Ok(None)
    }

    /// Attempts of a job that are noted.
    async fn begun(&self, job: JobId) -> Result<Vec<AttemptId>, ClusterError> {
        let names = self.names(job).await?;
        Ok(names.iter().filter_map(|name| parse_begun(job, name)).collect())
    }

    /// What is kept of a job.
    async fn names(&self, job: JobId) -> Result<Vec<String>, ClusterError> {
        let files = self.root.folder(&job.to_string()).list().await?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }

    async fn read(&self, job: JobId, number: u64) -> Result<Entry, ClusterError> {
        let path = path(job, number);
        let content = self.root.get(&path).await?;
        serde_json::from_slice(&content).map_err(|e| {
            let place = self.root.display(&path);
            ClusterError::Restore(format!(
                "{place} cannot be read, and its job is not run: {e}; submit the job again with --restore latest"
            ))
        })
    }

    /// Puts an entry; `false` if the number is taken.
    async fn append(&self, job: JobId, number: u64, entry: &Entry) -> Result<bool, ClusterError> {
        let content = serde_json::to_vec(entry)
            .map_err(|e| ClusterError::Connection(format!("an entry of a job's log cannot be written: {e}")))?;
        // A retry of the store that finds its own entry has succeeded.
        match self.root.put_own(&path(job, number), Bytes::from(content)).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the log of a job that has ended; its end goes last.
    async fn forget(&self, job: JobId, last: u64) {
        match self.begun(job).await {
            Ok(begun) => self.forget_begun(begun).await,
            Err(error) => tracing::debug!(%job, %error, "what is noted of a job that has ended stays"),
        }
        if let Err(error) = self.forget_program(job).await {
            tracing::debug!(%job, %error, "the program of a job that has ended stays");
        }
        for number in 0..=last {
            if let Err(error) = self.root.delete(&path(job, number)).await {
                tracing::debug!(%job, %error, "the log of a job that has ended stays");
                return;
            }
        }
    }
}

impl JobStore {
    async fn forget_begun(&self, attempts: Vec<AttemptId>) {
        for id in attempts {
            if let Err(error) = self.root.delete(&begun_path(id)).await {
                tracing::debug!(attempt = %id, %error, "the note of an attempt stays");
            }
        }
    }
}

impl JobRecord {
    fn new(store: JobStore, job: JobId, next: u64, is_taken_over: bool) -> Self {
        let next = Arc::new(tokio::sync::Mutex::new(next));
        Self {
            store,
            job,
            is_taken_over,
            next,
        }
    }

    /// Notes that an attempt begins, before anything of earlier ones is given up: the next leader takes none of these over that still runs
    /// somewhere. The first attempt of all needs no note.
    ///
    /// ```text
    /// old leader    note the attempt ..... look at the log   (sees that the job is taken: gives nothing up)
    /// new leader    take the job ......... look at the notes (sees the attempt: takes no earlier one over)
    /// ```
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn begins(&self, id: AttemptId) -> Result<Noted, ClusterError> {
        if id.attempt == 1 && !self.is_taken_over {
            return Ok(Noted::Own);
        }
        let next = self.next.lock().await;
        let store = &self.store;
        store.root.put_own(&begun_path(id), Bytes::from_static(b"\n")).await?;
        let names = store.names(self.job).await?;
        let last = names.iter().filter_map(|name| name.parse::<u64>().ok()).max();
        if let Some(last) = last.filter(|last| *last >= *next)
            && store.read(self.job, last).await?.epoch() != store.epoch
        {
            return Ok(Noted::TakenOver);
        }
        let mut before: Vec<AttemptId> = names.iter().filter_map(|name| parse_begun(self.job, name)).collect();
        before.retain(|noted| *noted < id);
        store.forget_begun(before).await;
        Ok(Noted::Own)
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Notes that the job has ended. Only then may what it would have been started again from go.
    ///
    /// # Errors
    /// If the store refuses: it is not known then whether it is noted, and to be tried again.
    pub async fn ended(&self, status: JobStatus, ended_ms: i64) -> Result<Noted, ClusterError> {
        self.note(&Entry::Ended {
            epoch: self.store.epoch,
            status: status.to_string(),
            ended_ms,
        })
        .await
    }

    /// Notes the parallelism that a user asks for.
    ///
    /// # Errors
    /// If the store refuses: it is not known then whether it is noted.
    pub async fn required(&self, bounds: &RequestedBounds) -> Result<Noted, ClusterError> {
        self.note(&Entry::Required {
            epoch: self.store.epoch,
            bounds: bounds.clone(),
        })
        .await
    }

    async fn note(&self, entry: &Entry) -> Result<Noted, ClusterError> {
        let mut next = self.next.lock().await;
        loop {
            if self.store.append(self.job, *next, entry).await? {
                // The end stays the last: who notes it again finds it.
                *next += u64::from(!matches!(entry, Entry::Ended { .. }));
                return Ok(Noted::Own);
            }
            match self.store.read(self.job, *next).await? {
                // It came to be there though the store had refused it.
                Entry::Required { epoch, .. } if epoch == self.store.epoch => *next += 1,
                _ => return Ok(Noted::TakenOver),
            }
        }
    }
}

fn path(job: JobId, number: u64) -> String {
    format!("{job}/{number:06}")
}

fn begun_path(id: AttemptId) -> String {
    format!("{}/begun-{}-{}", id.job, id.generation, id.attempt)
}

/// The attempt that a file of its job's folder notes.
fn parse_begun(job: JobId, name: &str) -> Option<AttemptId> {
    let (generation, attempt) = name.strip_prefix("begun-")?.split_once('-')?;
    Some(AttemptId {
        job,
        generation: generation.parse().ok()?,
        attempt: attempt.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::Bounds;
    use flott_core::{OperatorId, Options};
    use flott_plan::{Chaining, Edge, Node, Partitioning, Role};

    fn node(id: usize, role: Role) -> Node {
        Node {
            id,
            operator_id: OperatorId(id as u128),
            uid: None,
            kind: "toy".to_owned(),
            version: 1,
            name: format!("toy {id}"),
            description: String::new(),
            role,
            parallelism: 1,
            fixed_parallelism: false,
            max_parallelism: 128,
            chaining: Chaining::default(),
            slot_sharing_group: None,
            output: vec![],
            spec: serde_json::Value::Null,
        }
    }

    fn submission() -> Submission {
        let mut plan = Plan::new("a job", Options::new());
        plan.nodes = vec![node(0, Role::Source), node(1, Role::Sink)];
        plan.edges = vec![Edge {
            from: 0,
            to: 1,
            input: 0,
            output: 0,
            partitioning: Partitioning::Forward,
        }];
        Submission {
            plan,
            restore: Restore::Path("/savepoints/1".to_owned()),
            allow_non_restored_state: true,
        }
    }

    #[tokio::test]
    async fn a_job_goes_from_leader_to_leader_until_it_ends() {
        let root = Root::in_memory();
        let stores: Vec<JobStore> = (1..=4).map(|epoch| JobStore::new(root.clone(), epoch)).collect();
        let first = stores[0].put(JobId(7), &submission()).await.unwrap();
        let second = stores[1].take_over(0).await.unwrap().pop().unwrap();
        let (taken, second) = (second.submission, second.record);
        assert_eq!(
            (taken.plan.name.as_str(), taken.restore),
            ("a job", submission().restore)
        );
        assert!(taken.allow_non_restored_state);
        assert_eq!(second.job(), JobId(7));
        // Who was paused while the next one took over ends nothing.
        assert_eq!(first.ended(JobStatus::Failed, 5).await.unwrap(), Noted::TakenOver);
        let wanted = RequestedBounds::from([(OperatorId(1), Bounds { lower: 1, upper: 4 })]);
        let begun = |generation, attempt| AttemptId {
            job: JobId(7),
            generation,
            attempt,
        };
        assert_eq!(first.begins(begun(1, 1)).await.unwrap(), Noted::Own);
        assert!(stores[1].begun(JobId(7)).await.unwrap().is_empty(), "the first of all");
        for id in [begun(1, 9), begun(1, 10), begun(2, 1)] {
            assert_eq!(second.begins(id).await.unwrap(), Noted::Own);
            assert_eq!(stores[1].begun(JobId(7)).await.unwrap(), [id]);
        }
        // Late, from who leads no more.
        assert_eq!(first.begins(begun(1, 11)).await.unwrap(), Noted::TakenOver);
        assert_eq!(second.required(&RequestedBounds::new()).await.unwrap(), Noted::Own);
        assert_eq!(second.required(&wanted).await.unwrap(), Noted::Own);
        let third = stores[2].take_over(0).await.unwrap().pop().unwrap();
        assert_eq!(third.requested, Some(wanted.clone()));
        assert_eq!(third.begun, Some(begun(2, 1)));
        assert_eq!(second.required(&wanted).await.unwrap(), Noted::TakenOver);
        let third = third.record;
        assert_eq!(third.ended(JobStatus::Finished, 10).await.unwrap(), Noted::Own);
        assert_eq!(
            third.ended(JobStatus::Finished, 10).await.unwrap(),
            Noted::Own,
            "a retry"
        );
        assert_eq!(second.ended(JobStatus::Canceled, 11).await.unwrap(), Noted::TakenOver);
        assert!(stores[3].take_over(10).await.unwrap().is_empty());
        assert_eq!(root.list().await.unwrap().len(), 8, "it is remembered");
        assert!(stores[3].take_over(11).await.unwrap().is_empty());
        assert!(root.list().await.unwrap().is_empty(), "it is forgotten");
    }

    #[tokio::test]
    async fn of_an_end_and_a_take_over_at_the_same_time_one_wins() {
        let root = Root::in_memory();
        let old = JobStore::new(root.clone(), 1)
            .put(JobId(1), &submission())
            .await
            .unwrap();
        let new = JobStore::new(root.clone(), 2);
        let (ended, taken) = tokio::join!(old.ended(JobStatus::Finished, 1), new.take_over(0));
        let was_taken = !taken.unwrap().is_empty();
        assert_eq!(ended.unwrap() == Noted::Own, !was_taken);
        // Whoever is late finds a later leader's entry.
        if was_taken {
            let late = JobStore::new(root.clone(), 1).take_over(0).await.err().unwrap();
            assert!(late.to_string().contains("epoch 2"), "{late}");
        }
    }

    #[tokio::test]
    async fn what_several_leaders_submit_is_kept_once() {
        let root = Root::in_memory();
        let stores: Vec<JobStore> = (1..=2).map(|epoch| JobStore::new(root.clone(), epoch)).collect();
        assert!(stores[0].look(JobId(1)).await.unwrap().is_none());
        stores[0].put_once(JobId(1), &submission(), None).await.unwrap();
        let again = stores[1].put_once(JobId(1), &submission(), None).await.err().unwrap();
        assert!(again.to_string().contains("by another JobManager"), "{again}");
        let kept = stores[1].look(JobId(1)).await.unwrap().unwrap();
        assert_eq!((kept.plan.name.as_str(), kept.end), ("a job", None));
        stores[0].put(JobId(2), &submission()).await.unwrap();
        let of_one = stores[1].take_over_one(JobId(2), 0).await.unwrap();
        assert_eq!(
            of_one.iter().map(|job| job.record.job()).collect::<Vec<_>>(),
            [JobId(2)]
        );
        of_one[0].record.ended(JobStatus::Finished, 1).await.unwrap();
        let taken = stores[1].take_over(0).await.unwrap().pop().unwrap();
        taken.record.ended(JobStatus::Canceled, 5).await.unwrap();
        let kept = stores[0].look(JobId(1)).await.unwrap().unwrap();
        assert_eq!(kept.end, Some(JobStatus::Canceled));
    }

    #[tokio::test]
    async fn what_cannot_be_read_holds_nobody_up() {
        let root = Root::in_memory();
        let store = JobStore::new(root.clone(), 1);
        store.put(JobId(2), &submission()).await.unwrap();
        root.put_new(&path(JobId(1), 0), Bytes::from_static(b"{"))
            .await
            .unwrap();
        root.put_new("notes.txt", Bytes::from_static(b"hello")).await.unwrap();
        let taken = JobStore::new(root, 2).take_over(0).await.unwrap();
        assert_eq!(taken.len(), 1);
    }
}
