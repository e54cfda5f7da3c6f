//! The state of a [`super::Fetcher`]: no I/O, no clock of its own.
//!
//! A partition is in one of these: without a leader (the leaders' task looks for one), with a leader (that broker's task fetches it
//! unless it is paused or waits for a retry), halted (an event told why; only a new assignment helps).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{FetchEvent, Fetched};
use crate::kafka::client::batch::BatchHeader;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::TopicPartition;

#[derive(Debug)]
struct Partition {
    /// Changes with every assignment, so that an older answer is known by it.
    assignment: u64,
    topic_id: Option<Uuid>,
    next_offset: i64,
    leader: Option<(i32, i32)>,
    paused: bool,
    halted: bool,
    failing_since: Option<Instant>,
    retry_at: Option<Instant>,
    queue: VecDeque<Fetched>,
    high_watermark: Option<i64>,
}

impl Partition {
    fn queued_bytes(&self) -> usize {
        self.queue.iter().map(|f| f.records.len()).sum()
    }
}

/// One partition of a fetch to send.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub partition: TopicPartition,
    pub assignment: u64,
    pub topic_id: Option<Uuid>,
    pub offset: i64,
    pub leader_epoch: i32,
}

/// What a broker's task, or the leaders' task, shall do.
#[derive(Debug)]
pub(super) enum Plan<T> {
    Do(T),
    /// Nothing before something changes, or before this time.
    Wait(Option<Instant>),
    Close,
}

#[derive(Debug, Default)]
pub(super) struct State {
    partitions: BTreeMap<TopicPartition, Partition>,
    /// Partitions with something queued and not paused, in the order of their turns.
    turns: VecDeque<TopicPartition>,
    events: VecDeque<FetchEvent>,
    queued_bytes: usize,
    assignments: u64,
    brokers: HashSet<i32>,
    closed: bool,
    /// Rotates the order of partitions in requests, so that each is first in turn.
    rotation: usize,
}

impl State {
    pub fn assign(&mut self, key: TopicPartition, topic_id: Option<Uuid>, offset: i64) {
        self.unassign(&key);
        self.assignments += 1;
        let partition = Partition {
            assignment: self.assignments,
            topic_id,
            next_offset: offset,
            leader: None,
            paused: false,
            halted: false,
            failing_since: None,
            retry_at: None,
            queue: VecDeque::new(),
            high_watermark: None,
        };
        self.partitions.insert(key, partition);
    }

    pub fn unassign(&mut self, key: &TopicPartition) {
        if let Some(gone) = self.partitions.remove(key)
            && !gone.paused
        {
            self.queued_bytes -= gone.queued_bytes();
            self.turns.retain(|t| t != key);
        }
    }

    pub fn pause(&mut self, key: &TopicPartition) {
        if let Some(p) = self.partitions.get_mut(key)
            && !p.paused
        {
            p.paused = true;
            self.queued_bytes -= p.queued_bytes();
            self.turns.retain(|t| t != key);
        }
    }

    pub fn resume(&mut self, key: &TopicPartition) {
        if let Some(p) = self.partitions.get_mut(key)
            && p.paused
        {
            p.paused = false;
            self.queued_bytes += p.queued_bytes();
            if !p.queue.is_empty() {
                self.turns.push_back(key.clone());
            }
        }
    }

    pub fn close(&mut self) {
        self.closed = true;
        self.partitions.clear();
    }

    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub fn high_watermark(&self, key: &TopicPartition) -> Option<i64> {
        self.partitions.get(key)?.high_watermark
    }

    pub fn topic_id(&self, key: &TopicPartition) -> Option<Uuid> {
        self.partitions.get(key)?.topic_id
    }

