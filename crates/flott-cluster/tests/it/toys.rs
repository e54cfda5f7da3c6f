//! A source of numbers, a keyed counter and a transactional sink in memory: enough to tell a lost row from a doubled one.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array};
use async_trait::async_trait;
use bytes::Bytes;
use flott_core::{Batch, CheckpointId, Field, LogicalType, OperatorId, Options};
use flott_plan::{Chaining, Edge, Node, Partitioning, Plan, Role};
use flott_runtime::connector::*;
use flott_runtime::{Flow, Operator, OperatorContext, Output, Registry, TaskError};
use flott_state::{ColumnType, KeyedTable, OperatorSnapshot, TableDescriptor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a test shares with its toys.
#[derive(Default)]
pub struct World {
    /// Rows that a reader with read-committed isolation sees: key and count.
    pub committed: Mutex<Vec<(i64, i64)>>,
    /// Transactions that were committed, so that a second commit changes nothing.
    pub seen: Mutex<BTreeSet<String>>,
    /// Numbers in each split; the source is unbounded if negative.
    pub per_split: AtomicI64,
    /// The counter fails when it has seen so many more rows; 0: never.
    pub fail_after: AtomicUsize,
    /// The counter fails at its next row behind a snapshot, once.
    pub fail_behind_snapshot: AtomicBool,
    /// The next commit panics, once.
    pub panic_at_commit: AtomicBool,
    /// Commits wait for as long as this is set.
    pub hold_commits: AtomicBool,
    /// Whether one waits.
    pub holds_commit: AtomicBool,
    /// Bytes that a committable is larger than it need be: they stand in the manifest, which takes longer to write.
    pub padding_bytes: AtomicUsize,
    /// Transactions that were prepared and neither committed nor given up.
    pub open: Mutex<BTreeSet<String>>,
    /// Keys beside [`KEYS`], for state that is large enough to have files.
    pub more_keys: AtomicI64,
    /// Time between two batches of a subtask that reads endless splits, in milliseconds; 0: one.
    pub batch_ms: AtomicI64,
    /// Whether of 20 numbers 19 are of one key.
    pub is_skewed: AtomicBool,
    /// The second subtask of the counter does not return from its next batch as long as [`World::keeps`] is set; once.
    pub hangs_next: AtomicBool,
    /// Whether it stays in it.
    pub keeps: AtomicBool,
    /// How long the counter takes for a batch, in milliseconds.
    pub count_ms: AtomicU64,
    /// Whether the second subtask of the counter lets no barrier pass.
    pub holds_barrier: AtomicBool,
    /// Whether writers wait for room outside.
    pub holds_writers: AtomicBool,
    /// How long a writer takes for a row, in milliseconds.
    pub write_ms: AtomicU64,
    /// Rows that were read, by all attempts.
    pub read: AtomicUsize,
    /// Position of each split in the last checkpoint that captured it: so many rows of it come before that.
    positions: Mutex<BTreeMap<String, i64>>,
    transactions: AtomicUsize,
}

const SPLITS: i64 = 3;
/// Numbers count keys from 0 to this, over and over, unless a world says otherwise.
const KEYS: i64 = 100;

struct NumberEnumerator {
    found: bool,
    bounded: bool,
}

#[async_trait]
impl SplitEnumerator for NumberEnumerator {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        let first = !std::mem::replace(&mut self.found, true);
        let split = |i: i64| Split {
            id: format!("s{i}"),
            state: 0i64.to_le_bytes().to_vec(),
        };
        Ok(if first {
            (0..SPLITS).map(split).collect()
        } else {
            vec![]
        })
    }
    fn discovery_interval(&self) -> Option<Duration> {
        (!self.bounded).then_some(Duration::from_millis(20))
    }
    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        split.id[1..].parse::<usize>().unwrap() % parallelism
    }
    fn snapshot(&self) -> Vec<u8> {
        vec![u8::from(self.found)]
    }
}

struct NumberReader {
    world: Arc<World>,
    splits: Vec<(String, i64)>,
    next: usize,
    no_more: bool,
    /// When it read the last batch.
    last_ms: i64,
}

