//! `'bad-rows'`: what a source does with a row that its format cannot read.
//!
//! `fail` (the default) ends the job with the row's place; `skip` counts the row and goes on; `dead-letter` counts it and
//! keeps it, with its place and the reason, in a topic (`'bad-rows.topic'`, sources of logs only) or in files below a folder
//! (`'bad-rows.path'`). A format's own `ignore-parse-errors` comes first: what it tolerates is no bad row.

use flott_core::Options;
use flott_core::options::OptionError;
use flott_runtime::connector::ConnectorError;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The option that says what to do.
pub const BAD_ROWS: &str = "bad-rows";
/// Where dead letters go, as a topic.
pub const BAD_ROWS_TOPIC: &str = "bad-rows.topic";
/// Where dead letters go, as a folder.
pub const BAD_ROWS_PATH: &str = "bad-rows.path";

/// What to do with a bad row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRows {
    /// End the job.
    Fail,
    /// Count and drop.
    Skip,
    /// Count and write to this topic.
    Topic(String),
    /// Count and write to a file below this folder.
    Path(PathBuf),
}

impl BadRows {
    /// Reads the three options.
    ///
    /// # Errors
    /// If they are wrong or contradict each other.
    pub fn read(options: &Options) -> Result<Self, ConnectorError> {
        let wrong = |e: OptionError| ConnectorError::Option(e.to_string());
        let chosen = options
            .one_of(BAD_ROWS, &["fail", "skip", "dead-letter"])
            .map_err(wrong)?;
        match (chosen, options.get(BAD_ROWS_TOPIC), options.get(BAD_ROWS_PATH)) {
            (Some(2), Some(topic), None) => Ok(Self::Topic(topic.to_owned())),
            (Some(2), None, Some(path)) => match path.strip_prefix("file://").unwrap_or(path) {
                other if other.contains("://") => {
                    let allowed = "a path on local disk, plain or with file://";
                    Err(wrong(OptionError::new(BAD_ROWS_PATH, path, allowed)))
                }
                local => Ok(Self::Path(PathBuf::from(local))),
            },
            (Some(2), _, _) => Err(ConnectorError::Option(format!(
                "'{BAD_ROWS}' = 'dead-letter' needs either '{BAD_ROWS_TOPIC}' or '{BAD_ROWS_PATH}'"
            ))),
            (_, Some(_), _) | (_, _, Some(_)) => Err(ConnectorError::Option(format!(
                "'{BAD_ROWS_TOPIC}' and '{BAD_ROWS_PATH}' need '{BAD_ROWS}' = 'dead-letter'"
            ))),
            (Some(1), None, None) => Ok(Self::Skip),
            (_, None, None) => Ok(Self::Fail),
        }
    }
}

/// A bad row as a line of a dead-letter file: one JSON object.
#[derive(Debug, Serialize)]
pub struct DeadLetter<'a> {
    /// The table.
    pub table: &'a str,
    /// Where the row came from, e.g. `topic 't' partition 0 offset 7`.
    pub place: &'a str,
    /// Why it could not be read.
    pub error: &'a str,
    /// The row, with broken UTF-8 replaced.
    pub row: &'a str,
}

/// Appends dead letters to one file of a subtask; [`DeadLetterFile::sync`] makes them durable.
#[derive(Debug)]
pub struct DeadLetterFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl DeadLetterFile {
    /// Opens `folder/table-subtask.jsonl`, making the folder.
    ///
    /// # Errors
    /// If folder or file cannot be made.
    pub fn open(folder: &Path, table: &str, subtask: usize) -> Result<Self, ConnectorError> {
        let path = folder.join(format!("{table}-{subtask}.jsonl"));
        let open = || {
            std::fs::create_dir_all(folder)?;
            OpenOptions::new().create(true).append(true).open(&path)
        };
        let file = open().map_err(|e| Self::failed(&path, e))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    fn failed(path: &Path, e: std::io::Error) -> ConnectorError {
        ConnectorError::Fatal {
            message: format!(
                "dead letters ('{BAD_ROWS_PATH}') cannot be written to '{}': {e}",
                path.display()
            ),
            source: Some(Box::new(e)),
        }
    }

    /// Appends one letter.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, letter: &DeadLetter<'_>) -> Result<(), ConnectorError> {
        let written = serde_json::to_writer(&mut self.file, letter).map_err(std::io::Error::from);
        written
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|e| Self::failed(&self.path, e))
    }

    /// Makes what was written durable; called before a checkpoint passes the rows.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn sync(&mut self) -> Result<(), ConnectorError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        synced.map_err(|e| Self::failed(&self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, &str)]) -> Result<BadRows, ConnectorError> {
        BadRows::read(&entries.iter().copied().collect())
    }

    #[test]
    fn options_are_judged_together() {
        assert_eq!(read(&[]).unwrap(), BadRows::Fail);
        assert_eq!(read(&[(BAD_ROWS, "SKIP")]).unwrap(), BadRows::Skip);
        let letters = [(BAD_ROWS, "dead-letter"), (BAD_ROWS_TOPIC, "dlq")];
        assert_eq!(read(&letters).unwrap(), BadRows::Topic("dlq".into()));
        let letters = [(BAD_ROWS, "dead-letter"), (BAD_ROWS_PATH, "file:///x")];
        assert_eq!(read(&letters).unwrap(), BadRows::Path("/x".into()));
        for wrong in [
            vec![(BAD_ROWS, "drop")],
            vec![(BAD_ROWS, "dead-letter")],
            vec![(BAD_ROWS_TOPIC, "dlq")],
            vec![(BAD_ROWS, "dead-letter"), (BAD_ROWS_PATH, "s3://b/x")],
            vec![(BAD_ROWS, "dead-letter"), (BAD_ROWS_TOPIC, "a"), (BAD_ROWS_PATH, "b")],
        ] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn letters_are_lines_of_json() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = DeadLetterFile::open(&folder.path().join("dl"), "orders", 1).unwrap();
        let letter = DeadLetter {
            table: "orders",
            place: "offset 7",
            error: "no \"brace\"",
            row: "x\ny",
        };
        file.write(&letter).unwrap();
        file.sync().unwrap();
        let text = std::fs::read_to_string(folder.path().join("dl/orders-1.jsonl")).unwrap();
        assert_eq!(
            text,
            "{\"table\":\"orders\",\"place\":\"offset 7\",\"error\":\"no \\\"brace\\\"\",\"row\":\"x\\ny\"}\n"
        );
        assert!(DeadLetterFile::open(Path::new("/proc/no"), "t", 0).is_err());
    }
}
