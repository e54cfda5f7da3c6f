//! Local recovery: [`LocalCopies`] of state files, so that a restart reads what its own process wrote without asking a remote store.
//!
//! A copy is for speed alone. It is made once the file is safe in the store, in a folder that goes with the process, without a sync; who finds
//! no copy of a file, or one that cannot be read, reads the store. Copies are of the newest checkpoint and of those in the making.

use crate::error::CheckpointError;
use crate::layout::{self, Entry};
use crate::local_folder::{LocalFolder, first_folder};
use bytes::Bytes;
use flott_core::{CheckpointId, Options};
use object_store::PutPayload;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names of folders begin so.
const NAME: &str = "flott-local-recovery-";
const BACKUP: &str = "execution.checkpointing.local-backup.enabled";
const RECOVERY: &str = "execution.state-recovery.from-local";
/// Flink's old name for both.
const BOTH: &str = "state.backend.local-recovery";
const DIRS: [&str; 3] = [
    "execution.checkpointing.local-backup.dirs",
    "taskmanager.state.local.root-dirs",
    "io.tmp.dirs",
];

/// Copies of a job's state files on local disk.
#[derive(Debug)]
pub struct LocalCopies {
    folder: LocalFolder,
    copies: Mutex<Copies>,
    /// That a copy could not be made has been told.
    has_failed: AtomicBool,
}

#[derive(Debug, Default)]
struct Copies {
    /// Number of the copy, which is its name, by the path of its file.
    numbers: BTreeMap<String, u64>,
    next: u64,
    /// Files of the newest checkpoint that exists.
    needed: BTreeSet<String>,
}

/// Checkpoints of which copies are held while they are in the making; those before them were given up.
const IN_THE_MAKING: u64 = 2;

impl Copies {
    /// Takes out those of checkpoints up to `checkpoint` that nobody needs: their numbers.
    fn superseded(&mut self, checkpoint: CheckpointId) -> Vec<u64> {
        let Self { numbers, needed, .. } = self;
        let is_newer = |path: &str| matches!(layout::parse(path), Entry::State(of) if of > checkpoint);
        let gone = numbers.extract_if(.., |path, _| !needed.contains(path) && !is_newer(path));
        gone.map(|(_, number)| number).collect()
    }
}

impl LocalCopies {
    /// Copies as the options say; `None` where they do not ask for any.
    ///
    /// # Errors
    /// If an option is wrong, or there is no folder for them. `uri` is what the error names.
    pub fn from_options(uri: &str, options: &Options) -> Result<Option<Arc<Self>>, CheckpointError> {
        let bad = |problem: String| CheckpointError::BadOption {
            uri: uri.to_owned(),
            problem,
        };
        let is_set = |key| options.boolean(key).map_err(|e| bad(e.to_string()));
        let both = is_set(BOTH)?.unwrap_or(false);
        let (makes, reads) = (is_set(BACKUP)?.unwrap_or(both), is_set(RECOVERY)?.unwrap_or(both));
        if makes != reads {
            let (on, off) = if makes { (BACKUP, RECOVERY) } else { (RECOVERY, BACKUP) };
            tracing::warn!("'{on}' has no effect without '{off}': no local copies of state are made");
        }
        if !(makes && reads) {
            return Ok(None);
        }
        let dirs = DIRS.iter().find_map(|key| options.get(key).map(|dirs| (*key, dirs)));
        let dir = match dirs {
            Some((key, dirs)) => first_folder(key, dirs).map_err(bad)?,
            None => std::env::temp_dir(),
        };
        let folder = LocalFolder::make(&dir, NAME).map_err(|e| {
            bad(format!(
                "no folder for local copies of state can be made in {}: {e}; name another with '{}', or switch local recovery off",
                dir.display(),
                DIRS[0]
            ))
        })?;
        Ok(Some(Arc::new(Self {
            folder,
            copies: Mutex::default(),
            has_failed: AtomicBool::new(false),
        })))
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, number: u64) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// Copies a file that was written.
    pub(crate) async fn add(self: &Arc<Self>, path: &str, content: PutPayload) {
        let number = {
            let mut copies = self.copies();
            copies.next += 1;
            copies.next
        };
        let place = self.place(number);
        let written = blocking(move || {
            let mut file = File::create_new(&place)?;
            content.iter().try_for_each(|part| file.write_all(part))
        });
        match written.await {
            Ok(()) => {
                self.copies().numbers.insert(path.to_owned(), number);
                if let Entry::State(checkpoint) = layout::parse(path) {
                    let given_up = self.copies().superseded(checkpoint.saturating_sub(IN_THE_MAKING));
                    self.remove(given_up).await;
                }
            }
            Err(error) => {
                let _ = std::fs::remove_file(self.place(number));
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    let folder = self.folder.path().display();
                    tracing::warn!(%folder, %error, "a local copy of state cannot be made: a restart reads the store instead");
                }
            }
        }
    }

    /// Bytes of a file's copy, if it has one and that is whole.
    pub(crate) async fn read(&self, path: &str, range: Range<u64>) -> Option<Bytes> {
        let number = self.copies().numbers.get(path).copied()?;
        let place = self.place(number);
        let read = blocking(move || {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            File::open(&place)?.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        });
        read.await.ok()
    }

    /// Removes what `checkpoint`, which exists and consists of these files, has no more need of.
    pub(crate) async fn keep(&self, checkpoint: CheckpointId, files: &BTreeSet<String>) {
        let gone = {
            let mut copies = self.copies();
            copies.needed.clone_from(files);
            copies.superseded(checkpoint)
        };
        self.remove(gone).await;
    }

    async fn remove(&self, numbers: Vec<u64>) {
        if numbers.is_empty() {
            return;
        }
        let places: Vec<PathBuf> = numbers.into_iter().map(|number| self.place(number)).collect();
        // One that stays for whatever reason goes with the folder.
        let _ = blocking(move || {
            places.iter().for_each(|place| drop(std::fs::remove_file(place)));
            Ok(())
        })
        .await;
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.copies().numbers.is_empty()
    }

    /// Bytes that a test damages: the file of the copy.
    #[cfg(test)]
    fn place_of(&self, path: &str) -> Option<PathBuf> {
        let number = self.copies().numbers.get(path).copied()?;
        Some(self.place(number))
    }
}

