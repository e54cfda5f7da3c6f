//! Writing objects: multipart uploads that a checkpoint can list and a commit completes.
//!
//! ```text
//!   rows ─► pieces of 5 MiB ─► uploaded on the runtime ─(barrier)─► [`Uploaded`]: id and pieces, in the checkpoint ─► completed
//! ```
//! An object does not exist before its upload is completed, and completing can be repeated: an upload that is gone and whose
//! object is there with the right size is committed already. An upload that no checkpoint lists is given up when its writer ends
//! by itself; one that a killed process left costs room until the bucket's lifecycle rule for incomplete uploads removes it,
//! as with Flink: stores do not tell whose an upload is.

use super::bucket::{Bucket, cause};
use bytes::Bytes;
use flott_runtime::Waker;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{Error, MultipartId};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;

/// Size of a piece; the least that stores take for any but the last.
pub(super) const PIECE_BYTES: usize = 5 << 20;
/// Bytes on their way above which a writer takes no more rows.
pub(super) const MOST_BYTES: usize = 64 << 20;

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
    bytes: u64,
}

/// An object whose last piece is on its way.
pub(super) struct Finishing {
    pub object: PathBuf,
    answer: oneshot::Receiver<io::Result<Uploaded>>,
}

impl Upload {
    /// Begins to write an object.
    ///
    /// # Errors
    /// If the path is no address in the bucket.
    pub(super) fn begin(
        bucket: &Bucket,
        object: PathBuf,
        runtime: &Handle,
        waker: &Waker,
        in_flight: &InFlight,
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
                // After a failure pieces are only taken out of the way.
                if failed.is_none() {
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
            bytes: 0,
        })
    }

    /// Hands a piece over; any but the last must have [`PIECE_BYTES`] or more.
    pub(super) fn send(&mut self, piece: Vec<u8>) {
        self.bytes += piece.len() as u64;
        self.in_flight.0.fetch_add(piece.len(), Ordering::AcqRel);
        let length = piece.len();
        if self.pieces.send(piece.into()).is_err() {
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
    match size_of(bucket, &upload.object).await? {
        Some(bytes) if bytes == upload.bytes => Ok(Completed::Yes),
        Some(bytes) => Ok(Completed::Other(bytes)),
        None if matches!(error, Error::NotFound { .. }) => Ok(Completed::Lost),
        None => Err(cause(error)),
    }
}

async fn size_of(bucket: &Bucket, object: &Path) -> io::Result<Option<u64>> {
    bucket.size_of(object).await
}
