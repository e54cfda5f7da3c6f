//! What a program can have wrong that is told when its job is planned: [`ProgramError`].

use crate::function::BoxError;
use flott_plan::PlanError;

/// A program that is no job.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The graph.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A uid twice.
    #[error(
        "the uid '{uid}' is given to '{first}' and to '{second}': state is found by it, so give one of them another"
    )]
    DuplicateUid {
        /// The uid.
        uid: String,
        /// Who has it.
        first: String,
        /// Who has it too.
        second: String,
    },
    /// A source that does not end, in a job whose results are told at its end.
    #[error(
        "'{source_name}' does not end, and 'execution.runtime-mode' is BATCH: set it to STREAMING or AUTOMATIC, or give the source an end"
    )]
    Unbounded {
        /// Name of the source.
        source_name: String,
    },
    /// A function that needs all of its broadcast stream first.
    #[error(
        "'{name}' reads a broadcast stream, of which it would need all first in batch mode, and that is not supported: set \
         'execution.runtime-mode' to STREAMING"
    )]
    BroadcastInBatch {
        /// The operator.
        name: String,
    },
    /// Batch mode with SQL.
    #[error("the program's SQL is not supported in batch mode: set 'execution.runtime-mode' to STREAMING")]
    TablesInBatch,
    /// A forward edge between unequal neighbours.
    #[error(
        "forward() cannot lead from '{from}' (parallelism {from_parallelism}) to '{to}' (parallelism {to_parallelism}): \
         use rebalance() or rescale(), or set the same parallelism"
    )]
    Forward {
        /// Upstream.
        from: String,
        /// Its parallelism.
        from_parallelism: usize,
        /// Downstream.
        to: String,
        /// Its parallelism.
        to_parallelism: usize,
    },
    /// A union of streams of changes, of several parallelisms, that is read as it is.
    #[error(
        "a table is made of a union of changes, where '{name}' has a parallelism of {parallelism} and '{other}' of {other_parallelism}: the \
         changes of a row would overtake each other, so give the united streams one parallelism (set_parallelism)"
    )]
    UnequalChanges {
        /// A part of the union.
        name: String,
        /// Its parallelism.
        parallelism: usize,
        /// Another part.
        other: String,
        /// Its parallelism.
        other_parallelism: usize,
    },
    /// A parallelism that the operator cannot have.
    #[error("'{name}' runs with a parallelism of {only}, and {asked} was set: remove set_parallelism")]
    FixedParallelism {
        /// The operator.
        name: String,
        /// Its parallelism.
        only: usize,
        /// What was asked for.
        asked: usize,
    },
    /// A custom partitioner that knows another number of subtasks than there are.
    #[error(
        "partition_custom() spreads records over {subtasks} subtasks, and '{to}', which reads them, has {parallelism}: say \
         set_parallelism({subtasks}) of it, or give the partitioner {parallelism}"
    )]
    Subtasks {
        /// What was said.
        subtasks: usize,
        /// Who reads.
        to: String,
        /// Its parallelism.
        parallelism: usize,
    },
    /// A word about an operator, said of an exchange.
    #[error(
        "{what}() speaks of an operator, and an exchange is none: call it before key_by, rebalance and the like, or behind the next operator"
    )]
    Exchange {
        /// The method.
        what: &'static str,
    },
    /// A word about an operator, said of a union.
    #[error("{what}() speaks of an operator, and a union is none: call it on a stream before union()")]
    Union {
        /// The method.
        what: &'static str,
    },
    /// A word about an operator, said of a side output.
    #[error(
        "{what}() speaks of an operator, and a side output is none: call it on the stream that has the side output"
    )]
    SideOutput {
        /// The method.
        what: &'static str,
    },
    /// A slot sharing group without a name.
    #[error("the slot sharing group of '{name}' has no name: give it one, or 'default'")]
    SlotSharingGroup {
        /// The operator.
        name: String,
    },
    /// A side output that is read as two types.
    #[error("the side output '{id}' is read as {first} and as {second}: give one of the tags another name")]
    SideOutputType {
        /// Its name.
        id: String,
        /// A type.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// An interval without times.
    #[error("an interval join is between {lower_ms} ms and {upper_ms} ms: the lower bound must not be above the upper")]
    IntervalJoin {
        /// The lower bound.
        lower_ms: i64,
        /// The upper bound.
        upper_ms: i64,
    },
    /// Windows that cannot be.
    #[error("{reason}")]
    Window {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An alignment of watermarks that cannot be.
    #[error("{reason}")]
    Alignment {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An asynchronous function that cannot be.
    #[error("{reason}")]
    Async {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What the planner refused.
    #[error("{0}")]
    Part(BoxError),
    /// A part of the job is planned by nobody.
    #[error("a part of the program is to be planned, and nobody was named who plans it")]
    NoPlanner,
    /// An option.
    #[error(transparent)]
    Option(#[from] flott_core::options::OptionError),
}
