//! Files of programs that a process runs: each once, in a folder of the process that nobody else may read, and that goes with it. Folders of
//! processes that were killed go with the next one that is made beside them: nobody holds their locks any more.

use flott_core::Options;
use ring::digest::{Context, SHA256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What names of folders begin with.
const FOLDER: &str = "flott-programs-";

/// The file of a folder that its process holds locked.
const LOCK: &str = "lock";

/// The folder, made when it is needed.
#[derive(Debug)]
pub(crate) struct ProgramFiles {
    within: PathBuf,
    folder: Mutex<Option<Folder>>,
}

/// A folder, for as long as its lock is held.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _lock: File,
}

impl ProgramFiles {
    /// Below the folder that the option `key` names, else the system's for temporary files.
    pub(crate) fn of(options: &Options, key: &str) -> Self {
        let within = options.get(key).and_then(|dirs| dirs.split([',', ':']).next());
        Self {
            within: within.map_or_else(std::env::temp_dir, PathBuf::from),
            folder: Mutex::default(),
        }
    }

    fn folder(&self) -> io::Result<PathBuf> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*folder {
            return Ok(folder.path.clone());
        }
        self.remove_abandoned();
        let path = loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let own = self.within.join(format!("{FOLDER}{}-{number}", std::process::id()));
            // One that is there is somebody else's.
            match DirBuilder::new().mode(0o700).create(&own) {
                Ok(()) => break own,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let lock = File::create_new(path.join(LOCK))?;
        lock.lock()?;
        let made = Folder { path, _lock: lock };
        Ok(folder.insert(made).path.clone())
    }

    /// Removes what processes have left that were killed. What cannot be removed is another user's.
    fn remove_abandoned(&self) {
        let entries = fs::read_dir(&self.within).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(FOLDER));
        for folder in folders {
            let lock = File::open(folder.path().join(LOCK));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                let _ = fs::remove_dir_all(folder.path());
            }
        }
    }

    /// The file of a digest, if it is here.
    pub(crate) fn find(&self, digest: &str) -> Option<PathBuf> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let file = folder.as_ref()?.path.join(digest);
        Some(file).filter(|file| file.is_file())
    }

    /// Keeps a copy of a file: its digest, its length and where it is.
    ///
    /// # Errors
    /// If it cannot be read, or the copy not written.
    pub(crate) fn keep(&self, file: &Path) -> io::Result<(String, u64, PathBuf)> {
        let mut incoming = self.begin()?;
        let mut from = File::open(file)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut piece)? {
                0 => break,
                bytes => incoming.write(&piece[..bytes])?,
            }
        }
        let bytes = incoming.bytes;
        let (digest, path) = incoming.finish()?;
        Ok((digest, bytes, path))
    }

    /// Begins a file that comes in pieces.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn begin(&self) -> io::Result<Incoming> {
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let folder = self.folder()?;
        let number = BEGUN.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("incoming-{number}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(&path)?;
        Ok(Incoming {
            file,
            path,
            folder,
            digest: Context::new(&SHA256),
            bytes: 0,
        })
    }
}

impl Drop for ProgramFiles {
    fn drop(&mut self) {
        let folder = self.folder.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folder {
            // What is left of it is the system's to clean.
            let _ = fs::remove_dir_all(&folder.path);
        }
    }
}

/// A file that comes; without [`Self::finish`] it goes again.
pub(crate) struct Incoming {
    file: File,
    path: PathBuf,
    folder: PathBuf,
    digest: Context,
    /// How many have come.
    pub(crate) bytes: u64,
}

impl Incoming {
    /// Writes more of it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes it the file of its digest: that, and where it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<(String, PathBuf)> {
        self.file.flush()?;
        let digest = self.digest.clone().finish();
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(&digest);
        fs::rename(&self.path, &path)?;
        Ok((digest, path))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Behind the end it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_kept_once_under_its_digest_and_goes_with_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        fs::write(&program, "abc").unwrap();
        let path = dir.path().display().to_string();
        let files = ProgramFiles::of(&[("io.tmp.dirs", path.as_str())].into_iter().collect(), "io.tmp.dirs");
        let (digest, bytes, kept) = files.keep(&program).unwrap();
        // The example of FIPS 180-2.
        assert_eq!(
            digest,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!((bytes, fs::read(&kept).unwrap()), (3, b"abc".to_vec()));
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(files.keep(&program).unwrap().2, kept);
        assert_eq!((files.find(&digest), files.find("none")), (Some(kept.clone()), None));
        let folder = kept.parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        drop(files.begin().unwrap());
        // The file and the lock.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        // Of who was killed a folder is left, and of who has just begun one without a lock.
        let [abandoned, young] = ["1-0", "2-0"].map(|name| dir.path().join(format!("{FOLDER}{name}")));
        [&abandoned, &young]
            .into_iter()
            .for_each(|folder| fs::create_dir(folder).unwrap());
        fs::write(abandoned.join(LOCK), "").unwrap();
        let options: Options = [("io.tmp.dirs", path.as_str())].into_iter().collect();
        let next = ProgramFiles::of(&options, "io.tmp.dirs");
        drop(next.begin().unwrap());
        assert!(!abandoned.exists() && young.exists() && folder.exists());
        drop(files);
        assert!(!folder.exists());
    }
}
