//! Compressed files, told by the endings of their names, as Flink does: `.gz`, `.gzip`, `.deflate`, `.bz2`, `.xz`,
//! `.zst`.

use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use lzma_rust2::XzReader;
use std::io::{self, Read};
use std::path::Path;

/// Most memory that a file of `.xz` may ask for.
const XZ_MEMORY_KIB: u32 = 256 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    /// A zlib stream.
    Deflate,
    Bzip2,
    Xz,
    Zstandard,
}

impl Compression {
    /// What the ending of a file's name says.
    pub(super) fn of(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match ending.as_str() {
            "gz" | "gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "zst" => Self::Zstandard,
            "bz2" => Self::Bzip2,
            "xz" => Self::Xz,
            _ => Self::None,
        }
    }

    /// The file's content, unpacked.
    pub(super) fn unpack(self, file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Deflate => Box::new(ZlibDecoder::new(file)),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(file)),
            // The limit holds the dictionary that `xz -9e` asks for, four times over.
            Self::Xz => Box::new(XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB)),
            Self::Zstandard => Box::new(zstd::Decoder::new(file)?),
        })
    }
}
