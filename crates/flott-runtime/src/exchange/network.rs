//! Exchanges between processes: one service a process, one connection an attempt and direction between two processes.
//!
//! ```text
//!  TaskManager A                                               TaskManager B
//!  Sender ─► queue ─┐                                          ┌─► queue ─► Receiver
//!  Sender ─► queue ─┼─► turns ═══ frames, one connection ════► ┼─► queue ─► Receiver
//!  Sender ─► queue ─┘     ▲ ◄════ credits ═══════════════════  └── taken ◄──┘
//! ```
//! The sending process connects, retrying for [`CONNECT_TIMEOUT`], under TLS if the cluster has it. Numbers are little endian. Behind the
//! handshake of [`crate::net`], whose hello is `"exchange" 0, length u16, build, job u128, generation u64, attempt u64, length u16, own id`:
//!
//! 1. The sender says which channels it feeds: a message of [`crate::net::write_message`], channel u32 each.
//! 2. The receiver waits for its own process to open the attempt, [`OPEN_TIMEOUT`] at most, and answers a message: empty if it
//!    takes the channels, a text for a person if not.
//! 3. From then on the sender writes frames, `[channel u32][length u32][bytes]`, and the receiver credits,
//!    `[channel u32][bytes u32]`.
//! 4. When the end of every channel is written the sender shuts its side, and the receiver closes the connection.
//!
//! **Credit.** The first credit of a channel is its window; what its task takes is granted again, in parts of a quarter of the
//! window. A frame costs its length and 64 bytes, a barrier nothing: it leaves at its turn, or at once if it overtakes, whatever the credit. While a channel has credit the sender may send its next frame, however
//! long: so a channel holds its window and one frame at most, and the reader of the connection never waits for a task. A
//! channel that is not read uses up its credit and stops; the others go on. Channels take turns of [`TURN_BYTES`].
//!
//! **Failure.** Whatever ends a connection before step 4, or comes over it and is none of the above, fails the attempt.

mod attempt;
mod opening;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

use super::channel::{Incoming, MAX_FRAME_BYTES, Outgoing};
use crate::error::{FailureLabel, TaskError};
use crate::net::{NetError, Secret, Stranger, Strangers, Transport};
use attempt::{Attempt, Attempts};
use flott_core::{Generation, JobId};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

/// The window that suits most channels: more than a connection within a data centre has under way.
pub const WINDOW_BYTES: usize = 1 << 20;
/// For how long a peer that does not answer is tried again.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a peer waits for us to open the attempt, too.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(900);
/// What a channel may send before the next one has its turn; its last frame may go beyond.
pub const TURN_BYTES: usize = 64 << 10;

/// How long the listener rests when it cannot accept: most likely files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One attempt to run a job, as both ends of its connections know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    /// The job.
    pub job: JobId,
    /// The leadership under which it runs.
    pub generation: Generation,
    /// Its number within the generation.
    pub attempt: u64,
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "attempt {} of job {} in generation {}",
            self.attempt, self.job, self.generation
        )
    }
}

/// A process that reads what ours writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The TaskManager's id, for messages.
    pub id: String,
    /// Where its service listens, `host:port`.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskManager {} at {}", self.id, self.address)
    }
}

/// Why a connection ended before its channels did.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("a frame of channel {channel} has {length} bytes, {MAX_FRAME_BYTES} are possible: the stream is damaged")]
    FrameTooLong { channel: u32, length: u32 },
    #[error("it carried something of channel {channel}, which is none of its channels: the stream is damaged")]
    UnknownChannel { channel: u32 },
    #[error("a frame of channel {channel} came without credit: the stream is damaged, or the builds differ")]
    NoCredit { channel: u32 },
    #[error("it ended before its channels: the other TaskManager has stopped, or given the attempt up")]
    Ended,
    #[error(
        "nothing came back over it ({0}; heartbeat.timeout says how long that is borne): the network between the two TaskManagers is cut, or the \
         other machine is down"
    )]
    Silent(std::io::Error),
}

/// How the system says that nobody answers.
const SILENCE: [ErrorKind; 3] = [
    ErrorKind::TimedOut,
    ErrorKind::HostUnreachable,
    ErrorKind::NetworkUnreachable,
];

impl From<std::io::Error> for StreamError {
    fn from(e: std::io::Error) -> Self {
        match NetError::from(e) {
            NetError::Closed => Self::Ended,
            NetError::Io(e) if SILENCE.contains(&e.kind()) => Self::Silent(e),
            e => Self::Net(e),
        }
    }
}

