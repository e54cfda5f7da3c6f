//! What jobs demand of a cluster before they are started: slots ([`JobDemand`]), and how many TaskManagers of which size these are
//! ([`ClusterShape`]).
//!
//! A slot holds one subtask of every vertex of a slot sharing group, so a job needs as many slots of a group as its widest vertex has
//! subtasks. Processors and memory are as large as options make a TaskManager; Flott measures none of it here.
//!
//! ```text
//! slots        = Σ over groups of the highest parallelism
//! TaskManagers = ⌈slots / taskmanager.numberOfTaskSlots⌉
//! resources    = TaskManagers × those of one
//! ```

use crate::error::ClusterError;
use flott_core::Options;
use flott_core::options::OptionError;
use flott_plan::{JobGraph, Plan};
use flott_runtime::TaskError;
use flott_state::BackendSettings;

/// Processors of a TaskManager.
const CORES: &str = "taskmanager.cpu.cores";

/// What one job demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDemand {
    /// Its vertices with their subtasks.
    pub graph: JobGraph,
    backend: BackendSettings,
}

impl JobDemand {
    /// Of a planned job, chained as at its start.
    ///
    /// # Errors
    /// If the plan is none, or an option of it has a value that it cannot have.
    pub fn of(plan: &Plan) -> Result<Self, ClusterError> {
        plan.validate()?;
        let backend = BackendSettings::from_options(&plan.options).map_err(TaskError::from)?;
        let chaining = plan.options.boolean("pipeline.operator-chaining.enabled")?;
        let graph = JobGraph::of(plan, chaining.unwrap_or(true));
        Ok(Self { graph, backend })
    }

    /// Memory that its state takes at most in a TaskManager of so many slots, in bytes; `None`: nothing bounds it.
    pub fn state_bytes(&self, slots_per_task_manager: usize) -> Option<u64> {
        let slots = slots_per_task_manager.min(self.graph.slots());
        self.backend.process_bytes(slots)
    }
}

/// The processes of a cluster, as options make them.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterShape {
    /// Slots of a TaskManager (`taskmanager.numberOfTaskSlots`, 1 without it).
    pub slots_per_task_manager: usize,
    /// Processors of a TaskManager (`taskmanager.cpu.cores`; one a slot without it).
    pub cores_per_task_manager: f64,
    /// Memory of a TaskManager, in bytes (`taskmanager.memory.process.size`), if it is told.
    pub task_manager_bytes: Option<u64>,
    /// Memory of a JobManager, in bytes (`jobmanager.memory.process.size`), if it is told.
    pub job_manager_bytes: Option<u64>,
}

impl ClusterShape {
    /// Reads the options.
    ///
    /// # Errors
    /// If one has a value that it cannot have.
    pub fn from_options(options: &Options) -> Result<Self, ClusterError> {
        let slots = options.positive("taskmanager.numberOfTaskSlots")?.unwrap_or(1);
        let cores = options.float(CORES)?.unwrap_or(slots as f64);
        if !cores.is_finite() || cores <= 0.0 {
            let value = options.get(CORES).unwrap_or_default();
            return Err(OptionError::new(CORES, value, "a number above 0").into());
        }
        Ok(Self {
            slots_per_task_manager: slots,
            cores_per_task_manager: cores,
            task_manager_bytes: options.memory_bytes("taskmanager.memory.process.size")?,
            job_manager_bytes: options.memory_bytes("jobmanager.memory.process.size")?,
        })
    }

    /// TaskManagers that offer so many slots.
    pub fn task_managers(&self, slots: usize) -> usize {
        slots.div_ceil(self.slots_per_task_manager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::{Field, LogicalType, OperatorId};
    use flott_plan::{Chaining, Edge, Node, Partitioning, Role};

    /// A source and a sink of this parallelism with an exchange between them.
    fn two_vertices(parallelism: usize, options: &[(&str, &str)]) -> Plan {
        let mut plan = Plan::new("two", options.iter().copied().collect());
        let node = |id, name: &str, role| Node {
            id,
            operator_id: OperatorId::of(name),
            uid: None,
            kind: "test".into(),
            version: 1,
            name: name.into(),
            description: String::new(),
            role,
            parallelism,
            fixed_parallelism: false,
            max_parallelism: 128,
            chaining: Chaining::Always,
            slot_sharing_group: None,
            output: vec![Field::new("a", LogicalType::bigint())],
            spec: serde_json::Value::Null,
        };
        plan.nodes = vec![node(0, "Source: s", Role::Source), node(1, "w", Role::Sink)];
        plan.edges = vec![Edge {
            from: 0,
            to: 1,
            input: 0,
            output: 0,
            partitioning: Partitioning::Rebalance,
        }];
        plan
    }

    fn shape(options: &[(&str, &str)]) -> Result<ClusterShape, ClusterError> {
        ClusterShape::from_options(&options.iter().copied().collect())
    }

    #[test]
    fn ten_subtasks_share_five_slots() {
        let mut plan = two_vertices(5, &[]);
        let demand = JobDemand::of(&plan).unwrap();
        assert_eq!((demand.graph.subtasks(), demand.graph.slots()), (10, 5));
        assert_eq!(demand.state_bytes(2), None);
        plan.nodes[1].slot_sharing_group = Some("other".into());
        assert_eq!(JobDemand::of(&plan).unwrap().graph.slots(), 10);
    }

    #[test]
    fn slots_that_do_not_fill_a_task_manager_need_one_all_the_same() {
        let one = shape(&[("taskmanager.memory.process.size", "2g")]).unwrap();
        assert_eq!((one.task_managers(5), one.cores_per_task_manager), (5, 1.0));
        assert_eq!(one.task_manager_bytes, Some(2 << 30));
        let two = shape(&[("taskmanager.numberOfTaskSlots", "2"), ("taskmanager.cpu.cores", "1.5")]).unwrap();
        assert_eq!((two.task_managers(5), two.task_managers(4)), (3, 2));
        assert_eq!((two.cores_per_task_manager, two.job_manager_bytes), (1.5, None));
        for option in [("taskmanager.numberOfTaskSlots", "0"), ("taskmanager.cpu.cores", "-1")] {
            let wrong = shape(&[option]).unwrap_err().to_string();
            assert!(wrong.contains(option.0), "{wrong}");
        }
    }

    #[test]
    fn chains_are_those_of_the_start() {
        let mut plan = two_vertices(2, &[]);
        plan.edges[0].partitioning = Partitioning::Forward;
        assert_eq!(JobDemand::of(&plan).unwrap().graph.subtasks(), 2);
        plan.options.set("pipeline.operator-chaining.enabled", "false");
        assert_eq!(JobDemand::of(&plan).unwrap().graph.subtasks(), 4);
        plan.options.set("pipeline.operator-chaining.enabled", "perhaps");
        assert!(JobDemand::of(&plan).is_err());
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn state_on_disk_takes_what_the_slots_of_a_task_manager_have() {
        let options = [
            ("state.backend.type", "rocksdb"),
            ("state.backend.rocksdb.memory.fixed-per-slot", "64 mb"),
        ];
        let demand = JobDemand::of(&two_vertices(3, &options)).unwrap();
        assert_eq!(demand.state_bytes(2), Some(128 << 20));
        assert_eq!(demand.state_bytes(8), Some(192 << 20));
    }
}
