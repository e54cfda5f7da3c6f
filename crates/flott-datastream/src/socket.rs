//! Lines from a socket: [`crate::StreamExecutionEnvironment::socket_text_stream`], to try programs with `nc -lk 9999`.
//!
//! One subtask connects and reads. What was sent before a failure is not sent again, so nothing is in checkpoints: as in Flink, a restarted
//! job goes on with what comes then. A connection that is refused fails the task; one that ends is made again as often as was asked
//! for, and then the stream ends. A line that it broke off goes on in the next one; what is left at the end is a line, too.

use crate::records::Records;
use async_trait::async_trait;
use flott_core::CheckpointId;
use flott_runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott_runtime::{FailureLabel, OperatorContext, Source, SourceReader, SplitEnumerator, TaskError, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Pause before a connection is made again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Lines that wait for the task at most.
const WAITING_LINES: usize = 8192;
/// Bytes of waiting lines, up to which one more may come.
const WAITING_BYTES: usize = 8 << 20;
/// Longest line in bytes.
const LINE_BYTES: usize = 64 << 20;

/// How often a connection that has ended is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reconnect {
    /// Never: the stream ends.
    #[default]
    Never,
    /// So often at most.
    AtMost(u32),
    /// Always: the stream does not end.
    Forever,
}

/// The lines that a server sends.
pub(crate) struct SocketSource {
    pub(crate) address: String,
    pub(crate) reconnect: Reconnect,
}

impl Source for SocketSource {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let is_found = restored.is_some();
        Ok(Box::new(OneSplit { is_found }))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(SocketReader {
            address: self.address.clone(),
            reconnect: self.reconnect,
            runtime: ctx.runtime.clone(),
            waker: ctx.waker.clone(),
            shared: Arc::default(),
            reading: None,
            is_finished: false,
            no_more: false,
        }))
    }
}

/// The connection, which no subtask but the first makes.
struct OneSplit {
    is_found: bool,
}

#[async_trait]
impl SplitEnumerator for OneSplit {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        if std::mem::replace(&mut self.is_found, true) {
            return Ok(vec![]);
        }
        Ok(vec![Split {
            id: "socket".to_owned(),
            state: vec![],
        }])
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

/// What the connection and the task share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// The task took lines.
    taken: Notify,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Bytes of the lines.
    bytes: usize,
    /// How reading ended.
    ended: Option<Result<(), std::io::Error>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a line over, once there is room.
    async fn push(&self, line: String, waker: &Waker) {
        loop {
            let has_room = self.taken.notified();
            {
                let mut state = self.lock();
                if state.lines.len() < WAITING_LINES && state.bytes < WAITING_BYTES {
                    state.bytes += line.len();
                    state.lines.push(line);
                    break;
                }
            }
            has_room.await;
        }
        waker.wake();
    }
}

