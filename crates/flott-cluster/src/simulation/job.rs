//! The job of a run, and its surroundings: sizes and options that a seed draws, and the connector that its plan names.

use super::rng::Rng;
use super::transactions::SimulatedCommitter;
use super::world::World;
use crate::dispatcher::Application;
use crate::submit::{Restore, Submission};
use async_trait::async_trait;
use flott_core::{JobId, OperatorId, Options};
use flott_plan::{Chaining, Edge, Node, Partitioning, Plan, Role};
use flott_runtime::connector::{
    Boundedness, Committer, CommitterContext, ConnectorError, ScanSpec, Sink, SinkSpec, SinkWriter, Source,
    SourceReader, Split, SplitEnumerator, TableConnector, TableInfo, TableSpec,
};
use flott_runtime::registry::{TABLE_SCAN, TABLE_SINK};
use flott_runtime::{OperatorContext, Registry, TaskError};
use std::sync::Arc;
use std::time::Duration;

/// The folder of the store that all is in.
pub const FOLDER: &str = "simulated:/cluster";

/// The job's `pipeline.name`.
const NAME: &str = "simulated";

/// Most subtasks of it.
pub const MOST_SUBTASKS: usize = 4;

/// How often a source looks for splits that come one by one.
const DISCOVERY: Duration = Duration::from_millis(700);

/// What differs from run to run.
#[derive(Debug, Clone)]
pub struct Shape {
    pub job_managers: usize,
    pub task_managers: usize,
    pub slots: usize,
    pub parallelism: usize,
    pub splits: usize,
    /// Records of a split; none: they never end.
    pub limit: Option<i64>,
    pub interval_ms: i64,
    pub retained: i64,
    pub is_incremental: bool,
    pub tolerable_failures: i64,
    /// How long anything fails.
    pub trouble_ms: i64,
    /// About how many troubles there are.
    pub troubles: i64,
}

impl Shape {
    pub fn draw(rng: &mut Rng) -> Self {
        let parallelism = rng.range(1, 3) as usize;
        Self {
            job_managers: rng.range(2, 3) as usize,
            task_managers: rng.range(2, 3) as usize,
            slots: 2,
            parallelism,
            splits: rng.range(1, 4) as usize,
            limit: Some(rng.range(40, 300)).filter(|_| !rng.per_mille(300)),
            interval_ms: rng.range(60, 500),
            retained: rng.range(1, 2),
            is_incremental: rng.per_mille(600),
            tolerable_failures: rng.range(0, 3),
            trouble_ms: rng.range(3_000, 9_000),
            troubles: rng.range(2, 12),
        }
    }
}

/// The job's id.
pub fn id() -> JobId {
    JobId(7)
}

pub fn source_id() -> OperatorId {
    OperatorId::of("source")
}

pub fn sum_id() -> OperatorId {
    OperatorId::of("sum")
}

pub fn sink_id() -> OperatorId {
    OperatorId::of("sink")
}

/// The folder of the job's checkpoints within the store.
pub fn checkpoint_folder() -> String {
    format!("checkpoints/{}/", flott_checkpoint::layout::job_folder(NAME))
}

/// The folder of the job's log within the store.
pub fn log_folder() -> String {
    format!("jobs/{}/", id())
}

pub fn application(shape: &Shape) -> Application {
    Application {
        job: id(),
        submission: Submission {
            plan: plan(shape),
            restore: Restore::Fresh,
            allow_non_restored_state: false,
        },
        program: None,
    }
}

