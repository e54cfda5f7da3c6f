//! Reading objects on the job's runtime: their bytes in order, or ranges of them. The task is woken when there is something.

use super::bucket::{Bucket, cause};
use super::compression::Compression;
use bytes::{Buf, Bytes};
use flott_runtime::Waker;
use futures::StreamExt;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender, error::TryRecvError};
use tokio::sync::oneshot;

/// Chunks that wait between the store and the task; each has the size in which the network hands bytes over, 64 KiB at most.
const CHUNKS: usize = 32;
/// Bytes that are unpacked at a time.
const UNPACKED_BYTES: usize = 256 << 10;

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
    /// Reads an object from `from` on, counted in what it holds unpacked.
    ///
    /// # Errors
    /// If the path is no address in the bucket.
    pub(super) fn open(fetcher: &Fetcher, path: &Path, packed: Compression, from: u64) -> io::Result<Self> {
        let key = fetcher.bucket.key(path)?;
        let objects = fetcher.bucket.objects().clone();
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let waker = fetcher.waker.clone();
        let first_byte = if packed == Compression::None { from } else { 0 };
        let (raw, unpacked) = match packed {
            Compression::None => (sender, None),
            _ => {
                let (raw, receiver) = mpsc::channel(CHUNKS);
                (raw, Some((receiver, sender)))
            }
        };
        let raw_waker = waker.clone();
        fetcher.runtime.spawn(async move {
            let read = stream(objects.as_ref(), &key, first_byte, &raw, &raw_waker).await;
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

/// Sends an object's bytes until they end or nobody wants them.
async fn stream(
    objects: &dyn ObjectStore,
    key: &object_store::path::Path,
    from: u64,
    out: &Sender<io::Result<Bytes>>,
    waker: &Waker,
) -> io::Result<()> {
    let options = GetOptions {
        range: (from > 0).then_some(GetRange::Offset(from)),
        ..GetOptions::default()
    };
    let mut body = match objects.get_opts(key, options).await {
        Ok(found) => found.into_stream(),
        // A range may begin where the object ends.
        Err(e) => match objects.get_opts(key, GetOptions::new().with_head(true)).await {
            Ok(object) if object.meta.size <= from => return Ok(()),
            _ => return Err(cause(e)),
        },
    };
    while let Some(chunk) = body.next().await {
        if out.send(Ok(chunk.map_err(cause)?)).await.is_err() {
            return Ok(());
        }
        waker.wake();
    }
    Ok(())
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
