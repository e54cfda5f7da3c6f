//! The checkpoints of a job: [`CheckpointStore`] reads them, a [`Leader`] writes them by the rules of [`crate::protocol`].

use crate::claim;
use crate::copies::LocalCopies;
use crate::error::{CheckpointError, IoCause};
use crate::layout;
use crate::manifest::{Location, Manifest};
use crate::protocol::{Facts, Leadership, SnapshotId};
use crate::root::{ListedFile, Root};
use crate::snapshot::Snapshot;
use crate::writer::StateWriter;
use bytes::Bytes;
use flott_core::{CheckpointId, Generation, Options};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a search starts again because a running job deleted what it had found.
const MAX_LISTINGS: usize = 5;

/// Which leader of which cluster claims a job's checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterEpoch {
    /// The cluster, by the place where its leaders are elected.
    pub cluster: String,
    /// Its leaders are counted.
    pub epoch: u64,
}

/// The folder of a job's checkpoints.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    root: Root,
}

impl CheckpointStore {
    /// The checkpoints of the job `job_name` (its `pipeline.name`) under `dir` (`execution.checkpointing.dir`), after a probe
    /// that the store can hold them.
    ///
    /// # Errors
    /// If the place is none, cannot be written, or does not know put-if-absent; with place, cause and remedy.
    pub async fn open(dir: &str, job_name: &str, options: &Options) -> Result<Self, CheckpointError> {
        let root = Root::open(dir, options)?;
        root.probe().await?;
        let copies = LocalCopies::from_options(dir, options)?;
        let Self { root } = Self::of_root(&root, job_name);
        Ok(Self {
            root: root.with_copies(copies),
        })
    }

    /// The checkpoints of a job in a folder that was opened and probed before.
    pub fn of_root(root: &Root, job_name: &str) -> Self {
        Self {
            root: root.folder(&layout::job_folder(job_name)),
        }
    }

    /// The checkpoints in a job's folder itself, whatever its name.
    pub(crate) fn at(root: Root) -> Self {
        Self { root }
    }