impl SourceReader for NumberReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        let position = |s: &Split| i64::from_le_bytes(s.state.clone().try_into().unwrap());
        self.splits.extend(splits.iter().map(|s| (s.id.clone(), position(s))));
        Ok(())
    }
    fn no_more_splits(&mut self) {
        self.no_more = true;
    }
    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let limit = self.world.per_split.load(Ordering::SeqCst);
        let next_ms = self.last_ms + self.world.batch_ms.load(Ordering::SeqCst).max(1);
        if limit < 0 && now_ms < next_ms {
            return Ok(ReaderPoll::Idle {
                until_ms: Some(next_ms),
            });
        }
        self.last_ms = now_ms;
        for _ in 0..self.splits.len() {
            self.next = (self.next + 1) % self.splits.len();
            let (_, position) = &mut self.splits[self.next];
            if limit < 0 || *position < limit {
                let end = if limit < 0 {
                    *position + 50
                } else {
                    (*position + 50).min(limit)
                };
                let keys = KEYS + self.world.more_keys.load(Ordering::SeqCst);
                let is_skewed = self.world.is_skewed.load(Ordering::SeqCst);
                let key = |n: i64| if is_skewed && n % 20 != 0 { 0 } else { n % keys };
                let numbers: Int64Array = (*position..end).map(key).collect();
                let rows = (end - *position) as usize;
                *position = end;
                self.world.read.fetch_add(rows, Ordering::SeqCst);
                return Ok(ReaderPoll::Batch {
                    split: self.next,
                    batch: Batch::new(vec![Arc::new(numbers)], rows),
                });
            }
        }
        if self.no_more && limit >= 0 {
            return Ok(ReaderPoll::Finished);
        }
        Ok(ReaderPoll::Idle {
            until_ms: Some(now_ms + 1),
        })
    }
    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let split = |(id, position): &(String, i64)| Split {
            id: id.clone(),
            state: position.to_le_bytes().to_vec(),
        };
        self.world.positions.lock().unwrap().extend(self.splits.iter().cloned());
        Ok(self.splits.iter().map(split).collect())
    }
}

struct Numbers(Arc<World>);

impl Source for Numbers {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let bounded = self.0.per_split.load(Ordering::SeqCst) >= 0;
        Ok(Box::new(NumberEnumerator {
            found: restored == Some(&[1]),
            bounded,
        }))
    }
    fn reader(&self, _: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(NumberReader {
            world: self.0.clone(),
            splits: vec![],
            next: 0,
            no_more: false,
            last_ms: 0,
        }))
    }
}

/// Emits each key with how often it was seen.
struct Counter {
    world: Arc<World>,
    table: Option<KeyedTable>,
    subtask: usize,
    was_captured: bool,
}

impl Operator for Counter {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let descriptor = TableDescriptor::new("counts", vec![LogicalType::bigint()]).column("n", ColumnType::I64);
        let mut table = ctx.table(descriptor)?;
        if let Some(restored) = ctx.restored.take() {
            restored.load_table(&mut table)?;
        }
        self.table = Some(table);
        self.subtask = ctx.task.subtask;
        Ok(())
    }
    fn process(&mut self, _: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let rows = batch.num_rows();
        let count_ms = self.world.count_ms.load(Ordering::SeqCst);
        if count_ms > 0 {
            std::thread::sleep(Duration::from_millis(count_ms));
        }
        if self.subtask == 1 && self.world.hangs_next.swap(false, Ordering::SeqCst) {
            while self.world.keeps.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let due = self
            .world
            .fail_after
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                (left > 0).then(|| left.saturating_sub(rows))
            });
        if due.is_ok_and(|left| left <= rows) {
            return Err(TaskError::user("the counter was told to fail"));
        }
        if self.was_captured && self.world.fail_behind_snapshot.swap(false, Ordering::SeqCst) {
            return Err(TaskError::user("the counter was told to fail behind a snapshot"));
        }
        let table = self.table.as_mut().unwrap();
        table.relieve()?;
        let mut slots = vec![];
        table.slots(batch.columns(), batch.hashes().unwrap(), &mut slots)?;
        let counts: Int64Array = slots
            .iter()
            .map(|slot| {
                let column = table.column_mut::<i64>(0);
                let n = column.get(*slot) + 1;
                column.set(*slot, n);
                n
            })
            .collect();
        let counts: ArrayRef = Arc::new(counts);
        out.emit(Batch::new(vec![batch.column(0).clone(), counts], rows));
        Ok(Flow::Done)
    }
    fn resume(&mut self, _: &mut Output) -> Result<Flow, TaskError> {
        Ok(self.at_barrier())
    }
    fn before_barrier(&mut self, _: CheckpointId, _: &mut Output) -> Result<Flow, TaskError> {
        Ok(self.at_barrier())
    }
    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        self.was_captured = true;
        let keyed = self.table.iter_mut().map(|t| t.capture(checkpoint)).collect();
        Ok(OperatorSnapshot {
            keyed,
            ..OperatorSnapshot::default()
        })
    }
}