    pub fn next_event(&mut self) -> Option<FetchEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let key = self.turns.pop_front()?;
        let p = self.partitions.get_mut(&key)?;
        let fetched = p.queue.pop_front()?;
        self.queued_bytes -= fetched.records.len();
        if !p.queue.is_empty() {
            self.turns.push_back(key);
        }
        Some(FetchEvent::Records(fetched))
    }

    /// What the task of broker `node` shall fetch.
    pub fn plan_fetch(&mut self, node: i32, queue_bytes: usize, now: Instant) -> Plan<Vec<Wanted>> {
        if self.closed {
            return Plan::Close;
        }
        if self.queued_bytes >= queue_bytes {
            return Plan::Wait(None);
        }
        let mut wanted = Vec::new();
        let mut next_retry: Option<Instant> = None;
        for (key, p) in &self.partitions {
            let Some((leader, leader_epoch)) = p.leader else {
                continue;
            };
            if leader != node || p.halted || p.paused {
                continue;
            }
            if let Some(at) = p.retry_at.filter(|at| *at > now) {
                next_retry = Some(next_retry.map_or(at, |n| n.min(at)));
                continue;
            }
            wanted.push(Wanted {
                partition: key.clone(),
                assignment: p.assignment,
                topic_id: p.topic_id,
                offset: p.next_offset,
                leader_epoch,
            });
        }
        if wanted.is_empty() {
            return Plan::Wait(next_retry);
        }
        self.rotation += 1;
        let by = self.rotation % wanted.len();
        wanted.rotate_left(by);
        Plan::Do(wanted)
    }

    fn current(&mut self, wanted: &Wanted) -> Option<&mut Partition> {
        self.partitions
            .get_mut(&wanted.partition)
            .filter(|p| p.assignment == wanted.assignment && !p.halted)
    }

    /// Takes an answer; `true` when the caller's thread has something new.
    pub fn fetched(&mut self, wanted: &Wanted, fetched: Fetched) -> bool {
        let Some(p) = self.current(wanted) else { return false };
        p.failing_since = None;
        p.retry_at = None;
        p.high_watermark = Some(fetched.high_watermark);
        if fetched.records.is_empty() {
            return false;
        }
        let mut at = 0;
        let mut next_offset = None;
        loop {
            match BatchHeader::read(fetched.records.get(at..).unwrap_or_default()) {
                Ok(Some(header)) => {
                    at += header.size_bytes;
                    next_offset = Some(header.next_offset());
                }
                Ok(None) => break,
                Err(_) => {
                    // The walker meets it too, and says what and where; what follows cannot be found.
                    p.halted = true;
                    next_offset = Some(p.next_offset);
                    break;
                }
            }
        }
        match next_offset {
            Some(next) if next > p.next_offset || p.halted => p.next_offset = next,
            _ => {
                let error = KafkaError::CorruptBatch {
                    topic: wanted.partition.topic.to_string(),
                    partition: wanted.partition.partition,
                    offset: wanted.offset,
                    reason: format!(
                        "the broker sent {} bytes without a whole batch past it",
                        fetched.records.len()
                    ),
                };
                return self.fail(wanted, error);
            }
        }
        let bytes = fetched.records.len();
        let is_first = p.queue.is_empty();
        p.queue.push_back(fetched);
        if !p.paused {
            self.queued_bytes += bytes;
            if is_first {
                self.turns.push_back(wanted.partition.clone());
            }
        }
        true
    }

    /// Halts a partition with an event.
    pub fn fail(&mut self, wanted: &Wanted, error: KafkaError) -> bool {
        let Some(p) = self.current(wanted) else { return false };
        p.halted = true;
        self.events.push_back(FetchEvent::Failed {
            partition: wanted.partition.clone(),
            error,
        });
        true
    }

    /// Halts a partition whose offset is not in the log.
    pub fn out_of_range(&mut self, wanted: &Wanted, earliest: i64, latest: i64) -> bool {
        let Some(p) = self.current(wanted) else { return false };
        p.halted = true;
        let partition = wanted.partition.clone();
        self.events.push_back(FetchEvent::OutOfRange {
            partition,
            offset: wanted.offset,
            earliest,
            latest,
        });
        true
    }

    /// Puts a partition off after a failure that may pass, or fails it when the budget is over.
    pub fn put_off(
        &mut self,
        wanted: &Wanted,
        error: KafkaError,
        is_leader_lost: bool,
        now: Instant,
        (pause, budget): (Duration, Duration),
    ) -> bool {
        let Some(p) = self.current(wanted) else { return false };
        let since = *p.failing_since.get_or_insert(now);
        p.retry_at = Some(now + pause);
        if is_leader_lost {
            p.leader = None;
        }
        let waited = now.saturating_duration_since(since);
        if waited < budget {
            tracing::debug!(partition = %wanted.partition, %error, "kafka partition is fetched again later");
            return false;
        }
        let error = KafkaError::BudgetExhausted {
            what: format!("reading kafka {}", wanted.partition),
            waited_ms: waited.as_millis() as u64,
            option: "default.api.timeout.ms",
            source: error.into(),
        };
        self.fail(wanted, error)
    }

    /// Partitions that need a leader now. `all`: also those that have one, to check their topic ids.
    pub fn plan_leaders(&self, all: bool, now: Instant) -> Plan<Vec<Wanted>> {
        if self.closed {
            return Plan::Close;
        }
        let mut wanted = Vec::new();
        let mut next_retry: Option<Instant> = None;
        for (key, p) in &self.partitions {
            if p.halted || (p.leader.is_some() && !all) {
                continue;
            }
            if let Some(at) = p.retry_at.filter(|at| *at > now && !all) {
                next_retry = Some(next_retry.map_or(at, |n| n.min(at)));
                continue;
            }
            wanted.push(Wanted {
                partition: key.clone(),
                assignment: p.assignment,
                topic_id: p.topic_id,
                offset: p.next_offset,
                leader_epoch: -1,
            });
        }
        if wanted.is_empty() {
            Plan::Wait(next_retry)
        } else {
            Plan::Do(wanted)
        }
    }

    /// Notes a leader; `true` when that broker has no task yet and needs one.
    pub fn lead(&mut self, wanted: &Wanted, topic_id: Option<Uuid>, node: i32, epoch: i32) -> bool {
        let Some(p) = self.current(wanted) else { return false };
        p.leader = Some((node, epoch));
        if p.topic_id.is_none() {
            p.topic_id = topic_id;
        }
        self.brokers.insert(node)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kafka::client::batch::codec::Codec;
    use crate::kafka::client::batch::encode::{BatchEncoder, ProducerStamp};

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn data(partition: i32, records: i32) -> Fetched {
        let mut encoder = BatchEncoder::new(0);
        (0..records).for_each(|_| encoder.append(0, None, Some(b"x"), &[]));
        let records = encoder.finish(Codec::None, ProducerStamp::NONE).unwrap();
        Fetched {
            topic: Arc::from("t"),
            partition,
            records,
            high_watermark: 9,
            ..Fetched::default()
        }
    }

    fn wanted(state: &mut State, now: Instant) -> Vec<Wanted> {
        match state.plan_fetch(1, 1_000, now) {
            Plan::Do(mut wanted) => {
                wanted.sort_by(|a, b| a.partition.cmp(&b.partition));
                wanted
            }
            other => panic!("{other:?}"),
        }
    }

    fn assigned(partitions: i32) -> State {
        let mut state = State::default();
        for p in 0..partitions {
            state.assign(tp(p), None, 0);
        }
        let Plan::Do(list) = state.plan_leaders(false, Instant::now()) else {
            panic!()
        };
        let new_tasks: Vec<bool> = list.iter().map(|w| state.lead(w, None, 1, 0)).collect();
        assert_eq!(new_tasks.iter().filter(|n| **n).count(), 1, "one task per broker");
        state
    }

    #[test]
    fn partitions_take_turns() {
        let now = Instant::now();
        let mut state = assigned(2);
        let list = wanted(&mut state, now);
        assert!(state.fetched(&list[0], data(0, 2)));
        let again = wanted(&mut state, now);
        assert_eq!(
            (again[0].offset, again[1].offset),
            (2, 0),
            "goes on before the first was polled"
        );
        let mut next = data(0, 3);
        next.records = data(0, 3).records.iter().copied().collect::<Vec<u8>>().into();
        let mut second = next.records.to_vec();
        second[..8].copy_from_slice(&2i64.to_be_bytes());
        next.records = second.into();
        assert!(state.fetched(&again[0], next));
        assert!(state.fetched(&again[1], data(1, 1)));
        let order: Vec<i32> = std::iter::from_fn(|| state.next_event())
            .map(|e| match e {
                FetchEvent::Records(f) => f.partition,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, [0, 1, 0]);
        assert_eq!(state.queued_bytes(), 0);
    }

    #[test]
    fn a_pause_keeps_what_is_queued_and_frees_its_room() {
        let now = Instant::now();
        let mut state = assigned(1);
        let list = wanted(&mut state, now);
        state.fetched(&list[0], data(0, 1));
        state.pause(&tp(0));
        assert_eq!(state.queued_bytes(), 0);
        assert!(state.next_event().is_none());
        assert!(matches!(state.plan_fetch(1, 1_000, now), Plan::Wait(None)));
        state.resume(&tp(0));
        assert!(matches!(state.next_event(), Some(FetchEvent::Records(_))));
    }

    #[test]
    fn a_full_queue_stops_fetching() {
        let now = Instant::now();
        let mut state = assigned(1);
        let list = wanted(&mut state, now);
        state.fetched(&list[0], data(0, 1));
        assert!(matches!(state.plan_fetch(1, 1, now), Plan::Wait(None)));
        state.next_event();
        assert!(matches!(state.plan_fetch(1, 1, now), Plan::Do(_)));
    }

    #[test]
    fn an_answer_to_an_older_assignment_is_dropped() {
        let now = Instant::now();
        let mut state = assigned(1);
        let list = wanted(&mut state, now);
        state.assign(tp(0), None, 50);
        assert!(!state.fetched(&list[0], data(0, 1)));
        assert!(state.next_event().is_none());
    }

    #[test]
    fn failures_end_with_the_budget() {
        let now = Instant::now();
        let mut state = assigned(1);
        let list = wanted(&mut state, now);
        let limits = (Duration::from_millis(100), Duration::from_secs(1));
        let lost = || KafkaError::Disconnected {
            broker: "b".into(),
            reason: "gone".into(),
        };
        assert!(!state.put_off(&list[0], lost(), true, now, limits));
        assert!(matches!(state.plan_fetch(1, 1_000, now), Plan::Wait(None)), "no leader");
        assert!(matches!(state.plan_leaders(false, now), Plan::Wait(Some(_))));
        let later = now + Duration::from_secs(2);
        assert!(state.put_off(&list[0], lost(), true, later, limits));
        let Some(FetchEvent::Failed { error, .. }) = state.next_event() else {
            panic!()
        };
        assert!(error.to_string().contains("default.api.timeout.ms"), "{error}");
        assert!(matches!(state.plan_leaders(true, later), Plan::Wait(None)), "halted");
    }
}
