//! [`KafkaReader`]: reads the partitions given to a subtask, on the chain's thread.
//!
//! A [`Fetcher`] gathers record batches in the background and wakes the task; `poll` walks them in place, decodes up to
//! [`BATCH_ROWS`] rows of one partition, and hands them out. A split's position is the offset after the last record that
//! was walked for a batch that was handed out (rows that were dropped on the way count as read). Positions of a snapshot
//! are committed to the group, as the next offset to read, once the checkpoint is complete.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use flott_core::CheckpointId;
use flott_runtime::connector::{ReaderPoll, SourceReader, Split};
use flott_runtime::metrics::{Gauge, OperatorMetrics};
use flott_runtime::{OperatorContext, TaskError};

use super::access::Access;
use super::client::batch::walk::{Record, RecordWalker, WalkOptions};
use super::client::config::ClientConfig;
use super::client::fetch::{FetchConfig, FetchEvent, Fetcher};
use super::client::offsets::{Isolation, TopicPartition};
use super::client::producer::{PartitionIndex, Producer, ProducerConfig};
use super::client::{KafkaClient, KafkaError};
use super::group_commits::{GroupCommits, offset_gauge};
use super::options::{Reset, ScanOptions};
use super::records::{Assemble, ConsumerRecord, Unreadable};
use super::split::KafkaSplit;
use super::task_error;
use crate::bad_rows::{BadRows, DeadLetter, DeadLetterFile};

/// Rows after which a batch is handed out, where the job asks for no other number.
const BATCH_ROWS: usize = 8_192;
/// Bytes after which a batch is handed out, about; looked at every [`SIZE_CHECK_ROWS`].
const BATCH_BYTES: usize = 1 << 20;
const SIZE_CHECK_ROWS: usize = 256;
/// Bytes of fetches without a row (of aborted or bad records) after which a turn ends, so that the task comes to its barriers.
const TURN_BYTES: usize = 1 << 20;

struct Reading {
    split: KafkaSplit,
    key: TopicPartition,
    is_finished: bool,
    current_offset: Arc<Gauge>,
}

/// Where bad rows go.
enum BadRowSink {
    Fail,
    Skip,
    File(DeadLetterFile),
    Topic(DeadLetterTopic),
}

/// See the module.
pub(super) struct KafkaReader<A> {
    access: Access,
    scan: ScanOptions,
    fetcher: Fetcher,
    walk: WalkOptions,
    rows: A,
    batch_rows: usize,
    readings: Vec<Reading>,
    by_key: HashMap<TopicPartition, usize>,
    /// The split and the rest of its last fetch.
    current: Option<(usize, RecordWalker)>,
    /// Buffers of the last walker.
    spare: Option<RecordWalker>,
    finished: VecDeque<usize>,
    no_more_splits: bool,
    bad_rows: BadRowSink,
    metrics: Arc<OperatorMetrics>,
    pending_records: Arc<Gauge>,
    dropped_before: u64,
    /// Positions by checkpoint, until it is complete.
    snapshots: BTreeMap<CheckpointId, Vec<(TopicPartition, i64)>>,
    /// Ends of splits that were finished since the last snapshot.
    ended: Vec<(TopicPartition, i64)>,
    /// `None`: there is no group, or its options say not to.
    commits: Option<GroupCommits>,
}

impl<A: Assemble> KafkaReader<A> {
    /// A reader without splits; no connection is made before the first.
    pub fn new(access: &Access, scan: &ScanOptions, rows: A, ctx: &OperatorContext) -> Result<Self, TaskError> {
        let label = &*access.label;
        let mut properties = access.properties.clone();
        properties.set_default("client.id", format!("flott-{}-{}", ctx.operator_name, ctx.task.subtask));
        let config = ClientConfig::from_properties(&properties).map_err(|e| task_error(label, e))?;
        let fetch = FetchConfig::from_properties(&properties).map_err(|e| task_error(label, e))?;
        let walk = WalkOptions {
            check_crcs: fetch.check_crcs,
            read_committed: fetch.isolation == Isolation::ReadCommitted,
        };
        let client = KafkaClient::unconnected(config, ctx.runtime.clone());
        let waker = ctx.waker.clone();
        let fetcher = Fetcher::new(client.clone(), fetch, Arc::new(move || waker.wake()));
        let bad_rows = match &scan.bad_rows {
            BadRows::Fail => BadRowSink::Fail,
            BadRows::Skip => BadRowSink::Skip,
            BadRows::Path(folder) => {
                BadRowSink::File(DeadLetterFile::open(folder, &access.name, ctx.task.subtask).map_err(TaskError::from)?)
            }
            BadRows::Topic(topic) => {
                let opened = DeadLetterTopic::open(client.clone(), access, topic);
                BadRowSink::Topic(opened.map_err(|e| task_error(label, e))?)
            }
        };
        let group = scan.group.as_ref().filter(|_| scan.commit_offsets);
        let commits = group.map(|group| GroupCommits::new(client.clone(), group, &access.name, ctx.metrics.clone()));
        Ok(Self {
            access: access.clone(),
            scan: scan.clone(),
            fetcher,
            walk,
            rows,
            batch_rows: ctx.task.batching()?.rows_or(BATCH_ROWS),
            readings: Vec::new(),
            by_key: HashMap::new(),
            current: None,
            spare: None,
            finished: VecDeque::new(),
            no_more_splits: false,
            bad_rows,
            metrics: ctx.metrics.clone(),
            pending_records: ctx.metrics.gauge("pendingRecords"),
            dropped_before: 0,
            snapshots: BTreeMap::new(),
            ended: Vec::new(),
            commits,
        })
    }

