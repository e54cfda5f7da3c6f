//! Writing objects: multipart uploads that a checkpoint can list and a commit completes.
//!
//! ```text
//!   rows ─► pieces of 5 MiB or more ─► uploaded on the runtime ─(barrier)─► [`Uploaded`]: id and pieces, in the checkpoint ─► completed
//! ```
//! An object does not exist before its upload is completed, and completing can be repeated: an upload that is gone and whose
//! object is there with the right size is committed already. An upload that no checkpoint lists is given up when its writer is
//! dropped, at the end or because the task was cancelled or failed. What remains are uploads of a process that was killed,
//! or ended before it could tell the store, and those that only a checkpoint lists that was never completed or that the job does
//! not start from: they cost room until the bucket's lifecycle rule for incomplete uploads removes them, as with Flink, since
//! stores do not tell whose an upload is.
//!
//! A store takes [`MOST_PIECES`] pieces of at least [`PIECE_BYTES`] an object, and a piece must be sent within the client's
//! time for a request. All pieces of an object but the last have the size that [`piece_bytes`] tells, as some stores want it.

use super::bucket::{AT_ONCE, Bucket, cause};
use bytes::Bytes;
use flott_runtime::Waker;
use futures::StreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{Error, MultipartId};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;

/// Least size of a piece; the least that stores take for any but the last.
pub(super) const PIECE_BYTES: usize = 5 << 20;
/// Pieces that a store takes of an object.
const MOST_PIECES: u64 = 10_000;
/// Pieces that an object of the size asked for has; the rest is for the row or row group with which it passes that size.
const PLANNED_PIECES: u64 = MOST_PIECES / 10 * 9;
/// Size at which an object ends even if it may be larger: its pieces, of which each open one gathers one in memory, have 29 MiB.
pub(super) const OBJECT_BYTES: u64 = 256 << 30;
/// Bytes on their way above which a writer takes no more rows.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// Size of the pieces of objects that end at `object_bytes`.
pub(super) fn piece_bytes(object_bytes: u64) -> usize {
    let least = object_bytes.min(OBJECT_BYTES).div_ceil(PLANNED_PIECES);
    usize::try_from(least).unwrap_or(PIECE_BYTES).max(PIECE_BYTES)
}

/// An upload whose pieces are all there: what a checkpoint lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Uploaded {
    /// The object's address.
    pub object: PathBuf,
    pub upload_id: String,
    /// What the store calls the pieces, in order.
    pub pieces: Vec<String>,
    pub bytes: u64,
}

/// Bytes of a writer that the store has not acknowledged yet.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// An object being written.
pub(super) struct Upload {
    pieces: UnboundedSender<Bytes>,
    outcome: Finishing,
    in_flight: InFlight,
    piece_bytes: usize,
    bytes: u64,
}

/// An object whose last piece is on its way.
pub(super) struct Finishing {
    pub object: PathBuf,
    answer: oneshot::Receiver<io::Result<Uploaded>>,
}

impl Upload {
    /// Begins to write an object, in pieces of `piece_bytes`.
    ///
    /// # Errors
    /// If the path is no address in the bucket.
    pub(super) fn begin(
        bucket: &Bucket,
        object: PathBuf,
        runtime: &Handle,
        waker: &Waker,
        in_flight: &InFlight,
        piece_bytes: usize,
    ) -> io::Result<Self> {
        let key = bucket.key(&object)?;
        let (pieces, mut received) = mpsc::unbounded_channel::<Bytes>();
        let (sender, answer) = oneshot::channel();
        let (store, waker, counter) = (bucket.uploads().clone(), waker.clone(), in_flight.clone());
        let path = object.clone();
        runtime.spawn(async move {
            let mut upload = Sending {
                store,
                key,
                id: None,
                pieces: vec![],
                bytes: 0,
            };
            let mut failed = None;
            while let Some(piece) = received.recv().await {
                let length = piece.len();
                // After a failure, or if nobody waits for the object, pieces are only taken out of the way.
                if failed.is_none() && !sender.is_closed() {
                    failed = upload.send(piece).await.err();
                }
                counter.0.fetch_sub(length, Ordering::AcqRel);
                waker.wake();
            }
            let outcome = match (failed, upload.id.clone()) {
                (None, Some(id)) => Ok(Uploaded {
                    object: path,
                    upload_id: id,
                    pieces: std::mem::take(&mut upload.pieces),
                    bytes: upload.bytes,
                }),
                (None, None) => Err(io::Error::other("an object without bytes")),
                (Some(e), _) => Err(cause(e)),
            };
            let gave_up = outcome.is_err();
            // Nobody waits: the writer was dropped, and no checkpoint will list this.
            if sender.send(outcome).is_err() || gave_up {
                upload.give_up().await;
            }
            waker.wake();
        });
        Ok(Self {
            pieces,
            outcome: Finishing { object, answer },
            in_flight: in_flight.clone(),
            piece_bytes,
            bytes: 0,
        })
    }

