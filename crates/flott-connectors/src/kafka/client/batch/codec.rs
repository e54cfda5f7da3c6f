//! The compression codecs of Kafka: each unpacks a batch's records into a buffer that is used again.

use std::io::Read;
use std::str::FromStr;

/// Refuse to unpack more than this from one batch: a broken length, or a batch made to burst, must not take the process
/// down. Brokers take batches of 1 MiB unless told otherwise.
const MAX_UNPACKED_BYTES: usize = 256 << 20;

/// A codec by its number in the batch attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// The codec of a batch's attributes.
    pub fn of_attributes(attributes: i16) -> Result<Self, String> {
        Ok(match attributes & 7 {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            other => return Err(format!("unknown compression codec {other}")),
        })
    }

    /// The bits in the attributes.
    pub fn bits(self) -> i16 {
        self as i16
    }
}

impl FromStr for Codec {
    type Err = String;

    /// Kafka's `compression.type` names.
    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "none" => Codec::None,
            "gzip" => Codec::Gzip,
            "snappy" => Codec::Snappy,
            "lz4" => Codec::Lz4,
            "zstd" => Codec::Zstd,
            _ => return Err("one of none, gzip, snappy, lz4, zstd".into()),
        })
    }
}

/// The Java client frames snappy in blocks behind this, and two version numbers.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;

/// Unpacks `packed` into `out`, which is cleared first. The error is the reason.
pub fn unpack(codec: Codec, packed: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    out.clear();
    match codec {
        Codec::None => out.extend_from_slice(packed),
        Codec::Gzip => read_all(flate2::read::MultiGzDecoder::new(packed), out, "gzip")?,
        Codec::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(packed), out, "lz4")?,
        Codec::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|e| format!("zstd: {e}"))?;
            read_all(decoder, out, "zstd")?;
        }
        Codec::Snappy => unpack_snappy(packed, out)?,
    }
    Ok(())
}

fn read_all(reader: impl Read, out: &mut Vec<u8>, name: &str) -> Result<(), String> {
    reader
        .take(MAX_UNPACKED_BYTES as u64 + 1)
        .read_to_end(out)
        .map_err(|e| format!("{name}: {e}"))?;
    if out.len() > MAX_UNPACKED_BYTES {
        return Err(format!("{name}: unpacks to more than {MAX_UNPACKED_BYTES} bytes"));
    }
    Ok(())
}

fn unpack_snappy(packed: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut decoder = snap::raw::Decoder::new();
    let mut block = |bytes: &[u8], out: &mut Vec<u8>| -> Result<(), String> {
        let size = snap::raw::decompress_len(bytes).map_err(|e| format!("snappy: {e}"))?;
        // A snappy copy of 64 bytes takes at least two: a block cannot unpack to more than 64 times its size.
        if size > bytes.len().saturating_mul(64) || out.len() + size > MAX_UNPACKED_BYTES {
            return Err(format!("snappy: impossible unpacked size {size}"));
        }
        let from = out.len();
        out.resize(from + size, 0);
        decoder
            .decompress(bytes, &mut out[from..])
            .map_err(|e| format!("snappy: {e}"))?;
        Ok(())
    };
    if !packed.starts_with(&XERIAL_MAGIC) {
        return block(packed, out);
    }
    let mut rest = packed
        .get(XERIAL_HEADER_BYTES..)
        .ok_or("snappy: cut-off block header")?;
    while !rest.is_empty() {
        let (size, after) = rest.split_first_chunk::<4>().ok_or("snappy: cut-off block length")?;
        let size = u32::from_be_bytes(*size) as usize;
        block(after.get(..size).ok_or("snappy: cut-off block")?, out)?;
        rest = &after[size..];
    }
    Ok(())
}

/// Appends `records`, packed, to `out`.
pub fn pack(codec: Codec, records: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    use std::io::Write;
    match codec {
        Codec::None => out.extend_from_slice(records),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder
                .write_all(records)
                .and_then(|()| encoder.finish())
                .map_err(|e| format!("gzip: {e}"))?;
        }
        Codec::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(records).map_err(|e| format!("lz4: {e}"))?;
            encoder.finish().map_err(|e| format!("lz4: {e}"))?;
        }
        Codec::Zstd => {
            let packed =
                zstd::bulk::compress(records, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(|e| format!("zstd: {e}"))?;
            out.extend_from_slice(&packed);
        }
        Codec::Snappy => pack_snappy(records, out)?,
    }
    Ok(())
}

/// In the Java client's framing, which every consumer reads.
fn pack_snappy(records: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    const BLOCK_BYTES: usize = 32 * 1024;
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).map_err(|e| format!("snappy: {e}"))?;
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn round_trip() {
        let data: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
        for codec in ALL {
            for data in [&data[..], &data[..100], &[]] {
                packed.clear();
                pack(codec, data, &mut packed).unwrap();
                unpack(codec, &packed, &mut unpacked).unwrap();
                assert!(unpacked == data, "{codec:?}");
            }
            assert_eq!(Codec::of_attributes(codec.bits()).unwrap(), codec);
        }
        assert!(Codec::of_attributes(6).is_err());
    }

    #[test]
    fn raw_snappy_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        let mut out = Vec::new();
        unpack(Codec::Snappy, &packed, &mut out).unwrap();
        assert_eq!(out, b"hello hello hello");
    }

    #[test]
    fn broken_input_is_an_error() {
        let mut out = Vec::new();
        let huge_snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        for codec in &ALL[1..] {
            for bad in [&b"nonsense"[..], &huge_snappy[..], &XERIAL_MAGIC[..]] {
                assert!(unpack(*codec, bad, &mut out).is_err(), "{codec:?} {bad:?}");
            }
        }
    }
}