    fn internal(&self, reason: String) -> TaskError {
        TaskError::internal(format!("{}: {reason}", self.access.label))
    }

    /// Takes the next fetch to walk; `false` when there is none yet.
    fn next_fetch(&mut self) -> Result<bool, TaskError> {
        loop {
            match self.fetcher.poll() {
                None => return Ok(false),
                Some(FetchEvent::Records(fetched)) => {
                    let key = TopicPartition {
                        topic: fetched.topic.clone(),
                        partition: fetched.partition,
                    };
                    let Some(&index) = self.by_key.get(&key) else { continue };
                    if self.readings[index].is_finished {
                        continue;
                    }
                    self.metrics.bytes_in.add(fetched.records.len() as u64);
                    let walker = match self.spare.take() {
                        Some(mut walker) => {
                            walker.restart(fetched);
                            walker
                        }
                        None => RecordWalker::new(fetched, self.walk),
                    };
                    self.current = Some((index, walker));
                    return Ok(true);
                }
                Some(FetchEvent::Failed { partition, error }) => {
                    if self.by_key.contains_key(&partition) {
                        return Err(task_error(&self.access.label, error));
                    }
                }
                Some(FetchEvent::OutOfRange {
                    partition,
                    offset,
                    earliest,
                    latest,
                }) => {
                    self.go_on_after_gap(&partition, offset, earliest, latest)?;
                }
            }
        }
    }

    /// An offset is not in the log any more, or not yet.
    fn go_on_after_gap(
        &mut self,
        key: &TopicPartition,
        offset: i64,
        earliest: i64,
        latest: i64,
    ) -> Result<(), TaskError> {
        let Some(&index) = self.by_key.get(key) else {
            return Ok(());
        };
        let split = &mut self.readings[index].split;
        let next = match self.scan.reset {
            // Retention removed what was the start when it was looked up, and nothing was read of it yet.
            _ if split.from_earliest && offset < earliest => earliest,
            Reset::Earliest => earliest,
            Reset::Latest => latest,
            Reset::Fail => {
                return Err(TaskError::user(format!(
                    "{}: offset {offset} of kafka {key} is not in the log, which holds {earliest} to {latest}: records were deleted before they were read (or the topic was truncated); start from another position, or set '{}' to go on at the earliest or latest",
                    self.access.label,
                    self.access.property("auto.offset.reset"),
                ))
                .fatal());
            }
        };
        tracing::warn!(table = %self.access.name, partition = %key, offset, next, "kafka offset out of range: going on elsewhere");
        split.offset = next;
        self.fetcher.assign(key.clone(), split.uuid(), next);
        self.finish_if_at_end(index);
        Ok(())
    }

