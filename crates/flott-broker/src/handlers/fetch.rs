//! Fetch: slices of the stored batches, waiting where there is too little.
//!
//! Always without a session: the answer names session 0, and clients go on sending whole requests.
//!
//! The answer is written by hand rather than through kafka-protocol's types, because those want the records of a
//! partition as one contiguous buffer, which would copy every byte once to join the batches and once to encode them.
//! From version 12 on the form is the flexible one: lengths are varints plus one, structures end in tagged fields.

use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::find_topic;
use crate::api::{Context, Outcome, Reply, RequestError};
use crate::frame::{Frame, FrameBuilder};
use crate::log::{Isolation, LogRead};
use crate::partition::{Offsets, ReadRequest};

const FIRST_FLEXIBLE_VERSION: i16 = 12;
const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 13;
/// Kafka's name for "no session", and for the answer to a request that names one.
const NO_SESSION: i32 = 0;

/// What was found for one partition of the request.
type Found = Result<(LogRead, Offsets), ResponseError>;

/// What was found for all of them, in the order of the request.
struct Answer {
    found: Vec<Found>,
    size_bytes: usize,
}

impl Answer {
    /// Whether to send it now: enough bytes, or an error that the client must hear of.
    fn is_due(&self, min_bytes: usize) -> bool {
        self.size_bytes >= min_bytes || self.found.is_empty() || self.found.iter().any(Result::is_err)
    }
}

pub(crate) async fn fetch(
    context: &Context<'_>,
    reply: &Reply,
    request: FetchRequest,
) -> Result<Outcome, RequestError> {
    if request.session_id != NO_SESSION {
        let refusal = Some(ResponseError::FetchSessionIdNotFound);
        return Ok(Outcome::Answer(encode(reply, &[], &[], refusal)));
    }
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let mut answer = collect(context, &request, None);
    if !answer.is_due(min_bytes) {
        let changed = Arc::new(Notify::new());
        loop {
            answer = collect(context, &request, Some(&changed));
            if answer.is_due(min_bytes) || tokio::time::timeout_at(deadline, changed.notified()).await.is_err() {
                break;
            }
        }
    }
    Ok(Outcome::Answer(encode(reply, &request.topics, &answer.found, None)))
}

/// Reads every partition of the request; with a `waiter`, it is notified of the next change of any of them.
fn collect(context: &Context<'_>, request: &FetchRequest, waiter: Option<&Arc<Notify>>) -> Answer {
    let by_id = context.version >= FIRST_VERSION_WITH_TOPIC_IDS;
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut left_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
    let mut answer = Answer {
        found: Vec::new(),
        size_bytes: 0,
    };
    for topic in &request.topics {
        let found = context
            .fault()
            .and_then(|()| find_topic(context.core, &topic.topic, topic.topic_id, by_id));
        for partition in &topic.partitions {
            let read = found.as_ref().map_err(|error| *error).and_then(|topic| {
                let read_request = ReadRequest {
                    offset: partition.fetch_offset,
                    isolation,
                    leader_epoch: partition.current_leader_epoch,
                    max_bytes: left_bytes.min(usize::try_from(partition.partition_max_bytes).unwrap_or(0)),
                    at_least_one: answer.size_bytes == 0,
                };
                topic.partition(partition.partition)?.read(&read_request, waiter)
            });
            if let Ok((read, _)) = &read {
                answer.size_bytes += read.size_bytes;
                left_bytes = left_bytes.saturating_sub(read.size_bytes);
            }
            answer.found.push(read);
        }
    }
    answer
}

fn encode(reply: &Reply, topics: &[FetchTopic], found: &[Found], error: Option<ResponseError>) -> Frame {
    let mut out = Writer {
        frame: reply.begin(),
        version: reply.version,
    };
    out.i32(0); // throttle time
    if out.version >= 7 {
        out.i16(error.map_or(0, |error| error.code()));
        out.i32(NO_SESSION);
    }
    let mut found = found.iter();
    out.array_length(topics.len());
    for topic in topics {
        if out.version >= FIRST_VERSION_WITH_TOPIC_IDS {
            out.frame.tail.put_slice(topic.topic_id.as_bytes());
        } else {
            out.string(&topic.topic);
        }
        out.array_length(topic.partitions.len());
        for (partition, found) in topic.partitions.iter().zip(found.by_ref()) {
            put_partition(&mut out, partition, found);
        }
        out.no_tagged_fields();
    }
    out.no_tagged_fields();
    out.frame.finish()
}

fn put_partition(out: &mut Writer, requested: &FetchPartition, found: &Found) {
    let nothing = LogRead::default();
    let (error_code, read, offsets) = match found {
        Ok((read, offsets)) => (0, read, *offsets),
        Err(error) => (
            error.code(),
            &nothing,
            Offsets {
                start: -1,
                end: -1,
                last_stable: -1,
                leader_epoch: -1,
            },
        ),
    };
    out.i32(requested.partition);
    out.i16(error_code);
    out.i64(offsets.end);
    out.i64(offsets.last_stable);
    if out.version >= 5 {
        out.i64(offsets.start);
    }
    out.array_length(read.aborted.len());
    for aborted in &read.aborted {
        out.i64(aborted.producer_id);
        out.i64(aborted.first_offset);
        out.no_tagged_fields();
    }
    if out.version >= 11 {
        out.i32(-1); // no preferred read replica
    }
    out.bytes_length(read.size_bytes);
    for batch in &read.batches {
        out.frame.tail.put_slice(&batch.prefix);
        out.frame.put_shared(&batch.body);
    }
    out.no_tagged_fields();
}

/// Writes the protocol's primitive types in the form of a version.
struct Writer {
    frame: FrameBuilder,
    version: i16,
}

impl Writer {
    fn i16(&mut self, value: i16) {
        self.frame.tail.put_i16(value);
    }

    fn i32(&mut self, value: i32) {
        self.frame.tail.put_i32(value);
    }

    fn i64(&mut self, value: i64) {
        self.frame.tail.put_i64(value);
    }

    fn string(&mut self, value: &str) {
        if self.is_flexible() {
            self.compact_length(value.len());
        } else {
            self.i16(value.len() as i16);
        }
        self.frame.tail.put_slice(value.as_bytes());
    }

    fn array_length(&mut self, length: usize) {
        self.bytes_length(length);
    }

    fn bytes_length(&mut self, length: usize) {
        if self.is_flexible() {
            self.compact_length(length);
        } else {
            self.i32(length as i32);
        }
    }

    fn no_tagged_fields(&mut self) {
        if self.is_flexible() {
            self.frame.tail.put_u8(0);
        }
    }

    fn compact_length(&mut self, length: usize) {
        let mut rest = length + 1;
        while rest >= 0x80 {
            self.frame.tail.put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.frame.tail.put_u8(rest as u8);
    }

    fn is_flexible(&self) -> bool {
        self.version >= FIRST_FLEXIBLE_VERSION
    }
}