    /// The job's folder.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What is there now.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub async fn facts(&self) -> Result<Facts, CheckpointError> {
        Ok(Facts::from_listing(self.root.list().await?))
    }

    /// Claims leadership: every earlier leader is fenced from now on. `note` is kept in the claim, for people.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn claim(&self, note: &str) -> Result<Leader, CheckpointError> {
        self.claim_in(note, None).await
    }

    /// Like [`Self::claim`], for a process that leads others: it claims nothing that a later leader of its cluster has claimed, however long
    /// it was paused before.
    ///
    /// # Errors
    /// If the store refuses, or a later leader has claimed.
    pub async fn claim_in(&self, note: &str, epoch: Option<&ClusterEpoch>) -> Result<Leader, CheckpointError> {
        let of_cluster = match epoch {
            Some(epoch) => serde_json::to_string(epoch).map_err(|source| CheckpointError::EncodeManifest { source })?,
            None => String::new(),
        };
        loop {
            let facts = self.facts().await?;
            if let (Some(epoch), Some(newest)) = (epoch, facts.claims.last())
                && !self.is_free_for(epoch, *newest).await?
            {
                continue;
            }
            let generation = facts.next_generation();
            let content = Bytes::from(format!("{note}\n{of_cluster}\n"));
            // Whoever claims between the look and this has taken the number.
            match self.root.put_new(&layout::claim(generation), content).await {
                Ok(()) => {
                    return Ok(Leader {
                        store: self.clone(),
                        generation,
                        has_found_any: !facts.manifests.is_empty(),
                        kept: Arc::default(),
                    });
                }
                // Somebody else took this number, or a retry found its own file: either way the next number is free.
                Err(error) if error.is_exists() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the claim behind this one may be ours; `false`: the claim has gone, because there is a later one.
    ///
    /// # Errors
    /// If a later leader of the cluster has made the claim.
    async fn is_free_for(&self, ours: &ClusterEpoch, claim: Generation) -> Result<bool, CheckpointError> {
        let content = match self.root.get(&layout::claim(claim)).await {
            Ok(content) => content,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&content);
        let theirs = text
            .lines()
            .nth(1)
            .and_then(|line| serde_json::from_str::<ClusterEpoch>(line).ok());
        match theirs.filter(|theirs| theirs.cluster == ours.cluster && theirs.epoch > ours.epoch) {
            Some(theirs) => Err(CheckpointError::Superseded {
                path: self.root.display(""),
                ours: ours.epoch,
                theirs: theirs.epoch,
            }),
            None => Ok(true),
        }
    }

    /// The newest checkpoint that can be read and whose files are all there; damaged ones are skipped with a warning that
    /// names them. `None` if there is none at all.
    ///
    /// # Errors
    /// If the store cannot be read, one file included, or every checkpoint is damaged.
    pub async fn latest(&self) -> Result<Option<Snapshot>, CheckpointError> {
        self.latest_but(&BTreeSet::new()).await
    }

    /// Like [`Self::latest`], without those that turned out to be damaged when their state was read.
    ///
    /// # Errors
    /// As [`Self::latest`].
    pub async fn latest_but(&self, damaged: &BTreeSet<SnapshotId>) -> Result<Option<Snapshot>, CheckpointError> {
        let mut problem = None;
        for _ in 0..MAX_LISTINGS {
            let facts = self.facts().await?;
            problem = None;
            let mut has_vanished = false;
            for id in facts.candidates() {
                if damaged.contains(&id) {
                    problem.get_or_insert_with(|| format!("{id} has damaged state files"));
                    continue;
                }
                let error = match self.load(id, &facts).await {
                    Ok(snapshot) => return Ok(Some(snapshot)),
                    Err(error @ CheckpointError::UnknownVersion { .. }) => return Err(error),
                    // Nobody knows whether it is damaged, and to go back behind what is committed would be to do it again.
                    Err(error) if error.is_unanswered() => return Err(error),
                    Err(error) => error,
                };
                // A running job may have deleted it since it was listed; then there is a newer one.
                has_vanished = !self.facts().await?.manifests.contains(&id);
                if has_vanished {
                    problem = Some(error.to_string());
                    break;
                }
                tracing::warn!(checkpoint = id.checkpoint, generation = id.generation, %error,
                    "checkpoint is damaged and is skipped; the one before it is tried");
                problem.get_or_insert_with(|| error.to_string());
            }
            if !has_vanished {
                break;
            }
        }
        match problem {
            None => Ok(None),
            Some(newest) => Err(CheckpointError::AllDamaged {
                path: self.root.display(""),
                newest,
            }),
        }
    }

    /// Reads a checkpoint's manifest and checks that its files are there in full length.
    ///
    /// # Errors
    /// If the manifest or a file is damaged or missing.
    pub async fn load(&self, id: SnapshotId, facts: &Facts) -> Result<Snapshot, CheckpointError> {
        let path = layout::manifest(id.generation, id.checkpoint);
        let shown = self.root.display(&path);
        let manifest = Manifest::decode(&self.root.get(&path).await?, &shown)?;
        let files = &facts.files;
        check_files(&self.root, &manifest, |path| files.get(path))?;
        Ok(Snapshot {
            manifest,
            root: self.root.clone(),
            path: self.root.display(&layout::checkpoint_folder(id.checkpoint)),
            id: Some(id),
            is_committed: facts.committed.contains(&id),
        })
    }
}

/// Checks that all files of a manifest exist with at least the bytes that it refers to.
pub(crate) fn check_files<'a>(
    root: &Root,
    manifest: &Manifest,
    find: impl Fn(&str) -> Option<&'a ListedFile>,
) -> Result<(), CheckpointError> {
    for subtask in manifest.operators.iter().flat_map(|o| &o.subtasks) {
        for location in subtask.locations() {
            let Location::File { path, offset, length } = location else {
                continue;
            };
            let problem = match find(path) {
                None => "it is missing".to_owned(),
                Some(file) if file.bytes < offset + length => {
                    format!("it has {} bytes, and should have {}", file.bytes, offset + length)
                }
                Some(_) => continue,
            };
            return Err(CheckpointError::DamagedFile {
                path: root.display(path),
                problem,
            });
        }
    }
    Ok(())
}

/// The right to write checkpoints, until a higher generation claims it. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Leader {
    store: CheckpointStore,
    generation: Generation,
    /// Whether there was a checkpoint before it claimed.
    has_found_any: bool,
    kept: Arc<Mutex<Kept>>,
}