    /// Decodes up to a batch from the current fetch.
    fn walk(&mut self) -> Result<Option<ReaderPoll>, TaskError> {
        let Some((index, mut walker)) = self.current.take() else {
            return Ok(None);
        };
        let stop = self.readings[index].split.stop.unwrap_or(i64::MAX);
        let topic = walker.fetched().topic.clone();
        let partition = walker.fetched().partition;
        let mut is_over = false;
        let mut until_check = SIZE_CHECK_ROWS;
        while self.rows.rows() < self.batch_rows {
            let record = match walker.next() {
                Ok(Some(record)) if record.offset < stop => record,
                Ok(_) => {
                    is_over = true;
                    break;
                }
                Err(e) => return Err(task_error(&self.access.label, e)),
            };
            let consumed = ConsumerRecord {
                topic: &topic,
                partition,
                record: &record,
            };
            if let Err(unreadable) = self.rows.append(&consumed) {
                let place = format!("topic '{topic}' partition {partition} offset {}", record.offset);
                judge_bad_row(&mut self.bad_rows, &self.access, &place, unreadable, &record)?;
                self.metrics.bad_rows.add(1);
            }
            until_check -= 1;
            if until_check == 0 {
                until_check = SIZE_CHECK_ROWS;
                if self.rows.bytes() >= BATCH_BYTES {
                    break;
                }
            }
        }
        let position = walker.position().min(stop);
        let high_watermark = walker.fetched().high_watermark;
        let reading = &mut self.readings[index];
        reading.split.offset = position;
        reading.split.from_earliest = false;
        reading.current_offset.set(position - 1);
        if is_over {
            self.spare = Some(walker);
            self.finish_if_at_end(index);
        } else {
            self.current = Some((index, walker));
        }
        let dropped = self.rows.dropped_rows();
        if dropped > self.dropped_before {
            self.metrics.gauge("numRowsDroppedByFormat").set(dropped as i64);
            self.dropped_before = dropped;
        }
        if self.rows.rows() == 0 {
            return Ok(None);
        }
        self.note_lag(index, high_watermark);
        let batch = self.rows.finish()?;
        Ok(Some(ReaderPoll::Batch { split: index, batch }))
    }

    fn note_lag(&self, index: usize, high_watermark: i64) {
        let lag = |i: usize, r: &Reading| {
            let end = if i == index {
                Some(high_watermark)
            } else {
                self.fetcher.high_watermark(&r.key)
            };
            end.map_or(0, |e| (e - r.split.offset).max(0))
        };
        let open = self.readings.iter().enumerate().filter(|(_, r)| !r.is_finished);
        self.pending_records.set(open.map(|(i, r)| lag(i, r)).sum());
    }

    fn finish_if_at_end(&mut self, index: usize) {
        let reading = &mut self.readings[index];
        if !reading.is_finished && reading.split.stop.is_some_and(|stop| reading.split.offset >= stop) {
            reading.is_finished = true;
            self.fetcher.unassign(&reading.key);
            self.ended.push((reading.key.clone(), reading.split.offset));
            self.finished.push_back(index);
        }
    }
}

/// Fails, counts or keeps a record that is no row.
fn judge_bad_row(
    sink: &mut BadRowSink,
    access: &Access,
    place: &str,
    unreadable: Unreadable,
    record: &Record<'_>,
) -> Result<(), TaskError> {
    let (table, label) = (&*access.name, &*access.label);
    let (key, value, timestamp_ms) = (record.key, record.value, record.timestamp_ms);
    let failed = |reason: String| format!("{label}: kafka record at {place}: {reason}");
    let reason = match unreadable {
        Unreadable::Row { part, error } => format!("the {part} cannot be read: {error}"),
        Unreadable::Refused(error) => format!("it cannot be read: {error}"),
        Unreadable::Broken(reason) => return Err(TaskError::data(failed(reason)).fatal()),
        Unreadable::Panicked(said) => {
            return Err(TaskError::user(failed(format!("the deserializer panicked: {said}"))));
        }
    };
    match sink {
        BadRowSink::Fail => {
            let remedy = access.says(
                "set 'bad-rows' to 'skip' or 'dead-letter' to go on without such rows",
                "give the source's builder bad_rows(BadRows::Skip), or another of BadRows, to go on without such records",
            );
            Err(TaskError::data(failed(format!("{reason}; {remedy}"))).fatal())
        }
        BadRowSink::Skip => Ok(()),
        BadRowSink::File(file) => {
            let row = String::from_utf8_lossy(value.unwrap_or_default());
            file.write(&DeadLetter {
                table,
                place,
                error: &reason,
                row: &row,
            })
            .map_err(TaskError::from)
        }
        BadRowSink::Topic(topic) => topic
            .write(table, place, &reason, key, value, timestamp_ms)
            .map_err(|e| task_error(label, e)),
    }
}

/// Dead letters as records: key, value and timestamp of the bad one, place and reason as headers.
struct DeadLetterTopic {
    producer: Producer,
    partition: PartitionIndex,
    flush_timeout: std::time::Duration,
}

