//! Sources that stop by themselves after some batches, so that a test puts a barrier between any two of them.

use flott_core::{CheckpointId, Options};
use flott_plan::{Node, Plan, Role};
use flott_runtime::connector::{
    Boundedness, ConnectorError, ReaderPoll, ScanSpec, SinkSpec, Split, TableInfo, TableSpec,
};
use flott_runtime::registry::FactoryContext;
use flott_runtime::{
    OperatorContext, Registry, Sink, Source, SourceReader, SplitEnumerator, TableConnector, TaskError, Waker,
};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Kind of the source of constant rows.
const VALUES: &str = "stream-exec-values";

/// Says how far the readers of a job go, and hears when they are there.
#[derive(Clone, Default)]
pub struct Steps(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Batches that each reader hands out.
    batches: usize,
    wakers: Vec<Waker>,
    /// Readers that are neither at their last batch nor at their end.
    running: usize,
    /// Readers that stopped before their end.
    stopped: usize,
}

impl Steps {
    /// Lets every reader of `plan` hand out so many batches.
    pub fn begin(&self, plan: &Plan, batches: usize) {
        let sources = plan.nodes.iter().filter(|n| n.role == Role::Source);
        *self.0.state.lock().unwrap() = State {
            batches,
            running: sources.map(|n| n.parallelism).sum(),
            ..State::default()
        };
    }

    /// Lets every reader that has stopped hand out so many batches more.
    pub fn go_on(&self, batches: usize) {
        let mut state = self.0.state.lock().unwrap();
        state.batches += batches;
        state.running += std::mem::take(&mut state.stopped);
        state.wakers.iter().for_each(Waker::wake);
    }

    /// Waits until every reader has stopped or ended; `true` if one has stopped before its end.
    pub async fn settled(&self) -> bool {
        loop {
            let changed = self.0.changed.notified();
            {
                let state = self.0.state.lock().unwrap();
                if state.running == 0 {
                    return state.stopped > 0;
                }
            }
            changed.await;
        }
    }

    fn settle(&self, stopped: bool) {
        let mut state = self.0.state.lock().unwrap();
        state.running = state.running.saturating_sub(1);
        state.stopped += usize::from(stopped);
        self.0.changed.notify_one();
    }

    /// Puts these steps around the sources of `registry`.
    pub fn control(&self, registry: &mut Registry) {
        for name in ["filesystem", "datagen"] {
            let connector = registry.find_connector(name).unwrap().clone();
            registry.connector(SteppedConnector {
                connector,
                steps: self.clone(),
            });
        }
        let (steps, real) = (self.clone(), registry.clone());
        registry.source(VALUES, move |node: &Node, ctx: &FactoryContext| {
            let (source, _) = real.make_source(node, ctx)?;
            Ok(steps.clone().around(source))
        });
    }

    fn around(self, source: Box<dyn Source>) -> Box<dyn Source> {
        Box::new(SteppedSource { source, steps: self })
    }
}

struct SteppedConnector {
    connector: Arc<dyn TableConnector>,
    steps: Steps,
}

impl TableConnector for SteppedConnector {
    fn identifier(&self) -> &'static str {
        self.connector.identifier()
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        self.connector.check_source(table)
    }

    fn check_sink(&self, table: &TableSpec, job: &Options) -> Result<TableInfo, ConnectorError> {
        self.connector.check_sink(table, job)
    }

    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(self.steps.clone().around(self.connector.source(scan)?))
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        self.connector.sink(sink)
    }
}

struct SteppedSource {
    source: Box<dyn Source>,
    steps: Steps,
}

impl Source for SteppedSource {
    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        self.source.enumerator(restored)
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        self.steps.0.state.lock().unwrap().wakers.push(ctx.waker.clone());
        Ok(Box::new(SteppedReader {
            reader: self.source.reader(ctx)?,
            steps: self.steps.clone(),
            handed_out: 0,
            stopped_at: None,
            has_ended: false,
        }))
    }
}

struct SteppedReader {
    reader: Box<dyn SourceReader>,
    steps: Steps,
    handed_out: usize,
    /// The number of batches at which it said that it stopped.
    stopped_at: Option<usize>,
    has_ended: bool,
}

impl SourceReader for SteppedReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        self.reader.add_splits(splits)
    }

    fn no_more_splits(&mut self) {
        self.reader.no_more_splits();
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let batches = self.steps.0.state.lock().unwrap().batches;
        if self.handed_out >= batches {
            if self.stopped_at.replace(batches) != Some(batches) {
                self.steps.settle(true);
            }
            return Ok(ReaderPoll::Idle { until_ms: None });
        }
        let poll = self.reader.poll(now_ms)?;
        match poll {
            ReaderPoll::Batch { .. } => self.handed_out += 1,
            ReaderPoll::Finished if !std::mem::replace(&mut self.has_ended, true) => self.steps.settle(false),
            _ => {}
        }
        Ok(poll)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        self.reader.snapshot(checkpoint)
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        self.reader.checkpoint_complete(checkpoint);
    }

    fn is_active(&self, split: usize) -> bool {
        self.reader.is_active(split)
    }

    fn set_paused(&mut self, split: usize, paused: bool) {
        self.reader.set_paused(split, paused);
    }
}
