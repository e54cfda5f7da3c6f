//! Compressed files, told by the endings of their names, as Flink does: `.gz`, `.gzip`, `.deflate`, `.zst`.

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    /// A zlib stream.
    Deflate,
    Zstandard,
    /// In a way that cannot be read.
    Unknown,
}

impl Compression {
    /// What the ending of a file's name says.
    pub(super) fn of(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match ending.as_str() {
            "gz" | "gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "zst" => Self::Zstandard,
            "bz2" | "xz" => Self::Unknown,
            _ => Self::None,
        }
    }

    /// The file's content, unpacked.
    pub(super) fn unpack(self, file: File) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None | Self::Unknown => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Deflate => Box::new(ZlibDecoder::new(file)),
            Self::Zstandard => Box::new(zstd::Decoder::new(file)?),
        })
    }
}
