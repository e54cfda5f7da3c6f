//! Records on their way between Kafka and batches, whatever the rows of a batch are: columns of a table or values of a program.
//!
//! The reader hands [`ConsumerRecord`]s to an [`Assemble`], which makes batches of them; the writer hands batches to an
//! [`EncodeRecords`] and sends what it says of each row. Both are type parameters of reader and writer, so nothing is dispatched
//! per record. Programs fill [`ProducerRecords`], one buffer for all records of a batch.

use std::ops::Range;

use flott_core::Batch;
use flott_formats::RowError;
use flott_runtime::TaskError;

use super::client::batch::encode::HeaderRef;
use super::client::batch::walk::Record;

/// A record as it was read, where it lies in the fetched bytes.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerRecord<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) record: &'a Record<'a>,
}

impl<'a> ConsumerRecord<'a> {
    /// The topic.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The place in the partition.
    pub fn offset(&self) -> i64 {
        self.record.offset
    }

    /// When it was made, or, where the topic says so, when it was appended; milliseconds since the epoch, -1 if it has none.
    pub fn timestamp(&self) -> i64 {
        self.record.timestamp_ms
    }

    /// The key, if there is one.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.record.key
    }

    /// The value; none in a record that deletes its key.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.record.value
    }

    /// The headers, read when asked for; one that is damaged is an error and the last.
    pub fn headers(&self) -> impl Iterator<Item = Result<HeaderRef<'a>, &'static str>> + use<'a> {
        self.record.headers()
    }

    /// The value of the last header of that name.
    pub fn last_header(&self, name: &str) -> Option<&'a [u8]> {
        let of_name = |header: Result<HeaderRef<'a>, _>| header.ok().filter(|(n, _)| *n == name);
        self.headers().filter_map(of_name).last().and_then(|(_, value)| value)
    }
}

/// Makes a batch of the records of one partition.
pub trait Assemble: Send {
    /// Rows gathered.
    fn rows(&self) -> usize;

    /// Bytes gathered, about.
    fn bytes(&self) -> usize;

    /// Rows that the format was told to drop.
    fn dropped_rows(&self) -> u64 {
        0
    }

    /// Appends the rows of one record.
    ///
    /// # Errors
    /// If there is none to be made of it; then nothing of the record is kept.
    fn append(&mut self, record: &ConsumerRecord<'_>) -> Result<(), Unreadable>;

    /// Gives the gathered rows.
    ///
    /// # Errors
    /// If they are no batch.
    fn finish(&mut self) -> Result<Batch, TaskError>;
}

/// Why a record gives no row.
#[derive(Debug)]
pub enum Unreadable {
    /// Its bytes are not of the format; the user's choice of what to do with bad rows decides.
    Row {
        /// Key or value.
        part: &'static str,
        /// What is wrong.
        error: RowError,
    },
    /// A program's deserializer refused it; the same choice decides.
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// The record itself is damaged: the job ends.
    Broken(String),
    /// A program's deserializer panicked: the task fails.
    Panicked(String),
}

/// What of a row is sent, but for its topic and headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// The partition, where the row names one.
    pub partition: Option<i32>,
    /// The record's time, where the row names one; else that of sending.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none deletes the key.
    pub value: Option<&'a [u8]>,
}

/// Encodes a batch at once and then says what is sent for each of its rows.
pub trait EncodeRecords: Send {
    /// What is wrong with a row that names no topic, where the sink has none either.
    const WITHOUT_TOPIC: &'static str;

    /// Takes a batch in place of the one before; gives the number of rows to send.
    ///
    /// # Errors
    /// If a row cannot be written.
    fn encode(&mut self, batch: Batch) -> Result<usize, TaskError>;

    /// The topic that row `row` names.
    fn topic(&self, row: usize) -> Option<&str>;

    /// Whether rows name topics at all.
    fn names_topics(&self) -> bool;

    /// What is sent.
    fn outgoing(&self, row: usize) -> Outgoing<'_>;

    /// The headers.
    fn headers(&self, row: usize) -> Vec<HeaderRef<'_>>;
}

#[derive(Debug, Clone, Default)]
struct Row {
    topic: Option<Range<usize>>,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

/// Records to send, all in one buffer.
#[derive(Debug, Default)]
pub struct ProducerRecords {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// Names and values.
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
    /// Whether any record names a topic.
    names_topics: bool,
}

impl ProducerRecords {
    /// Forgets all records.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.headers.clear();
        self.names_topics = false;
    }

