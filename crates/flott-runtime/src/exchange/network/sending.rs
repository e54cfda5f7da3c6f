//! The sending end of a connection: channels that have frames and credit take turns at the socket.
//!
//! A channel is listed for its turn when its queue is empty no more, when it gets credit again, and when its turn ends and both
//! are left. Listing one that has nothing to send costs a look; so nobody has to know exactly.

use super::{StreamError, TURN_BYTES};
use crate::exchange::channel::Outgoing;
use crate::exchange::frame;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Notify;

/// Frames are gathered up to this before they are written; the last turn may go beyond.
const WRITE_BYTES: usize = 256 << 10;
/// Frames from this length on are written from where they are; shorter ones are cheaper to copy than to name.
const LONG_BYTES: usize = 8 << 10;

/// Sends what comes from the channels until all have ended and the peer has closed the connection.
///
/// # Errors
/// If the connection ends before that, or something comes over it that is no credit.
pub(super) async fn send<R, W>(
    reader: R,
    writer: W,
    channels: Vec<(u32, Outgoing)>,
    sent_bytes: &AtomicU64,
) -> Result<(), StreamError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let turns = Arc::new(Turns::new(channels.len()));
    let indices: HashMap<u32, usize> = channels
        .iter()
        .enumerate()
        .map(|(i, (number, _))| (*number, i))
        .collect();
    for (index, (_, channel)) in channels.iter().enumerate() {
        let turns = turns.clone();
        channel.bind(move |is_urgent| turns.list(index, is_urgent));
    }
    let is_all_sent = AtomicBool::new(false);
    let mut outbox = Outbox {
        left: channels.len(),
        channels,
        turns: turns.clone(),
        frames: Vec::new(),
        gathered: Gathered::default(),
    };
    tokio::select! {
        // In this order: that the last bytes were written is known before the peer's answer to them is read.
        biased;
        written = outbox.run(writer, &is_all_sent, sent_bytes) => written,
        read = read_credits(reader, &indices, &turns) => match read {
            Err(StreamError::Ended) if is_all_sent.load(Ordering::Relaxed) => Ok(()),
            read => read,
        },
    }
}

async fn read_credits<R>(reader: R, indices: &HashMap<u32, usize>, turns: &Turns) -> Result<(), StreamError>
where
    R: AsyncRead + Unpin,
{
    let mut reader = BufReader::new(reader);
    loop {
        let channel = reader.read_u32_le().await?;
        let bytes = reader.read_u32_le().await?;
        let index = indices.get(&channel).ok_or(StreamError::UnknownChannel { channel })?;
        turns.grant(*index, bytes);
    }
}

#[derive(Debug, Default, Clone)]
struct Turn {
    /// What may be sent; below 0 by what the last frame went beyond it.
    credit: i64,
    is_listed: bool,
    /// A barrier is first, which needs no credit.
    is_urgent: bool,
}

#[derive(Debug, Default)]
struct List {
    channels: Vec<Turn>,
    ready: VecDeque<usize>,
}

impl List {
    fn add(&mut self, index: usize) {
        if !std::mem::replace(&mut self.channels[index].is_listed, true) {
            self.ready.push_back(index);
        }
    }
}

/// Whose turn it is. Tasks, the reader of credits and the writer of frames meet here.
#[derive(Debug)]
struct Turns {
    list: Mutex<List>,
    listed: Notify,
}