/// What the connections of a service share.
#[derive(Debug)]
struct Shared {
    transport: Transport,
    secret: Secret,
    /// How long a peer may answer nothing.
    patience: Duration,
    attempts: Attempts,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Handle,
    accepting: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The exchanges of one process with others. Cheap to clone; listens until the last clone and the last [`Exchange`] are gone.
#[derive(Debug, Clone)]
pub struct ExchangeService(Arc<Inner>);

/// An attempt's connections in this process: dropping it closes them all.
///
/// What has not been sent is lost with it. So drop it once every task of the attempt has ended in every process, or when
/// the attempt is given up; which process does so first makes no difference.
#[derive(Debug)]
#[must_use = "dropping it closes the connections"]
pub struct Exchange {
    id: ExchangeId,
    attempt: Arc<Attempt>,
    service: Arc<Inner>,
}

impl ExchangeService {
    /// Listens at `host` and `port` (0: any that is free), on the Tokio runtime of the caller.
    ///
    /// Peers that `transport` does not take, or that do not prove `secret`, are turned away, and logged. A connection whose other machine answers
    /// nothing for `patience` is lost.
    ///
    /// # Errors
    /// If nobody can listen there, or the caller is not in a Tokio runtime.
    pub fn bind(
        host: &str,
        port: u16,
        transport: Transport,
        secret: Secret,
        patience: Duration,
    ) -> Result<Self, TaskError> {
        let cannot = |e: std::io::Error| {
            let text =
                format!("cannot listen for exchanges at {host}:{port}: free the port, or choose another host or port");
            TaskError::caused(FailureLabel::Infrastructure, text, e)
        };
        let runtime = Handle::try_current()
            .map_err(|e| TaskError::caused(FailureLabel::Internal, "exchanges need a Tokio runtime", e))?;
        let listener = std::net::TcpListener::bind((host, port)).map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let listener = TcpListener::from_std(listener).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let shared = Arc::new(Shared {
            transport,
            secret,
            patience,
            attempts: Attempts::default(),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
        });
        let accepting = runtime
            .spawn(accept(listener, shared.clone(), runtime.clone()))
            .abort_handle();
        Ok(Self(Arc::new(Inner {
            shared,
            address,
            runtime,
            accepting,
        })))
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Bytes of frames that have gone out over all connections so far, their heads included.
    pub fn bytes_sent(&self) -> u64 {
        self.0.shared.sent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of frames that have come in over all connections so far, their heads included.
    pub fn bytes_received(&self) -> u64 {
        self.0.shared.received_bytes.load(Ordering::Relaxed)
    }

    /// Opens an attempt: takes connections for its `incoming` channels, and connects to the peers of its `outgoing` ones.
    ///
    /// Returns at once; connections are made in the background, and what tasks send waits for them. A channel's number is
    /// unique within the attempt and the same in both processes; `here` is this TaskManager's id, for messages.
    ///
    /// The first connection that cannot be made or is lost, on either side, is told to `on_failure`: once, on a thread of the
    /// runtime (so it must not block), with an error that names the peer. Nothing is told once the guard is dropped, but for
    /// a call that has begun. An incoming channel that no peer ever connects for is not told: its peer tells.
    pub fn open(
        &self,
        id: ExchangeId,
        here: &str,
        incoming: Vec<(u32, Incoming)>,
        outgoing: Vec<(Peer, Vec<(u32, Outgoing)>)>,
        on_failure: impl Fn(TaskError) + Send + Sync + 'static,
    ) -> Exchange {
        let attempt = Arc::new(Attempt::new(here, incoming, on_failure));
        let shared = &self.0.shared;
        match shared.attempts.insert(id, &attempt) {
            true => {
                for (peer, channels) in outgoing.into_iter().filter(|(_, channels)| !channels.is_empty()) {
                    let connection = feed(attempt.clone(), shared.clone(), id, peer, channels);
                    attempt.spawn(&self.0.runtime, connection);
                }
            }
            false => {
                let attempt_again = attempt.clone();
                attempt.spawn(&self.0.runtime, async move {
                    attempt_again.fail(TaskError::internal(format!("exchanges of {id} are open already")));
                });
            }
        }
        Exchange {
            id,
            attempt,
            service: self.0.clone(),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.service.shared.attempts.remove(self.id, &self.attempt);
        self.attempt.close();
    }
}

/// Takes connections until it is aborted; those that are still opening go with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>, runtime: Handle) {
    let strangers = Strangers::default();
    let mut opening = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = opening.join_next() => {}
            accepted = strangers.next(&listener) => match accepted {
                Ok((stream, from, stranger)) => {
                    opening.spawn(welcome(stream, from, stranger, shared.clone(), runtime.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of an exchange");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// A connection from a peer, until it is handed to its attempt.
async fn welcome(stream: TcpStream, from: SocketAddr, stranger: Stranger, shared: Arc<Shared>, runtime: Handle) {
    let opened = match opening::welcome(stream, from, stranger, &shared).await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(%from, %error, "a connection of an exchange was turned away");
            return;
        }
    };
    let attempt = opened.attempt.clone();
    attempt.spawn(&runtime, async move {
        let (reader, writer) = opened.stream.into_split();
        if let Err(e) = receiving::receive(reader, writer, opened.channels, &shared.received_bytes).await {
            let text = format!("the connection from {} was lost", opened.peer);
            opened
                .attempt
                .fail(TaskError::caused(FailureLabel::Infrastructure, text, e));
        }
    });
}

/// A connection to a peer, from its first try to its end.
async fn feed(attempt: Arc<Attempt>, shared: Arc<Shared>, id: ExchangeId, peer: Peer, channels: Vec<(u32, Outgoing)>) {
    let numbers: Vec<u32> = channels.iter().map(|(number, _)| *number).collect();
    let sent = match opening::connect(&peer, id, attempt.here(), &numbers, &shared).await {
        Ok(stream) => {
            let (reader, writer) = stream.into_split();
            let sent = sending::send(reader, writer, channels, &shared.sent_bytes).await;
            let text = || format!("the connection to {peer} was lost");
            sent.map_err(|e| TaskError::caused(FailureLabel::Infrastructure, text(), e))
        }
        Err(e) => Err(e),
    };
    if let Err(e) = sent {
        attempt.fail(e);
    }
}
