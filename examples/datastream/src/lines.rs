//! A connector of one's own: a file that grows as a source of lines, and a folder of committed parts as a sink, exactly once.
//!
//! ```text
//!  enumerator ─► one split: a byte position ─► reader ─► lines      (a checkpoint notes the position)
//!  lines ─► writer ─► .part-… ── checkpoint completes ─► committer: renamed to part-…
//! ```
//! Both are what [`flott::connector`] asks of a connector, with nothing left out. Batches that flow between operators hold
//! [`Records`]; a reader makes them and a writer takes them apart.

use flott::connector::{
    Batch, Boundedness, Bytes, CheckpointId, Committer, CommitterContext, ConnectorError, Flow, OperatorContext,
    ReaderPoll, Records, Sink, SinkWriter, Source, SourceReader, Split, SplitEnumerator, TaskError, TypedSink,
    TypedSource, async_trait,
};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The line that ends a file.
pub const END: &str = ".";
/// Lines of one poll.
const POLL_LINES: usize = 1024;
/// How long a reader that has seen all waits before it looks again.
const LOOK_AGAIN_MS: i64 = 10;

/// The lines of a file, also those that are appended while it is read, up to a line [`END`].
#[derive(Debug, Clone)]
pub struct FollowedFile {
    path: PathBuf,
}

impl FollowedFile {
    /// The lines of the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> TaskError {
    ConnectorError::Transient {
        message: format!("'{}' cannot be {what}: {error}", path.display()),
        source: None,
    }
    .into()
}

impl TypedSource for FollowedFile {
    type Out = String;
}

impl Source for FollowedFile {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(OneSplit {
            is_found: restored.is_some(),
        }))
    }

    fn reader(&self, _ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(LineReader {
            path: self.path.clone(),
            open: None,
            is_complete: false,
        }))
    }
}

/// Finds the file, once; a restored job has it already.
struct OneSplit {
    is_found: bool,
}

#[async_trait]
impl SplitEnumerator for OneSplit {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        if std::mem::replace(&mut self.is_found, true) {
            return Ok(vec![]);
        }
        Ok(vec![split_at(0)])
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, _split: &Split, _parallelism: usize) -> usize {
        0
    }

    fn snapshot(&self) -> Vec<u8> {
        vec![]
    }
}

/// The split at a position. A connector that shall live for long puts a version in front.
fn split_at(position: u64) -> Split {
    Split {
        id: "file".to_owned(),
        state: position.to_le_bytes().to_vec(),
    }
}

fn position_of(split: &Split) -> Result<u64, TaskError> {
    let state = split.state.as_slice().try_into();
    let damaged = |_| TaskError::internal(format!("the position of split '{}' is damaged", split.id)).fatal();
    state.map(u64::from_le_bytes).map_err(damaged)
}

struct LineReader {
    path: PathBuf,
    /// The file and the position behind the last line that was handed out.
    open: Option<(BufReader<File>, u64)>,
    is_complete: bool,
}

impl SourceReader for LineReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            let position = position_of(&split)?;
            let file = File::open(&self.path).map_err(|e| failed("opened", &self.path, e))?;
            self.open = Some((BufReader::new(file), position));
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.is_complete = true;
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let Some((file, position)) = &mut self.open else {
            return Ok(match self.is_complete {
                true => ReaderPoll::Finished,
                false => ReaderPoll::Idle { until_ms: None },
            });
        };
        let failed = |e| failed("read", &self.path, e);
        // Also forgets what was buffered of a line that was not complete yet.
        file.seek(SeekFrom::Start(*position)).map_err(failed)?;
        let mut lines = vec![];
        let mut has_ended = false;
        while lines.len() < POLL_LINES {
            let mut line = String::new();
            let read = file.read_line(&mut line).map_err(failed)?;
            let Some(text) = line.strip_suffix('\n') else {
                break;
            };
            if text == END {
                has_ended = true;
                break;
            }
            *position += read as u64;
            lines.push(text.to_owned());
        }
        if !lines.is_empty() {
            let batch = Records::of(lines).into_batch();
            return Ok(ReaderPoll::Batch { split: 0, batch });
        }
        if has_ended {
            self.open = None;
            return Ok(ReaderPoll::SplitFinished(0));
        }
        Ok(ReaderPoll::Idle {
            until_ms: Some(now_ms + LOOK_AGAIN_MS),
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(self.open.iter().map(|(_, position)| split_at(*position)).collect())
    }

    fn is_active(&self, _split: usize) -> bool {
        self.open.is_some()
    }
}

