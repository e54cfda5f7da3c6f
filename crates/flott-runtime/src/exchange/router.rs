//! The writing side of a chain: spreads rows over the subtasks of every reader.
//!
//! The key is hashed once (here, or by the typed operator that knows it); the hashes travel with the batch and serve the state
//! look-up behind the exchange. A counting pass finds each target's rows and moves them. Small parts are held back and joined until they are
//! [`JOIN_ROWS`] rows (or what [`crate::batching`] asks for) or the flush deadline has passed, so that keyed operators never
//! see tiny batches; everything else in the stream (watermark, barrier, end) pushes them out first.

use super::channel::Sender;
use super::in_flight::{InFlight, Recorded, Spread};
use crate::element::{Barrier, Element};
use crate::error::TaskError;
use crate::metrics::TaskMetrics;
use flott_core::hash::hash_columns;
use flott_core::key_group::{key_group_of, subtask_of};
use flott_core::{Batch, OperatorId};
use flott_plan::Partitioning;
use flott_state::InFlightPlace;
use std::sync::Arc;

/// Marsaglia's xorshift64: spreads rows evenly, which is all that a shuffle promises.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Parts smaller than this wait for more.
const JOIN_ROWS: usize = 1024;

/// One exchange out of a chain.
#[derive(Debug)]
pub struct RouterEdge {
    partitioning: Partitioning,
    targets: Vec<Sender>,
    max_parallelism: usize,
    join_rows: usize,
    pending: Vec<Vec<Batch>>,
    pending_rows: Vec<usize>,
    next: usize,
    random: Random,
    /// The output that it carries: 0 is the main one.
    output: usize,
    /// Who reads it.
    reader: Option<EdgeReader>,
}

/// Where rows in flight of an exchange were on their way to.
#[derive(Debug, Clone, Copy)]
pub struct EdgeReader {
    /// The first operator of the reading chain.
    pub operator: OperatorId,
    /// Its logical input.
    pub input: usize,
}

impl RouterEdge {
    /// An exchange to `targets`, one channel a downstream subtask (for a forward edge: just its own).
    pub fn new(partitioning: Partitioning, targets: Vec<Sender>, max_parallelism: usize, subtask: usize) -> Self {
        let n = targets.len();
        let next = if n == 0 { 0 } else { subtask % n };
        Self {
            partitioning,
            targets,
            max_parallelism,
            join_rows: JOIN_ROWS,
            pending: vec![vec![]; n],
            pending_rows: vec![0; n],
            next,
            random: Random(0x9e37_79b9_7f4a_7c15 ^ subtask as u64),
            output: 0,
            reader: None,
        }
    }

    /// The same exchange, whose barriers may overtake rows on their way to `reader`.
    pub fn read_by(mut self, reader: EdgeReader) -> Self {
        self.reader = Some(reader);
        self
    }

    /// The same exchange for a side output.
    pub fn of_output(mut self, output: usize) -> Self {
        self.output = output;
        self
    }

    /// The same exchange, which holds parts back until they are `rows` rows.
    pub fn joining(mut self, rows: usize) -> Self {
        self.join_rows = rows;
        self
    }

    fn route(&mut self, batch: Batch, metrics: &TaskMetrics) -> Result<(), TaskError> {
        match &self.partitioning {
            Partitioning::Forward | Partitioning::Global => self.hold(0, batch, metrics),
            Partitioning::Rebalance | Partitioning::Rescale => {
                let target = self.next;
                self.next = (self.next + 1) % self.targets.len();
                self.hold(target, batch, metrics)
            }
            Partitioning::Broadcast => (0..self.targets.len()).try_for_each(|t| self.hold(t, batch.clone(), metrics)),
            Partitioning::Hash { keys } => {
                let columns: Vec<_> = keys.iter().map(|k| batch.column(*k).clone()).collect();
                let hashes = Arc::new(hash_columns(&columns, batch.num_rows())?);
                self.spread(batch.with_hashes(Some(hashes)), Self::owners, metrics)
            }
            Partitioning::Keyed => self.spread(batch, Self::owners, metrics),
            Partitioning::Custom => self.spread(batch, Self::asked_for, metrics),
            Partitioning::Shuffle => self.spread(batch, Self::at_random, metrics),
        }
    }

    /// The subtask of each row's key group.
    fn owners(&mut self, batch: &Batch) -> Result<Vec<u32>, TaskError> {
        let (groups, targets) = (self.max_parallelism, self.targets.len());
        let owner = |hash: &u64| subtask_of(key_group_of(*hash, groups), groups, targets) as u32;
        Ok(hashes_of(batch)?.iter().map(owner).collect())
    }

