//! [`LineReader`]: the lines of a range of a file, a block at a time.

use super::compression::Compression;
use super::enumerator::FileSplit;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Room for unread bytes to begin with.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest line.
const LINE_BYTES: usize = 64 << 20;

/// Reads a range; hands out blocks that start with a line.
pub(super) struct LineReader {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Unread bytes in the buffer.
    begin: usize,
    end: usize,
    /// Place in the (unpacked) file of the first unread byte: a line's start.
    position: u64,
    /// End of the range.
    limit: u64,
    at_end_of_file: bool,
}

impl LineReader {
    /// Opens the file at the split's position, or at its first line.
    pub(super) fn open(split: &FileSplit) -> io::Result<Self> {
        let mut file = File::open(&split.path)?;
        // A line begins behind a line end, so the byte before the range decides whether one begins at its start.
        let from = split.position.unwrap_or(split.start.saturating_sub(1));
        let input = match Compression::of(&split.path) {
            Compression::None => {
                file.seek(SeekFrom::Start(from))?;
                Box::new(file)
            }
            packed => {
                let mut unpacked = packed.unpack(file)?;
                io::copy(&mut (&mut unpacked).take(from), &mut io::sink())?;
                unpacked
            }
        };
        let mut reader = Self {
            input,
            buffer: vec![],
            begin: 0,
            end: 0,
            position: from,
            limit: split.end,
            at_end_of_file: false,
        };
        if split.position.is_none() && split.start > 0 {
            reader.skip_line()?;
        }
        if reader.position == 0 {
            reader.skip_byte_order_mark()?;
        }
        Ok(reader)
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let unread = &self.buffer[self.begin..self.end];
            match memchr::memchr(b'\n', unread) {
                Some(length) => {
                    self.consume(length + 1);
                    return Ok(());
                }
                None => self.consume(unread.len()),
            }
            if self.at_end_of_file {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.end - self.begin < 3 && !self.at_end_of_file {
            self.fill()?;
        }
        if self.buffer[self.begin..self.end].starts_with(b"\xEF\xBB\xBF") {
            self.consume(3);
        }
        Ok(())
    }

    /// Start of the first line not yet read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether all lines of the range are read.
    pub(super) fn is_finished(&self) -> bool {
        self.position >= self.limit || (self.at_end_of_file && self.begin == self.end)
    }

    /// The unread bytes of the range, and whether the last line is complete without a line end.
    pub(super) fn block(&self) -> (&[u8], bool) {
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

    /// Reads on.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is too long.
    pub(super) fn fill(&mut self) -> io::Result<usize> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.end == self.buffer.len() {
            if self.end >= LINE_BYTES {
                let message = format!("the line at byte {} is longer than {LINE_BYTES} bytes", self.position);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            self.buffer.resize((self.end * 2).max(BLOCK_BYTES), 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    self.at_end_of_file = read == 0;
                    return Ok(read);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
