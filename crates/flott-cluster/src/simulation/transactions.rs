//! A log of transactions, as Kafka keeps one: what is written shows when its transaction is committed. And the sink's committer.
//!
//! A transaction holds runs of records of splits. What is committed must be every split from its first record on, each once, with the sum
//! of all records up to there.

use super::checks;
use super::planted::Bug;
use super::store::ask;
use super::world::{Party, World, lock};
use async_trait::async_trait;
use bytes::Bytes;
use flott_runtime::connector::{Committer, ConnectorError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Consecutive records of a split, and what they make of its sum.
#[derive(Debug, Clone)]
pub struct Run {
    pub split: String,
    pub from: i64,
    pub to: i64,
    pub sum: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Committed,
    Aborted,
}

/// See the module.
#[derive(Default)]
pub struct Transactions {
    all: BTreeMap<String, (State, Vec<Run>)>,
    /// How far each split is committed.
    committed: BTreeMap<String, i64>,
}

/// The sum of the records of a split up to a position: the record at `n` is `n + 1`.
pub fn sum_to(position: i64) -> i64 {
    position * (position + 1) / 2
}

impl Transactions {
    /// Writes into a transaction, which begins with its first record; `false` if it was given up.
    pub fn write(&mut self, id: &str, run: Run) -> bool {
        let (state, runs) = self
            .all
            .entry(id.to_owned())
            .or_insert_with(|| (State::Open, Vec::new()));
        runs.push(run);
        *state == State::Open
    }

    /// How far a split is committed.
    pub fn committed(&self, split: &str) -> i64 {
        self.committed.get(split).copied().unwrap_or(0)
    }

    /// Whether it can still be committed, or is.
    pub fn is_kept(&self, id: &str) -> bool {
        self.all.get(id).is_some_and(|(state, _)| *state != State::Aborted)
    }

    fn open(&self) -> Vec<String> {
        let open = self.all.iter().filter(|(_, (state, _))| *state == State::Open);
        open.map(|(id, _)| id.clone()).collect()
    }

    fn abort(&mut self, id: &str) {
        if let Some((state @ State::Open, _)) = self.all.get_mut(id) {
            *state = State::Aborted;
        }
    }

    /// Commits. `Ok(true)`: it was open until now.
    fn commit(&mut self, id: &str) -> Result<bool, String> {
        let Some((state, runs)) = self.all.get_mut(id) else {
            return Err(format!("transaction {id} is committed, and was never begun"));
        };
        match state {
            State::Committed => return Ok(false),
            State::Aborted => {
                return Err(format!(
                    "transaction {id} is to be committed, and was given up: its rows are lost"
                ));
            }
            State::Open => *state = State::Committed,
        }
        for Run { split, from, to, sum } in runs {
            let committed = self.committed.entry(split.clone()).or_default();
            if committed != from || *sum != sum_to(*to) {
                return Err(format!(
                    "transaction {id} has records {from} to {to} of {split} with the sum {sum} (right: {}), behind {committed} committed ones",
                    sum_to(*to)
                ));
            }
            *committed = *to;
        }
        Ok(true)
    }
}

fn commit(world: &Arc<World>, id: &str) {
    let outcome = lock(&world.log).commit(id);
    match outcome {
        Ok(true) => checks::committed(world, id),
        Ok(false) => {}
        Err(what) => world.violated(what),
    }
}

/// The generation that an id begins with: `g3-…`.
fn generation_of(id: &str) -> Option<u64> {
    id.strip_prefix('g')?.split('-').next()?.parse().ok()
}

/// Ends transactions in a JobManager's name.
pub struct SimulatedCommitter {
    pub world: Arc<World>,
    pub process: usize,
    /// Leadership of the JobManager.
    pub generation: u64,
}

impl SimulatedCommitter {
    async fn ask<T: Send + 'static>(
        &self,
        what: String,
        run: impl FnOnce(&Arc<World>) -> T + Send + 'static,
    ) -> Result<T, ConnectorError> {
        let answer = ask(&self.world, self.process, Party::Log, || what, run).await;
        answer.ok_or_else(|| ConnectorError::Transient {
            message: "the log does not answer".to_owned(),
            source: None,
        })
    }
}

#[async_trait]
impl Committer for SimulatedCommitter {
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError> {
        for id in committables {
            let id = String::from_utf8_lossy(id).into_owned();
            self.ask(format!("commit {id}"), move |world| commit(world, &id))
                .await?;
        }
        Ok(())
    }

    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        if self.world.bug != Some(Bug::ForgetsListed) {
            self.commit(listed).await?;
        }
        let open = self
            .ask("list transactions".to_owned(), |world| lock(&world.log).open())
            .await?;
        // What a later leader has begun is its own.
        let is_later = |id: &String| generation_of(id).is_some_and(|of| of > self.generation);
        for id in open.into_iter().filter(|id| !is_later(id)) {
            self.ask(format!("abort {id}"), move |world| lock(&world.log).abort(&id))
                .await?;
        }
        Ok(())
    }
}
