//! Telling readers that a partition is complete: `sink.partition-commit.*`.
//!
//! Writers list, at each checkpoint, how far their event time has come ([`Progress`]); the committer, which hears of all of them
//! once the checkpoint exists, marks a partition when the trigger says so and no subtask is behind. Which partitions are
//! still open is kept where the partitions are, so that it survives every crash and needs no state of its own:
//! ```text
//!   part committed ─► .pending-<sink> (time of the first part) ─► trigger ─► _SUCCESS, then .pending-<sink> is removed
//! ```
//! A crash between the last two steps writes the success file again. A late part opens its partition again.
//!
//! Fail points: `partition-open` (noted as open, the part not yet visible), `partition-due` (before it is asked what is due; `early`: all
//! is), `partition-mark` (before success files are written; `skip`: they are not), `partition-marked` (before the marks of open
//! partitions go).

use super::bucket::{AT_ONCE, Bucket};
use super::commit::transient;
use super::partition::Partitioning;
use super::partition_time::TimeExtractor;
use bytes::Bytes;
use flott_core::CheckpointId;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_runtime::connector::{ConnectorError, TableSpec};
use flott_runtime::failpoint::{self, Action};
use futures::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// When and how partitions are marked.
#[derive(Debug, Clone)]
pub(super) struct PartitionCommit {
    trigger: Trigger,
    delay_ms: i64,
    success_file: String,
    partitioning: Partitioning,
}

#[derive(Debug, Clone)]
enum Trigger {
    /// The delay has passed since the first part.
    ProcessTime,
    /// The watermark has passed the partition's time and the delay.
    PartitionTime(TimeExtractor),
}

impl PartitionCommit {
    /// Reads the options; `None` if partitions are not to be marked.
    ///
    /// # Errors
    /// If a value is wrong, with option and remedy.
    pub(super) fn read(table: &TableSpec, partitioning: &Partitioning) -> Result<Option<Self>, ConnectorError> {
        let wrong = |problem: String| crate::table::wrong(table, problem);
        let options = &table.options;
        let triggers = ["process-time", "partition-time"];
        let by_partition_time = options
            .one_of("sink.partition-commit.trigger", &triggers)
            .map_err(|e| wrong(e.to_string()))?
            == Some(1);
        let delay_ms = options
            .duration_ms("sink.partition-commit.delay")
            .map_err(|e| wrong(e.to_string()))?
            .unwrap_or(0);
        for key in ["sink.partition-commit.policy.class", "partition.time-extractor.class"] {
            if options.get(key).is_some() {
                let problem = format!("option '{key}' names a Java class, which cannot be run; leave it out");
                return Err(wrong(problem));
            }
        }
        options
            .one_of("partition.time-extractor.kind", &["default"])
            .map_err(|e| wrong(e.to_string()))?;
        let keys = partitioning.keys.iter().map(|k| k.name.clone()).collect();
        let extractor = TimeExtractor::new(
            keys,
            options.get("partition.time-extractor.timestamp-pattern"),
            options.get("partition.time-extractor.timestamp-formatter"),
            options
                .get("sink.partition-commit.watermark-time-zone")
                .unwrap_or("UTC"),
        )
        .map_err(&wrong)?;
        let success_file = options
            .get("sink.partition-commit.success-file.name")
            .unwrap_or("_SUCCESS");
        if success_file.is_empty() || success_file.contains('/') {
            return Err(wrong(format!(
                "option 'sink.partition-commit.success-file.name' cannot be '{success_file}'; it is a file's name"
            )));
        }
        let Some(policies) = options.get("sink.partition-commit.policy.kind") else {
            return Ok(None);
        };
        for policy in policies.split(',').map(str::trim) {
            match policy.to_ascii_lowercase().as_str() {
                "success-file" => {}
                "metastore" | "custom" => {
                    return Err(wrong(format!(
                        "option 'sink.partition-commit.policy.kind' cannot be '{policy}': files have no metastore and \
                         Java classes cannot be run; use 'success-file'"
                    )));
                }
                _ => {
                    return Err(wrong(format!(
                        "option 'sink.partition-commit.policy.kind' cannot be '{policy}'; allowed is 'success-file'"
                    )));
                }
            }
        }
        if partitioning.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            trigger: if by_partition_time {
                Trigger::PartitionTime(extractor)
            } else {
                Trigger::ProcessTime
            },
            delay_ms,
            success_file: success_file.to_owned(),
            partitioning: partitioning.clone(),
        }))
    }

    fn is_due(&self, folder: &Path, first_ms: i64, watermark: EventTime, now_ms: i64) -> Result<bool, ConnectorError> {
        if watermark == END_OF_TIME {
            return Ok(true);
        }
        let extractor = match &self.trigger {
            Trigger::ProcessTime => {
                return Ok(self.delay_ms == 0 || now_ms > first_ms.saturating_add(self.delay_ms));
            }
            Trigger::PartitionTime(extractor) => extractor,
        };
        let values = self.partitioning.values_of(&folder.join("part")).map_err(fatal)?;
        let time_ms = extractor.time_ms(&values).ok_or_else(|| {
            fatal(format!(
                "the partition '{}' has no time; correct 'partition.time-extractor.timestamp-pattern' or \
                 '.timestamp-formatter', or use 'sink.partition-commit.trigger' = 'process-time'",
                folder.display()
            ))
        })?;
        Ok(watermark > time_ms.saturating_add(self.delay_ms))
    }
}

