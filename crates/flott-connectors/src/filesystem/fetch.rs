//! Reading objects on the job's runtime: their bytes in order, or ranges of them. The task is woken when there is something.
//!
//! Stores and their clients bound the time of a request, its body included, and a task may be slow or held back, so that a
//! body can break off at any time. The object is then asked for again from the next byte on, as long as that brings bytes and
//! the object is the same. A range of lines is asked for up to a little behind its end; what the last line needs beyond
//! that is asked for when everything before was taken.

use super::bucket::{Bucket, cause};
use super::compression::Compression;
use bytes::{Buf, Bytes};
use flott_runtime::Waker;
use futures::StreamExt;
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectStore};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender, error::TryRecvError};
use tokio::sync::oneshot;

/// Chunks that wait between the store and the task; each has the size in which the network hands bytes over, 64 KiB at most.
const CHUNKS: usize = 32;
/// Bytes that are unpacked at a time.
const UNPACKED_BYTES: usize = 256 << 10;

/// Bytes behind a range's end that are asked for at a time, for the line that reaches over it.
const BEYOND_BYTES: u64 = 256 << 10;
/// How long a body may bring nothing.
const IDLE: Duration = Duration::from_secs(60);
/// Bodies in a row that may break off before their first byte; connecting is tried for longer by the client itself.
const ATTEMPTS: u32 = 5;
/// Wait before an object is asked for again; doubled after each attempt that brought nothing.
const BACKOFF: Duration = Duration::from_millis(50);

/// What objects are read with.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub bucket: Bucket,
    pub runtime: Handle,
    pub waker: Waker,
}

/// The bytes of an object from some place on.
pub(super) struct ObjectBytes {
    chunks: Receiver<io::Result<Bytes>>,
    /// What is left of a chunk.
    rest: Bytes,
}

/// What [`ObjectBytes::read`] has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// So many bytes; none at the end.
    Bytes(usize),
    /// None yet; the task will be woken.
    Nothing,
}

impl ObjectBytes {
    /// Reads an object from `lines.start` on, counted in what it holds unpacked; about at `lines.end` the last line ends that
    /// is wanted.
    ///
    /// # Errors
    /// If the path is no address in the bucket.
    pub(super) fn open(fetcher: &Fetcher, path: &Path, packed: Compression, lines: Range<u64>) -> io::Result<Self> {
        let key = fetcher.bucket.key(path)?;
        let objects = fetcher.bucket.objects().clone();
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let waker = fetcher.waker.clone();
        let from = lines.start;
        let range = match packed {
            Compression::None => from..lines.end.saturating_add(BEYOND_BYTES),
            _ => 0..u64::MAX,
        };
        let (raw, unpacked) = match packed {
            Compression::None => (sender, None),
            _ => {
                let (raw, receiver) = mpsc::channel(CHUNKS);
                (raw, Some((receiver, sender)))
            }
        };
        let raw_waker = waker.clone();
        fetcher.runtime.spawn(async move {
            let read = stream(objects.as_ref(), &key, range, &raw, &raw_waker).await;
            if let Err(e) = read {
                // The reader may be gone.
                let _ = raw.send(Err(e)).await;
            }
            drop(raw);
            raw_waker.wake();
        });
        if let Some((receiver, sender)) = unpacked {
            fetcher.runtime.spawn_blocking(move || {
                if let Err(e) = unpack(receiver, packed, from, &sender, &waker) {
                    let _ = sender.blocking_send(Err(e));
                }
                drop(sender);
                waker.wake();
            });
        }
        Ok(Self {
            chunks,
            rest: Bytes::new(),
        })
    }

    /// Copies what has arrived into `buffer`.
    ///
    /// # Errors
    /// If the store could not be read, or the object not be unpacked.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        while self.rest.is_empty() {
            match self.chunks.try_recv() {
                Ok(chunk) => self.rest = chunk?,
                Err(TryRecvError::Empty) => return Ok(Arrived::Nothing),
                Err(TryRecvError::Disconnected) => return Ok(Arrived::Bytes(0)),
            }
        }
        let length = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..length]);
        Ok(Arrived::Bytes(length))
    }
}

