//! The source of a table `savepoint`: ranges of key groups, one after the other.

use super::mapping::Mapping;
use super::options::SavepointOptions;
use super::read::{self, LoadedTable, SavedState, TableRows};
use async_trait::async_trait;
use flott_checkpoint::CheckpointError;
use flott_core::{Batch, CheckpointId, KeyGroupRange, Options};
use flott_runtime::connector::{Boundedness, ConnectorError, ReaderPoll, ScanSpec, Split};
use flott_runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TaskError};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, oneshot};

/// Most rows of a batch, where the job asks for no other number: values may be long lists.
const BATCH_ROWS: usize = 2048;

/// What all parts of a source share.
struct Shared {
    scan: ScanSpec,
    options: SavepointOptions,
    /// Options of the job: how the store is reached.
    job: Options,
    opened: OnceCell<Arc<Opened>>,
}

/// The snapshot, and how its state is shown.
struct Opened {
    saved: SavedState,
    mapping: Mapping,
}

impl Shared {
    async fn opened(&self) -> Result<Arc<Opened>, ConnectorError> {
        let open = || async {
            let saved = SavedState::open(&self.options.path, &self.job).await;
            let saved = saved.map_err(|e| unreadable(&self.scan, &e))?;
            let mapping = Mapping::new(&self.scan, &self.options, &saved)?;
            Ok(Arc::new(Opened { saved, mapping }))
        };
        self.opened.get_or_try_init(open).await.cloned()
    }

    async fn load(&self, range: KeyGroupRange) -> Result<(Arc<Opened>, LoadedTable), TaskError> {
        let opened = self.opened().await?;
        let operator = &opened.saved.manifest().operators[opened.mapping.operator];
        let loaded = opened.saved.load(operator, &opened.mapping.descriptor, range).await?;
        Ok((opened, loaded))
    }
}

/// The snapshot cannot be opened; what is not there or damaged will not be the next time either.
pub(super) fn unreadable(scan: &ScanSpec, error: &CheckpointError) -> ConnectorError {
    let message = format!("table '{}': 'state.path': {error}", scan.table.short_name());
    match error {
        CheckpointError::Io { .. } if !error.is_not_found() => ConnectorError::Transient { message, source: None },
        _ => ConnectorError::Fatal { message, source: None },
    }
}

pub(super) struct StateSource(Arc<Shared>);

impl StateSource {
    pub(super) fn new(scan: ScanSpec, options: SavepointOptions, job: Options) -> Self {
        Self(Arc::new(Shared {
            scan,
            options,
            job,
            opened: OnceCell::new(),
        }))
    }
}

impl Source for StateSource {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(Ranges {
            shared: self.0.clone(),
            is_dealt: restored.is_some(),
        }))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(StateReader {
            shared: self.0.clone(),
            batch_rows: ctx.task.batching()?.rows_or(BATCH_ROWS),
            runtime: ctx.runtime.clone(),
            waker: ctx.waker.clone(),
            waiting: VecDeque::new(),
            added: 0,
            current: None,
            no_more: false,
        }))
    }
}

/// State of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    /// Place among the splits, by which they are dealt.
    ordinal: usize,
    from: u16,
    to: u16,
    /// Rows that were handed out.
    rows: u64,
}

impl Range {
    fn split(&self) -> Result<Split, ConnectorError> {
        Ok(Split {
            id: format!("key-groups-{}-{}", self.from, self.to),
            state: serde_json::to_vec(self).map_err(|e| ConnectorError::Schema(e.to_string()))?,
        })
    }
}

/// Deals the ranges once.
struct Ranges {
    shared: Arc<Shared>,
    is_dealt: bool,
}

#[async_trait]
impl SplitEnumerator for Ranges {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        if self.is_dealt {
            return Ok(vec![]);
        }
        let opened = self.shared.opened().await?;
        self.is_dealt = true;
        let operator = &opened.saved.manifest().operators[opened.mapping.operator];
        let ranges = read::ranges(operator, &opened.mapping.descriptor);
        let split = |(ordinal, range): (usize, KeyGroupRange)| {
            let (from, to) = (range.start, range.end);
            let rows = 0;
            Range {
                ordinal,
                from,
                to,
                rows,
            }
            .split()
        };
        ranges.into_iter().enumerate().map(split).collect()
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        let ordinal = serde_json::from_slice::<Range>(&split.state).map_or(0, |r| r.ordinal);
        ordinal % parallelism.max(1)
    }

    fn snapshot(&self) -> Vec<u8> {
        b"dealt".to_vec()
    }
}

