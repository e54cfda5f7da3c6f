//! What is said on a connection.

use super::inquiries::Answered;
use crate::coordinator::SubtaskId;
use crate::error::ClusterError;
use crate::inquiry::Question;
use crate::program::{Lease, LeaseOrder, PartOf};
use crate::protocol::{AttemptId, Deployment, HeldAttempt, Order, Report};
use flott_core::{Fingerprint, JobId};
use flott_runtime::metrics::TaskReading;
use flott_runtime::net::{self, ReadHalf, WriteHalf};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, ReadBuf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Sleep};

/// Longest message: a deployment with much state in its manifest. Longer ones are refused before anything is allocated.
const LONGEST_MESSAGE_BYTES: usize = 256 << 20;

/// What a TaskManager offers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// `taskmanager.resource-id`
    pub id: String,
    /// Where it runs.
    pub host: String,
    /// Where exchanges reach it.
    pub data_port: u16,
    pub slots: usize,
    pub cpu_cores: usize,
    pub memory_bytes: u64,
    /// The program that it runs; none: SQL.
    pub program: Option<Fingerprint>,
    /// The slots of another TaskManager that it is lent; its own are these.
    pub lent: Option<Lease>,
    /// Slots that it lends.
    pub leases: Vec<Lease>,
    /// What it still runs of an earlier JobManager's.
    pub held: Vec<HeldAttempt>,
}

/// From a TaskManager.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromTaskManager {
    Register(Offer),
    Report(AttemptId, SubtaskId, Report),
    /// Bytes of state that were read ahead for an attempt in a round, or why they were not.
    Preloaded(AttemptId, u64, Result<u64, String>),
    Heartbeat {
        used_bytes: u64,
        counted: Vec<(AttemptId, Vec<(SubtaskId, TaskReading)>)>,
    },
    /// To the question of this number.
    Answered(u64, Answered),
    /// Its process ends itself; why.
    Leaving(String),
    /// It needs the file of a job's program, from here on.
    FetchProgram {
        job: JobId,
        digest: String,
        offset: u64,
    },
    /// Slots that it lent are its own again; why.
    LeaseEnded {
        id: String,
        why: String,
    },
}

/// From a JobManager.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromJobManager {
    Registered {
        /// Leadership of the JobManager; 0 without high availability.
        epoch: u64,
    },
    /// It does not belong to this cluster.
    Refused(String),
    Deploy(Box<Deployment>),
    /// The state of an attempt that may come shall be read, in this round.
    Preload(Box<Deployment>, u64),
    Order(AttemptId, Order),
    /// What it is asked about itself, under a number.
    Ask(u64, Question),
    Heartbeat,
    /// Slots are to be lent.
    Lend(Box<LeaseOrder>),
    /// Those of this lease are its own again.
    Recall(String),
    /// A part of a program's file.
    ProgramPart {
        digest: String,
        offset: u64,
        part: PartOf,
    },
    /// The cluster has done what it was there for.
    ShutDown,
}

fn encode<M: Serialize>(message: M) -> Result<Vec<u8>, ClusterError> {
    serde_json::to_vec(&message).map_err(|e| ClusterError::Connection(format!("a message cannot be written: {e}")))
}

/// The reading end of a connection, which ends where nothing comes for a while; how long a message takes does not matter.
pub(super) type Reader = BufReader<Patient>;

/// Reads with patience.
pub(super) fn reader(stream: ReadHalf, patience: Duration) -> Reader {
    BufReader::new(Patient {
        stream,
        patience,
        until: Box::pin(tokio::time::sleep(patience)),
    })
}

/// A stream that fails where nothing comes for too long.
pub(super) struct Patient {
    stream: ReadHalf,
    patience: Duration,
    until: Pin<Box<Sleep>>,
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, into) {
            this.until.as_mut().reset(Instant::now() + this.patience);
            return Poll::Ready(read);
        }
        this.until.as_mut().poll(cx).map(|()| {
            let seconds = this.patience.as_secs_f64();
            let text = format!("nothing was heard of it for {seconds} s (heartbeat.timeout)");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

/// Writes a message.
pub(crate) async fn write<M: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: M,
) -> Result<(), ClusterError> {
    write_encoded(stream, encode(message)).await
}

/// Writes what waits, and a heartbeat at each interval, until nobody is left who says anything, or the other has closed.
pub(super) async fn write_all<M: Serialize>(
    writer: WriteHalf,
    mut messages: UnboundedReceiver<M>,
    interval: Duration,
    heartbeat: impl Fn() -> M,
) {
    let mut writer = BufWriter::new(writer);
    let mut beat = tokio::time::interval(interval);
    loop {
        let text = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => encode(message),
                None => return,
            },
            _ = beat.tick() => encode(heartbeat()),
        };
        let mut written = write_encoded(&mut writer, text).await;
        while written.is_ok()
            && let Ok(text) = messages.try_recv().map(encode)
        {
            written = write_encoded(&mut writer, text).await;
        }
        if let Err(error) = written {
            tracing::error!(%error, "a connection between JobManager and TaskManager ends, since a message could not be sent");
            return;
        }
        // The reading end tells what is wrong.
        if writer.flush().await.is_err() {
            return;
        }
    }
}

async fn write_encoded(
    stream: &mut (impl AsyncWrite + Unpin),
    text: Result<Vec<u8>, ClusterError>,
) -> Result<(), ClusterError> {
    let written = net::write_message(stream, &text?, LONGEST_MESSAGE_BYTES).await;
    written.map_err(|e| ClusterError::Connection(e.to_string()))
}

/// Reads a message; `None` if the other has closed.
///
/// Not cancel-safe: what was read of a message is lost.
pub(crate) async fn read<M: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<M>, ClusterError> {
    let read = net::read_message(stream, LONGEST_MESSAGE_BYTES).await;
    let Some(text) = read.map_err(|e| ClusterError::Connection(e.to_string()))? else {
        return Ok(None);
    };
    let message = serde_json::from_slice(&text);
    message
        .map(Some)
        .map_err(|e| ClusterError::Connection(format!("a message cannot be read: {e}")))
}