impl Counter {
    fn at_barrier(&self) -> Flow {
        match self.subtask == 1 && self.world.holds_barrier.load(Ordering::SeqCst) {
            true => Flow::Blocked,
            false => Flow::Done,
        }
    }
}

struct MemorySink(Arc<World>);

impl Sink for MemorySink {
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let name = format!("{}-{}", ctx.task.job_id, ctx.task.attempt);
        Ok(Box::new(MemoryWriter {
            world: self.0.clone(),
            name,
            rows: vec![],
            prepared: BTreeMap::new(),
        }))
    }
    fn committer(&self, _: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        Ok(Some(Box::new(MemoryCommitter(self.0.clone()))))
    }
}

struct MemoryWriter {
    world: Arc<World>,
    name: String,
    rows: Vec<(i64, i64)>,
    /// By the checkpoint that listed them first; listed again until one is known to be committed, as a checkpoint may be given up.
    prepared: BTreeMap<CheckpointId, Bytes>,
}

impl SinkWriter for MemoryWriter {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values().to_vec();
        for row in column(0).into_iter().zip(column(1)) {
            let write_ms = self.world.write_ms.load(Ordering::SeqCst);
            if write_ms > 0 {
                std::thread::sleep(Duration::from_millis(write_ms));
            }
            self.rows.push(row);
        }
        self.resume()
    }
    fn resume(&mut self) -> Result<Flow, TaskError> {
        Ok(match self.world.holds_writers.load(Ordering::SeqCst) {
            true => Flow::Blocked,
            false => Flow::Done,
        })
    }
    fn flush(&mut self) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }
    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<Bytes>, TaskError> {
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            let number = self.world.transactions.fetch_add(1, Ordering::SeqCst);
            let id = format!("{}-{number}", self.name);
            self.world.open.lock().unwrap().insert(id.clone());
            let padding = " ".repeat(self.world.padding_bytes.load(Ordering::SeqCst));
            let text = serde_json::to_string(&(id, rows)).unwrap();
            self.prepared.insert(checkpoint, (text + &padding).into());
        }
        Ok(self.prepared.values().cloned().collect())
    }
    fn committed(&mut self, checkpoint: CheckpointId) {
        self.prepared.retain(|listed_by, _| *listed_by > checkpoint);
    }
}

struct MemoryCommitter(Arc<World>);

#[async_trait]
impl Committer for MemoryCommitter {
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError> {
        if committables.is_empty() {
            return Ok(());
        }
        let panics = self.0.panic_at_commit.swap(false, Ordering::SeqCst);
        assert!(!panics, "the committer was told to panic");
        while self.0.hold_commits.load(Ordering::SeqCst) {
            self.0.holds_commit.store(true, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        for committable in committables {
            let (id, rows): (String, Vec<(i64, i64)>) = serde_json::from_slice(committable).unwrap();
            if self.0.seen.lock().unwrap().contains(&id) {
                continue;
            }
            if !self.0.open.lock().unwrap().remove(&id) {
                return Err(ConnectorError::Fatal {
                    message: format!("transaction {id} was given up, its rows are lost"),
                    source: None,
                });
            }
            self.0.seen.lock().unwrap().insert(id);
            self.0.committed.lock().unwrap().extend(rows);
        }
        Ok(())
    }
    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.commit(listed).await?;
        self.0.open.lock().unwrap().clear();
        Ok(())
    }
}

struct Toys(Arc<World>);

impl TableConnector for Toys {
    fn identifier(&self) -> &'static str {
        "toys"
    }
    fn check_source(&self, _: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option("not planned by SQL".into()))
    }
    fn check_sink(&self, _: &TableSpec, _: &Options) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option("not planned by SQL".into()))
    }
    fn source(&self, _: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Numbers(self.0.clone())))
    }
    fn sink(&self, _: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(MemorySink(self.0.clone())))
    }
}

