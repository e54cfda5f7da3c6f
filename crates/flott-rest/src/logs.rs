//! The JobManager's logs: files of the folder in which the one lies that `web.log.path` names.
//!
//! Nothing outside that folder can be asked for: a name is the name of a regular file in it, never a path, and links are not followed. An
//! answer has the last [`LOG_BYTES`] of a file, from the beginning of a line on.

use crate::app::App;
use crate::error::{Answer, Json, RestError};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flott_core::Options;
use serde_json::{Value, json};
use std::fs::{self, DirEntry, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path as FilePath, PathBuf};
use std::time::UNIX_EPOCH;

/// The option that names the log.
const LOG_PATH: &str = "web.log.path";

/// Most of a log that an answer has.
const LOG_BYTES: u64 = 8 << 20;

/// Most files that are listed.
const FILES: usize = 1_000;

/// What stands in a file, as far as it is sent.
pub(crate) struct Text(String);

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, "text/plain; charset=UTF-8")];
        (StatusCode::OK, content_type, self.0).into_response()
    }
}

/// `GET /jobmanager/logs`: none without `web.log.path`.
pub(crate) async fn list(State(app): State<App>) -> Answer {
    let folder = log_of(app.dispatcher.options()).and_then(|log| Some(log.parent()?.to_owned()));
    let logs = match folder {
        Some(folder) => beside(move || listed(&folder)).await?,
        None => vec![],
    };
    Ok(Json::ok(json!({ "logs": logs })))
}

/// `GET /jobmanager/log`
pub(crate) async fn log(State(app): State<App>) -> Result<Text, RestError> {
    let path = told(app.dispatcher.options())?;
    beside(move || read(&path)).await
}

/// `GET /jobmanager/stdout`: beside the log, ending in `.out`.
pub(crate) async fn stdout(State(app): State<App>) -> Result<Text, RestError> {
    let path = told(app.dispatcher.options())?.with_extension("out");
    beside(move || read(&path)).await
}

/// `GET /jobmanager/logs/:name`
pub(crate) async fn named(State(app): State<App>, Path(name): Path<String>) -> Result<Text, RestError> {
    if !is_plain(&name) {
        return Err(RestError::parameter("filename", &name));
    }
    let path = told(app.dispatcher.options())?.with_file_name(&name);
    beside(move || read(&path)).await
}

/// The log, if the options name it.
fn log_of(options: &Options) -> Option<PathBuf> {
    let path = PathBuf::from(options.get(LOG_PATH)?);
    path.file_name()?;
    // A name alone is in the folder that the process was started in.
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Some(FilePath::new(".").join(path)),
        _ => Some(path),
    }
}

/// The log.
///
/// # Errors
/// 404 if no option names it.
fn told(options: &Options) -> Result<PathBuf, RestError> {
    log_of(options).ok_or_else(|| {
        RestError::not_found(format!(
            "this JobManager writes its log to standard error: where that goes into a file, name it by {LOG_PATH}, as 'flott cluster start' does"
        ))
    })
}

/// Whether a name is that of a file and no path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// Does what waits for the disk where that holds nobody up.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestError> + Send + 'static,
) -> Result<T, RestError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(internal("the log could not be read")))
}

fn internal(text: impl Into<String>) -> RestError {
    RestError::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// The files of the folder by name, with their sizes in bytes and when they were changed.
fn listed(folder: &FilePath) -> Result<Vec<Value>, RestError> {
    let failed = |error: io::Error| internal(format!("the folder of the log ({LOG_PATH}) cannot be read: {error}"));
    let mut entries: Vec<(String, DirEntry)> = vec![];
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().into_string();
        entries.extend(name.ok().filter(|name| is_plain(name)).map(|name| (name, entry)));
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let file = |(name, entry): (String, DirEntry)| {
        let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let changed_ms = changed.map_or(0, |since| since.as_millis() as u64);
        Some(json!({ "name": name, "size": about.len(), "mtime": changed_ms }))
    };
    Ok(entries.into_iter().filter_map(file).take(FILES).collect())
}

/// The end of a file.
///
/// # Errors
/// 404 if there is no such regular file.
fn read(path: &FilePath) -> Result<Text, RestError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_file = fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
    if !is_file {
        return Err(RestError::not_found(format!(
            "there is no log '{name}' in the folder of the log"
        )));
    }
    tail(path, LOG_BYTES)
        .map(Text)
        .map_err(|error| internal(format!("the log '{name}' cannot be read: {error}")))
}

/// At most the last `limit` bytes of a file, from the beginning of a line on, if one begins in them.
fn tail(path: &FilePath, limit: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(limit);
    // The byte before tells whether a line begins here.
    file.seek(SeekFrom::Start(start.saturating_sub(1)))?;
    let mut bytes = vec![];
    // A file that grows meanwhile is read no further.
    file.take(length - start.saturating_sub(1)).read_to_end(&mut bytes)?;
    let skipped = match start {
        0 => 0,
        _ => bytes.iter().position(|b| *b == b'\n').map_or(1, |end| end + 1),
    };
    Ok(String::from_utf8_lossy(&bytes[skipped..]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let tails = [1, 5, 6, 9, 10, 13, 14, 99].map(|limit| tail(&path, limit).unwrap());
        assert_eq!(tails[0], "");
        assert_eq!(tails[1], "");
        assert_eq!(tails[2], "three\n");
        assert_eq!(tails[3], "three\n");
        assert_eq!(tails[4], "two\nthree\n");
        assert_eq!(tails[5], "two\nthree\n");
        assert_eq!(tails[6], "one\ntwo\nthree\n");
        assert_eq!(tails[7], "one\ntwo\nthree\n");
        fs::write(&path, "one line that is long").unwrap();
        assert_eq!(tail(&path, 5).unwrap(), " long");
    }

    #[test]
    fn links_and_folders_are_no_logs() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link.log")).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        fs::write(dir.path().join("a.log"), "text").unwrap();
        let names: Vec<Value> = listed(dir.path())
            .unwrap()
            .iter()
            .map(|log| log["name"].clone())
            .collect();
        assert_eq!(names, ["a.log"]);
        for name in ["link.log", "folder", "none"] {
            assert!(read(&dir.path().join(name)).is_err(), "{name}");
        }
        assert_eq!(read(&dir.path().join("a.log")).unwrap().0, "text");
    }

    #[test]
    fn a_name_alone_is_in_the_folder_of_the_process() {
        let log = |path: &str| log_of(&[(LOG_PATH, path)].into_iter().collect());
        assert_eq!(log("jm.log"), Some(PathBuf::from("./jm.log")));
        assert_eq!(log("/var/log/jm.log"), Some(PathBuf::from("/var/log/jm.log")));
        assert_eq!(log("/"), None);
        assert_eq!(log_of(&Options::new()), None);
    }
}
