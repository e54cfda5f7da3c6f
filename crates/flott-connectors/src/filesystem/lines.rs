//! [`LineReader`]: the lines of a range of a file, a block at a time.

use super::compression::Compression;
use super::enumerator::FileSplit;
use super::fetch::{Arrived, Fetcher, ObjectBytes};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Room for unread bytes to begin with.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest line.
const LINE_BYTES: usize = 64 << 20;

/// Reads a range; hands out blocks that start with a line.
pub(super) struct LineReader {
    input: Input,
    buffer: Vec<u8>,
    /// Unread bytes in the buffer.
    begin: usize,
    end: usize,
    /// Place in the (unpacked) file of the first unread byte: a line's start, once the start is found.
    position: u64,
    /// End of the range.
    limit: u64,
    at_end_of_file: bool,
    start: Start,
}

/// Where the bytes come from.
enum Input {
    Disk(Box<dyn Read + Send>),
    Object(ObjectBytes),
}

/// What stands between the first byte and the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The rest of the line in which the range begins.
    Line,
    /// A byte order mark, perhaps.
    Mark,
    Found,
}

impl LineReader {
    /// Opens the file at the split's position, or at its first line. An object of a bucket is read by `fetcher`.
    pub(super) fn open(split: &FileSplit, fetcher: Option<&Fetcher>) -> io::Result<Self> {
        // A line begins behind a line end, so the byte before the range decides whether one begins at its start.
        let from = split.position.unwrap_or(split.start.saturating_sub(1));
        let packed = Compression::of(&split.path);
        let input = match fetcher {
            Some(fetcher) => Input::Object(ObjectBytes::open(fetcher, &split.path, packed, from..split.end)?),
            None => Input::Disk(open_file(&split.path, packed, from)?),
        };
        Ok(Self {
            input,
            buffer: vec![],
            begin: 0,
            end: 0,
            position: from,
            limit: split.end,
            at_end_of_file: false,
            start: if split.position.is_none() && split.start > 0 {
                Start::Line
            } else if from == 0 {
                Start::Mark
            } else {
                Start::Found
            },
        })
    }

    /// Looks for the start of the first line among the unread bytes.
    fn find_start(&mut self) {
        let unread = &self.buffer[self.begin..self.end];
        match self.start {
            Start::Line => match memchr::memchr(b'\n', unread) {
                Some(length) => {
                    self.consume(length + 1);
                    self.start = Start::Found;
                }
                None => self.consume(unread.len()),
            },
            Start::Mark if unread.len() >= 3 || self.at_end_of_file => {
                if unread.starts_with(b"\xEF\xBB\xBF") {
                    self.consume(3);
                }
                self.start = Start::Found;
            }
            Start::Mark | Start::Found => {}
        }
    }

    /// Start of the first line not yet read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the start of the first line is found.
    pub(super) fn has_begun(&self) -> bool {
        self.start == Start::Found
    }

    /// Whether all lines of the range are read.
    pub(super) fn is_finished(&self) -> bool {
        self.position >= self.limit || (self.at_end_of_file && self.begin == self.end)
    }

    /// The unread bytes of the range, and whether the last line is complete without a line end.
    pub(super) fn block(&self) -> (&[u8], bool) {
        if self.start != Start::Found {
            return (&[], self.at_end_of_file);
        }
        let unread = &self.buffer[self.begin..self.end];
        // The last line of the range ends with the first line end from its last byte on.
        let last_byte = self.limit.saturating_sub(self.position).saturating_sub(1);
        if let Ok(last_byte) = usize::try_from(last_byte)
            && last_byte < unread.len()
            && let Some(length) = memchr::memchr(b'\n', &unread[last_byte..])
        {
            return (&unread[..last_byte + length + 1], true);
        }
        (unread, self.at_end_of_file)
    }

    /// Takes bytes from the start of the block as read.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.begin += bytes;
        self.position += bytes as u64;
    }

    /// Reads on, as far as bytes are there.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is too long.
    pub(super) fn fill(&mut self) -> io::Result<Arrived> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.end == self.buffer.len() {
            if self.end >= LINE_BYTES {
                let message = format!(
                    "the line at byte {} is longer than {LINE_BYTES} bytes; is 'format' that of the file, and every quote closed?",
                    self.position
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            self.buffer.resize((self.end * 2).max(BLOCK_BYTES), 0);
        }
        let free = &mut self.buffer[self.end..];
        let arrived = match &mut self.input {
            Input::Object(object) => object.read(free)?,
            Input::Disk(file) => Arrived::Bytes(read_some(file, free)?),
        };
        if let Arrived::Bytes(read) = arrived {
            self.end += read;
            self.at_end_of_file = read == 0;
            self.find_start();
        }
        Ok(arrived)
    }
}

fn read_some(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A file of the disk from `from` on, counted in what it holds unpacked.
fn open_file(path: &Path, packed: Compression, from: u64) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    if packed == Compression::None {
        file.seek(SeekFrom::Start(from))?;
        return Ok(Box::new(file));
    }
    let mut unpacked = packed.unpack(file)?;
    io::copy(&mut (&mut unpacked).take(from), &mut io::sink())?;
    Ok(unpacked)
}
