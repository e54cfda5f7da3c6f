//! Committing parts by renaming them, and sweeping up those that no checkpoint lists.
//!
//! An unfinished part is `.part-<job>-<sink>-<run>.inprogress`, the committed one `part-<run>`, where `<job>` is a hash of
//! `pipeline.name`, `<sink>` its operator, so that two sinks of one directory know their own, and `<run>` names submission,
//! leadership, attempt, operator, subtask and number, so that no name comes twice. A rename is repeatable: a part that is
//! gone from its first name and stands under its second with the right size is committed already.

use super::bucket::{AT_ONCE, Bucket, Place};
use super::options::SinkOptions;
use super::partition_commit::{Marks, OpenPartitions, Progress, folders};
use super::upload::{self, Completed, Uploaded};
use async_trait::async_trait;
use bytes::Bytes;
use flott_core::{JobId, OperatorId};
use flott_runtime::OperatorContext;
use flott_runtime::connector::{Committer, CommitterContext, ConnectorError};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// A part to commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Committable {
    pub from: PathBuf,
    pub to: PathBuf,
    pub bytes: u64,
}

/// What a writer lists in a checkpoint.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listed {
    Part(Committable),
    Object(Uploaded),
    Progress(Progress),
}

impl Committable {
    pub(super) fn to_bytes(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

/// Makes directory entries survive a crash of the machine.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// What unfinished parts of a sink begin with.
fn sink_prefix(job_name: &str, sink: OperatorId) -> String {
    // Half of a 128-bit hash tells jobs of one directory apart, a quarter the sinks of one job.
    let (job, sink) = (JobId::of(job_name).to_string(), sink.to_string());
    format!("part-{}-{}-", &job[..16], &sink[..8])
}

/// Jobs that run in this process, as their parts name them, each with the number of its sinks. Two INSERTs into one table may
/// run at once under one name, and must not sweep each other's parts.
static RUNNING: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// A job's part of the names of its parts.
fn run_of(job: JobId) -> String {
    job.to_string()[..12].to_owned()
}

/// Keeps a job in [`RUNNING`].
struct RunningJob(String);

impl RunningJob {
    fn new(job: JobId) -> Self {
        let run = run_of(job);
        *lock(&RUNNING).entry(run.clone()).or_default() += 1;
        Self(run)
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        let mut running = lock(&RUNNING);
        let left = running.get(&self.0).map_or(0, |sinks| sinks - 1);
        match left {
            0 => running.remove(&self.0),
            _ => running.insert(self.0.clone(), left),
        };
    }
}

/// Names of a writer's parts.
#[derive(Debug)]
pub(super) struct PartNames {
    sink: String,
    run: String,
    next: u64,
}

impl PartNames {
    pub(super) fn of_writer(ctx: &OperatorContext) -> Self {
        let task = &ctx.task;
        let operator = ctx.operator_id.to_string();
        Self {
            sink: sink_prefix(&task.job_name, ctx.operator_id),
            run: format!(
                "{}-{}-{}-{}-{}",
                run_of(task.job_id),
                task.generation,
                task.attempt,
                &operator[..8],
                task.subtask
            ),
            next: 0,
        }
    }

    /// The names of the next part: while it is unfinished, and once it is committed.
    pub(super) fn next_part(&mut self) -> (String, String) {
        let name = format!("{}-{}", self.run, self.next);
        self.next += 1;
        (format!(".{}{name}.inprogress", self.sink), format!("part-{name}"))
    }
}

/// Commits the parts of one sink.
pub(super) struct FileCommitter {
    directory: PathBuf,
    place: Place,
    running: RunningJob,
    /// Leadership of the JobManager, and when it had that.
    leads: (u64, SystemTime),
    sink_prefix: String,
    /// Levels of folders between the directory and the parts.
    depth: usize,
    /// Behind a lock, because files are worked on by other threads.
    partitions: Arc<Mutex<Option<OpenPartitions>>>,
}

impl FileCommitter {
    pub(super) fn new(options: &SinkOptions, place: Place, ctx: &CommitterContext) -> Self {
        let sink_prefix = sink_prefix(&ctx.job_name, ctx.operator_id);
        let settings = options.partition_commit.clone();
        let partitions = settings.map(|settings| OpenPartitions::new(settings, &sink_prefix));
        Self {
            directory: options.directory.clone(),
            place,
            running: RunningJob::new(ctx.job_id),
            leads: (ctx.generation, SystemTime::now()),
            sink_prefix,
            depth: options.partitioning.keys.len(),
            partitions: Arc::new(Mutex::new(partitions)),
        }
    }

    fn marks(&self) -> Marks {
        match &self.place {
            Place::Disk => Marks::Disk,
            Place::Bucket(bucket) => Marks::Bucket(bucket.clone(), Handle::current()),
        }
    }
}

pub(super) fn transient(path: &Path, what: &str, e: io::Error) -> ConnectorError {
    ConnectorError::Transient {
        message: format!("'{}' cannot be {what}: {e}", path.display()),
        source: Some(Box::new(e)),
    }
}

fn read_all(listed: &[Bytes]) -> Result<Vec<Listed>, ConnectorError> {
    let read = |bytes: &Bytes| {
        serde_json::from_slice(bytes).map_err(|e| ConnectorError::Fatal {
            message: "a file to commit is unreadable in the checkpoint".into(),
            source: Some(Box::new(e)),
        })
    };
    listed.iter().map(read).collect()
}

fn size_of(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Renames the parts, makes the renames survive a crash, completes the uploads, and marks the partitions that are complete by then.
fn commit_all(
    listed: Vec<Listed>,
    partitions: &mut Option<OpenPartitions>,
    marks: &Marks,
) -> Result<(), ConnectorError> {
    let mut parts = vec![];
    let mut objects = vec![];
    let mut progress = vec![];
    for one in listed {
        match one {
            Listed::Part(part) => parts.push(part),
            Listed::Object(object) => objects.push(object),
            Listed::Progress(one) => progress.push(one),
        }
    }
    commit_parts(&parts, partitions.as_mut(), marks)?;
    commit_objects(&objects, partitions.as_mut(), marks)?;
    if let Some(partitions) = partitions {
        progress
            .into_iter()
            .try_for_each(|one| partitions.progressed(one, marks))?;
    }
    Ok(())
}

/// Completes the uploads, several at once, after their partitions are noted as open.
fn commit_objects(
    objects: &[Uploaded],
    partitions: Option<&mut OpenPartitions>,
    marks: &Marks,
) -> Result<(), ConnectorError> {
    let Some(first) = objects.first() else {
        return Ok(());
    };
    let Marks::Bucket(bucket, runtime) = marks else {
        return Err(lost(format!(
            "the checkpoint lists the upload of '{}', but the table's 'path' is on local disk; set it back",
            first.object.display()
        )));
    };
    if let Some(partitions) = partitions {
        partitions.opened(objects.iter().filter_map(|o| o.object.parent()), marks)?;
    }
    let completed = futures::stream::iter(objects.iter().map(Ok));
    runtime.block_on(completed.try_for_each_concurrent(AT_ONCE, |object| commit_object(bucket, object)))
}

async fn commit_object(bucket: &Bucket, listed: &Uploaded) -> Result<(), ConnectorError> {
    let object = &listed.object;
    let completed = upload::complete(bucket, listed).await;
    match completed.map_err(|e| transient(object, "completed", e))? {
        Completed::Yes => Ok(()),
        Completed::Lost => Err(lost(format!(
            "the checkpoint lists the upload of '{}', which the store has given up and which was not committed; its rows are lost \
             unless the job starts from an earlier checkpoint; let the bucket's lifecycle rule keep incomplete uploads longer",
            object.display()
        ))),
        Completed::Other(bytes) => Err(lost(format!(
            "the object '{}' has {bytes} bytes where the checkpoint lists {}; something else wrote to it",
            object.display(),
            listed.bytes
        ))),
    }
}

fn commit_parts(
    parts: &[Committable],
    partitions: Option<&mut OpenPartitions>,
    marks: &Marks,
) -> Result<(), ConnectorError> {
    if let Some(partitions) = partitions {
        partitions.opened(parts.iter().filter_map(|p| p.to.parent()), marks)?;
    }
    let mut folders = BTreeSet::new();
    for part in parts {
        let from = size_of(&part.from).map_err(|e| transient(&part.from, "read", e))?;
        let to = size_of(&part.to).map_err(|e| transient(&part.to, "read", e))?;
        match (from, to) {
            (None, Some(bytes)) if bytes == part.bytes => {}
            (Some(bytes), None) if bytes == part.bytes => {
                std::fs::rename(&part.from, &part.to).map_err(|e| transient(&part.to, "made by renaming", e))?;
            }
            (None, None) => {
                return Err(lost(format!(
                    "the checkpoint lists the part '{}', which is gone and was not committed as '{}'; \
                     its rows are lost unless the job starts from an earlier checkpoint",
                    part.from.display(),
                    part.to.display()
                )));
            }
            (Some(_), Some(_)) => {
                return Err(lost(format!(
                    "'{}' and '{}' both exist; remove the one that is not this job's",
                    part.from.display(),
                    part.to.display()
                )));
            }
            (found, committed) => {
                return Err(lost(format!(
                    "the part '{}' has {} bytes where the checkpoint lists {}; something else wrote to it",
                    if found.is_some() { &part.from } else { &part.to }.display(),
                    found.or(committed).unwrap_or(0),
                    part.bytes
                )));
            }
        }
        folders.extend(part.to.parent().map(Path::to_owned));
    }
    for folder in folders {
        sync_directory(&folder).map_err(|e| transient(&folder, "synced", e))?;
    }
    Ok(())
}

fn lost(message: String) -> ConnectorError {
    ConnectorError::Fatal { message, source: None }
}

/// Removes the sink's unfinished parts from the folders `depth` levels below the directory.
fn sweep_all(
    directory: &Path,
    depth: usize,
    sink_prefix: &str,
    (job, leads): (&str, (u64, SystemTime)),
) -> Result<(), ConnectorError> {
    let others: Vec<String> = lock(&RUNNING).keys().filter(|run| *run != job).cloned().collect();
    let is_others = |run: &str, file: &Path| {
        others.iter().any(|other| run.starts_with(other.as_str())) || is_of_later_leader(run, file, job, leads)
    };
    let folders = folders(directory, depth).map_err(|e| transient(directory, "listed", e))?;
    folders
        .iter()
        .try_for_each(|folder| sweep(folder, sink_prefix, is_others))
}

/// By how much the clock of a file system may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// Whether an unfinished part was begun by a leader of the job that came after this one, which may have been stopped meanwhile and not know that it
/// leads no more. A later generation that began before is one of checkpoints that are gone.
fn is_of_later_leader(run: &str, file: &Path, job: &str, (generation, since): (u64, SystemTime)) -> bool {
    let of = run.strip_prefix(job).and_then(|run| run.strip_prefix('-'));
    let of = of.and_then(|run| run.split('-').next()?.parse::<u64>().ok());
    let modified = || file.metadata().and_then(|file| file.modified());
    of.is_some_and(|of| of > generation) && modified().is_ok_and(|modified| modified + CLOCK_SKEW > since)
}

/// Removes the sink's unfinished parts from a folder, but not those of others.
fn sweep(directory: &Path, sink_prefix: &str, is_others: impl Fn(&str, &Path) -> bool) -> Result<(), ConnectorError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(transient(directory, "listed", e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| transient(directory, "listed", e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let run = name
            .strip_prefix('.')
            .and_then(|n| n.strip_prefix(sink_prefix)?.strip_suffix(".inprogress"));
        if run.is_some_and(|run| !is_others(run, &entry.path())) {
            tracing::info!(file = %entry.path().display(), "removing a part that no checkpoint lists");
            std::fs::remove_file(entry.path()).map_err(|e| transient(&entry.path(), "removed", e))?;
        }
    }
    Ok(())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs file work where it may block.
async fn blocking(work: impl FnOnce() -> Result<(), ConnectorError> + Send + 'static) -> Result<(), ConnectorError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ConnectorError::Transient {
            message: "committing files stopped short".into(),
            source: Some(Box::new(e)),
        })?
}

impl FileCommitter {
    /// Finds what is unfinished on disk, commits what is listed, and `sweeps` what is not.
    async fn restart(&mut self, listed: &[Bytes], sweeps: bool) -> Result<(), ConnectorError> {
        let parts = read_all(listed)?;
        let (directory, depth, sink_prefix) = (self.directory.clone(), self.depth, self.sink_prefix.clone());
        let (job, leads) = (self.running.0.clone(), self.leads);
        let partitions = self.partitions.clone();
        let marks = self.marks();
        blocking(move || {
            let mut partitions = lock(&partitions);
            if let Some(partitions) = partitions.as_mut() {
                partitions.restart(&directory, &marks)?;
            }
            commit_all(parts, &mut partitions, &marks)?;
            if let Some(partitions) = partitions.as_mut() {
                partitions.forget_progress();
            }
            match marks {
                Marks::Disk if sweeps => sweep_all(&directory, depth, &sink_prefix, (&job, leads)),
                // Whose an unfinished upload is cannot be told.
                Marks::Disk | Marks::Bucket(..) => Ok(()),
            }
        })
        .await
    }
}

#[async_trait]
impl Committer for FileCommitter {
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError> {
        let parts = read_all(committables)?;
        let partitions = self.partitions.clone();
        let marks = self.marks();
        blocking(move || commit_all(parts, &mut lock(&partitions), &marks)).await
    }

    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.restart(listed, true).await
    }

    async fn take_over(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.restart(listed, false).await
    }
}
