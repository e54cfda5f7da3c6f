//! Files that were uploaded ([`Uploads`]): what a job is made of, kept until somebody deletes it: scripts, plans, and programs.
//!
//! They lie in the folder `flink-web-upload` of `web.upload.dir`, as Flink's do, where they outlive the JobManager; without that option in a
//! folder of this process, below `web.tmpdir` or the system's for temporary files, which goes with it. A file is `ID_NAME`: the id is random, so two of one
//! name are two files; the name is what is left of the client's, the last part of a path. A file is there when it is whole: until then it has a hidden
//! name, which is listed and asked for by nobody.

use crate::error::RestError;
use axum::body::Bytes;
use axum::http::StatusCode;
use flott_core::Options;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The folder within the one that the option names.
const FOLDER: &str = "flink-web-upload";

/// Longest name: with the id in front it must be one of a file.
const NAME_BYTES: usize = 200;

/// Most files that are listed.
const FILES: usize = 1_000;

/// Largest file that a job is made of.
const READ_BYTES: u64 = 64 << 20;

/// What a file is, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SQL statements.
    Script,
    /// A Flott plan in JSON, as `POST /jobs` takes it.
    Plan,
    /// A program of Flott: an executable of its own.
    Program,
}

/// What an executable of Linux begins with.
const ELF: &[u8; 4] = b"\x7fELF";

impl Kind {
    /// That of a file of this name.
    ///
    /// # Errors
    /// 400 if it is none that Flott runs.
    pub(crate) fn of(name: &str) -> Result<Self, RestError> {
        let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
        match end.as_deref() {
            Some("sql") => Ok(Self::Script),
            Some("json") => Ok(Self::Plan),
            Some("jar" | "py" | "zip") => Err(RestError::bad_request(format!(
                "'{name}': programs in Java and Python do not run here; upload the SQL script of the job (.sql), a Flott plan (.json), or a program \
                 of Flott"
            ))),
            _ => Ok(Self::Program),
        }
    }
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uploaded {
    /// Its name in the folder.
    pub(crate) id: String,
    /// The client's name for it.
    pub(crate) name: String,
    /// When it came, in milliseconds since the epoch.
    pub(crate) uploaded_ms: u64,
}

/// The files.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    /// Goes with this.
    temporary: Option<PathBuf>,
}

impl Drop for Uploads {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary {
            // Where nothing was uploaded there is none.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Uploads {
    /// Where the options say. Nothing is made before it is needed.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub(crate) fn from_options(options: &Options) -> io::Result<Self> {
        if let Some(folder) = options.get("web.upload.dir") {
            return Ok(Self {
                folder: Path::new(folder).join(FOLDER),
                temporary: None,
            });
        }
        let within = options.get("web.tmpdir").map_or_else(std::env::temp_dir, PathBuf::from);
        let own = within.join(format!("flott-web-{}", random()?));
        Ok(Self {
            folder: own.join(FOLDER),
            temporary: Some(own),
        })
    }

    /// Begins a file. Waits for the disk, as all that follow.
    ///
    /// # Errors
    /// 400 if the name is none, or of a kind that Flott does not run; 500 if the folder cannot be written.
    pub(crate) fn begin(&self, name: &str) -> Result<Upload, RestError> {
        let name = plain(name)?;
        let kind = Kind::of(&name)?;
        let begun = || -> io::Result<Upload> {
            self.make_folder()?;
            let id = format!("{}_{name}", random()?);
            let hidden = self.folder.join(format!(".{id}"));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(match kind {
                    Kind::Program => 0o700,
                    Kind::Script | Kind::Plan => 0o600,
                })
                .open(&hidden)?;
            Ok(Upload {
                file,
                kind,
                head: vec![],
                hidden,
                path: self.folder.join(id),
            })
        };
        begun().map_err(|error| unwritable(&self.folder, &error))
    }

    fn make_folder(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        if self.temporary.is_some() {
            // Others may write where it lies.
            builder.mode(0o700);
        }
        builder.recursive(true).create(&self.folder)
    }