/// Reads until the connection ends for good.
async fn read(address: &str, reconnect: Reconnect, shared: &Shared, waker: &Waker) -> Result<(), std::io::Error> {
    let mut attempts = 0;
    let mut line = vec![];
    loop {
        let mut input = BufReader::new(TcpStream::connect(address).await?);
        while read_line(&mut input, &mut line).await? {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            shared.push(String::from_utf8_lossy(&line).into_owned(), waker).await;
            line.clear();
        }
        attempts += 1;
        match reconnect {
            Reconnect::Forever => {}
            Reconnect::AtMost(most) if attempts <= most => {}
            Reconnect::Never | Reconnect::AtMost(_) => break,
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
    if !line.is_empty() {
        shared.push(String::from_utf8_lossy(&line).into_owned(), waker).await;
    }
    Ok(())
}

/// Reads on in a line, up to its end, which it leaves out; `false`: the connection ended before.
async fn read_line(input: &mut BufReader<TcpStream>, line: &mut Vec<u8>) -> Result<bool, std::io::Error> {
    loop {
        let bytes = input.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        let used = end.map_or(bytes.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
        if line.len() > LINE_BYTES {
            return Err(std::io::Error::other(format!(
                "a line is longer than {LINE_BYTES} bytes"
            )));
        }
    }
}

struct SocketReader {
    address: String,
    reconnect: Reconnect,
    runtime: tokio::runtime::Handle,
    waker: Waker,
    shared: Arc<Shared>,
    reading: Option<JoinHandle<()>>,
    is_finished: bool,
    no_more: bool,
}

impl SourceReader for SocketReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        if splits.is_empty() || self.reading.is_some() {
            return Ok(());
        }
        let (shared, waker) = (self.shared.clone(), self.waker.clone());
        let (address, reconnect) = (self.address.clone(), self.reconnect);
        self.reading = Some(self.runtime.spawn(async move {
            let ended = read(&address, reconnect, &shared, &waker).await;
            shared.lock().ended = Some(ended);
            waker.wake();
        }));
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
        if self.reading.is_none() || self.is_finished {
            return Ok(match self.no_more {
                true => ReaderPoll::Finished,
                false => ReaderPoll::Idle { until_ms: None },
            });
        }
        let mut state = self.shared.lock();
        let lines = std::mem::take(&mut state.lines);
        state.bytes = 0;
        if !lines.is_empty() {
            drop(state);
            self.shared.taken.notify_one();
            return Ok(ReaderPoll::Batch {
                split: 0,
                batch: Records::of(lines).into_batch(),
            });
        }
        match state.ended.take() {
            None => Ok(ReaderPoll::Idle { until_ms: None }),
            Some(Ok(())) => {
                self.is_finished = true;
                Ok(ReaderPoll::SplitFinished(0))
            }
            Some(Err(error)) => Err(TaskError::caused(
                FailureLabel::Infrastructure,
                format!(
                    "the socket {} cannot be read: start a server there first, such as nc -lk PORT",
                    self.address
                ),
                error,
            )),
        }
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let open = self.reading.is_some() && !self.is_finished;
        let split = || Split {
            id: "socket".to_owned(),
            state: vec![],
        };
        Ok(open.then(split).into_iter().collect())
    }
}

impl Drop for SocketReader {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Instant;

    fn reader(address: String, reconnect: Reconnect, runtime: &tokio::runtime::Runtime) -> SocketReader {
        let mut reader = SocketReader {
            address,
            reconnect,
            runtime: runtime.handle().clone(),
            waker: Waker::new(),
            shared: Arc::default(),
            reading: None,
            is_finished: false,
            no_more: true,
        };
        let split = Split {
            id: "socket".to_owned(),
            state: vec![],
        };
        reader.add_splits(vec![split]).unwrap();
        reader
    }

    /// All lines until the end.
    fn lines(reader: &mut SocketReader) -> Result<Vec<String>, TaskError> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut lines = vec![];
        loop {
            match reader.poll(0)? {
                ReaderPoll::Batch { batch, .. } => lines.extend(Records::<String>::from_batch(batch)?.values),
                ReaderPoll::Finished => return Ok(lines),
                ReaderPoll::SplitFinished(_) => {}
                ReaderPoll::Idle { .. } => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(Instant::now() < deadline, "the stream does not end");
        }
    }

    #[test]
    fn lines_come_over_as_many_connections_as_were_asked_for() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || {
            for text in ["to be\r\nor n", "ot\n\nto b", "e"] {
                server.accept().unwrap().0.write_all(text.as_bytes()).unwrap();
            }
        });
        let mut first = reader(address.clone(), Reconnect::AtMost(1), &runtime);
        assert_eq!(lines(&mut first).unwrap(), ["to be", "or not", "", "to b"]);
        assert!(first.snapshot(1).unwrap().is_empty());
        let mut second = reader(address.clone(), Reconnect::Never, &runtime);
        assert_eq!(lines(&mut second).unwrap(), ["e"]);
        serving.join().unwrap();
        let mut refused = reader(address.clone(), Reconnect::Never, &runtime);
        let error = lines(&mut refused).unwrap_err().to_string();
        assert!(error.contains(&address), "{error}");
    }
}