struct StateReader {
    shared: Arc<Shared>,
    batch_rows: usize,
    runtime: tokio::runtime::Handle,
    waker: flott_runtime::Waker,
    /// Splits that are not begun, with their numbers.
    waiting: VecDeque<(usize, Range)>,
    added: usize,
    current: Option<Current>,
    no_more: bool,
}

/// The split at hand.
struct Current {
    number: usize,
    range: Range,
    rows: Rows,
}

enum Rows {
    Loading(oneshot::Receiver<Result<(Arc<Opened>, LoadedTable), TaskError>>),
    Decoded(Arc<Opened>, TableRows),
}

impl StateReader {
    fn begin(&self, number: usize, range: Range) -> Current {
        let (sender, receiver) = oneshot::channel();
        let (shared, waker) = (self.shared.clone(), self.waker.clone());
        let groups = KeyGroupRange {
            start: range.from,
            end: range.to,
        };
        self.runtime.spawn(async move {
            // The reader may be gone.
            let _ = sender.send(shared.load(groups).await);
            waker.wake();
        });
        Current {
            number,
            range,
            rows: Rows::Loading(receiver),
        }
    }
}

impl Current {
    /// Decodes what has arrived, and passes over what was handed out before a restore; `false`: nothing yet.
    fn is_decoded(&mut self) -> Result<bool, TaskError> {
        let Rows::Loading(receiver) = &mut self.rows else {
            return Ok(true);
        };
        let (opened, loaded) = match receiver.try_recv() {
            Ok(loaded) => loaded?,
            Err(oneshot::error::TryRecvError::Empty) => return Ok(false),
            Err(oneshot::error::TryRecvError::Closed) => {
                return Err(TaskError::internal("reading state stopped short"));
            }
        };
        let mut rows = loaded.rows()?;
        let mut left = self.range.rows;
        while left > 0 {
            match rows.next(usize::try_from(left).unwrap_or(usize::MAX).min(BATCH_ROWS), &[])? {
                Some(chunk) => left -= chunk.rows as u64,
                None => break,
            }
        }
        self.rows = Rows::Decoded(opened, rows);
        Ok(true)
    }

    fn next(&mut self, limit: usize) -> Result<Option<Batch>, TaskError> {
        let Rows::Decoded(opened, rows) = &mut self.rows else {
            return Ok(None);
        };
        let Some(chunk) = rows.next(limit, &opened.mapping.read)? else {
            return Ok(None);
        };
        self.range.rows += chunk.rows as u64;
        let columns = opened.mapping.columns(&chunk).map_err(ConnectorError::Schema)?;
        Ok(Some(Batch::new(columns, chunk.rows)))
    }
}

impl SourceReader for StateReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            let range = serde_json::from_slice(&split.state)
                .map_err(|e| TaskError::internal(format!("the state of split '{}' is unreadable: {e}", split.id)))?;
            self.waiting.push_back((self.added, range));
            self.added += 1;
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
        if self.current.is_none() {
            let Some((number, range)) = self.waiting.pop_front() else {
                return Ok(match self.no_more {
                    true => ReaderPoll::Finished,
                    false => ReaderPoll::Idle { until_ms: None },
                });
            };
            self.current = Some(self.begin(number, range));
        }
        let Some(current) = &mut self.current else {
            return Ok(ReaderPoll::Idle { until_ms: None });
        };
        if !current.is_decoded()? {
            return Ok(ReaderPoll::Idle { until_ms: None });
        }
        let split = current.number;
        match current.next(self.batch_rows)? {
            Some(batch) => Ok(ReaderPoll::Batch { split, batch }),
            None => {
                self.current = None;
                Ok(ReaderPoll::SplitFinished(split))
            }
        }
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let current = self.current.iter().map(|c| &c.range);
        let open = current.chain(self.waiting.iter().map(|(_, range)| range));
        Ok(open.map(Range::split).collect::<Result<_, _>>()?)
    }

    fn is_active(&self, split: usize) -> bool {
        self.current.as_ref().is_some_and(|c| c.number == split)
    }
}