    /// All files, newest first.
    ///
    /// # Errors
    /// 500 if the folder cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<Uploaded>, RestError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(unreadable(&self.folder, &error)),
        };
        let uploaded = |entry: fs::DirEntry| {
            let id = entry.file_name().into_string().ok().filter(|id| !id.starts_with('.'))?;
            let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let since = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some(Uploaded {
                name: id.split_once('_')?.1.to_owned(),
                id,
                uploaded_ms: since.as_millis() as u64,
            })
        };
        let mut found: Vec<Uploaded> = entries.flatten().filter_map(uploaded).collect();
        found.sort_by(|one, other| (other.uploaded_ms, &one.id).cmp(&(one.uploaded_ms, &other.id)));
        found.truncate(FILES);
        Ok(found)
    }

    /// What stands in a file, and what it is.
    ///
    /// # Errors
    /// 400 if there is none, or it is no text or too large for a job.
    pub(crate) fn read(&self, id: &str) -> Result<(Kind, String), RestError> {
        let (path, kind) = self.find(id)?;
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(READ_BYTES + 1).read_to_string(&mut text));
        match read {
            Ok(bytes) if bytes as u64 > READ_BYTES => Err(RestError::bad_request(format!(
                "'{id}' is larger than {READ_BYTES} bytes, and no job is"
            ))),
            Ok(_) => Ok((kind, text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(RestError::bad_request(format!("'{id}' is no text in UTF-8")))
            }
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// Where a file is, and what it is.
    ///
    /// # Errors
    /// 400 if there is none.
    pub(crate) fn find(&self, id: &str) -> Result<(PathBuf, Kind), RestError> {
        Ok((self.path(id)?, Kind::of(id)?))
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// 400 if there is none; 500 if it cannot be deleted.
    pub(crate) fn delete(&self, id: &str) -> Result<(), RestError> {
        let path = self.path(id)?;
        fs::remove_file(&path).map_err(|error| internal(format!("Failed to delete jar {}: {error}", path.display())))
    }

    /// Where a file is that is there.
    fn path(&self, id: &str) -> Result<PathBuf, RestError> {
        if id.is_empty() || id.starts_with('.') || id.contains(['/', '\\', '\0']) {
            return Err(RestError::bad_request(format!("jarid must be a filename only ({id})")));
        }
        let path = self.folder.join(id);
        match fs::symlink_metadata(&path).is_ok_and(|about| about.is_file()) {
            true => Ok(path),
            false => Err(RestError::bad_request(format!(
                "File {id} does not exist in {}.",
                self.folder.display()
            ))),
        }
    }
}

/// A file that comes; without [`Self::finish`] it goes again.
#[derive(Debug)]
pub(crate) struct Upload {
    file: File,
    kind: Kind,
    /// Its first bytes.
    head: Vec<u8>,
    hidden: PathBuf,
    path: PathBuf,
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Behind the end it is not there any more.
        let _ = fs::remove_file(&self.hidden);
    }
}

impl Upload {
    /// Writes more of it.
    ///
    /// # Errors
    /// 500 if it cannot be written.
    pub(crate) fn write(&mut self, bytes: &Bytes) -> Result<(), RestError> {
        let missing = ELF.len().saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(missing));
        self.file
            .write_all(bytes)
            .map_err(|error| unwritable(&self.hidden, &error))
    }

    /// Makes it one of the files; where it is.
    ///
    /// # Errors
    /// 400 if it is nothing that Flott runs; 500 if it cannot be written.
    pub(crate) fn finish(self) -> Result<PathBuf, RestError> {
        if self.kind == Kind::Program && self.head != ELF {
            return Err(RestError::bad_request(
                "it is no executable of Linux: SQL scripts (.sql), Flott plans (.json) and programs of Flott, built for this machine, can be uploaded",
            ));
        }
        let written = self.file.sync_all().and_then(|()| fs::rename(&self.hidden, &self.path));
        written.map_err(|error| unwritable(&self.path, &error))?;
        Ok(self.path.clone())
    }
}

/// The last part of a client's name.
///
/// # Errors
/// 400 if it can be no name of a file.
fn plain(name: &str) -> Result<String, RestError> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_plain =
        !last.is_empty() && !last.starts_with('.') && last.len() <= NAME_BYTES && !last.chars().any(char::is_control);
    match is_plain {
        true => Ok(last.to_owned()),
        false => Err(RestError::bad_request(format!(
            "{last:?} can be no name of an uploaded file: it has 1 to {NAME_BYTES} bytes, no control characters, and no dot in front"
        ))),
    }
}

/// An id in the form of Java's, of random bits.
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random number: {error}")))?;
    let hex = format!("{:032x}", u128::from_ne_bytes(bytes));
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}

fn unwritable(path: &Path, error: &io::Error) -> RestError {
    internal(format!(
        "{} (web.upload.dir) cannot be written: {error}",
        path.display()
    ))
}

fn unreadable(path: &Path, error: &io::Error) -> RestError {
    internal(format!("{} (web.upload.dir) cannot be read: {error}", path.display()))
}

