//! The ends of a job as its master asks for them: sources' enumerators and sinks' committers, here or in the coordinator of a program.

use super::coordinator::Coordinator;
use super::messages::{Answer, CommitterOf, Request, Way};
use async_trait::async_trait;
use bytes::Bytes;
use flott_checkpoint::manifest::InlineBytes;
use flott_core::Options;
use flott_plan::Node;
use flott_runtime::Committer;
use flott_runtime::connector::{CommitterContext, ConnectorError, Split, SplitEnumerator};
use std::sync::Arc;
use std::time::Duration;

/// Between the start of an enumerator that goes on from a state, whose own interval is not known yet, and its first look.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// A source of a program.
#[derive(Debug, Clone)]
pub struct ProgramSource {
    coordinator: Arc<Coordinator>,
    node: Arc<Node>,
    options: Arc<Options>,
}

impl ProgramSource {
    /// Of a node, under the options of its job.
    pub(crate) fn new(coordinator: Arc<Coordinator>, node: &Node, options: Arc<Options>) -> Self {
        Self {
            coordinator,
            node: Arc::new(node.clone()),
            options,
        }
    }

    /// Its enumerator. `restored`: what that has said of itself, if the job is restored.
    pub(crate) fn enumerator(&self, restored: Option<&[u8]>) -> ProgramEnumerator {
        ProgramEnumerator {
            source: self.clone(),
            state: restored.map(<[u8]>::to_vec),
            interval: Some(FIRST_LOOK),
            made: None,
        }
    }
}

/// An enumerator in a coordinator. One that is lost with its process goes on from what it has said last in the next.
pub struct ProgramEnumerator {
    source: ProgramSource,
    state: Option<Vec<u8>>,
    interval: Option<Duration>,
    /// Its number, and that of the process that has it.
    made: Option<(u64, u64)>,
}

impl ProgramEnumerator {
    /// Its number, behind having made it if it is not there.
    async fn number(&mut self) -> Result<u64, ConnectorError> {
        let coordinator = self.source.coordinator.clone();
        let current = coordinator.current().await;
        if let Some((number, process)) = self.made
            && current == Some(process)
        {
            return Ok(number);
        }
        let number = coordinator.number();
        let request = Request::Enumerator {
            number,
            node: Box::new(Node::clone(&self.source.node)),
            options: self.source.options.clone(),
            restored: self.state.clone().map(|state| InlineBytes(state.into())),
        };
        let (process, answer) = coordinator.ask(request).await?;
        self.take(answer)?;
        self.made = Some((number, process));
        Ok(number)
    }

    fn take(&mut self, answer: Answer) -> Result<Vec<(usize, Split)>, ConnectorError> {
        let Answer::Enumerated { found, state, interval } = answer else {
            return Err(misunderstood());
        };
        self.state = Some(state.0.to_vec());
        self.interval = interval;
        Ok(found)
    }

    async fn discover(&mut self, parallelism: usize) -> Result<Vec<(usize, Split)>, ConnectorError> {
        let number = self.number().await?;
        let request = Request::Discover { number, parallelism };
        let (_, answer) = self.source.coordinator.ask(request).await?;
        self.take(answer)
    }

    async fn owners(&mut self, splits: Vec<Split>, parallelism: usize) -> Result<Vec<usize>, ConnectorError> {
        let number = self.number().await?;
        let count = splits.len();
        let request = Request::Owners {
            number,
            splits,
            parallelism,
        };
        match self.source.coordinator.ask(request).await? {
            (_, Answer::Owners(owners)) if owners.len() == count => Ok(owners),
            _ => Err(misunderstood()),
        }
    }
}

impl Drop for ProgramEnumerator {
    fn drop(&mut self) {
        let Some((number, process)) = self.made else {
            return;
        };
        let coordinator = self.source.coordinator.clone();
        // Without a runtime the JobManager ends, and the coordinator with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if coordinator.current().await == Some(process) {
                    let _ = coordinator.ask(Request::Forget { number }).await;
                }
            });
        }
    }
}

fn misunderstood() -> ConnectorError {
    ConnectorError::Fatal {
        message: "the coordinator of the program has answered something else: it is of another build".to_owned(),
        source: None,
    }
}

/// An enumerator of a source.
pub(crate) enum Enumerating {
    /// In this process.
    Here(Box<dyn SplitEnumerator>),
    /// In the coordinator of a program.
    Program(ProgramEnumerator),
}

impl Enumerating {
    /// The splits found since the last call, each with the subtask that reads it.
    ///
    /// # Errors
    /// If what is outside cannot be asked, or the coordinator.
    pub(crate) async fn discover(&mut self, parallelism: usize) -> Result<Vec<(usize, Split)>, ConnectorError> {
        match self {
            Self::Here(enumerator) => {
                let found = enumerator.discover().await?.into_iter();
                Ok(found
                    .map(|split| (enumerator.owner(&split, parallelism), split))
                    .collect())
            }
            Self::Program(enumerator) => enumerator.discover(parallelism).await,
        }
    }

    /// The subtasks that read splits, in their order.
    ///
    /// # Errors
    /// If the coordinator cannot be asked.
    pub(crate) async fn owners<'a>(
        &mut self,
        splits: impl Iterator<Item = &'a Split>,
        parallelism: usize,
    ) -> Result<Vec<usize>, ConnectorError> {
        match self {
            Self::Here(enumerator) => Ok(splits.map(|split| enumerator.owner(split, parallelism)).collect()),
            Self::Program(enumerator) => enumerator.owners(splits.cloned().collect(), parallelism).await,
        }
    }

    /// How often to discover again; `None`: not at all.
    pub(crate) fn interval(&self) -> Option<Duration> {
        match self {
            Self::Here(enumerator) => enumerator.discovery_interval(),
            Self::Program(enumerator) => enumerator.interval,
        }
    }

    /// Its state behind the last call.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        match self {
            Self::Here(enumerator) => enumerator.snapshot(),
            Self::Program(enumerator) => enumerator.state.clone().unwrap_or_default(),
        }
    }
}

/// The committer of a program's sink; a sink that has none has nothing to be committed, and does nothing.
pub(crate) struct ProgramCommitter {
    coordinator: Arc<Coordinator>,
    node: Node,
    of: CommitterOf,
}

impl ProgramCommitter {
    /// Of the sink of a node.
    pub(crate) fn new(coordinator: Arc<Coordinator>, node: &Node, ctx: CommitterContext) -> Self {
        let of = CommitterOf {
            job: ctx.job_id,
            name: ctx.job_name,
            options: ctx.options,
            generation: ctx.generation,
        };
        Self {
            coordinator,
            node: node.clone(),
            of,
        }
    }

    async fn ask(&self, way: Way, listed: &[Bytes]) -> Result<(), ConnectorError> {
        let request = Request::Commit {
            node: Box::new(self.node.clone()),
            way,
            of: self.of.clone(),
            listed: listed.iter().cloned().map(InlineBytes).collect(),
        };
        self.coordinator.ask(request).await.map(drop)
    }
}

#[async_trait]
impl Committer for ProgramCommitter {
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError> {
        self.ask(Way::Commit, committables).await
    }

    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.ask(Way::Recover, listed).await
    }

    async fn take_over(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.ask(Way::TakeOver, listed).await
    }
}