fn fatal(message: String) -> ConnectorError {
    ConnectorError::Fatal { message, source: None }
}

/// How far a writer had come at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub subtask: usize,
    pub parallelism: usize,
    pub checkpoint: CheckpointId,
    pub watermark: EventTime,
    /// Its watermark does not count.
    pub idle: bool,
}

impl Progress {
    pub(super) fn to_bytes(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

/// Where the marks of partitions are. Its work is done where it may wait.
pub(super) enum Marks {
    Disk,
    Bucket(Bucket, Handle),
}

impl Marks {
    /// The contents of all files of this name in the folders `depth` levels below one.
    fn named(&self, directory: &Path, depth: usize, name: &str) -> Result<Vec<(PathBuf, String)>, ConnectorError> {
        if let Self::Bucket(bucket, runtime) = self {
            let found = runtime.block_on(bucket.named(directory, depth, name));
            return found.map_err(|e| transient(directory, "listed", e));
        }
        let mut found = vec![];
        for folder in folders(directory, depth).map_err(|e| transient(directory, "listed", e))? {
            let mark = folder.join(name);
            match std::fs::read_to_string(&mark) {
                Ok(text) => found.push((folder, text)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(transient(&mark, "read", e)),
            }
        }
        Ok(found)
    }

    /// Writes files of one name, durably; those in a bucket several at once.
    fn write<'a>(&self, name: &str, files: impl IntoIterator<Item = (&'a Path, String)>) -> Result<(), ConnectorError> {
        let failed = |path: &Path, e: io::Error| transient(path, "written", e);
        match self {
            Self::Bucket(bucket, runtime) => {
                let files = stream::iter(files.into_iter().map(Ok));
                runtime.block_on(files.try_for_each_concurrent(AT_ONCE, |(folder, text)| async move {
                    let path = folder.join(name);
                    bucket.put(&path, text).await.map_err(|e| failed(&path, e))
                }))
            }
            Self::Disk => files.into_iter().try_for_each(|(folder, text)| {
                let path = folder.join(name);
                let written = File::create(&path).and_then(|mut file| {
                    file.write_all(text.as_bytes())?;
                    file.sync_all()?;
                    super::commit::sync_directory(folder)
                });
                written.map_err(|e| failed(&path, e))
            }),
        }
    }

    /// Removes files of one name, where they are.
    fn remove(&self, name: &str, folders: &[PathBuf]) -> Result<(), ConnectorError> {
        let outcome = |path: &Path, removed: io::Result<()>| match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(transient(path, "removed", e)),
            _ => Ok(()),
        };
        match self {
            Self::Bucket(bucket, runtime) => {
                let folders = stream::iter(folders.iter().map(Ok));
                runtime.block_on(folders.try_for_each_concurrent(AT_ONCE, |folder| async move {
                    let path = folder.join(name);
                    outcome(&path, bucket.remove(&path).await)
                }))
            }
            Self::Disk => folders.iter().try_for_each(|folder| {
                let path = folder.join(name);
                outcome(&path, std::fs::remove_file(&path))
            }),
        }
    }
}

