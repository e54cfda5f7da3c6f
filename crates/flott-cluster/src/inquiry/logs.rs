//! The logs of a process: files of the folder in which the one lies that an option names.
//!
//! Nothing outside that folder can be asked for: a name is the name of a regular file in it, never a path, and links are not followed. Of a
//! file the last [`SHOWN_BYTES`] are shown, from the beginning of a line on.

use super::InquiryError;
use flott_core::Options;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirEntry, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The option that names a JobManager's log.
const OF_JOB_MANAGER: &str = "web.log.path";

/// The option that names a TaskManager's log.
const OF_TASK_MANAGER: &str = "taskmanager.log.path";

/// Most of a file that is shown.
const SHOWN_BYTES: u64 = 8 << 20;

/// Most bytes of a file that one answer has: it shares a connection with heartbeats, which must not wait behind it.
pub const PIECE_BYTES: u64 = 256 << 10;

/// Most of a line whose beginning is not shown.
const LINE_BYTES: u64 = 64 << 10;

/// Most files that are listed.
const FILES: usize = 1_000;

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogName {
    /// The log itself.
    Log,
    /// What the process has printed: beside the log, ending in `.out`.
    Stdout,
    /// One of the list.
    Named(String),
}

/// A file of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was changed, in milliseconds since the epoch.
    pub changed_ms: u64,
}

/// Bytes of a file, the first one and the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The first.
    pub from: u64,
    /// Behind the last.
    pub to: u64,
}

impl Extent {
    /// How many.
    pub fn len(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the logs of this process are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    option: &'static str,
    log: Option<PathBuf>,
}

impl Logs {
    /// Those of a JobManager: beside `web.log.path`.
    pub fn of_job_manager(options: &Options) -> Self {
        Self::named_by(OF_JOB_MANAGER, options)
    }

    /// Those of a TaskManager: beside `taskmanager.log.path`.
    pub fn of_task_manager(options: &Options) -> Self {
        Self::named_by(OF_TASK_MANAGER, options)
    }

    fn named_by(option: &'static str, options: &Options) -> Self {
        let log = options.get(option).map(PathBuf::from);
        let log = log.filter(|path| path.file_name().is_some());
        // A name alone is in the folder that the process was started in.
        let log = log.map(|path| match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new(".").join(path),
            _ => path,
        });
        Self { option, log }
    }

    /// The files of the folder by name; none where no option names the log.
    pub(super) fn list(&self) -> Result<Vec<LogFile>, InquiryError> {
        let Some(folder) = self.log.as_deref().and_then(Path::parent) else {
            return Ok(vec![]);
        };
        listed(folder).map_err(|e| InquiryError::unreadable(format!("the folder of the log ({})", self.option), &e))
    }

    /// What is shown of a file.
    pub(super) fn extent(&self, name: &LogName) -> Result<Extent, InquiryError> {
        let path = self.path(name)?;
        shown(&path, SHOWN_BYTES).map_err(|e| unreadable(&path, &e))
    }

    /// The beginning of a part of a file.
    pub(super) fn piece(&self, name: &LogName, extent: Extent) -> Result<Vec<u8>, InquiryError> {
        let path = self.path(name)?;
        read(&path, extent).map_err(|e| unreadable(&path, &e))
    }

    /// Where a file is that is there.
    fn path(&self, name: &LogName) -> Result<PathBuf, InquiryError> {
        let untold = || InquiryError::Untold {
            option: self.option.to_owned(),
        };
        let log = self.log.as_deref().ok_or_else(untold)?;
        let path = match name {
            LogName::Log => log.to_owned(),
            LogName::Stdout => log.with_extension("out"),
            LogName::Named(name) if is_plain(name) => log.with_file_name(name),
            LogName::Named(name) => return Err(InquiryError::NoName { name: name.clone() }),
        };
        let is_file = fs::symlink_metadata(&path).is_ok_and(|about| about.is_file());
        match is_file {
            true => Ok(path),
            false => Err(InquiryError::Missing { name: name_of(&path) }),
        }
    }
}

/// Whether a name is that of a file and no path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn unreadable(path: &Path, error: &io::Error) -> InquiryError {
    InquiryError::unreadable(format!("the log '{}'", name_of(path)), error)
}

/// The regular files of a folder by name.
fn listed(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut entries: Vec<(String, DirEntry)> = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        entries.extend(name.ok().filter(|name| is_plain(name)).map(|name| (name, entry)));
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let file = |(name, entry): (String, DirEntry)| {
        let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Some(LogFile {
            name,
            bytes: about.len(),
            changed_ms: changed.map_or(0, |since| since.as_millis() as u64),
        })
    };
    Ok(entries.into_iter().filter_map(file).take(FILES).collect())
}

