//! Kafka's record batch, message format v2, seen through its header.
//!
//! ```text
//!  0 base offset i64 ┐
//!  8 batch length i32├ the prefix: not under the CRC, rewritten by the broker
//! 12 leader epoch i32┘
//! 16 magic i8 = 2
//! 17 crc u32          over everything that follows
//! 21 attributes i16   bits 0-2 codec, 3 log append time, 4 transactional, 5 control
//! 23 last offset delta i32
//! 27 base timestamp i64
//! 35 max timestamp i64
//! 43 producer id i64
//! 51 producer epoch i16
//! 53 base sequence i32
//! 57 record count i32
//! 61 records: (varint length, attributes i8, varint timestamp delta, varint offset delta, key, value, headers)*
//! ```
//!
//! The broker never re-encodes records: a batch is stored as a fresh 16-byte [`Prefix`] and the received bytes from
//! the magic on. Compressed records are not looked into; the header tells their number.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;

/// Bytes of a batch before its magic: base offset, batch length, leader epoch.
pub(crate) const PREFIX_BYTES: usize = 16;
/// Bytes of a batch before its first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// "No producer": the producer id of batches that are not idempotent.
pub(crate) const NO_PRODUCER_ID: i64 = -1;

const CODEC_MASK: i16 = 0b111;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The part of a batch that the broker writes itself.
pub(crate) type Prefix = [u8; PREFIX_BYTES];

/// What the header of a batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl BatchHeader {
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub fn is_compressed(&self) -> bool {
        self.attributes & CODEC_MASK != 0
    }

    /// The sequence number of the last record; numbers wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (last % (i64::from(i32::MAX) + 1)) as i32
    }
}

/// A batch that passed its checks: its header, and its bytes from the magic on.
#[derive(Debug, Clone)]
pub(crate) struct CheckedBatch {
    pub header: BatchHeader,
    pub body: Bytes,
}

impl CheckedBatch {
    /// Takes one batch off the front of `buf`, checking its length, magic, CRC and record count.
    ///
    /// # Errors
    /// Kafka's codes: `CORRUPT_MESSAGE` for a length or CRC that does not fit, `UNSUPPORTED_FOR_MESSAGE_FORMAT` for
    /// formats before v2, `INVALID_RECORD` for counts that contradict each other.
    pub fn split_from(buf: &mut Bytes) -> Result<Self, ResponseError> {
        if buf.len() < PREFIX_BYTES + 1 {
            return Err(ResponseError::CorruptMessage);
        }
        if buf[PREFIX_BYTES] != 2 {
            return Err(ResponseError::UnsupportedForMessageFormat);
        }
        let batch_length = i32_at(buf, 8);
        let total_bytes = 12 + i64::from(batch_length);
        if total_bytes < HEADER_BYTES as i64 || total_bytes > buf.len() as i64 {
            return Err(ResponseError::CorruptMessage);
        }
        let batch = buf.split_to(total_bytes as usize);
        let crc = i32_at(&batch, 17) as u32;
        if crc != crc32c::crc32c(&batch[21..]) {
            return Err(ResponseError::CorruptMessage);
        }
        let header = BatchHeader {
            attributes: i16_at(&batch, 21),
            last_offset_delta: i32_at(&batch, 23),
            base_timestamp_ms: i64_at(&batch, 27),
            max_timestamp_ms: i64_at(&batch, 35),
            producer_id: i64_at(&batch, 43),
            producer_epoch: i16_at(&batch, 51),
            base_sequence: i32_at(&batch, 53),
        };
        let record_count = i32_at(&batch, 57);
        let codec = header.attributes & CODEC_MASK;
        if record_count <= 0 || header.last_offset_delta != record_count - 1 || codec > 4 {
            return Err(ResponseError::InvalidRecord);
        }
        Ok(Self {
            header,
            body: batch.slice(PREFIX_BYTES..),
        })
    }