pub fn registry(world: &Arc<World>) -> Registry {
    let mut registry = Registry::new();
    registry.connector(Toys(world.clone()));
    let world = world.clone();
    registry.operator("counter", move |_, _| {
        Ok(Box::new(Counter {
            world: world.clone(),
            table: None,
            subtask: 0,
            was_captured: false,
        }))
    });
    registry
}

/// numbers → by key → counter → sink, each at `parallelism`.
pub fn plan(parallelism: usize, options: &[(&str, &str)]) -> Plan {
    let mut plan = Plan::new("toys", options.iter().copied().collect());
    let table = TableSpec {
        name: "t".into(),
        options: [("connector", "toys")].into_iter().collect(),
        columns: vec![],
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    };
    let key = Field::new("k", LogicalType::bigint());
    let count = Field::new("n", LogicalType::bigint());
    let scan = ScanSpec {
        table: table.clone(),
        fields: vec![key.clone()],
        metadata: vec![],
        watermark: None,
        partitions: None,
    };
    let sink = SinkSpec {
        table,
        fields: vec![key.clone(), count.clone()],
        metadata: vec![],
        updating: false,
    };
    let nodes = [
        (
            flott_runtime::registry::TABLE_SCAN,
            "Source: numbers",
            Role::Source,
            vec![key.clone()],
            serde_json::to_value(scan),
        ),
        (
            "counter",
            "Counter",
            Role::Operator,
            vec![key, count],
            Ok(serde_json::Value::Null),
        ),
        (
            flott_runtime::registry::TABLE_SINK,
            "Sink",
            Role::Sink,
            vec![],
            serde_json::to_value(sink),
        ),
    ];
    for (id, (kind, name, role, output, spec)) in nodes.into_iter().enumerate() {
        plan.nodes.push(Node {
            id,
            operator_id: OperatorId::of(name),
            uid: None,
            kind: kind.into(),
            version: 1,
            name: name.into(),
            description: String::new(),
            role,
            parallelism,
            fixed_parallelism: false,
            max_parallelism: 128,
            chaining: Chaining::Always,
            slot_sharing_group: None,
            output,
            spec: spec.unwrap(),
        });
    }
    let hash = Partitioning::Hash { keys: vec![0] };
    plan.edges.push(Edge {
        from: 0,
        to: 1,
        input: 0,
        output: 0,
        partitioning: hash,
    });
    plan.edges.push(Edge {
        from: 1,
        to: 2,
        input: 0,
        output: 0,
        partitioning: Partitioning::Forward,
    });
    plan
}

impl World {
    /// A world whose splits hold so many numbers.
    pub fn with(per_split: i64) -> Arc<Self> {
        let world = Self::default();
        world.per_split.store(per_split, Ordering::SeqCst);
        Arc::new(world)
    }

    /// Fails unless each key was counted from 1 up without a gap or a repetition; gives the number of rows.
    pub fn check(&self) -> usize {
        let mut rows = self.committed.lock().unwrap().clone();
        rows.sort_unstable();
        let mut last = (-1, 0);
        for (key, n) in &rows {
            let expected = if *key == last.0 { last.1 + 1 } else { 1 };
            assert_eq!(*n, expected, "key {key}: a count is lost or doubled");
            last = (*key, *n);
        }
        rows.len()
    }

    /// Rows that come before the last checkpoint.
    pub fn captured(&self) -> usize {
        self.positions.lock().unwrap().values().sum::<i64>() as usize
    }

    /// Rows when every number was read once.
    pub fn complete(&self) -> usize {
        (SPLITS * self.per_split.load(Ordering::SeqCst)) as usize
    }
}