impl DeadLetterTopic {
    fn open(client: Arc<KafkaClient>, access: &Access, topic: &str) -> Result<Self, KafkaError> {
        let config = ProducerConfig::from_properties(&access.properties)?;
        let flush_timeout = config.delivery_timeout + std::time::Duration::from_secs(1);
        let producer = Producer::new(client, config, Arc::new(|| {}));
        // One partition keeps them in order; a dead-letter topic needs no throughput.
        let partition = producer.partition(&TopicPartition::new(topic, 0));
        Ok(Self {
            producer,
            partition,
            flush_timeout,
        })
    }

    fn write(
        &mut self,
        table: &str,
        place: &str,
        reason: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: i64,
    ) -> Result<(), KafkaError> {
        let headers = [
            ("flott.table", Some(table.as_bytes())),
            ("flott.place", Some(place.as_bytes())),
            ("flott.error", Some(reason.as_bytes())),
        ];
        let room = self.producer.send(self.partition, timestamp_ms, key, value, &headers)?;
        if room == super::client::producer::Room::Full {
            return self.flush();
        }
        Ok(())
    }

    /// Waits for the broker: letters must be safe before a checkpoint passes their rows.
    fn flush(&mut self) -> Result<(), KafkaError> {
        let target = self.producer.seal();
        let deadline = std::time::Instant::now() + self.flush_timeout;
        while !self.producer.is_flushed(target)? {
            if std::time::Instant::now() >= deadline {
                return Err(KafkaError::Closed);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    }
}

impl<A: Assemble> SourceReader for KafkaReader<A> {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in &splits {
            let split = KafkaSplit::of_split(split).map_err(|reason| self.internal(reason).fatal())?;
            let key = split.key();
            let index = self.readings.len();
            let current_offset = self.metrics.gauge(&offset_gauge(&key, "currentOffset"));
            self.by_key.insert(key.clone(), index);
            self.fetcher.assign(key.clone(), split.uuid(), split.offset);
            self.readings.push(Reading {
                split,
                key,
                is_finished: false,
                current_offset,
            });
            self.finish_if_at_end(index);
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more_splits = true;
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let mut walked_bytes = 0;
        loop {
            // A split's last batch was handed out before its end is told.
            if let Some(index) = self.finished.pop_front() {
                return Ok(ReaderPoll::SplitFinished(index));
            }
            if let Some((_, walker)) = &self.current {
                walked_bytes += walker.fetched().records.len();
                if let Some(batch) = self.walk()? {
                    return Ok(batch);
                }
                if walked_bytes >= TURN_BYTES && self.finished.is_empty() {
                    return Ok(ReaderPoll::Idle { until_ms: Some(now_ms) });
                }
                continue;
            }
            if !self.next_fetch()? && self.finished.is_empty() {
                let is_done = self.no_more_splits && self.readings.iter().all(|r| r.is_finished);
                return Ok(if is_done {
                    ReaderPoll::Finished
                } else {
                    ReaderPoll::Idle { until_ms: None }
                });
            }
        }
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        match &mut self.bad_rows {
            BadRowSink::Fail | BadRowSink::Skip => {}
            BadRowSink::File(file) => file.sync().map_err(TaskError::from)?,
            BadRowSink::Topic(topic) => topic.flush().map_err(|e| task_error(&self.access.label, e))?,
        }
        if self.commits.is_some() {
            let open = self.readings.iter().filter(|r| !r.is_finished);
            let mut offsets: Vec<_> = open.map(|r| (r.key.clone(), r.split.offset)).collect();
            offsets.append(&mut self.ended);
            self.snapshots.insert(checkpoint, offsets);
        }
        let splits: Result<Vec<Split>, String> = self
            .readings
            .iter()
            .filter(|r| !r.is_finished)
            .map(|r| r.split.to_split())
            .collect();
        splits.map_err(|reason| self.internal(reason))
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        let later = self.snapshots.split_off(&(checkpoint + 1));
        let done = std::mem::replace(&mut self.snapshots, later);
        // Ends of splits stand in one snapshot only; newer positions win.
        let offsets: BTreeMap<TopicPartition, i64> = done.into_values().flatten().collect();
        if let Some(commits) = &self.commits {
            commits.commit(offsets);
        }
    }

    fn set_paused(&mut self, split: usize, paused: bool) {
        let Some(reading) = self.readings.get(split) else {
            return;
        };
        if paused {
            self.fetcher.pause(&reading.key)
        } else {
            self.fetcher.resume(&reading.key)
        }
    }
}
