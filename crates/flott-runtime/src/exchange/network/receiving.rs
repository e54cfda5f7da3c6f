//! The receiving end of a connection: frames go to their channels, what tasks take goes back as credit.

use super::StreamError;
use crate::exchange::channel::{Incoming, MAX_FRAME_BYTES, charge, charge_of};
use crate::exchange::frame;
use bytes::BufMut;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Notify;

/// Short frames are read together, up to this many bytes; longer ones past the buffer.
const READ_BYTES: usize = 64 << 10;
/// A channel's credit is granted again in this many parts.
const PARTS_OF_WINDOW: usize = 4;
/// Longer frames are no barriers.
const SHORT_FRAME_BYTES: usize = 64;

/// Receives what comes for the channels until all have ended and the peer has shut its side.
///
/// # Errors
/// If the connection ends before that, or something comes over it that is no frame of these channels.
pub(super) async fn receive<R, W>(
    reader: R,
    writer: W,
    channels: Vec<(u32, Incoming)>,
    received_bytes: &AtomicU64,
) -> Result<(), StreamError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let grants = Arc::new(Grants::default());
    let mut inbox = Inbox {
        left: channels.len(),
        channels: HashMap::with_capacity(channels.len()),
    };
    for (number, channel) in channels {
        let account = Arc::new(Account::new(number, channel.window_bytes()));
        account.grant(channel.window_bytes(), &grants);
        let (of_task, grants) = (account.clone(), grants.clone());
        channel.bind(move |bytes| of_task.taken(bytes, &grants));
        inbox.channels.insert(number, (channel, account));
    }
    let is_all_received = AtomicBool::new(inbox.left == 0);
    let result = tokio::select! {
        read = inbox.run(reader, &is_all_received, received_bytes) => read,
        written = write_credits(writer, &grants) => written,
    };
    match result {
        // Everything is here: it makes no difference how the peer leaves.
        Err(_) if is_all_received.load(Ordering::Relaxed) => Ok(()),
        result => result,
    }
}

/// Credits that have to be written. A channel has few of them here: without them its peer sends nothing that could be taken.
#[derive(Debug, Default)]
struct Grants {
    due: Mutex<Vec<(u32, u32)>>,
    added: Notify,
}

async fn write_credits<W: AsyncWrite + Unpin>(mut writer: W, grants: &Grants) -> Result<(), StreamError> {
    let mut message = Vec::new();
    loop {
        let due = std::mem::take(&mut *grants.due.lock().unwrap_or_else(PoisonError::into_inner));
        if due.is_empty() {
            grants.added.notified().await;
            continue;
        }
        message.clear();
        for (channel, bytes) in due {
            message.extend_from_slice(&channel.to_le_bytes());
            message.extend_from_slice(&bytes.to_le_bytes());
        }
        writer.write_all(&message).await?;
        writer.flush().await?;
    }
}

/// A channel's credit, of which its task and the reader of the connection both know.
#[derive(Debug)]
struct Account {
    channel: u32,
    /// What the peer may send; below 0 by what its last frame went beyond it.
    credit: AtomicI64,
    /// What the task has taken since the last grant.
    taken: AtomicUsize,
    /// What is granted at once.
    part_bytes: usize,
}

impl Account {
    fn new(channel: u32, window_bytes: usize) -> Self {
        Self {
            channel,
            credit: AtomicI64::new(0),
            taken: AtomicUsize::new(0),
            part_bytes: (window_bytes / PARTS_OF_WINDOW).max(1),
        }
    }

    fn taken(&self, bytes: usize, grants: &Grants) {
        if self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes >= self.part_bytes {
            self.grant(self.taken.swap(0, Ordering::Relaxed), grants);
        }
    }

    fn grant(&self, bytes: usize, grants: &Grants) {
        if bytes == 0 {
            return;
        }
        // Before the peer can know of it, so that its frames always find it here.
        self.credit.fetch_add(bytes as i64, Ordering::SeqCst);
        // No window is longer than 1 GiB and no frame than 256 MiB, and no more than both can be taken.
        let grant = (self.channel, bytes as u32);
        grants.due.lock().unwrap_or_else(PoisonError::into_inner).push(grant);
        grants.added.notify_one();
    }

    /// Uses credit for a frame that has come; it must have been above 0.
    fn spend(&self, bytes: usize) -> Result<(), StreamError> {
        match self.credit.fetch_sub(bytes as i64, Ordering::SeqCst) > 0 {
            true => Ok(()),
            false => Err(StreamError::NoCredit { channel: self.channel }),
        }
    }
}

/// The reader of a connection.
struct Inbox {
    channels: HashMap<u32, (Incoming, Arc<Account>)>,
    /// Channels whose end has not come yet.
    left: usize,
}

impl Inbox {
    /// Reads frames until all channels have ended, which `is_all_received` tells, and the peer has shut its side.
    async fn run<R>(
        &mut self,
        reader: R,
        is_all_received: &AtomicBool,
        received_bytes: &AtomicU64,
    ) -> Result<(), StreamError>
    where
        R: AsyncRead + Unpin,
    {
        let mut reader = BufReader::with_capacity(READ_BYTES, reader);
        loop {
            let channel = reader.read_u32_le().await?;
            let length = reader.read_u32_le().await?;
            let (queue, account) = self
                .channels
                .get(&channel)
                .ok_or(StreamError::UnknownChannel { channel })?;
            let bytes = length as usize;
            if bytes > MAX_FRAME_BYTES {
                return Err(StreamError::FrameTooLong { channel, length });
            }
            // Barriers need no credit, and are short; longer frames need it before they get memory.
            let is_short = bytes <= SHORT_FRAME_BYTES;
            if !is_short {
                account.spend(charge_of(bytes))?;
            }
            let frame = read_frame(&mut reader, bytes).await?;
            if is_short && charge(&frame) > 0 {
                account.spend(charge(&frame))?;
            }
            received_bytes.fetch_add(8 + u64::from(length), Ordering::Relaxed);
            if frame::is_end(&frame) {
                self.left = self.left.saturating_sub(1);
                is_all_received.store(self.left == 0, Ordering::Relaxed);
            }
            queue.push(frame);
        }
    }
}

async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R, bytes: usize) -> Result<Vec<u8>, StreamError> {
    let mut frame = Vec::with_capacity(bytes);
    let mut rest = (&mut frame).limit(bytes);
    while rest.has_remaining_mut() {
        if reader.read_buf(&mut rest).await? == 0 {
            return Err(StreamError::Ended);
        }
    }
    Ok(frame)
}
