//! [`BatchEncoder`]: records into one batch of format v2.
//!
//! Records are written straight into the batch's buffer behind room for the header; [`BatchEncoder::finish`] fills the header,
//! packs when asked to, and counts the CRC once. Producer id, epoch and sequence are known only when a batch is sent, so they
//! come with `finish`.

use bytes::Bytes;

use super::codec::{Codec, pack};
use super::{CRC_FROM, HEADER_BYTES, LENGTH_PREFIX_BYTES, varint};

/// A batch being filled.
#[derive(Debug)]
pub struct BatchEncoder {
    /// Header room, then records.
    buf: Vec<u8>,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

/// Who writes a batch; all -1 without idempotence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub transactional: bool,
}

impl ProducerStamp {
    /// Without idempotence.
    pub const NONE: Self = Self {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        transactional: false,
    };
}

/// A header to write: key and value.
pub type HeaderRef<'a> = (&'a str, Option<&'a [u8]>);

impl BatchEncoder {
    /// An empty batch with room for about `capacity_bytes`.
    pub fn new(capacity_bytes: usize) -> Self {
        let mut buf = Vec::with_capacity(capacity_bytes.max(HEADER_BYTES));
        buf.resize(HEADER_BYTES, 0);
        Self {
            buf,
            count: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        }
    }

    /// Records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes so far, header included, before packing.
    pub fn size_bytes(&self) -> usize {
        self.buf.len()
    }

    /// At most this many bytes does a record add.
    pub fn bound_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderRef<'_>]) -> usize {
        let headers: usize = headers
            .iter()
            .map(|(k, v)| k.len() + v.map_or(0, <[u8]>::len) + 10)
            .sum();
        key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers + 36
    }

    /// Appends a record.
    #[inline]
    pub fn append(&mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderRef<'_>]) {
        if self.count == 0 {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        let offset_delta = i64::from(self.count);
        let nullable = |part: Option<&[u8]>| part.map_or(1, |p| varint::size(p.len() as i64) + p.len());
        let mut size = 1 + varint::size(timestamp_delta) + varint::size(offset_delta) + nullable(key) + nullable(value);
        size += varint::size(headers.len() as i64);
        for (name, header) in headers {
            size += nullable(Some(name.as_bytes())) + nullable(*header);
        }
        let buf = &mut self.buf;
        buf.reserve(size + 5);
        varint::put(buf, size as i64);
        buf.push(0);
        varint::put(buf, timestamp_delta);
        varint::put(buf, offset_delta);
        put_nullable(buf, key);
        put_nullable(buf, value);
        varint::put(buf, headers.len() as i64);
        for (name, header) in headers {
            put_nullable(buf, Some(name.as_bytes()));
            put_nullable(buf, *header);
        }
        self.count += 1;
    }

    /// The finished batch; the error is the codec's.
    pub fn finish(mut self, codec: Codec, stamp: ProducerStamp) -> Result<Bytes, String> {
        if codec != Codec::None {
            let mut packed = Vec::with_capacity(self.buf.len() / 2 + HEADER_BYTES);
            packed.resize(HEADER_BYTES, 0);
            pack(codec, &self.buf[HEADER_BYTES..], &mut packed)?;
            self.buf = packed;
        }
        let attributes = codec.bits() | if stamp.transactional { 0x10 } else { 0 };
        let length = (self.buf.len() - LENGTH_PREFIX_BYTES) as i32;
        let buf = &mut self.buf;
        buf[0..8].copy_from_slice(&0i64.to_be_bytes());
        buf[8..12].copy_from_slice(&length.to_be_bytes());
        buf[12..16].copy_from_slice(&(-1i32).to_be_bytes());
        buf[16] = 2;
        buf[21..23].copy_from_slice(&attributes.to_be_bytes());
        buf[23..27].copy_from_slice(&(self.count - 1).to_be_bytes());
        buf[27..35].copy_from_slice(&self.base_timestamp_ms.to_be_bytes());
        buf[35..43].copy_from_slice(&self.max_timestamp_ms.to_be_bytes());
        buf[43..51].copy_from_slice(&stamp.producer_id.to_be_bytes());
        buf[51..53].copy_from_slice(&stamp.producer_epoch.to_be_bytes());
        buf[53..57].copy_from_slice(&stamp.base_sequence.to_be_bytes());
        buf[57..61].copy_from_slice(&self.count.to_be_bytes());
        let crc = crc32c::crc32c(&buf[CRC_FROM..]);
        buf[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(Bytes::from(self.buf))
    }
}

#[inline]
fn put_nullable(buf: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        None => buf.push(1), // zigzag of -1
        Some(bytes) => {
            varint::put(buf, bytes.len() as i64);
            buf.extend_from_slice(bytes);
        }
    }
}