    /// The subtask that stands in the place of each row's hash.
    fn asked_for(&mut self, batch: &Batch) -> Result<Vec<u32>, TaskError> {
        let targets = self.targets.len();
        let owner = |target: &u64| match *target < targets as u64 {
            true => Ok(*target as u32),
            false => Err(TaskError::internal(format!(
                "a row is for subtask {target} of {targets}"
            ))),
        };
        hashes_of(batch)?.iter().map(owner).collect()
    }

    fn at_random(&mut self, batch: &Batch) -> Result<Vec<u32>, TaskError> {
        let targets = self.targets.len() as u64;
        Ok((0..batch.num_rows())
            .map(|_| (self.random.next() % targets) as u32)
            .collect())
    }

    /// Gives each row to the target that `owners` names.
    fn spread(
        &mut self,
        batch: Batch,
        owners: fn(&mut Self, &Batch) -> Result<Vec<u32>, TaskError>,
        metrics: &TaskMetrics,
    ) -> Result<(), TaskError> {
        if self.targets.len() == 1 {
            return self.hold(0, batch, metrics);
        }
        let owners = owners(self, &batch)?;
        for (target, part) in batch.scatter(&owners, self.targets.len())? {
            self.hold(target, part, metrics)?;
        }
        Ok(())
    }

    fn hold(&mut self, target: usize, batch: Batch, metrics: &TaskMetrics) -> Result<(), TaskError> {
        self.pending_rows[target] += batch.num_rows();
        self.pending[target].push(batch);
        if self.pending_rows[target] >= self.join_rows {
            self.flush(target, metrics)
        } else {
            Ok(())
        }
    }

    fn send(&self, target: usize, element: Element, metrics: &TaskMetrics) -> Result<(), TaskError> {
        let target = &self.targets[target];
        if target.is_encoded() {
            metrics.buffers_out.add(1);
        }
        target.send(element)
    }

    /// Lets barriers that overtake at `now_ms` leave first, and adds what they overtake to `record`; whether none is left that may.
    fn overtake(&self, now_ms: i64, record: &mut Vec<InFlight>) -> bool {
        let (Some(EdgeReader { operator, input }), Some(spread)) = (self.reader, Spread::of(&self.partitioning)) else {
            return true;
        };
        let mut is_settled = true;
        // Exchanges that are recorded lead from every subtask to every other one.
        for (subtask, target) in self
            .targets
            .iter()
            .enumerate()
            .filter(|(_, target)| target.holds_barrier())
        {
            let rows = target.overtake(now_ms).into_iter();
            let recorded: Vec<Recorded> = rows.map(|rows| Recorded::Rows { input, spread, rows }).collect();
            is_settled &= !target.holds_barrier();
            if !recorded.is_empty() {
                let place = InFlightPlace::Output;
                record.push(InFlight {
                    operator,
                    subtask,
                    place,
                    recorded,
                });
            }
        }
        is_settled
    }

    fn flush(&mut self, target: usize, metrics: &TaskMetrics) -> Result<(), TaskError> {
        if self.pending_rows[target] == 0 {
            return Ok(());
        }
        let batch = Batch::join(std::mem::take(&mut self.pending[target]))
            .map_err(|e| TaskError::caused(crate::FailureLabel::Internal, "rows of one stream cannot be joined", e))?;
        self.pending_rows[target] = 0;
        self.send(target, Element::Data(batch), metrics)
    }
}

fn hashes_of(batch: &Batch) -> Result<&[u64], TaskError> {
    let hashes = batch.hashes().map(|h| h.as_slice());
    hashes.ok_or_else(|| TaskError::internal("rows came to a keyed exchange without the hashes of their keys"))
}

/// All exchanges out of a chain; none for a chain that ends in a sink.
#[derive(Debug)]
pub struct Router {
    edges: Vec<RouterEdge>,
    metrics: Arc<TaskMetrics>,
    flush_interval_ms: i64,
    oldest_pending_ms: Option<i64>,
    /// Nothing is read behind the end: a barrier there would lie in its channel for ever.
    has_ended: bool,
}

impl Router {
    /// A router over `edges` that holds small parts back for at most `flush_interval_ms` (0: not at all).
    pub fn new(edges: Vec<RouterEdge>, metrics: Arc<TaskMetrics>, flush_interval_ms: i64) -> Self {
        Self {
            edges,
            metrics,
            flush_interval_ms,
            oldest_pending_ms: None,
            has_ended: false,
        }
    }

    /// Whether every channel has room; if not, the task is woken once there is.
    pub fn has_room(&self) -> bool {
        self.edges.iter().all(|e| e.targets.iter().all(Sender::has_room))
    }

    /// Whether every channel has room for what a barrier that overtakes pushes out of the chain.
    pub fn has_reserve(&self) -> bool {
        self.edges.iter().all(|e| e.targets.iter().all(Sender::has_reserve))
    }