/// Sends an object's bytes until they end or nobody wants them: those of `range`, and what follows once those were taken.
async fn stream(
    objects: &dyn ObjectStore,
    key: &Key,
    range: Range<u64>,
    out: &Sender<io::Result<Bytes>>,
    waker: &Waker,
) -> io::Result<()> {
    let Range {
        start: mut next,
        mut end,
    } = range;
    let mut known = None;
    let mut attempts = 0;
    loop {
        let Some(found) = ask(objects, key, next..end, &mut known).await? else {
            return Ok(());
        };
        let (begin, size_bytes) = (next, found.meta.size);
        end = end.min(size_bytes);
        let mut body = found.into_stream();
        let broken = loop {
            match tokio::time::timeout(IDLE, body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    next += chunk.len() as u64;
                    if out.send(Ok(chunk)).await.is_err() {
                        return Ok(());
                    }
                    waker.wake();
                }
                Ok(Some(Err(e))) => break Some(cause(e)),
                Ok(None) if next < end => break Some(io::ErrorKind::UnexpectedEof.into()),
                Ok(None) => break None,
                Err(_) => break Some(io::ErrorKind::TimedOut.into()),
            }
        };
        if next > begin {
            attempts = 0;
        }
        match broken {
            _ if next >= size_bytes => return Ok(()),
            None => {
                // The line may go on; whoever has it all does not take more.
                if out.reserve_many(CHUNKS).await.is_err() {
                    return Ok(());
                }
                end = next.saturating_add(BEYOND_BYTES);
            }
            Some(e) => {
                attempts += 1;
                if attempts > ATTEMPTS {
                    return Err(e);
                }
                tracing::debug!(object = %key, next, error = %e, "reading an object broke off; asking for the rest");
                tokio::time::sleep(BACKOFF * (1 << (attempts - 1))).await;
            }
        }
    }
}

/// An object as it was when its first bytes were read.
struct Known {
    size_bytes: u64,
    tag: Option<String>,
}

/// Asks for a range of an object; `None` if the object ends before it. The object must be the one that is known.
async fn ask(
    objects: &dyn ObjectStore,
    key: &Key,
    range: Range<u64>,
    known: &mut Option<Known>,
) -> io::Result<Option<GetResult>> {
    let replaced = || {
        let problem = "another object was put in its place while it was read; write new rows into new objects";
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    };
    let options = GetOptions {
        range: match (range.start, range.end) {
            (0, u64::MAX) => None,
            (start, u64::MAX) => Some(GetRange::Offset(start)),
            (start, end) => Some(GetRange::Bounded(start..end)),
        },
        if_match: known.as_ref().and_then(|known| known.tag.clone()),
        ..GetOptions::default()
    };
    let found = match (objects.get_opts(key, options).await, known.as_ref()) {
        (Ok(found), _) => found,
        (Err(Error::Precondition { .. }), Some(_)) => return replaced(),
        (Err(e), Some(_)) => return Err(cause(e)),
        // A range may begin where the object ends.
        (Err(e), None) => match objects.get_opts(key, GetOptions::new().with_head(true)).await {
            Ok(object) if object.meta.size <= range.start => return Ok(None),
            _ => return Err(cause(e)),
        },
    };
    // Not every store minds the condition.
    match known {
        Some(known) if known.size_bytes != found.meta.size || known.tag != found.meta.e_tag => return replaced(),
        Some(_) => {}
        None => {
            *known = Some(Known {
                size_bytes: found.meta.size,
                tag: found.meta.e_tag.clone(),
            });
        }
    }
    Ok(Some(found))
}

/// Sends what is behind `from` of an unpacked object.
fn unpack(
    chunks: Receiver<io::Result<Bytes>>,
    packed: Compression,
    from: u64,
    out: &Sender<io::Result<Bytes>>,
    waker: &Waker,
) -> io::Result<()> {
    let raw = Waiting {
        chunks,
        rest: Bytes::new(),
    };
    let mut input = packed.unpack(raw)?;
    io::copy(&mut (&mut input).take(from), &mut io::sink())?;
    loop {
        let mut block = vec![0; UNPACKED_BYTES];
        let read = input.read(&mut block)?;
        block.truncate(read);
        if read == 0 || out.blocking_send(Ok(block.into())).is_err() {
            return Ok(());
        }
        waker.wake();
    }
}

/// Chunks as a reader that waits for them; not for a task's thread.
struct Waiting {
    chunks: Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let length = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Ranges of an object that are on their way.
pub(super) struct Ranges {
    pub ranges: Vec<Range<u64>>,
    answer: oneshot::Receiver<io::Result<Vec<Bytes>>>,
}

impl Ranges {
    /// Asks for ranges.
    ///
    /// # Errors
    /// If the path is no address in the bucket.
    pub(super) fn ask(fetcher: &Fetcher, path: &Path, ranges: Vec<Range<u64>>) -> io::Result<Self> {
        let key = fetcher.bucket.key(path)?;
        let objects = fetcher.bucket.objects().clone();
        let waker = fetcher.waker.clone();
        let wanted = ranges.clone();
        let (sender, answer) = oneshot::channel();
        fetcher.runtime.spawn(async move {
            let read = objects.get_ranges(&key, &wanted).await.map_err(cause);
            // The reader may be gone.
            let _ = sender.send(read);
            waker.wake();
        });
        Ok(Self { ranges, answer })
    }

    /// The bytes, once they are there.
    pub(super) fn arrived(&mut self) -> Option<io::Result<Vec<Bytes>>> {
        match self.answer.try_recv() {
            Ok(read) => Some(read),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => {
                Some(Err(io::Error::other("reading the object stopped short")))
            }
        }
    }
}
