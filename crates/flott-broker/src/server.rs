//! The network side: one task accepts, one task per connection reads a request, has it answered, and writes.
//!
//! Requests of a connection are answered one after another, as Kafka does, so a waiting fetch holds back what the
//! client pipelined behind it. A request that does not parse, or of a kind or version that was not advertised, closes
//! the connection, as Kafka does.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{self, Outcome, RequestError};
use crate::broker::Core;

/// Kafka's default of `socket.request.max.bytes`.
const MAX_REQUEST_BYTES: usize = 100 << 20;

/// Why a connection ended other than by the client closing it.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("a request of {bytes} bytes; at most {MAX_REQUEST_BYTES} are taken")]
    TooLarge { bytes: u32 },
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

/// Serves until `stopped` turns true or its sender is gone; returns when the last connection is closed.
pub(crate) async fn serve(listener: TcpListener, core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let expiring = async { core.coordinator.expire_forever().await };
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let core = Arc::clone(&core);
                    connections.spawn(async move {
                        if let Err(error) = converse(stream, &core).await {
                            tracing::debug!(%peer, %error, "connection closed");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Most likely out of file descriptors: others have to close first.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        () = expiring => {}
        _ = stopped.wait_for(|&stopped| stopped) => {}
    }
    connections.shutdown().await;
}

async fn converse(stream: TcpStream, core: &Core) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(request) = read_request(&mut reader).await? {
        match api::answer(core, request).await? {
            Outcome::Answer(mut frame) => writer.write_all_buf(&mut frame).await?,
            Outcome::Nothing => {}
            Outcome::Close => break,
        }
    }
    Ok(())
}

/// The next request without its length, or `None` where the client has closed.
async fn read_request(reader: &mut (impl AsyncReadExt + Unpin)) -> Result<Option<Bytes>, ConnectionError> {
    let bytes = match reader.read_u32().await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = bytes as usize;
    if length > MAX_REQUEST_BYTES {
        return Err(ConnectionError::TooLarge { bytes });
    }
    // Grows as bytes arrive beyond the first MiB, so a bare length cannot make the broker reserve memory.
    let mut request = BytesMut::with_capacity(length.min(1 << 20));
    let mut rest = reader.take(length as u64);
    while request.len() < length {
        if rest.read_buf(&mut request).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Some(request.freeze()))
}
