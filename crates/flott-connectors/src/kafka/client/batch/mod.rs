//! Record batches of format v2: read in place ([`walk`]), written ([`encode`]), packed and unpacked ([`codec`]).
//!
//! ```text
//! 0  base offset          i64   offset of the first record
//! 8  length               i32   bytes after this field
//! 12 leader epoch         i32
//! 16 magic                i8    2
//! 17 crc                  u32   CRC-32C of everything from byte 21 on
//! 21 attributes           i16   bits 0-2 codec, 3 log-append time, 4 transactional, 5 control
//! 23 last offset delta    i32
//! 27 base timestamp       i64
//! 35 max timestamp        i64
//! 43 producer id          i64   -1 without idempotence
//! 51 producer epoch       i16
//! 53 base sequence        i32
//! 57 records              i32   count
//! 61 records: zigzag varint length, i8 attributes, varint timestamp delta, varint offset delta,
//!    varint key length (-1: null), key, varint value length (-1: null), value, varint header count, headers
//! ```

pub mod codec;
pub mod encode;
pub mod varint;
pub mod walk;

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the part that the CRC covers begins.
pub(crate) const CRC_FROM: usize = 21;

/// The fixed part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch, this header included.
    pub size_bytes: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. `Ok(None)`: the batch is cut off, as the last of a fetch may be.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let (Some(base_offset), Some(length), Some([magic])) = (take(bytes, 0), take(bytes, 8), take(bytes, 16)) else {
            return Ok(None);
        };
        if magic != 2 {
            return Err(format!(
                "message format v{magic} is not supported (v2 is, written by every broker since 0.11)"
            ));
        }
        let length = i32::from_be_bytes(length);
        let size_bytes = usize::try_from(length)
            .ok()
            .map(|l| l + LENGTH_PREFIX_BYTES)
            .filter(|s| *s >= HEADER_BYTES);
        let Some(size_bytes) = size_bytes else {
            return Err(format!("impossible batch length {length}"));
        };
        if bytes.len() < size_bytes {
            return Ok(None);
        }
        let fields = (|| {
            Some(Self {
                base_offset: i64::from_be_bytes(base_offset),
                size_bytes,
                leader_epoch: i32::from_be_bytes(take(bytes, 12)?),
                crc: u32::from_be_bytes(take(bytes, 17)?),
                attributes: i16::from_be_bytes(take(bytes, 21)?),
                last_offset_delta: i32::from_be_bytes(take(bytes, 23)?),
                base_timestamp_ms: i64::from_be_bytes(take(bytes, 27)?),
                max_timestamp_ms: i64::from_be_bytes(take(bytes, 35)?),
                producer_id: i64::from_be_bytes(take(bytes, 43)?),
                producer_epoch: i16::from_be_bytes(take(bytes, 51)?),
                base_sequence: i32::from_be_bytes(take(bytes, 53)?),
                record_count: i32::from_be_bytes(take(bytes, 57)?),
            })
        })();
        let Some(header) = fields else { return Ok(None) };
        // An offset so near the end of the numbers is no offset, and sums with it stay in range.
        let last_base = i64::MAX - (1 << 32);
        if header.record_count < 0 || header.last_offset_delta < 0 || !(0..=last_base).contains(&header.base_offset) {
            return Err(format!(
                "impossible counts: base offset {}, last offset delta {}, {} records",
                header.base_offset, header.last_offset_delta, header.record_count
            ));
        }
        Ok(Some(header))
    }

    /// The offset after the batch's last.
    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether the batch is a marker of the broker's rather than data.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether every record carries the broker's time of append.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }
}