    /// Lets barriers on their way to other processes that overtake at `now_ms` leave first, and adds what they overtake to `record`;
    /// whether all barriers have left that may overtake.
    pub fn overtake(&self, now_ms: i64, record: &mut Vec<InFlight>) -> bool {
        let mut is_settled = true;
        for edge in &self.edges {
            is_settled &= edge.overtake(now_ms, record);
        }
        is_settled
    }

    /// Behind the end only a barrier goes, which then is before it, where the end still waits for another process.
    fn route_behind_end(&self, element: &Element) -> Result<(), TaskError> {
        let barrier: Barrier = match element {
            Element::Barrier(barrier) if barrier.overtakes_from_ms.is_some() => *barrier,
            _ => return Ok(()),
        };
        let recorded = self.edges.iter().filter(|edge| edge.reader.is_some());
        let mut targets = recorded.flat_map(|edge| &edge.targets);
        targets.try_for_each(|target| target.send_before_end(barrier))
    }

    /// Sends an element on.
    ///
    /// # Errors
    /// If the key cannot be hashed or rows cannot be moved.
    pub fn route(&mut self, element: Element, now_ms: i64) -> Result<(), TaskError> {
        if self.has_ended {
            return self.route_behind_end(&element);
        }
        self.has_ended = matches!(element, Element::End(_));
        let (output, element) = match element {
            Element::Side(output, batch) => (output, Element::Data(batch)),
            element => (0, element),
        };
        if let Element::Data(batch) = element {
            self.metrics.records_out.add(batch.num_rows() as u64);
            self.metrics
                .bytes_out
                .add(if self.edges.is_empty() { 0 } else { batch.bytes() as u64 });
            let mut readers = self.edges.iter_mut().filter(|e| e.output == output).peekable();
            // The last reader gets the batch itself, so that typed rows need not be cloned for it.
            let mut batch = Some(batch);
            while let Some(edge) = readers.next() {
                let part = match readers.peek() {
                    Some(_) => batch.clone(),
                    None => batch.take(),
                };
                part.map_or(Ok(()), |part| edge.route(part, &self.metrics))?;
            }
            if self.flush_interval_ms == 0 {
                return self.flush();
            }
            let pending = self.edges.iter().any(|e| e.pending_rows.iter().any(|r| *r > 0));
            self.oldest_pending_ms = if pending {
                self.oldest_pending_ms.or(Some(now_ms))
            } else {
                None
            };
            return Ok(());
        }
        if let Element::Watermark(time) = element {
            self.metrics.output_watermark.set(time);
        }
        self.flush()?;
        for edge in &self.edges {
            for target in 0..edge.targets.len() {
                edge.send(target, element.clone(), &self.metrics)?;
            }
        }
        Ok(())
    }

    /// When held-back rows must go.
    pub fn deadline_ms(&self) -> Option<i64> {
        self.oldest_pending_ms.map(|t| t + self.flush_interval_ms)
    }