fn internal(text: String) -> RestError {
    RestError::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn within(folder: &Path, option: &str) -> Uploads {
        let folder = folder.display().to_string();
        Uploads::from_options(&[(option, folder.as_str())].into_iter().collect()).unwrap()
    }

    fn upload(uploads: &Uploads, name: &str, text: &'static str) -> String {
        let mut upload = uploads.begin(name).unwrap();
        upload.write(&Bytes::from_static(text.as_bytes())).unwrap();
        let path = upload.finish().unwrap();
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn files_outlive_the_process_where_an_option_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let before = within(dir.path(), "web.upload.dir");
        assert_eq!(before.list().unwrap(), []);
        let (one, other) = (upload(&before, "a_b.sql", "1"), upload(&before, "a_b.sql", "2"));
        assert_ne!(one, other);
        drop(before);
        let after = within(dir.path(), "web.upload.dir");
        let listed = after.list().unwrap();
        assert_eq!(
            listed.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
            ["a_b.sql", "a_b.sql"]
        );
        assert_eq!(after.read(&one).unwrap(), (Kind::Script, "1".to_owned()));
        after.delete(&one).unwrap();
        assert!(after.delete(&one).is_err() && after.read(&one).is_err());
        assert_eq!(
            after.list().unwrap().iter().map(|file| &file.id).collect::<Vec<_>>(),
            [&other]
        );
    }

    #[test]
    fn a_program_is_an_executable() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = within(dir.path(), "web.upload.dir");
        let mut text = uploads.begin("job").unwrap();
        text.write(&Bytes::from_static(b"#!/bin/sh")).unwrap();
        assert!(text.finish().unwrap_err().text().contains("no executable"));
        let mut program = uploads.begin("job").unwrap();
        for piece in [&b"\x7fE"[..], b"LF and more"] {
            program.write(&Bytes::from_static(piece)).unwrap();
        }
        let path = program.finish().unwrap();
        let id = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(uploads.find(id).unwrap(), (path.clone(), Kind::Program));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read(&path).unwrap(), b"\x7fELF and more");
        assert_eq!(uploads.list().unwrap().len(), 1);
    }

    #[test]
    fn files_go_with_the_process_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = within(dir.path(), "web.tmpdir");
        upload(&uploads, "a.sql", "1");
        assert_eq!(uploads.list().unwrap().len(), 1);
        drop(uploads);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_does_not_come_to_its_end_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = within(dir.path(), "web.upload.dir");
        let mut upload = uploads.begin("a.sql").unwrap();
        upload.write(&Bytes::from_static(b"half")).unwrap();
        assert_eq!(uploads.list().unwrap(), []);
        let hidden = upload.hidden.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(uploads.read(&hidden).is_err());
        drop(upload);
        assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn names_lose_their_folders_and_wrong_ones_are_refused() {
        assert_eq!(plain("../../etc/job.sql").unwrap(), "job.sql");
        assert_eq!(plain("C:\\jobs\\job.sql").unwrap(), "job.sql");
        assert_eq!(plain("流处理.sql").unwrap(), "流处理.sql");
        for wrong in ["", "/", "a/..", ".sql", "a\nb.sql", &"x".repeat(NAME_BYTES + 1)] {
            assert!(plain(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn kinds_are_told_by_the_end_of_a_name() {
        assert_eq!(Kind::of("a.SQL").unwrap(), Kind::Script);
        assert_eq!(Kind::of("a.sql.json").unwrap(), Kind::Plan);
        let said = |name: &str| Kind::of(name).unwrap_err().text().to_owned();
        assert!(said("app.jar").contains("Java") && said("app.jar").contains(".sql"));
        assert!(said("jobs.zip").contains("program of Flott"));
        assert_eq!(Kind::of("my-job").unwrap(), Kind::Program);
    }

    #[test]
    fn nothing_outside_the_folder_can_be_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret.sql"), "hush").unwrap();
        let uploads = within(dir.path(), "web.upload.dir");
        upload(&uploads, "a.sql", "1");
        let link = dir.path().join(FOLDER).join("x_link.sql");
        std::os::unix::fs::symlink(dir.path().join("secret.sql"), link).unwrap();
        for wrong in [
            "",
            ".",
            "..",
            "../secret.sql",
            "/etc/passwd",
            "a\\b.sql",
            "x_link.sql",
            "none_x.sql",
        ] {
            assert!(
                uploads.read(wrong).is_err() && uploads.delete(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
