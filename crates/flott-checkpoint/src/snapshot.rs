//! Snapshots to restore from: [`Snapshot`], found by path; and savepoints, which are written here: [`Savepoint`].

use crate::error::CheckpointError;
use crate::layout::{self, Entry, SAVEPOINT_COMMITTED, SAVEPOINT_MANIFEST};
use crate::manifest::{Location, Manifest, SnapshotKind};
use crate::protocol::{Facts, SnapshotId};
use crate::root::Root;
use crate::store::check_files;
use bytes::Bytes;
use flott_core::{JobId, Options};
use futures::stream::{self, TryStreamExt};
use std::collections::BTreeMap;

/// Files of a savepoint that are copied at the same time.
const CONCURRENT_COPIES: usize = 8;

/// A readable checkpoint or savepoint.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it consists of.
    pub manifest: Manifest,
    /// The folder that its paths count from.
    pub root: Root,
    /// How people name it.
    pub path: String,
    /// Its number, if it was found among the job's own checkpoints.
    pub id: Option<SnapshotId>,
    /// Whether its commits are known to be done.
    pub is_committed: bool,
}

impl Snapshot {
    /// The checkpoint or savepoint at a path: a savepoint's folder, a checkpoint's folder (`…/chk-17`), the manifest file of
    /// either, or a job's folder, whose newest checkpoint is taken. It may have been moved; a checkpoint only with the whole
    /// folder of its job.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub async fn open(path: &str, options: &Options) -> Result<Self, CheckpointError> {
        let path = path.trim_end_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let is_manifest = name == SAVEPOINT_MANIFEST || name.starts_with("manifest-g");
        let (folder, wanted) = if is_manifest { (above, Some(name)) } else { (path, None) };
        let root = Root::open_existing(folder, options)?;
        if wanted.is_none_or(|w| w == SAVEPOINT_MANIFEST) {
            match root.get(SAVEPOINT_MANIFEST).await {
                Ok(content) => return Self::savepoint(root, &content).await,
                Err(error) if !error.is_not_found() => return Err(error),
                Err(_) => {}
            }
        }
        let folder_name = folder.rsplit('/').next().unwrap_or(folder);
        let job_root = match folder_name.strip_prefix("chk-") {
            Some(_) => Root::open_existing(folder.rsplit_once('/').map_or(".", |(above, _)| above), options)?,
            None => root,
        };
        let facts = Facts::from_listing(job_root.list().await?);
        let is_wanted = |id: &SnapshotId| {
            let folder_fits =
                !folder_name.starts_with("chk-") || folder_name == layout::checkpoint_folder(id.checkpoint);
            folder_fits
                && wanted.is_none_or(|w| {
                    layout::parse(&format!("{folder_name}/{w}")) == Entry::Manifest(id.generation, id.checkpoint)
                })
        };
        let Some(id) = facts.candidates().into_iter().find(is_wanted) else {
            return Err(CheckpointError::NotFound {
                path: path.to_owned(),
                problem: format!(
                    "it holds neither '{SAVEPOINT_MANIFEST}' (a savepoint) nor 'manifest-g…' (a completed checkpoint)"
                ),
            });
        };
        let store = crate::store::CheckpointStore::at(job_root);
        // Found by path, it is not known to be of the job that restores it.
        let snapshot = store.load(id, &facts).await?;
        Ok(Self { id: None, ..snapshot })
    }

    async fn savepoint(root: Root, content: &[u8]) -> Result<Self, CheckpointError> {
        let manifest = Manifest::decode(content, &root.display(SAVEPOINT_MANIFEST))?;
        let files: BTreeMap<_, _> = root.list().await?.into_iter().map(|f| (f.path.clone(), f)).collect();
        check_files(&root, &manifest, |path| files.get(path))?;
        Ok(Self {
            path: root.display(""),
            manifest,
            is_committed: files.contains_key(SAVEPOINT_COMMITTED),
            root,
            id: None,
        })
    }
}

/// A savepoint in the making: a folder of its own that holds all it needs.
#[derive(Debug, Clone)]
pub struct Savepoint {
    root: Root,
}

impl Savepoint {
    /// Begins a savepoint below `directory`.
    ///
    /// # Errors
    /// If the directory is none or cannot be written; with path, cause and remedy.
    pub async fn create(directory: &str, job: JobId, options: &Options) -> Result<Self, CheckpointError> {
        let parent = Root::open(directory, options)?;
        parent.probe().await?;
        Ok(Self::within(&parent, job))
    }

    /// Begins a savepoint below a folder that was opened and probed before.
    pub fn within(parent: &Root, job: JobId) -> Self {
        Self {
            root: parent.folder(&layout::savepoint_folder(job, random())),
        }
    }

    /// How people name it, and what `--restore` takes.
    pub fn path(&self) -> String {
        self.root.display("")
    }

    /// Copies the files of a completed checkpoint into the savepoint and completes it with them.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub async fn complete_from(&self, checkpoint: &Snapshot) -> Result<(), CheckpointError> {
        let mut manifest = checkpoint.manifest.clone();
        let copy = async |path: String| {
            let content = checkpoint.root.get(&path).await?;
            self.root.put_own(&flat_name(&path), content).await
        };
        stream::iter(manifest.files().into_iter().map(Ok::<_, CheckpointError>))
            .try_for_each_concurrent(CONCURRENT_COPIES, copy)
            .await?;
        let subtasks = manifest.operators.iter_mut().flat_map(|o| &mut o.subtasks);
        for location in subtasks.flat_map(|s| s.locations_mut()) {
            if let Location::File { path, .. } = location {
                *path = flat_name(path);
            }
        }
        self.complete(manifest).await
    }

    /// Makes the savepoint exist, once all files of the manifest are in its folder.
    async fn complete(&self, mut manifest: Manifest) -> Result<(), CheckpointError> {
        manifest.kind = SnapshotKind::Savepoint;
        let files: BTreeMap<_, _> = self
            .root
            .list()
            .await?
            .into_iter()
            .map(|f| (f.path.clone(), f))
            .collect();
        check_files(&self.root, &manifest, |path| files.get(path))?;
        self.root.put_own(SAVEPOINT_MANIFEST, manifest.encode()?).await
    }

    /// Notes that everything the savepoint lists is committed, so that a restore need not ask the sinks again.
    ///
    /// # Errors
    /// If the store refuses; nothing is lost then, since commits can be repeated.
    pub async fn mark_committed(&self) -> Result<(), CheckpointError> {
        self.root.put_own(SAVEPOINT_COMMITTED, Bytes::from_static(b"\n")).await
    }

    /// Deletes what was written, if the savepoint was not completed.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn abandon(&self) -> Result<(), CheckpointError> {
        for file in self.root.list().await? {
            self.root.delete(&file.path).await?;
        }
        Ok(())
    }
}

/// A name without folders: those of checkpoints differ by folder too.
fn flat_name(path: &str) -> String {
    path.replace('/', "-")
}

/// A number that another process will not draw: hashed from the standard library's per-process seeds and the clock.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}