fn plan(shape: &Shape) -> Plan {
    let interval = format!("{} ms", shape.interval_ms);
    let options = [
        ("execution.checkpointing.interval", interval.as_str()),
        ("execution.checkpointing.timeout", "3 s"),
        ("execution.checkpointing.dir", FOLDER),
        ("execution.checkpointing.savepoint-dir", FOLDER),
        ("execution.checkpointing.num-retained", &shape.retained.to_string()),
        ("execution.checkpointing.incremental", &shape.is_incremental.to_string()),
        (
            "execution.checkpointing.tolerable-failed-checkpoints",
            &shape.tolerable_failures.to_string(),
        ),
        // So that state is read ahead of each change of the parallelism.
        ("state.backend.hot-rows", "100"),
        ("jobmanager.adaptive-scheduler.preload.min-state-size", "0 b"),
        ("restart-strategy.exponential-delay.initial-backoff", "100 ms"),
        ("restart-strategy.exponential-delay.max-backoff", "2 s"),
    ];
    let mut plan = Plan::new(NAME, options.into_iter().collect());
    let table = TableSpec {
        name: "t".to_owned(),
        options: [("connector", "simulated")].into_iter().collect(),
        columns: vec![],
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    };
    let scan = ScanSpec {
        table: table.clone(),
        fields: vec![],
        metadata: vec![],
        watermark: None,
        partitions: None,
    };
    let sink = SinkSpec {
        table,
        fields: vec![],
        metadata: vec![],
        updating: false,
    };
    let nodes = [
        (source_id(), TABLE_SCAN, Role::Source, serde_json::to_value(scan)),
        (sum_id(), "sum", Role::Operator, Ok(serde_json::Value::Null)),
        (sink_id(), TABLE_SINK, Role::Sink, serde_json::to_value(sink)),
    ];
    for (id, (operator_id, kind, role, spec)) in nodes.into_iter().enumerate() {
        plan.nodes.push(Node {
            id,
            operator_id,
            uid: None,
            kind: kind.to_owned(),
            version: 1,
            name: kind.to_owned(),
            description: String::new(),
            role,
            parallelism: shape.parallelism,
            fixed_parallelism: false,
            max_parallelism: 8,
            chaining: Chaining::Always,
            slot_sharing_group: None,
            output: vec![],
            spec: spec.unwrap(),
        });
    }
    plan.edges = (0..2)
        .map(|from| Edge {
            from,
            to: from + 1,
            input: 0,
            output: 0,
            partitioning: Partitioning::Forward,
        })
        .collect();
    plan
}

/// What a JobManager's process knows of the connector.
pub fn registry(world: &Arc<World>, process: usize) -> Registry {
    let mut registry = Registry::new();
    registry.connector(Simulated {
        world: world.clone(),
        process,
    });
    registry
}

/// The connector, its source and its sink.
#[derive(Clone)]
struct Simulated {
    world: Arc<World>,
    process: usize,
}

fn elsewhere() -> TaskError {
    TaskError::internal("tasks are simulated")
}

impl TableConnector for Simulated {
    fn identifier(&self) -> &'static str {
        "simulated"
    }
    fn check_source(&self, _: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option("not planned by SQL".to_owned()))
    }
    fn check_sink(&self, _: &TableSpec, _: &Options) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option("not planned by SQL".to_owned()))
    }
    fn source(&self, _: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(self.clone()))
    }
    fn sink(&self, _: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(self.clone()))
    }
}

impl Source for Simulated {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(Splits {
            found: restored.and_then(|state| state.first()).map_or(0, |n| usize::from(*n)),
            shape: self.world.shape.clone(),
        }))
    }
    fn reader(&self, _: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Err(elsewhere())
    }
}

impl Sink for Simulated {
    fn writer(&self, _: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Err(elsewhere())
    }
    fn committer(&self, ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        Ok(Some(Box::new(SimulatedCommitter {
            world: self.world.clone(),
            process: self.process,
            generation: ctx.generation,
        })))
    }
}

/// Finds all splits of a source that ends at once, and those of an endless one by one.
struct Splits {
    found: usize,
    shape: Shape,
}

#[async_trait]
impl SplitEnumerator for Splits {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        let until = match self.shape.limit {
            Some(_) => self.shape.splits,
            None => (self.found + 1).min(self.shape.splits),
        };
        let split = |number: usize| Split {
            id: format!("s{number}"),
            state: encode(0),
        };
        let found = (self.found..until).map(split).collect();
        self.found = until;
        Ok(found)
    }
    fn discovery_interval(&self) -> Option<Duration> {
        self.shape.limit.is_none().then_some(DISCOVERY)
    }
    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        split.id[1..].parse::<usize>().unwrap() % parallelism
    }
    fn snapshot(&self) -> Vec<u8> {
        vec![self.found as u8]
    }
}

/// A split's state: the position of its next record.
pub fn encode(position: i64) -> Vec<u8> {
    position.to_le_bytes().to_vec()
}

/// The position in a split's state.
pub fn decode(state: &[u8]) -> i64 {
    i64::from_le_bytes(state.try_into().unwrap())
}