/// Files that must or may be there.
#[derive(Debug, Default)]
struct Kept {
    /// Files of manifests that exist, by manifest.
    manifests: Vec<(SnapshotId, BTreeSet<String>)>,
    /// Files of manifests deleted by the last clean-up, spared until the next: a checkpoint in the making may continue them.
    doomed: BTreeSet<String>,
    /// What the job has claimed to start from, until it is deleted, and the generation that has.
    claimed: Option<(Generation, Snapshot)>,
    /// The earlier generation whose note says what that is, until it is read.
    claimed_before: Option<Generation>,
}

/// Proof that a checkpoint exists and was completed by a leader: who holds it may commit what the checkpoint lists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "sinks wait for their commit"]
pub struct CommitPermit {
    /// The checkpoint.
    pub id: SnapshotId,
    /// Path of its folder, for people and for `--restore`.
    pub path: String,
}

impl Leader {
    /// Its generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The store that it leads.
    pub fn store(&self) -> &CheckpointStore {
        &self.store
    }

    /// Says what this generation restored (`None`: a fresh start, or a savepoint from elsewhere), before it writes anything.
    /// Returns the number of its first checkpoint.
    ///
    /// # Errors
    /// If another leads by now, or the store refuses.
    pub async fn start_from(&self, base: Option<&Snapshot>) -> Result<CheckpointId, CheckpointError> {
        if let Some(base) = base
            && let Some(id) = base.id
        {
            let name = layout::base(self.generation, id.generation, id.checkpoint);
            self.check_leadership().await?;
            self.store.root.put_own(&name, Bytes::from_static(b"\n")).await?;
            self.kept().manifests.push((id, base.manifest.files()));
        }
        if base.is_none() && self.generation > 1 && !self.has_found_any {
            // What sinks have open is given up: what an earlier leader still completes, or has since the claim, must not count.
            let name = layout::base(self.generation, 0, 0);
            self.check_leadership().await?;
            self.store.root.put_own(&name, Bytes::from_static(b"\n")).await?;
        }
        let facts = self.check_leadership().await?;
        self.kept().claimed_before = facts.claim_of(self.generation);
        Ok(facts.next_checkpoint())
    }

    /// Makes what this generation starts from, and has found by path, the job's own: it is deleted when newer checkpoints supersede it. Comes
    /// behind [`Self::start_from`], before anything is written.
    ///
    /// # Errors
    /// If another leads by now, or the store refuses.
    pub async fn claim_snapshot(&self, snapshot: &Snapshot) -> Result<(), CheckpointError> {
        self.check_leadership().await?;
        let name = layout::claimed(self.generation);
        self.store.root.put_own(&name, claim::note(snapshot)?).await?;
        self.kept().claimed = Some((self.generation, snapshot.clone()));
        Ok(())
    }