/// Does something with files on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Location;
    use crate::root::Root;
    use crate::testing::{Fault, FaultyStore};
    use crate::writer::StateWriter;
    use flott_core::OperatorId;
    use object_store::memory::InMemory;

    fn of_options(options: &[(&str, &str)]) -> Result<Option<Arc<LocalCopies>>, CheckpointError> {
        LocalCopies::from_options("s3://b", &options.iter().copied().collect())
    }

    #[test]
    fn they_are_made_where_both_options_ask_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dir.path().to_str().unwrap();
        for (options, is_on) in [
            (vec![], false),
            (vec![(BOTH, "true")], true),
            (vec![(BACKUP, "true"), (RECOVERY, "true")], true),
            (vec![(BACKUP, "true")], false),
            (vec![(RECOVERY, "true")], false),
            (vec![(BOTH, "true"), (BACKUP, "false")], false),
        ] {
            let copies = of_options(&[&options[..], &[(DIRS[0], dirs)]].concat()).unwrap();
            assert_eq!(copies.is_some(), is_on, "{options:?}");
            assert_eq!(
                std::fs::read_dir(dir.path()).unwrap().count(),
                if is_on { 2 } else { 0 }
            );
        }
        let error = of_options(&[(BOTH, "yes please")]).unwrap_err().to_string();
        assert!(error.contains(BOTH) && error.contains("s3://b"), "{error}");
        let error = of_options(&[(BOTH, "true"), (DIRS[1], "ssd")]).unwrap_err().to_string();
        assert!(error.contains(DIRS[1]) && error.contains("absolute"), "{error}");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = of_options(&[(BOTH, "true"), (DIRS[0], file.to_str().unwrap())]).unwrap_err();
        assert!(error.to_string().contains(DIRS[0]), "{error}");
    }

    #[tokio::test]
    async fn a_copy_is_read_instead_of_the_store_and_the_store_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let copies = of_options(&[(BOTH, "true"), (DIRS[0], dir.path().to_str().unwrap())]).unwrap();
        let store = FaultyStore::new(Arc::new(InMemory::new()), 0, Fault::Refused);
        let root = Root::of_store(Arc::new(store.clone()), "", "store").with_copies(copies.clone());
        let copies = copies.unwrap();
        let mut locations = vec![];
        for checkpoint in 1..4 {
            let writer = StateWriter::new(root.clone(), &layout::checkpoint_folder(checkpoint), 1, 1);
            let path = writer
                .write(OperatorId::of("o"), 0, Bytes::from("0123456789"))
                .await
                .unwrap();
            locations.push(Location::File {
                path,
                offset: 2,
                length: 8,
            });
        }
        let path = |checkpoint: usize| locations[checkpoint - 1].path().unwrap();
        let calls = store.calls();
        assert_eq!(root.read(&locations[1], 1..4).await.unwrap(), "345");
        assert_eq!(store.calls(), calls, "the store is not asked");
        let store_alone = root.without_copies().unwrap();
        assert_eq!(store_alone.read(&locations[1], 1..4).await.unwrap(), "345");
        assert_eq!(store.calls(), calls + 1);

        // The second one exists and needs nothing of the first; the third is in the making.
        copies.keep(2, &[path(2).to_owned()].into()).await;
        let has_copy = |checkpoint| copies.place_of(path(checkpoint)).is_some_and(|place| place.exists());
        assert_eq!([1, 2, 3].map(has_copy), [false, true, true]);
        assert_eq!(root.read(&locations[0], 0..8).await.unwrap(), "23456789");
        std::fs::write(copies.place_of(path(2)).unwrap(), "0123").unwrap();
        assert_eq!(
            root.read(&locations[1], 0..8).await.unwrap(),
            "23456789",
            "what is cut off is no copy"
        );
        assert_eq!(store.calls(), calls + 3);

        // Checkpoints that are given up one after the other leave no more than a few behind.
        for checkpoint in 4..8 {
            let writer = StateWriter::new(root.clone(), &layout::checkpoint_folder(checkpoint), 1, 1);
            writer
                .write(OperatorId::of("o"), 0, Bytes::from("0123456789"))
                .await
                .unwrap();
        }
        let of_folder = std::fs::read_dir(copies.folder.path()).unwrap().count();
        assert_eq!(
            (of_folder, has_copy(2), has_copy(3)),
            (3, true, false),
            "2, which exists, 6 and 7"
        );
        assert!(
            root.folder("x").without_copies().is_none(),
            "paths of another folder are not these"
        );
    }
}