/// At most the last `limit` bytes of a file, from the beginning of a line on, if one begins soon.
fn shown(path: &Path, limit: u64) -> io::Result<Extent> {
    let to = fs::metadata(path)?.len();
    let from = to.saturating_sub(limit);
    if from == 0 {
        return Ok(Extent { from, to });
    }
    // The byte before tells whether a line begins here.
    let look = Extent {
        from: from - 1,
        to: to.min(from + LINE_BYTES),
    };
    let skipped = read(path, look)?.iter().position(|b| *b == b'\n').unwrap_or(0) as u64;
    Ok(Extent {
        from: from + skipped,
        to,
    })
}

/// The beginning of a part of a file.
///
/// # Errors
/// If it cannot be read, or has become shorter.
fn read(path: &Path, extent: Extent) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(extent.from))?;
    let wanted = extent.len().min(PIECE_BYTES);
    let mut bytes = vec![];
    file.take(wanted).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == wanted {
        true => Ok(bytes),
        false => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it was cut or replaced meanwhile",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(path: &Path) -> Logs {
        let path = path.display().to_string();
        Logs::of_task_manager(&[(OF_TASK_MANAGER, path.as_str())].into_iter().collect())
    }

    #[test]
    fn names_are_no_paths() {
        assert!(is_plain("flott-jobmanager.log") && is_plain("a b.log.1"));
        for wrong in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0", ".hidden"] {
            assert!(!is_plain(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_file_begins_with_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        for (limit, from) in [(1, 14), (5, 14), (6, 8), (9, 8), (10, 4), (13, 4), (14, 0), (99, 0)] {
            assert_eq!(shown(&path, limit).unwrap(), Extent { from, to: 14 }, "{limit}");
        }
        fs::write(&path, "one line that is long").unwrap();
        assert_eq!(shown(&path, 5).unwrap(), Extent { from: 16, to: 21 });
    }

    #[test]
    fn a_long_file_is_read_in_pieces_and_one_that_was_cut_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tm.log");
        let text: Vec<u8> = (0..2 * PIECE_BYTES + 7).map(|i| i as u8).collect();
        fs::write(&path, &text).unwrap();
        let logs = logs(&path);
        let mut extent = logs.extent(&LogName::Log).unwrap();
        let mut found = vec![];
        while !extent.is_empty() {
            let piece = logs.piece(&LogName::Log, extent).unwrap();
            assert!(!piece.is_empty() && piece.len() as u64 <= PIECE_BYTES);
            extent.from += piece.len() as u64;
            found.extend_from_slice(&piece);
        }
        assert_eq!(found, text);
        let behind = Extent {
            from: text.len() as u64 - 1,
            to: text.len() as u64 + 1,
        };
        let error = logs.piece(&LogName::Log, behind).unwrap_err().to_string();
        assert!(error.contains("tm.log") && error.contains("meanwhile"), "{error}");
    }

    #[test]
    fn links_and_folders_are_no_logs() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link.log")).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        fs::write(dir.path().join("a.log"), "text").unwrap();
        let logs = logs(&dir.path().join("a.log"));
        let names: Vec<String> = logs.list().unwrap().into_iter().map(|log| log.name).collect();
        assert_eq!(names, ["a.log"]);
        let of = |name: &str| logs.extent(&LogName::Named(name.to_owned()));
        for name in ["link.log", "folder", "none"] {
            assert!(matches!(of(name), Err(InquiryError::Missing { .. })), "{name}");
        }
        assert!(matches!(of("../a.log"), Err(InquiryError::NoName { .. })));
        assert_eq!(of("a.log"), Ok(Extent { from: 0, to: 4 }));
    }

    #[test]
    fn a_name_alone_is_in_the_folder_of_the_process() {
        let log = |path: &str| Logs::of_job_manager(&[(OF_JOB_MANAGER, path)].into_iter().collect()).log;
        assert_eq!(log("jm.log"), Some(PathBuf::from("./jm.log")));
        assert_eq!(log("/var/log/jm.log"), Some(PathBuf::from("/var/log/jm.log")));
        assert_eq!(log("/"), None);
        let untold = Logs::of_job_manager(&Options::new());
        assert_eq!(untold.list(), Ok(vec![]));
        let error = untold.extent(&LogName::Log).unwrap_err().to_string();
        assert!(error.contains(OF_JOB_MANAGER), "{error}");
    }
}
