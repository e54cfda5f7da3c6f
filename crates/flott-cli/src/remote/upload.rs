//! A file on its way to a JobManager, as browsers send it: read in pieces, and never held whole.

use anyhow::{Context, Result};
use hyper::body::{Body, Bytes, Frame};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{self, Poll};
use tokio::sync::mpsc::{Receiver, channel};

/// What parts the file from what surrounds it: random enough to be in no file.
const BOUNDARY: &str = "flott-upload-7b0c1e52d9a84f36a1c5e8f2094d6b73";

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces that wait to be sent.
const PIECES: usize = 4;

/// A file that is to be sent.
#[derive(Debug)]
pub(super) struct FileUpload {
    path: PathBuf,
    head: Bytes,
    tail: Bytes,
    file_bytes: u64,
}

impl FileUpload {
    /// Of a file, under its own name.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let unread = || format!("{} cannot be read", path.display());
        let file_bytes = path.metadata().with_context(unread)?.len();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let name = name.replace(['"', '\r', '\n'], "_");
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        Ok(Self {
            path: path.to_owned(),
            head: head.into(),
            tail: format!("\r\n--{BOUNDARY}--\r\n").into(),
            file_bytes,
        })
    }

    /// The media type.
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// Bytes that are sent.
    pub(super) fn bytes(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64 + self.file_bytes
    }

    /// What is sent.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn body(&self) -> Result<Pieces> {
        let file = File::open(&self.path).with_context(|| format!("{} cannot be read", self.path.display()))?;
        let (pieces, receiver) = channel(PIECES);
        let (head, tail) = (self.head.clone(), self.tail.clone());
        tokio::task::spawn_blocking(move || {
            let mut file = file;
            // Who does not listen any more has answered, or is gone.
            if pieces.blocking_send(Ok(head)).is_err() {
                return;
            }
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let sent = match file.read(&mut piece) {
                    Ok(0) => break,
                    Ok(bytes) => {
                        piece.truncate(bytes);
                        pieces.blocking_send(Ok(piece.into()))
                    }
                    Err(error) => pieces.blocking_send(Err(error)),
                };
                if sent.is_err() {
                    return;
                }
            }
            let _ = pieces.blocking_send(Ok(tail));
        });
        Ok(Pieces(receiver))
    }
}

/// The pieces of a body as they are read.
#[derive(Debug)]
pub(super) struct Pieces(Receiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(ctx).map(|piece| Some(piece?.map(Frame::data)))
    }
}