    /// Adds a record that `fill` says everything of.
    ///
    /// # Errors
    /// As `fill`.
    pub fn push<E>(&mut self, fill: impl FnOnce(&mut ProducerRecord<'_>) -> Result<(), E>) -> Result<(), E> {
        let first = self.headers.len();
        let mut record = ProducerRecord {
            row: Row::default(),
            records: self,
        };
        fill(&mut record)?;
        let mut row = record.row;
        row.headers = first..self.headers.len();
        self.rows.push(row);
        Ok(())
    }

    fn text(&self, at: &Range<usize>) -> &str {
        // Only whole strings are written there.
        std::str::from_utf8(&self.bytes[at.clone()]).unwrap_or_default()
    }

    fn part(&self, at: Option<&Range<usize>>) -> Option<&[u8]> {
        at.map(|at| &self.bytes[at.clone()])
    }
}

/// A record to send, as a program's serializer fills it. What is not said is left to the sink: the topic is its own, the partition
/// is chosen by the key, the time is that of the stream's record or, without one, that of sending.
#[derive(Debug)]
pub struct ProducerRecord<'a> {
    records: &'a mut ProducerRecords,
    row: Row,
}

impl ProducerRecord<'_> {
    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.records.bytes.len();
        self.records.bytes.extend_from_slice(bytes);
        start..self.records.bytes.len()
    }

    /// Runs `write` on the end of the buffer; gives where it wrote.
    fn written<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Range<usize>, E> {
        let start = self.records.bytes.len();
        write(&mut self.records.bytes)?;
        Ok(start.min(self.records.bytes.len())..self.records.bytes.len())
    }

    /// The topic, instead of the sink's.
    pub fn set_topic(&mut self, topic: &str) -> &mut Self {
        self.row.topic = Some(self.keep(topic.as_bytes()));
        self.records.names_topics = true;
        self
    }

    /// The partition, instead of the one that the key chooses.
    pub fn set_partition(&mut self, partition: i32) -> &mut Self {
        self.row.partition = Some(partition);
        self
    }

    /// The record's time in milliseconds since the epoch.
    pub fn set_timestamp(&mut self, timestamp_ms: i64) -> &mut Self {
        self.row.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The key.
    pub fn set_key(&mut self, key: &[u8]) -> &mut Self {
        self.row.key = Some(self.keep(key));
        self
    }

    /// The key, written by `write` to the end of the buffer that it is given.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_key<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<&mut Self, E> {
        self.row.key = Some(self.written(write)?);
        Ok(self)
    }

    /// The value. A record without one deletes its key where the topic is compacted.
    pub fn set_value(&mut self, value: &[u8]) -> &mut Self {
        self.row.value = Some(self.keep(value));
        self
    }

    /// The value, written by `write` to the end of the buffer that it is given.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_value<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<&mut Self, E> {
        self.row.value = Some(self.written(write)?);
        Ok(self)
    }

    /// One header more.
    pub fn add_header(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let header = (self.keep(name.as_bytes()), Some(self.keep(value)));
        self.records.headers.push(header);
        self
    }
}

/// Fills records for the values of a batch.
pub trait FillRecords: Send {
    /// Adds a record to `into` for each row of the batch.
    ///
    /// # Errors
    /// If a row cannot be written.
    fn fill(&mut self, batch: Batch, into: &mut ProducerRecords) -> Result<(), TaskError>;
}

/// The records of a program.
#[derive(Debug)]
pub(super) struct Filled<F> {
    fill: F,
    records: ProducerRecords,
}

impl<F> Filled<F> {
    pub fn new(fill: F) -> Self {
        Self {
            fill,
            records: ProducerRecords::default(),
        }
    }
}

impl<F: FillRecords> EncodeRecords for Filled<F> {
    const WITHOUT_TOPIC: &'static str =
        "a record names no topic, and the sink has none: give its builder a topic, or call set_topic for every record";

    fn encode(&mut self, batch: Batch) -> Result<usize, TaskError> {
        self.records.clear();
        self.fill.fill(batch, &mut self.records)?;
        Ok(self.records.rows.len())
    }

    fn topic(&self, row: usize) -> Option<&str> {
        self.records.rows[row].topic.as_ref().map(|at| self.records.text(at))
    }

    fn names_topics(&self) -> bool {
        self.records.names_topics
    }

    #[inline]
    fn outgoing(&self, row: usize) -> Outgoing<'_> {
        let row = &self.records.rows[row];
        Outgoing {
            partition: row.partition,
            timestamp_ms: row.timestamp_ms,
            key: self.records.part(row.key.as_ref()),
            value: self.records.part(row.value.as_ref()),
        }
    }

    #[inline]
    fn headers(&self, row: usize) -> Vec<HeaderRef<'_>> {
        let headers = &self.records.headers[self.records.rows[row].headers.clone()];
        let part = |(name, value): &(Range<usize>, Option<Range<usize>>)| {
            (self.records.text(name), self.records.part(value.as_ref()))
        };
        headers.iter().map(part).collect()
    }
}
