//! Folders of one process on local disk, for what dies with it: [`LocalFolder`].
//!
//! A folder stands beside a file that its process holds locked. Whoever makes another one there removes the folders whose file nobody holds
//! any more: what a killed process left behind goes with the next one.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const LOCK: &str = ".lock";

/// A folder that is removed in the end.
#[derive(Debug)]
pub struct LocalFolder {
    path: PathBuf,
    lock_path: PathBuf,
    /// Held as long as the folder is in use.
    _lock: File,
}

impl Drop for LocalFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one to make a folder here.
        let _ = fs::remove_dir_all(&self.path).and_then(|()| fs::remove_file(&self.lock_path));
    }
}

impl LocalFolder {
    /// A new folder in `dir`, whose name begins with `kind`; those of this kind whose process is gone are removed.
    ///
    /// # Errors
    /// If it cannot be made or locked.
    pub fn make(dir: &Path, kind: &str) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(dir)?;
        sweep(dir, kind);
        loop {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{kind}{}-{:x}-{number}", std::process::id(), since.as_nanos());
            let lock_path = dir.join(format!("{name}{LOCK}"));
            let lock = File::create_new(&lock_path)?;
            lock.lock()?;
            // Whoever swept before it was locked took it for that of a dead process.
            if !lock_path.exists() {
                continue;
            }
            let path = dir.join(name);
            fs::create_dir(&path)?;
            return Ok(Self {
                path,
                lock_path,
                _lock: lock,
            });
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes folders whose process is gone.
fn sweep(dir: &Path, kind: &str) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(folder) = name
            .to_str()
            .filter(|n| n.starts_with(kind))
            .and_then(|n| n.strip_suffix(LOCK))
        else {
            continue;
        };
        let Ok(lock) = File::open(entry.path()) else { continue };
        match lock.try_lock() {
            Ok(()) => {
                tracing::info!(folder, "removing the local state of a process that is gone");
                let removed = fs::remove_dir_all(dir.join(folder)).or_else(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(e),
                });
                // Without its file nobody would come back to what is left of the folder.
                let _ = removed.and_then(|()| fs::remove_file(entry.path()));
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// The first of the folders that an option names: several are Flink's way to use several disks, one is used here.
///
/// # Errors
/// If it is no absolute path, in words.
pub fn first_folder(key: &str, dirs: &str) -> Result<PathBuf, String> {
    let first = dirs
        .split(',')
        .map(str::trim)
        .find(|dir| !dir.is_empty())
        .unwrap_or_default();
    let path = first.strip_prefix("file://").unwrap_or(first);
    let path = PathBuf::from(path.split(':').next().unwrap_or_default());
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!(
            "'{key}' is '{dirs}': '{first}' is no absolute path of a folder on local disk, such as '/ssd/flott'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_is_taken_and_must_be_absolute() {
        let first = |dirs: &str| first_folder("dirs", dirs);
        for dirs in [
            "/ssd",
            " , /ssd , /other",
            "/ssd:/other",
            "file:///ssd",
            "file:///ssd,/other",
        ] {
            assert_eq!(first(dirs), Ok(PathBuf::from("/ssd")), "{dirs}");
        }
        for dirs in ["", "ssd", "file://ssd", "s3://bucket/ssd"] {
            let error = first(dirs).unwrap_err();
            assert!(
                error.contains(&format!("'dirs' is '{dirs}'")) && error.contains("absolute"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_folder_goes_with_its_owner_and_what_was_left_behind_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let names = || {
            fs::read_dir(dir.path())
                .unwrap()
                .flatten()
                .map(|e| e.file_name())
                .collect::<Vec<_>>()
        };
        let held = LocalFolder::make(dir.path(), "a-").unwrap();
        fs::write(held.path().join("file"), "x").unwrap();
        for left in ["a-left", "b-left"] {
            fs::create_dir(dir.path().join(left)).unwrap();
            fs::write(dir.path().join(format!("{left}{LOCK}")), "").unwrap();
        }
        let next = LocalFolder::make(dir.path(), "a-").unwrap();
        assert!(held.path().join("file").exists() && next.path().exists());
        assert!(!dir.path().join("a-left").exists() && dir.path().join("b-left").exists());
        drop((held, next));
        assert_eq!(names().len(), 2, "{:?}", names());
    }
}
