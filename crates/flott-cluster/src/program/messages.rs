//! What is said over the standard input of a program's process, both ways.

use super::Lease;
use flott_checkpoint::manifest::InlineBytes;
use flott_core::{JobId, Options};
use flott_plan::{Node, Plan};
use flott_runtime::connector::{CommitterContext, ConnectorError, Split};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// What a process of a program is, told before all else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Assignment {
    /// Beside a JobManager: it tells the plan, and answers questions about the ends of the job.
    Coordinator {
        /// Options that its environment begins with.
        options: Options,
    },
    /// A TaskManager of lent slots.
    TaskManager {
        /// Options that its environment begins with.
        options: Options,
        /// Those of the process, by which it finds its JobManager.
        process: Options,
        /// Its slots, and the job that they are for.
        lease: Lease,
    },
}

impl Assignment {
    /// Options that the environment of the program begins with.
    pub fn options(&self) -> &Options {
        match self {
            Self::Coordinator { options } | Self::TaskManager { options, .. } => options,
        }
    }
}

/// What a coordinator is asked. Nothing of it depends on what was asked before but for the enumerators that it has made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Makes an enumerator, which has this number from now on.
    Enumerator {
        number: u64,
        node: Box<Node>,
        options: Arc<Options>,
        restored: Option<InlineBytes>,
    },
    /// Has it look for splits, and say whose each is.
    Discover { number: u64, parallelism: usize },
    /// Asks it whose splits are.
    Owners {
        number: u64,
        splits: Vec<Split>,
        parallelism: usize,
    },
    /// It is needed no more.
    Forget { number: u64 },
    /// Has the committer of a sink do its work.
    Commit {
        node: Box<Node>,
        way: Way,
        of: CommitterOf,
        listed: Vec<InlineBytes>,
    },
}

/// What is to be done with committables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    Commit,
    Recover,
    TakeOver,
}

/// What a committer is told, as [`CommitterContext`] has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitterOf {
    pub(super) job: JobId,
    pub(super) name: String,
    pub(super) options: Arc<Options>,
    pub(super) generation: u64,
}

impl CommitterOf {
    /// For the sink of a node.
    pub(super) fn context(&self, node: &Node) -> CommitterContext {
        CommitterContext {
            job_id: self.job,
            job_name: self.name.clone(),
            operator_id: node.operator_id,
            options: self.options.clone(),
            generation: self.generation,
        }
    }
}

/// What a coordinator says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromCoordinator {
    /// The job that it executes, first of all.
    Planned(Box<Plan>),
    /// To the request of this number.
    Answered(u64, Result<Answer, Fault>),
}

/// What became of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// An enumerator is there, or has looked: what it has found for which subtasks, and how it is now.
    Enumerated {
        found: Vec<(usize, Split)>,
        state: InlineBytes,
        interval: Option<Duration>,
    },
    /// The subtasks of splits, in their order.
    Owners(Vec<usize>),
    /// It is done.
    Done,
}

/// A [`ConnectorError`] of another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    Option(String),
    Schema(String),
    Fatal(String),
    Transient(String),
}

impl From<ConnectorError> for Fault {
    fn from(error: ConnectorError) -> Self {
        let text = full_text(&error);
        match error {
            ConnectorError::Option(_) => Self::Option(text),
            ConnectorError::Schema(_) => Self::Schema(text),
            ConnectorError::Fatal { .. } => Self::Fatal(text),
            ConnectorError::Transient { .. } => Self::Transient(text),
        }
    }
}

impl From<Fault> for ConnectorError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Option(text) => Self::Option(text),
            Fault::Schema(text) => Self::Schema(text),
            Fault::Fatal(message) => Self::Fatal { message, source: None },
            Fault::Transient(message) => Self::Transient { message, source: None },
        }
    }
}

/// The message with its causes.
fn full_text(error: &ConnectorError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