    /// The size that the batch has on the wire.
    pub fn size_bytes(&self) -> usize {
        PREFIX_BYTES + self.body.len()
    }
}

/// The prefix of a batch at `base_offset` whose bytes from the magic on are `body_bytes` long.
pub(crate) fn prefix(base_offset: i64, leader_epoch: i32, body_bytes: usize) -> Prefix {
    let mut prefix = [0; PREFIX_BYTES];
    let batch_length = (body_bytes + 4) as i32;
    prefix[..8].copy_from_slice(&base_offset.to_be_bytes());
    prefix[8..12].copy_from_slice(&batch_length.to_be_bytes());
    prefix[12..].copy_from_slice(&leader_epoch.to_be_bytes());
    prefix
}

/// What a record looks like to those who append to the broker in process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainRecord<'a> {
    /// The record's timestamp (CreateTime), in ms since the epoch.
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Encodes `records` as one batch without a producer id, uncompressed, base offset 0.
///
/// Returns `None` for no records.
pub fn encode_batch(records: &[PlainRecord<'_>]) -> Option<Bytes> {
    let first = records.first()?;
    let max_timestamp_ms = records.iter().map(|record| record.timestamp_ms).max()?;
    let mut out = BytesMut::with_capacity(records.iter().map(max_record_bytes).sum::<usize>() + HEADER_BYTES);
    let header = BatchHeader {
        attributes: 0,
        last_offset_delta: records.len() as i32 - 1,
        base_timestamp_ms: first.timestamp_ms,
        max_timestamp_ms,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        base_sequence: -1,
    };
    put_header(&mut out, &header, records.len() as i32);
    for (index, record) in records.iter().enumerate() {
        let timestamp_delta = record.timestamp_ms.wrapping_sub(first.timestamp_ms);
        put_record(&mut out, timestamp_delta, index as i64, record.key, record.value);
    }
    Some(seal(out))
}

/// The control batch that ends a transaction on one partition.
pub(crate) fn end_marker(producer_id: i64, producer_epoch: i16, commit: bool, now_ms: i64) -> CheckedBatch {
    let header = BatchHeader {
        attributes: TRANSACTIONAL | CONTROL,
        last_offset_delta: 0,
        base_timestamp_ms: now_ms,
        max_timestamp_ms: now_ms,
        producer_id,
        producer_epoch,
        base_sequence: -1,
    };
    // Key: version 0 and type (0 abort, 1 commit). Value: version 0 and the coordinator's epoch, 0.
    let key = [0, 0, 0, u8::from(commit)];
    let value = [0; 6];
    let mut out = BytesMut::with_capacity(HEADER_BYTES + 24);
    put_header(&mut out, &header, 1);
    put_record(&mut out, 0, 0, Some(&key), Some(&value));
    CheckedBatch {
        header,
        body: seal(out).slice(PREFIX_BYTES..),
    }
}

/// Finds the first record of an uncompressed batch with a timestamp of at least `timestamp_ms`: (timestamp, offset
/// delta). `None` where there is none, or the records do not parse.
pub(crate) fn first_record_at(header: &BatchHeader, body: &[u8], timestamp_ms: i64) -> Option<(i64, i32)> {
    let mut records = body.get(HEADER_BYTES - PREFIX_BYTES..)?;
    for _ in 0..=header.last_offset_delta {
        let length = usize::try_from(take_varint(&mut records)?).ok()?;
        let mut record = records.get(..length)?;
        records = &records[length..];
        record = record.get(1..)?;
        let record_timestamp_ms = header.base_timestamp_ms.wrapping_add(take_varint(&mut record)?);
        let offset_delta = take_varint(&mut record)?;
        if record_timestamp_ms >= timestamp_ms {
            return Some((record_timestamp_ms, i32::try_from(offset_delta).ok()?));
        }
    }
    None
}

fn put_header(out: &mut BytesMut, header: &BatchHeader, record_count: i32) {
    out.put_bytes(0, PREFIX_BYTES);
    out.put_u8(2);
    out.put_u32(0);
    out.put_i16(header.attributes);
    out.put_i32(header.last_offset_delta);
    out.put_i64(header.base_timestamp_ms);
    out.put_i64(header.max_timestamp_ms);
    out.put_i64(header.producer_id);
    out.put_i16(header.producer_epoch);
    out.put_i32(header.base_sequence);
    out.put_i32(record_count);
}

fn seal(mut out: BytesMut) -> Bytes {
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    let prefix = prefix(0, -1, out.len() - PREFIX_BYTES);
    out[..PREFIX_BYTES].copy_from_slice(&prefix);
    out.freeze()
}

fn put_record(out: &mut BytesMut, timestamp_delta: i64, offset_delta: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
    let field_bytes = |field: Option<&[u8]>| match field {
        Some(bytes) => varint_bytes(bytes.len() as i64) + bytes.len(),
        None => varint_bytes(-1),
    };
    let length =
        1 + varint_bytes(timestamp_delta) + varint_bytes(offset_delta) + field_bytes(key) + field_bytes(value) + 1;
    put_varint(out, length as i64);
    out.put_u8(0);
    put_varint(out, timestamp_delta);
    put_varint(out, offset_delta);
    for field in [key, value] {
        match field {
            Some(bytes) => {
                put_varint(out, bytes.len() as i64);
                out.put_slice(bytes);
            }
            None => put_varint(out, -1),
        }
    }
    put_varint(out, 0);
}

fn max_record_bytes(record: &PlainRecord<'_>) -> usize {
    32 + record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn varint_bytes(value: i64) -> usize {
    let significant_bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    significant_bits.div_ceil(7)
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn take_varint(buf: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, &byte) in buf.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *buf = &buf[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from(i32_at(bytes, at)) << 32 | i64::from(i32_at(bytes, at + 4) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(timestamps_ms: &[i64]) -> Bytes {
        let records: Vec<_> = timestamps_ms
            .iter()
            .map(|&t| PlainRecord {
                timestamp_ms: t,
                key: None,
                value: Some(b"v"),
            })
            .collect();
        encode_batch(&records).expect("records were given")
    }

    #[test]
    fn an_encoded_batch_passes_its_own_checks() {
        let mut bytes = batch(&[50, 10, 70]);
        let checked = CheckedBatch::split_from(&mut bytes).expect("valid");
        assert!(bytes.is_empty());
        assert_eq!(checked.header.last_offset_delta, 2);
        assert_eq!(
            (checked.header.base_timestamp_ms, checked.header.max_timestamp_ms),
            (50, 70)
        );
        assert_eq!(first_record_at(&checked.header, &checked.body, 51), Some((70, 2)));
        assert_eq!(first_record_at(&checked.header, &checked.body, 0), Some((50, 0)));
        assert_eq!(first_record_at(&checked.header, &checked.body, 71), None);
    }

    #[test]
    fn the_crates_decoder_reads_what_we_encode() {
        let mut bytes = batch(&[-5, 1 << 40]);
        let set = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).expect("valid");
        let timestamps_ms: Vec<_> = set.records.iter().map(|record| record.timestamp).collect();
        assert_eq!(timestamps_ms, [-5, 1 << 40]);
    }

    #[test]
    fn a_flipped_bit_is_a_corrupt_message() {
        let mut bytes = batch(&[1, 2]).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let refusal = CheckedBatch::split_from(&mut bytes.into()).map(|_| ());
        assert_eq!(refusal, Err(ResponseError::CorruptMessage));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let header = BatchHeader {
            attributes: 0,
            last_offset_delta: 2,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            producer_id: 1,
            producer_epoch: 0,
            base_sequence: i32::MAX - 1,
        };
        assert_eq!(header.last_sequence(), 0);
    }
}