    /// Hands the whole pieces over that are in the buffer, and leaves the rest there, unless it is the object's last piece.
    pub(super) fn send(&mut self, buffer: &mut Vec<u8>, is_last: bool) {
        let mut ready = Bytes::from(std::mem::take(buffer));
        while ready.len() >= self.piece_bytes {
            self.send_piece(ready.split_to(self.piece_bytes));
        }
        if is_last && !ready.is_empty() {
            self.send_piece(ready);
        } else {
            buffer.extend_from_slice(&ready);
        }
    }

    fn send_piece(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        self.in_flight.0.fetch_add(piece.len(), Ordering::AcqRel);
        let length = piece.len();
        if self.pieces.send(piece).is_err() {
            // The runtime is going down; the outcome says so.
            self.in_flight.0.fetch_sub(length, Ordering::AcqRel);
        }
    }

    /// Bytes handed over.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// No piece follows.
    pub(super) fn finish(self) -> Finishing {
        self.outcome
    }
}

impl Finishing {
    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Option<io::Result<Uploaded>> {
        match self.answer.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(io::Error::other("the upload stopped short"))),
        }
    }

    /// The upload, if all of it is there; otherwise it gives itself up.
    pub(super) fn cancel(mut self) -> Option<Uploaded> {
        self.answer.close();
        self.answer.try_recv().ok()?.ok()
    }
}

/// The runtime's side of an upload.
struct Sending {
    store: Arc<dyn MultipartStore>,
    key: Key,
    id: Option<MultipartId>,
    pieces: Vec<String>,
    bytes: u64,
}

impl Sending {
    async fn send(&mut self, piece: Bytes) -> Result<(), Error> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.id.insert(self.store.create_multipart(&self.key).await?).clone(),
        };
        let length = piece.len() as u64;
        let sent = self
            .store
            .put_part(&self.key, &id, self.pieces.len(), piece.into())
            .await?;
        self.pieces.push(sent.content_id);
        self.bytes += length;
        Ok(())
    }

    async fn give_up(&self) {
        if let Some(id) = &self.id
            && let Err(e) = self.store.abort_multipart(&self.key, id).await
        {
            tracing::warn!(object = %self.key, error = %e, "an unfinished upload is left behind");
        }
    }
}

/// Tells the store that nobody will complete these uploads.
pub(super) async fn give_up(bucket: &Bucket, uploads: Vec<Uploaded>) {
    futures::stream::iter(uploads)
        .for_each_concurrent(AT_ONCE, |upload| async move {
            let given_up = match bucket.key(&upload.object) {
                Ok(key) => bucket
                    .uploads()
                    .abort_multipart(&key, &upload.upload_id)
                    .await
                    .map_err(cause),
                Err(e) => Err(e),
            };
            if let Err(e) = given_up {
                tracing::warn!(object = %upload.object.display(), error = %e, "an unfinished upload is left behind");
            }
        })
        .await;
}

/// How completing an upload ended.
pub(super) enum Completed {
    Yes,
    /// Neither upload nor object is there.
    Lost,
    /// The object has another size.
    Other(u64),
}

/// Makes an uploaded object exist; may be repeated.
///
/// # Errors
/// If the store cannot be asked; then it may be tried again.
pub(super) async fn complete(bucket: &Bucket, upload: &Uploaded) -> io::Result<Completed> {
    let pieces = upload
        .pieces
        .iter()
        .cloned()
        .map(|content_id| PartId { content_id })
        .collect();
    let key = bucket.key(&upload.object)?;
    let completed = bucket
        .uploads()
        .complete_multipart(&key, &upload.upload_id, pieces)
        .await;
    let Err(error) = completed else {
        return Ok(Completed::Yes);
    };
    match bucket.size_of(&upload.object).await? {
        Some(bytes) if bytes == upload.bytes => Ok(Completed::Yes),
        Some(bytes) => Ok(Completed::Other(bytes)),
        None if matches!(error, Error::NotFound { .. }) => Ok(Completed::Lost),
        None => Err(cause(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_object_has_more_pieces_than_a_store_takes() {
        assert_eq!(piece_bytes(1), PIECE_BYTES);
        assert_eq!(piece_bytes(128 << 20), PIECE_BYTES);
        for object_bytes in [44 << 30, 100 << 30, OBJECT_BYTES] {
            let row_group = 128 << 20;
            let pieces = (object_bytes + row_group).div_ceil(piece_bytes(object_bytes) as u64);
            assert!(pieces <= MOST_PIECES, "{object_bytes}: {pieces}");
        }
        assert_eq!(piece_bytes(u64::MAX), piece_bytes(OBJECT_BYTES));
        assert!(piece_bytes(u64::MAX) < 32 << 20);
    }
}
