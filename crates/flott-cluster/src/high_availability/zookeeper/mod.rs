//! Leader election by ZooKeeper, which has to be there.
//!
//! ```text
//! /flink/default/leader/candidates/
//!   9f3c55e0…-0000000004     the first place: who leads, with its addresses and, since it does, its epoch
//!   27b1a90c…-0000000007     stands by, and watches the place before its own
//! ```
//! A place ends with its session (`session.rs`). The session of a process that has been killed lasts until its timeout has passed (a minute, unless the options say otherwise), so
//! standbys also keep a connection to the first candidate, as under a [lease](super::lease): where its process has ended for certain they delete its place, and the next one leads at once.
//!
//! Who comes to be the first takes its epoch from the folder with the jobs (`claims.rs`), then writes it to its place. Only when ZooKeeper has taken that does it lead: so one that
//! was paused in between, and has lost its place, leads with no epoch, and who leads later has the higher one, whatever becomes of ZooKeeper's own data.

mod candidates;
mod session;
mod settings;
mod wire;

use super::claims;
use super::{Candidate, Leader, LeaderElection, Leadership};
use crate::error::ClusterError;
use crate::rpc::{RpcSettings, process_ended};
use async_trait::async_trait;
use candidates::{Candidates, Place};
use flott_checkpoint::Root;
use flott_core::Options;
use session::{Fault, State};
use settings::Settings;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, sleep_until};

/// Between two looks for who leads where it could not be asked.
const LOOK: Duration = Duration::from_secs(1);

/// An election in a ZooKeeper.
pub struct ZooKeeperElection {
    candidates: Candidates,
    settings: Arc<Settings>,
    rpc: RpcSettings,
    claims: Root,
}

/// Who leads the cluster of `high-availability.zookeeper.*`; `None`: nobody has yet. Needs Tokio.
///
/// # Errors
/// If an option is wrong, or missing, or ZooKeeper cannot be asked.
pub async fn leader_of(options: &Options) -> Result<Option<Leader>, ClusterError> {
    let settings = Arc::new(Settings::from_options(options)?);
    Ok(Candidates::new(&settings).leader().await?)
}

impl ZooKeeperElection {
    /// The election of `high-availability.zookeeper.*`, whose epochs are claims in `claims`. Needs Tokio.
    ///
    /// # Errors
    /// If an option is wrong, or missing. ZooKeeper is not waited for.
    pub fn from_options(options: &Options, claims: Root, rpc: RpcSettings) -> Result<Self, ClusterError> {
        let settings = Arc::new(Settings::from_options(options)?);
        Ok(Self {
            candidates: Candidates::new(&settings),
            settings,
            rpc,
            claims,
        })
    }

    /// Takes a place, and waits until it is the first one.
    async fn take_turn(&self, candidate: &Candidate) -> Result<Place, Fault> {
        loop {
            let place = self.candidates.join(candidate).await?;
            if self.come_first(&place).await? {
                return Ok(place);
            }
        }
    }

    /// Waits until `place` is the first one; `false`: it is gone.
    async fn come_first(&self, place: &Place) -> Result<bool, Fault> {
        let mut told = String::new();
        loop {
            let queue = self.candidates.in_order().await?;
            let (first, before) = match queue.iter().position(|name| place.is(name)) {
                Some(0) => return Ok(true),
                Some(position) => (&queue[0], &queue[position - 1]),
                None => return Ok(false),
            };
            let Some(gone) = self.candidates.watch(before).await? else {
                continue;
            };
            let Some(entry) = self.candidates.entry_of(first).await? else {
                continue;
            };
            let address = &entry.at.rpc_address;
            if told != *first {
                tracing::info!("standing by: the JobManager at {address} leads");
                told.clone_from(first);
            }
            tokio::select! {
                () = gone.changed() => {}
                () = process_ended(address, &self.rpc) => {
                    tracing::warn!("the JobManager at {address} has ended");
                    self.candidates.delete(first).await?;
                }
            }
        }
    }
}

#[async_trait]
impl LeaderElection for ZooKeeperElection {
    async fn campaign(&self, candidate: &Candidate) -> Result<Box<dyn Leadership>, ClusterError> {
        let (mut pause, mut tries) = (self.settings.retry_wait, 0);
        loop {
            let fault = match self.take_turn(candidate).await {
                Ok(place) => {
                    let (epoch, at) = (claims::put_next(&self.claims, candidate).await?, candidate.clone());
                    match place.publish(&Leader { epoch, at }).await {
                        Ok(()) => {
                            return Ok(Box::new(FirstPlace {
                                place,
                                epoch,
                                tolerates_suspended: self.settings.tolerates_suspended,
                            }));
                        }
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            match fault {
                // The next request waits for the next connection.
                Fault::Lost | Fault::NoNode(_) => {}
                Fault::Unreachable { .. } if tries < self.settings.max_retries => {
                    tries += 1;
                    sleep(pause).await;
                    pause = (pause * 2).min(self.settings.max_retry_wait);
                }
                fault => return Err(fault.into()),
            }
        }
    }

    async fn leader(&self) -> Result<Option<Leader>, ClusterError> {
        Ok(self.candidates.leader().await?)
    }

    async fn later_than(&self, epoch: u64) -> Leader {
        loop {
            match self.candidates.watch_leader().await {
                Ok((Some(leader), _)) if leader.epoch > epoch => return leader,
                Ok((_, changes)) => changes.come().await,
                Err(fault) => {
                    tracing::debug!(%fault, "it is not known who leads");
                    sleep(LOOK).await;
                }
            }
        }
    }
}

/// The leadership of who has the first place.
struct FirstPlace {
    place: Place,
    epoch: u64,
    tolerates_suspended: bool,
}

#[async_trait]
impl Leadership for FirstPlace {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn lost(&mut self) -> String {
        let mut states = self.place.session.state();
        loop {
            let state = states.borrow_and_update().clone();
            let changed = states.changed();
            match state {
                State::Connected { .. } => tokio::select! {
                    () = self.place.is_gone() => return "its place among the candidates is gone".to_owned(),
                    _ = changed => {}
                },
                State::Suspended { expires, why, .. } if self.tolerates_suspended => tokio::select! {
                    () = sleep_until(expires) => return format!("the session with ZooKeeper is over: {why}"),
                    _ = changed => {}
                },
                State::Suspended { why, .. } => return format!("the connection to ZooKeeper broke: {why}"),
                State::Absent(why) => return format!("the session with ZooKeeper is over: {why}"),
            }
        }
    }
}

impl From<Fault> for ClusterError {
    fn from(fault: Fault) -> Self {
        Self::Connection(fault.to_string())
    }
}
