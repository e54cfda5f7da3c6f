//! The reader: its lanes' rows in order, at the rate that is due.

use super::{LANES, Lane, Settings};
use flott_core::{Batch, CheckpointId};
use flott_runtime::connector::{ReaderPoll, Split};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Batching, SourceReader, TaskError};
use std::sync::Arc;

/// Most rows of a batch, where the job asks for no other number.
const BATCH_ROWS: usize = 8192;
/// Shortest time between two batches at a low rate.
const TICK_MS: i64 = 20;

pub(super) struct DatagenReader {
    settings: Arc<Settings>,
    metrics: Arc<OperatorMetrics>,
    batch_rows: usize,
    lanes: Vec<Lane>,
    /// Index of the lane that is to be looked at next, if its round is the earliest.
    cursor: usize,
    /// Start of the rate's clock, and rows made since.
    started: Option<(i64, u64)>,
    no_more: bool,
    /// Splits of which the end was told.
    told_finished: usize,
}

impl DatagenReader {
    pub(super) fn new(settings: Arc<Settings>, metrics: Arc<OperatorMetrics>, batching: Batching) -> Self {
        Self {
            settings,
            metrics,
            batch_rows: batching.rows_or(BATCH_ROWS),
            lanes: vec![],
            cursor: 0,
            started: None,
            no_more: false,
            told_finished: 0,
        }
    }

    fn is_finished(&self, lane: &Lane) -> bool {
        let next_row = lane.made * LANES + lane.lane;
        self.settings.rows.is_some_and(|rows| next_row >= rows)
    }

    /// The next rows in order, at most `limit`.
    fn next_rows(&mut self, limit: usize) -> Vec<u64> {
        let mut rows = Vec::with_capacity(limit);
        while rows.len() < limit {
            let open = |lane: &&Lane| !self.is_finished(lane);
            let Some(round) = self.lanes.iter().filter(open).map(|l| l.made).min() else {
                break;
            };
            for i in self.cursor..self.lanes.len() {
                if rows.len() == limit {
                    return rows;
                }
                self.cursor = i + 1;
                if self.lanes[i].made == round && !self.is_finished(&self.lanes[i]) {
                    rows.push(round * LANES + self.lanes[i].lane);
                    self.lanes[i].made += 1;
                }
            }
            self.cursor = 0;
        }
        rows
    }

    /// How many rows the rate allows now, and otherwise when it allows some.
    fn due(&mut self, now_ms: i64) -> Result<usize, i64> {
        let share = self.settings.rows_per_second as u128 * self.lanes.len() as u128;
        let (started_ms, made) = *self.started.get_or_insert((now_ms, 0));
        let elapsed_ms = (now_ms - started_ms).max(0);
        // One tick ahead, so that the first rows come at once.
        let allowed = (elapsed_ms + TICK_MS) as u128 * share / (u128::from(LANES) * 1000);
        let due = allowed.saturating_sub(u128::from(made));
        if due == 0 {
            let next_ms = ((u128::from(made) + 1) * u128::from(LANES) * 1000).div_ceil(share.max(1)) as i64 - TICK_MS;
            return Err(started_ms + next_ms.max(elapsed_ms + 1));
        }
        Ok(due.min(self.batch_rows as u128) as usize)
    }
}

impl SourceReader for DatagenReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            let lane = serde_json::from_slice(&split.state).map_err(|e| {
                TaskError::internal(format!("the state of datagen split '{}' is unreadable: {e}", split.id))
            })?;
            self.lanes.push(lane);
        }
        self.cursor = 0;
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let all_finished = self.lanes.iter().all(|l| self.is_finished(l));
        if all_finished {
            if self.told_finished < self.lanes.len() {
                self.told_finished += 1;
                return Ok(ReaderPoll::SplitFinished(self.told_finished - 1));
            }
            return Ok(if self.no_more {
                ReaderPoll::Finished
            } else {
                ReaderPoll::Idle { until_ms: None }
            });
        }
        let limit = match self.due(now_ms) {
            Ok(rows) => rows,
            Err(until_ms) => {
                return Ok(ReaderPoll::Idle {
                    until_ms: Some(until_ms),
                });
            }
        };
        let seed = self.lanes[0].seed;
        let rows = self.next_rows(limit);
        if let Some((_, made)) = &mut self.started {
            *made += rows.len() as u64;
        }
        let settings = self.settings.clone();
        let columns = settings
            .generators
            .iter()
            .map(|g| g.column(seed, &rows, now_ms))
            .collect();
        let batch = Batch::new(columns, rows.len());
        self.metrics.bytes_in.add(batch.bytes() as u64);
        Ok(ReaderPoll::Batch { split: 0, batch })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let open = self.lanes.iter().filter(|l| !self.is_finished(l));
        open.map(|lane| {
            Ok(Split {
                id: format!("lane-{}", lane.lane),
                state: serde_json::to_vec(lane).map_err(|e| TaskError::internal(e.to_string()))?,
            })
        })
        .collect()
    }

    fn is_active(&self, split: usize) -> bool {
        split == 0
    }
}