    /// Sends all held-back rows.
    ///
    /// # Errors
    /// If they cannot be joined.
    pub fn flush(&mut self) -> Result<(), TaskError> {
        self.oldest_pending_ms = None;
        for edge in &mut self.edges {
            for target in 0..edge.targets.len() {
                edge.flush(target, &self.metrics)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::{Receiver, channel, encoded_channel};
    use super::super::frame::RowsForm;
    use super::*;
    use crate::waker::Waker;
    use arrow_array::{ArrayRef, Int64Array, cast::AsArray, types::Int64Type};

    fn router(partitioning: Partitioning, n: usize) -> (Router, Vec<Receiver>) {
        let (tx, rx): (Vec<_>, Vec<_>) = (0..n).map(|_| channel(1 << 20, Waker::new(), Waker::new())).unzip();
        let edge = RouterEdge::new(partitioning, tx, 128, 0);
        (Router::new(vec![edge], Arc::new(TaskMetrics::new([])), 10), rx)
    }

    fn batch(values: std::ops::Range<i64>) -> Element {
        let column: ArrayRef = Arc::new(values.collect::<Int64Array>());
        let rows = column.len();
        Element::Data(Batch::new(vec![column], rows))
    }

    fn received(rx: &Receiver) -> Vec<i64> {
        let mut all = vec![];
        while let Some(Element::Data(b)) = rx.pop().unwrap() {
            all.extend(b.column(0).as_primitive::<Int64Type>().values());
        }
        all
    }

    #[test]
    fn a_key_goes_to_the_owner_of_its_group_with_its_hash() {
        let (mut r, rx) = router(Partitioning::Hash { keys: vec![0] }, 3);
        r.route(batch(0..10_000), 0).unwrap();
        r.flush().unwrap();
        let mut all = vec![];
        for (subtask, rx) in rx.iter().enumerate() {
            let Some(Element::Data(b)) = rx.pop().unwrap() else {
                panic!("every subtask gets a part")
            };
            for (value, hash) in b
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .zip(b.hashes().unwrap().iter())
            {
                assert_eq!(*hash, flott_core::hash::hash_i64(*value));
                assert_eq!(subtask_of(key_group_of(*hash, 128), 128, 3), subtask);
                all.push(*value);
            }
        }
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<i64>>());
    }

    #[test]
    fn small_parts_wait_for_more_and_a_watermark_pushes_them_out() {
        let (mut r, rx) = router(Partitioning::Rebalance, 1);
        r.route(batch(0..3), 100).unwrap();
        assert!(rx[0].pop().unwrap().is_none());
        assert_eq!(r.deadline_ms(), Some(110));
        r.route(batch(3..5), 105).unwrap();
        assert_eq!(r.deadline_ms(), Some(110));
        r.route(Element::Watermark(9), 106).unwrap();
        assert_eq!(r.deadline_ms(), None);
        assert_eq!(received(&rx[0]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn parts_are_joined_to_as_many_rows_as_are_asked_for() {
        let (tx, rx) = channel(1 << 20, Waker::new(), Waker::new());
        let edge = RouterEdge::new(Partitioning::Forward, vec![tx], 128, 0).joining(7);
        let mut r = Router::new(vec![edge], Arc::new(TaskMetrics::new([])), 1_000);
        (0..8).for_each(|i| r.route(batch(i..i + 1), 0).unwrap());
        assert_eq!(received(&rx), [0, 1, 2, 3, 4, 5, 6]);
        r.flush().unwrap();
        assert_eq!(received(&rx), [7]);
    }

    #[test]
    fn what_is_encoded_is_counted() {
        let types = RowsForm::Columns(Arc::new([arrow_schema::DataType::Int64]));
        let (tx, rx) = encoded_channel(1 << 20, Waker::new(), Waker::new(), types);
        let edge = RouterEdge::new(Partitioning::Forward, vec![tx], 128, 0);
        let metrics = Arc::new(TaskMetrics::new([]));
        let mut r = Router::new(vec![edge], metrics.clone(), 0);
        r.route(batch(0..3), 0).unwrap();
        r.route(Element::Watermark(1), 0).unwrap();
        assert_eq!((metrics.buffers_out.get(), received(&rx)), (2, vec![0, 1, 2]));
    }

    #[test]
    fn broadcast_reaches_all_and_rebalance_takes_turns() {
        let (mut r, rx) = router(Partitioning::Broadcast, 2);
        r.route(batch(0..2), 0).unwrap();
        r.flush().unwrap();
        assert_eq!((received(&rx[0]), received(&rx[1])), (vec![0, 1], vec![0, 1]));
        let (mut r, rx) = router(Partitioning::Rebalance, 2);
        r.route(batch(0..1), 0).unwrap();
        r.route(batch(1..2), 0).unwrap();
        r.flush().unwrap();
        assert_eq!((received(&rx[0]), received(&rx[1])), (vec![0], vec![1]));
    }

    #[test]
    fn what_a_barrier_overtakes_on_its_way_to_another_process_is_recorded_for_its_reader() {
        use super::super::channel::outgoing_channel;
        use crate::element::AfterBarrier;
        let (tx, outgoing): (Vec<_>, Vec<_>) = (0..2).map(|_| outgoing_channel(1 << 20, Waker::new())).unzip();
        let reader = EdgeReader {
            operator: OperatorId(9),
            input: 1,
        };
        let edge = RouterEdge::new(Partitioning::Rebalance, tx, 128, 0).read_by(reader);
        let mut r = Router::new(vec![edge], Arc::new(TaskMetrics::new([])), 1_000);
        r.route(batch(0..3), 0).unwrap();
        let barrier = Barrier {
            checkpoint: 1,
            triggered_ms: 0,
            then: AfterBarrier::Continue,
            overtakes_from_ms: Some(100),
        };
        r.route(Element::Barrier(barrier), 0).unwrap();
        let mut record = vec![];
        assert!(!r.overtake(99, &mut record) && record.is_empty());
        // One barrier leaves in its turn.
        outgoing[1].take(usize::MAX, &mut vec![]);
        assert!(r.overtake(100, &mut record));
        let [of_first] = record.as_slice() else {
            panic!("{record:?}")
        };
        assert_eq!(
            (of_first.operator, of_first.subtask, of_first.place),
            (OperatorId(9), 0, InFlightPlace::Output)
        );
        assert_eq!(of_first.recorded.len(), 1);
    }
}