    /// Finds what an earlier generation of the same past has claimed, to delete it in its time. Comes behind [`Self::start_from`].
    ///
    /// # Errors
    /// If it cannot be read; it stays then, until a later generation finds it.
    pub async fn resume_claim(&self, options: &Options) -> Result<(), CheckpointError> {
        let Some(generation) = self.kept().claimed_before.take() else {
            return Ok(());
        };
        let (root, name) = (&self.store.root, layout::claimed(generation));
        match claim::open(&root.get(&name).await?, &root.display(&name), options).await {
            Ok(snapshot) => self.kept().claimed = Some((generation, snapshot)),
            Err(error) if error.is_not_found() => root.delete(&name).await?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes the state files of attempt `attempt` (of the job's tasks) for a checkpoint.
    pub fn writer(&self, checkpoint: CheckpointId, attempt: u64) -> StateWriter {
        StateWriter::of_checkpoint(&self.store.root, checkpoint, self.generation, attempt)
    }

    /// Makes a checkpoint exist. All its files have been written. The permit says that its commits may be sent.
    ///
    /// After an error other than [`CheckpointError::Fenced`] and [`CheckpointError::MissingBase`] it is not known whether the
    /// manifest exists: call again with the same manifest, or restart from the newest checkpoint; abort nothing that it lists.
    ///
    /// # Errors
    /// If another leads (this process must stop), if files that it builds on may be gone, or if the store refuses.
    pub async fn complete(&self, manifest: &Manifest) -> Result<CommitPermit, CheckpointError> {
        let id = SnapshotId {
            generation: self.generation,
            checkpoint: manifest.checkpoint_id,
        };
        let files = manifest.files();
        self.check_bases(id, &files)?;
        self.check_leadership().await?;
        let path = layout::manifest(id.generation, id.checkpoint);
        self.store.root.put_own(&path, manifest.encode()?).await?;
        self.check_leadership().await?;
        if let Some(copies) = self.store.root.copies() {
            copies.keep(id.checkpoint, &files).await;
        }
        let mut kept = self.kept();
        kept.manifests.retain(|(other, _)| *other != id);
        kept.manifests.push((id, files));
        Ok(CommitPermit {
            id,
            path: self.store.root.display(&layout::checkpoint_folder(id.checkpoint)),
        })
    }

    /// Files of earlier checkpoints must be known to be kept.
    fn check_bases(&self, id: SnapshotId, files: &BTreeSet<String>) -> Result<(), CheckpointError> {
        let own = format!("{}/", layout::checkpoint_folder(id.checkpoint));
        let kept = self.kept();
        let missing = files.iter().find(|path| {
            !path.starts_with(&own)
                && !kept.doomed.contains(*path)
                && !kept.manifests.iter().any(|(_, files)| files.contains(*path))
        });
        match missing {
            None => Ok(()),
            Some(path) => Err(CheckpointError::MissingBase {
                checkpoint: id.checkpoint,
                path: self.store.root.display(path),
            }),
        }
    }

    /// Notes that everything a checkpoint lists is committed, so that a restore need not ask the sinks again.
    ///
    /// # Errors
    /// If the store refuses; nothing is lost then, since commits can be repeated.
    pub async fn mark_committed(&self, id: SnapshotId) -> Result<(), CheckpointError> {
        let path = layout::committed(id.generation, id.checkpoint);
        self.store.root.put_own(&path, Bytes::from_static(b"\n")).await
    }

    /// Deletes checkpoints of the own past beyond the `retained` newest (`execution.checkpointing.num-retained`), what the job has claimed
    /// among them, and the files that only those deleted by the call before this one had. Returns how many files went. `retained` of 0 is for a job that
    /// has ended: all its checkpoints go, and their files with a second call.
    ///
    /// # Errors
    /// If another leads, if a manifest that stays cannot be read (what it needs is not known), or if the store refuses; the
    /// rest goes with a later call or a sweep.
    pub async fn delete_superseded(&self, retained: usize) -> Result<usize, CheckpointError> {
        let facts = self.check_leadership().await?;
        let own = facts.manifests.iter().filter(|m| m.generation == self.generation);
        let newest = own.max().copied();
        let superseded = newest.map_or_else(Vec::new, |newest| facts.superseded(self.generation, newest, retained));
        let is_claim_superseded =
            newest.is_some_and(|newest| facts.is_claim_superseded(self.generation, newest, retained));
        self.learn_of_others(&facts, &superseded).await?;
        let doomed_before = self.kept().doomed.clone();
        let mut newly_doomed = BTreeSet::new();
        let mut deleted = 0;
        for id in superseded {
            let files = self.files_of(id).await;
            let root = &self.store.root;
            root.delete(&layout::manifest(id.generation, id.checkpoint)).await?;
            {
                let mut kept = self.kept();
                kept.manifests.retain(|(other, _)| *other != id);
                kept.doomed.extend(files.iter().cloned());
            }
            newly_doomed.extend(files);
            deleted += 1;
            if facts.committed.contains(&id) {
                root.delete(&layout::committed(id.generation, id.checkpoint)).await?;
            }
        }
        let due: Vec<String> = {
            let mut kept = self.kept();
            let is_used = |path: &String| kept.manifests.iter().any(|(_, files)| files.contains(path));
            let due = doomed_before
                .into_iter()
                .filter(|path| !is_used(path) && !newly_doomed.contains(path))
                .collect();
            kept.doomed = newly_doomed;
            due
        };
        for path in due {
            self.store.root.delete(&path).await?;
            deleted += 1;
        }
        if is_claim_superseded {
            deleted += self.delete_claimed().await?;
        }
        Ok(deleted)
    }

    /// Deletes what the job has claimed, if there is something.
    async fn delete_claimed(&self) -> Result<usize, CheckpointError> {
        let Some((generation, snapshot)) = self.kept().claimed.clone() else {
            return Ok(0);
        };
        let deleted = claim::delete(&snapshot).await?;
        self.store.root.delete(&layout::claimed(generation)).await?;
        let mut kept = self.kept();
        kept.claimed = None;
        // It may have lain in this folder.
        let id = claim::id_of(&snapshot);
        kept.manifests.retain(|(other, _)| *other != id);
        Ok(deleted)
    }

    /// Reads the manifests that stay and are not known here, those of earlier generations: what they list is not deleted.
    async fn learn_of_others(&self, facts: &Facts, superseded: &[SnapshotId]) -> Result<(), CheckpointError> {
        for id in facts.manifests.iter().filter(|id| !superseded.contains(id)) {
            if self.kept().manifests.iter().any(|(other, _)| other == id) {
                continue;
            }
            let path = layout::manifest(id.generation, id.checkpoint);
            let bytes = match self.store.root.get(&path).await {
                Ok(bytes) => bytes,
                // Deleted since it was listed.
                Err(CheckpointError::Io {
                    cause: IoCause::NotFound,
                    ..
                }) => continue,
                Err(error) => return Err(error),
            };
            let files = Manifest::decode(&bytes, &self.store.root.display(&path))?.files();
            self.kept().manifests.push((*id, files));
        }
        Ok(())
    }

    /// Files of a manifest that is about to be deleted; of one that cannot be read none: sweeping finds them.
    async fn files_of(&self, id: SnapshotId) -> BTreeSet<String> {
        let known = self.kept().manifests.iter().find(|(other, _)| *other == id).cloned();
        if let Some((_, files)) = known {
            return files;
        }
        let path = layout::manifest(id.generation, id.checkpoint);
        let read = async { Manifest::decode(&self.store.root.get(&path).await?, &path) };
        match read.await {
            Ok(manifest) => manifest.files(),
            // Deleted since it was listed, e.g. because the next checkpoint was complete at the job's end.
            Err(CheckpointError::Io {
                cause: IoCause::NotFound,
                ..
            }) => BTreeSet::new(),
            Err(error) => {
                tracing::warn!(%error, "superseded checkpoint cannot be read; its files are swept by age");
                BTreeSet::new()
            }
        }
    }

    /// Deletes what crashes left behind: files at least `age_ms` old that no checkpoint refers to. Returns how many.
    /// Nothing is deleted while a manifest cannot be read: its files are not known.
    ///
    /// # Errors
    /// If another leads, or the store refuses.
    pub async fn sweep(&self, now_ms: i64, age_ms: i64) -> Result<usize, CheckpointError> {
        let facts = self.check_leadership().await?;
        let mut referenced: BTreeSet<String> = self.kept().manifests.iter().flat_map(|(_, f)| f.clone()).collect();
        for id in &facts.manifests {
            let path = layout::manifest(id.generation, id.checkpoint);
            let manifest = Manifest::decode(&self.store.root.get(&path).await?, &self.store.root.display(&path))?;
            referenced.extend(manifest.files());
        }
        let sweepable = facts.sweepable(self.generation, &referenced, now_ms, age_ms);
        for path in &sweepable {
            self.store.root.delete(path).await?;
        }
        Ok(sweepable.len())
    }

    /// Looks whether this generation still leads.
    ///
    /// # Errors
    /// If it does not, or the store cannot be listed.
    pub async fn check_leadership(&self) -> Result<Facts, CheckpointError> {
        let facts = self.store.facts().await?;
        match facts.leadership(self.generation) {
            Leadership::Leads => Ok(facts),
            Leadership::Fenced { newest } => Err(CheckpointError::Fenced {
                path: self.store.root.display(""),
                ours: self.generation,
                newest,
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every section leaves the lists whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
