//! An answer on its way out: small parts copied together, large runs of stored records as shared slices.
//!
//! [`Frame`] is a [`Buf`] over several chunks, so tokio writes it with one vectored system call where the socket
//! takes it.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Below this a copy is cheaper than one more chunk in the vectored write.
const SHARE_FROM_BYTES: usize = 4096;

/// Builds a [`Frame`].
#[derive(Default)]
pub(crate) struct FrameBuilder {
    done: VecDeque<Bytes>,
    done_bytes: usize,
    /// The part being written.
    pub tail: BytesMut,
}

impl FrameBuilder {
    /// Adds bytes without copying them, unless they are few.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_FROM_BYTES {
            self.tail.put_slice(bytes);
            return;
        }
        self.close_tail();
        self.done_bytes += bytes.len();
        self.done.push_back(bytes.clone());
    }

    /// The frame, behind its length.
    pub fn finish(mut self) -> Frame {
        self.close_tail();
        let length = u32::try_from(self.done_bytes).unwrap_or(u32::MAX).to_be_bytes();
        self.done.push_front(Bytes::copy_from_slice(&length));
        Frame {
            chunks: self.done,
            remaining_bytes: self.done_bytes + length.len(),
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.done_bytes += self.tail.len();
            self.done.push_back(self.tail.split().freeze());
        }
    }
}

/// Bytes to be sent, in chunks; no chunk is empty.
pub(crate) struct Frame {
    chunks: VecDeque<Bytes>,
    remaining_bytes: usize,
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.remaining_bytes
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], Bytes::as_ref)
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining_bytes -= count;
        while let Some(front) = self.chunks.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.chunks.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices
            .iter_mut()
            .zip(&self.chunks)
            .map(|(slice, chunk)| *slice = IoSlice::new(chunk));
        filled.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_as_its_parts_in_order_behind_their_length() {
        let large = Bytes::from(vec![7; SHARE_FROM_BYTES]);
        let mut builder = FrameBuilder::default();
        builder.tail.put_slice(b"head");
        builder.put_shared(&large);
        builder.put_shared(&Bytes::from_static(b"small"));
        let mut frame = builder.finish();
        assert_eq!(frame.chunks.len(), 4);
        let total = frame.remaining();
        let bytes = frame.copy_to_bytes(total);
        assert_eq!(bytes[..4], (SHARE_FROM_BYTES as u32 + 9).to_be_bytes());
        assert_eq!((&bytes[4..8], &bytes[total - 5..]), (&b"head"[..], &b"small"[..]));
    }
}