/// Lines in files of a folder, which come to be seen with the checkpoint that they belong to.
#[derive(Debug, Clone)]
pub struct CommittedParts {
    folder: PathBuf,
}

impl CommittedParts {
    /// Parts in the folder at `path`, which belongs to this sink alone.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { folder: path.into() }
    }

    /// The lines that are committed, part by part.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn read(folder: &Path) -> std::io::Result<Vec<String>> {
        let mut parts = vec![];
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("part-"))
            {
                parts.push(path);
            }
        }
        parts.sort();
        let mut lines = vec![];
        for part in parts {
            lines.extend(std::fs::read_to_string(part)?.lines().map(str::to_owned));
        }
        Ok(lines)
    }
}

impl TypedSink<String> for CommittedParts {}

impl Sink for CommittedParts {
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        std::fs::create_dir_all(&self.folder).map_err(|e| failed("made", &self.folder, e))?;
        // No two writers ever have one name, so that a part is never written again by another.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unique = format!("{:x}-{:x}", since.as_nanos(), std::process::id());
        Ok(Box::new(PartWriter {
            folder: self.folder.clone(),
            prefix: format!("part-{unique}-{}", ctx.task.subtask),
            parts: 0,
            open: None,
            prepared: vec![],
            given_up: vec![],
        }))
    }

    fn committer(&self, _ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        Ok(Some(Box::new(PartCommitter {
            folder: self.folder.clone(),
        })))
    }
}

struct PartWriter {
    folder: PathBuf,
    /// Begins with the time, so that by name the parts of later writers come later.
    prefix: String,
    parts: u64,
    /// The part at hand, by its final name.
    open: Option<(String, BufWriter<File>)>,
    /// Parts of checkpoints that may come to exist, or not.
    prepared: Vec<(CheckpointId, String)>,
    /// Parts of checkpoints that were given up, for the next one.
    given_up: Vec<String>,
}

fn hidden(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}"))
}

impl SinkWriter for PartWriter {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        let lines = Records::<String>::from_batch(batch)?;
        if lines.values.is_empty() {
            return Ok(Flow::Done);
        }
        let failed = |e| failed("written", &self.folder, e);
        let (_, part) = match &mut self.open {
            Some(open) => open,
            None => {
                let name = format!("{}-{:06}", self.prefix, self.parts);
                self.parts += 1;
                let file = File::create_new(hidden(&self.folder, &name)).map_err(failed)?;
                self.open.insert((name, BufWriter::new(file)))
            }
        };
        for line in lines.values {
            writeln!(part, "{line}").map_err(failed)?;
        }
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        if let Some((_, part)) = &mut self.open {
            let synced = part.flush().and_then(|()| part.get_ref().sync_data());
            synced.map_err(|e| failed("written", &self.folder, e))?;
        }
        Ok(Flow::Done)
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<Bytes>, TaskError> {
        let mut names = std::mem::take(&mut self.given_up);
        names.extend(self.open.take().map(|(name, _)| name));
        self.prepared
            .extend(names.iter().map(|name| (checkpoint, name.clone())));
        Ok(names.into_iter().map(Bytes::from).collect())
    }

    fn committed(&mut self, checkpoint: CheckpointId) {
        self.prepared.retain(|(of, _)| *of != checkpoint);
    }

    fn aborted(&mut self, checkpoint: CheckpointId) {
        let given_up = self.prepared.extract_if(.., |(of, _)| *of == checkpoint);
        self.given_up.extend(given_up.map(|(_, name)| name));
    }
}

struct PartCommitter {
    folder: PathBuf,
}

#[async_trait]
impl Committer for PartCommitter {
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError> {
        for name in committables {
            let name = String::from_utf8_lossy(name);
            let (from, to) = (hidden(&self.folder, &name), self.folder.join(&*name));
            match std::fs::rename(&from, &to) {
                // It was committed before.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && to.exists() => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(ConnectorError::Fatal {
                        message: format!(
                            "'{}' is gone, which a checkpoint lists: its rows are lost",
                            from.display()
                        ),
                        source: None,
                    });
                }
                renamed => renamed.map_err(|e| ConnectorError::Transient {
                    message: format!("'{}' cannot be renamed: {e}", from.display()),
                    source: None,
                })?,
            }
        }
        Ok(())
    }

    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.commit(listed).await?;
        // What is left belongs to no checkpoint: its rows will be written again.
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(".part-") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}