impl Turns {
    fn new(channels: usize) -> Self {
        Self {
            list: Mutex::new(List {
                channels: vec![Turn::default(); channels],
                ready: VecDeque::with_capacity(channels),
            }),
            listed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the channel looked at, also without credit if it `is_urgent`.
    fn list(&self, index: usize, is_urgent: bool) {
        let mut list = self.lock();
        list.channels[index].is_urgent |= is_urgent;
        list.add(index);
        drop(list);
        self.listed.notify_one();
    }

    fn grant(&self, index: usize, bytes: u32) {
        let had_none = {
            let turn = &mut self.lock().channels[index];
            let before = turn.credit;
            turn.credit = before.saturating_add(i64::from(bytes));
            before <= 0 && turn.credit > 0
        };
        if had_none {
            self.list(index, false);
        }
    }

    /// The next channel that has credit, and how much, or whose first frame needs none.
    fn next(&self) -> Option<(usize, usize)> {
        let mut list = self.lock();
        while let Some(index) = list.ready.pop_front() {
            let turn = &mut list.channels[index];
            turn.is_listed = false;
            // Without credit it is listed again when it gets some.
            if std::mem::take(&mut turn.is_urgent) || turn.credit > 0 {
                return Some((index, turn.credit.max(0) as usize));
            }
        }
        None
    }

    /// Ends the channel's turn.
    fn spent(&self, index: usize, bytes: usize, is_left: bool) {
        let mut list = self.lock();
        let turn = &mut list.channels[index];
        turn.credit -= bytes as i64;
        if is_left && turn.credit > 0 {
            list.add(index);
        }
    }
}

/// The writer of a connection.
struct Outbox {
    channels: Vec<(u32, Outgoing)>,
    /// Channels whose end was not gathered yet.
    left: usize,
    turns: Arc<Turns>,
    /// Of one turn; kept for its memory.
    frames: Vec<Bytes>,
    gathered: Gathered,
}

impl Outbox {
    /// Writes frames; returns on errors only. `is_all_sent` tells that every channel has ended.
    async fn run<W>(
        &mut self,
        mut writer: W,
        is_all_sent: &AtomicBool,
        sent_bytes: &AtomicU64,
    ) -> Result<(), StreamError>
    where
        W: AsyncWrite + Unpin,
    {
        while self.left > 0 {
            self.gather();
            if self.gathered.bytes == 0 {
                self.turns.listed.notified().await;
                continue;
            }
            let bytes = self.gathered.bytes as u64;
            self.gathered.write(&mut writer).await?;
            sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        is_all_sent.store(true, Ordering::Relaxed);
        writer.shutdown().await?;
        pending().await
    }

    fn gather(&mut self) {
        while self.gathered.bytes < WRITE_BYTES
            && let Some((index, credit)) = self.turns.next()
        {
            let (number, channel) = &self.channels[index];
            let (bytes, is_left) = channel.take(credit.min(TURN_BYTES), &mut self.frames);
            for frame in self.frames.drain(..) {
                self.left = self.left.saturating_sub(usize::from(frame::is_end(&frame)));
                self.gathered.push(*number, frame);
            }
            self.turns.spent(index, bytes, is_left);
        }
    }
}

/// Frames on their way into the socket, in order: heads and short frames in one buffer, long frames between its parts.
#[derive(Debug, Default)]
struct Gathered {
    short: Vec<u8>,
    /// Long frames, each with the place in `short` that it follows.
    long: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, channel: u32, frame: Bytes) {
        // The sender has refused frames that are too long for this.
        let length = frame.len() as u32;
        self.bytes += 8 + frame.len();
        self.short.extend_from_slice(&channel.to_le_bytes());
        self.short.extend_from_slice(&length.to_le_bytes());
        match frame.len() < LONG_BYTES {
            true => self.short.extend_from_slice(&frame),
            false => self.long.push((self.short.len(), frame)),
        }
    }

    /// Writes everything, and is empty again.
    async fn write<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> std::io::Result<()> {
        let mut slices = Vec::with_capacity(2 * self.long.len() + 1);
        let mut from = 0;
        for (place, frame) in &self.long {
            slices.push(IoSlice::new(&self.short[from..*place]));
            slices.push(IoSlice::new(frame));
            from = *place;
        }
        slices.push(IoSlice::new(&self.short[from..]));
        let mut slices = &mut slices[..];
        let mut left = self.bytes;
        while left > 0 {
            let written = writer.write_vectored(slices).await?;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, written);
            left -= written;
        }
        writer.flush().await?;
        self.short.clear();
        self.long.clear();
        self.bytes = 0;
        Ok(())
    }
}
