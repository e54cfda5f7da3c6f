//! Messages with their length in front: `[length u32][bytes]`, little endian.

use super::NetError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Memory that a length alone is given; more comes with the bytes themselves.
const TRUSTED_BYTES: usize = 64 << 10;

/// Reads a message, or `None` if the other side closed the connection between two messages.
///
/// Memory grows with what has come, never with what was announced. Not cancel safe: a part of a message may have been read
/// and is lost. Waits for as long as it takes; callers set the deadline.
///
/// # Errors
/// [`NetError::TooLong`] above `bound_bytes`, [`NetError::Closed`] in the middle of a message, [`NetError::Io`].
pub async fn read_message<S>(stream: &mut S, bound_bytes: usize) -> Result<Option<Vec<u8>>, NetError>
where
    S: AsyncRead + Unpin + ?Sized,
{
    let mut head = [0; 4];
    let mut have = 0;
    while have < head.len() {
        match stream.read(&mut head[have..]).await? {
            0 if have == 0 => return Ok(None),
            0 => return Err(NetError::Closed),
            n => have += n,
        }
    }
    read_body(stream, "message", u32::from_le_bytes(head), bound_bytes)
        .await
        .map(Some)
}

/// The `length` bytes of a `what`, which may be `bound_bytes` at most.
pub(super) async fn read_body<S>(
    stream: &mut S,
    what: &'static str,
    length: u32,
    bound_bytes: usize,
) -> Result<Vec<u8>, NetError>
where
    S: AsyncRead + Unpin + ?Sized,
{
    let bytes = length as usize;
    check(what, bytes, bound_bytes)?;
    let mut body = Vec::with_capacity(bytes.min(TRUSTED_BYTES));
    stream.take(u64::from(length)).read_to_end(&mut body).await?;
    match body.len() == bytes {
        true => Ok(body),
        false => Err(NetError::Closed),
    }
}

/// Writes a message and flushes it.
///
/// Not cancel safe: a part of it may have been written, and the stream is of no use behind that.
///
/// # Errors
/// [`NetError::TooLong`] if it is longer than `bound_bytes` (give the reader's bound) or 4 GiB, before anything is written;
/// [`NetError::Io`].
pub async fn write_message<S>(stream: &mut S, message: &[u8], bound_bytes: usize) -> Result<(), NetError>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    check("message", message.len(), bound_bytes.min(u32::MAX as usize))?;
    let head = (message.len() as u32).to_le_bytes();
    if message.len() <= TRUSTED_BYTES {
        // One packet, where the length alone would be a packet of its own.
        stream.write_all(&[&head, message].concat()).await?;
    } else {
        stream.write_all(&head).await?;
        stream.write_all(message).await?;
    }
    Ok(stream.flush().await?)
}

pub(super) fn check(what: &'static str, bytes: usize, bound_bytes: usize) -> Result<(), NetError> {
    match bytes <= bound_bytes {
        true => Ok(()),
        false => Err(NetError::TooLong {
            what,
            length: bytes as u64,
            bound: bound_bytes as u64,
        }),
    }
}