/// The partitions that a committer has yet to mark.
pub(super) struct OpenPartitions {
    settings: Arc<PartitionCommit>,
    /// Name of the files that say that a partition is open.
    marker: String,
    /// Folders, each with the time of its first part.
    open: BTreeMap<PathBuf, i64>,
    reported: BTreeMap<usize, Progress>,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl OpenPartitions {
    /// None open yet. `sink` names the sink within the table.
    pub(super) fn new(settings: Arc<PartitionCommit>, sink: &str) -> Self {
        Self {
            settings,
            marker: format!(".pending-{}", sink.trim_end_matches('-')),
            open: BTreeMap::new(),
            reported: BTreeMap::new(),
        }
    }

    /// Forgets what earlier attempts reported and finds the open partitions below the table's path.
    pub(super) fn restart(&mut self, directory: &Path, marks: &Marks) -> Result<(), ConnectorError> {
        self.forget_progress();
        let depth = self.settings.partitioning.keys.len();
        let open = marks.named(directory, depth, &self.marker)?.into_iter();
        // An unreadable time is that of a crash while it was written: the partition is new.
        self.open = open
            .map(|(folder, text)| (folder, text.trim().parse().unwrap_or_else(|_| now_ms())))
            .collect();
        Ok(())
    }

    /// Forgets what the writers reported: those of the next attempt begin anew.
    pub(super) fn forget_progress(&mut self) {
        self.reported.clear();
    }

    /// Notes, before parts become visible in these folders, that their partitions are open.
    pub(super) fn opened<'a>(
        &mut self,
        folders: impl Iterator<Item = &'a Path>,
        marks: &Marks,
    ) -> Result<(), ConnectorError> {
        let new: BTreeSet<&Path> = folders.filter(|folder| !self.open.contains_key(*folder)).collect();
        let first_ms = now_ms();
        marks.write(
            &self.marker,
            new.iter().map(|folder| (*folder, format!("{first_ms}\n"))),
        )?;
        if !new.is_empty() {
            failpoint::hit("partition-open");
        }
        self.open
            .extend(new.into_iter().map(|folder| (folder.to_owned(), first_ms)));
        Ok(())
    }

    /// Takes a writer's progress; once all writers have told theirs, marks what is due.
    pub(super) fn progressed(&mut self, progress: Progress, marks: &Marks) -> Result<(), ConnectorError> {
        let (parallelism, checkpoint) = (progress.parallelism, progress.checkpoint);
        self.reported.insert(progress.subtask, progress);
        let all: Vec<&Progress> = (0..parallelism).filter_map(|s| self.reported.get(&s)).collect();
        // A subtask that is at its end may not come to later checkpoints.
        let is_complete = all
            .iter()
            .filter(|p| p.checkpoint == checkpoint || p.watermark == END_OF_TIME)
            .count()
            == parallelism;
        if !is_complete {
            return Ok(());
        }
        let counts = |p: &&&Progress| !p.idle || p.watermark == END_OF_TIME;
        let watermark = all
            .iter()
            .filter(counts)
            .map(|p| p.watermark)
            .min()
            .unwrap_or(NO_WATERMARK);
        self.mark(watermark, marks)
    }

    fn mark(&mut self, watermark: EventTime, marks: &Marks) -> Result<(), ConnectorError> {
        let now_ms = now_ms();
        let is_early = failpoint::hit("partition-due") == Some(Action::Early);
        let mut due = vec![];
        for (folder, first_ms) in &self.open {
            if is_early || self.settings.is_due(folder, *first_ms, watermark, now_ms)? {
                due.push(folder.clone());
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        if failpoint::hit("partition-mark") != Some(Action::Skip) {
            let success_files = due.iter().map(|folder| (folder.as_path(), String::new()));
            marks.write(&self.settings.success_file, success_files)?;
        }
        failpoint::hit("partition-marked");
        marks.remove(&self.marker, &due)?;
        for folder in due {
            tracing::info!(partition = %folder.display(), "the partition is complete");
            self.open.remove(&folder);
        }
        Ok(())
    }
}

/// The folders `depth` levels below `directory`; none if it does not exist.
pub(super) fn folders(directory: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_owned()];
    for _ in 0..depth {
        let mut below = vec![];
        for folder in found {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    below.push(entry.path());
                }
            }
        }
        found = below;
    }
    Ok(found)
}
