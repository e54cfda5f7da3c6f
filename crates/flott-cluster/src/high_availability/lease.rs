//! Leader election in a folder of an object store or of the local disk, by put-if-absent alone.
//!
//! ```text
//! leader/
//!   claim-00000000000000000003     who leads since when: the highest claim, with its addresses
//!   sign-00000000000000000003      its sign of life, written over and over
//! ```
//! A standby keeps a connection to the leader: where it breaks and the leader's port is closed, its process has ended, and the next claim
//! is put at once. Where that cannot be seen (a machine or a network that is gone, a process that hangs) the standby waits
//! until the sign has not changed for the lease by its own clock: no two clocks are compared.

use super::claims::{self, CLAIM, SIGN, highest, name};
use super::{Candidate, Leader, LeaderElection, Leadership};
use crate::error::ClusterError;
use crate::rpc::{RpcSettings, process_ended};
use crate::timer::{self, sleep, timeout};
use async_trait::async_trait;
use bytes::Bytes;
use flott_checkpoint::{CheckpointError, Root};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks of who waits for a first leader.
const LOOK: Duration = Duration::from_millis(100);

/// An election in a folder.
pub struct LeaseElection {
    root: Root,
    lease: Duration,
    settings: RpcSettings,
}

/// A claim that was put.
struct Claim {
    root: Root,
    lease: Duration,
    epoch: u64,
    signs: u64,
    renewed: Instant,
}

impl LeaseElection {
    /// The election in `root`. `lease`: how long a leader may be silent.
    pub fn new(root: Root, lease: Duration, settings: RpcSettings) -> Self {
        Self { root, lease, settings }
    }

    async fn claim(&self, epoch: u64, candidate: &Candidate) -> Result<Option<Claim>, ClusterError> {
        if !claims::put(&self.root, epoch, candidate).await? {
            return Ok(None);
        }
        Ok(Some(Claim {
            root: self.root.clone(),
            lease: self.lease,
            epoch,
            signs: 0,
            renewed: timer::now(),
        }))
    }

    /// Waits until `leader` is not to be expected any more, or another leads.
    async fn silent(&self, leader: &Leader) -> Result<(), ClusterError> {
        let (mut last, mut since) = (None, timer::now());
        loop {
            if highest(&self.root).await? != Some(leader.epoch) {
                return Ok(());
            }
            let sign = match self.root.get(&name(SIGN, leader.epoch)).await {
                Ok(sign) => Some(sign),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.into()),
            };
            if sign != last {
                (last, since) = (sign, timer::now());
            } else if timer::now() - since >= self.lease {
                tracing::warn!("{leader} has given no sign of life for {} ms", self.lease.as_millis());
                return Ok(());
            }
            sleep(self.lease / 4).await;
        }
    }
}

#[async_trait]
impl LeaderElection for LeaseElection {
    async fn campaign(&self, candidate: &Candidate) -> Result<Box<dyn Leadership>, ClusterError> {
        loop {
            let leader = self.leader().await?;
            if let Some(leader) = &leader {
                tracing::info!("standing by: {leader} leads");
                tokio::select! {
                    // In one order, so that a simulated run can be repeated.
                    biased;
                    silent = self.silent(leader) => silent?,
                    () = process_ended(&leader.at.rpc_address, &self.settings) => {
                        tracing::warn!("{leader} has ended");
                    }
                }
                if highest(&self.root).await? != Some(leader.epoch) {
                    continue;
                }
            }
            let epoch = leader.map_or(0, |leader| leader.epoch) + 1;
            if let Some(claim) = self.claim(epoch, candidate).await? {
                return Ok(Box::new(claim));
            }
            sleep(LOOK).await;
        }
    }

    async fn leader(&self) -> Result<Option<Leader>, ClusterError> {
        leader_in(&self.root).await
    }
}

/// Who has put the highest claim in a folder; `None`: nobody has.
///
/// # Errors
/// If the store refuses, or the claim cannot be read.
pub(super) async fn leader_in(root: &Root) -> Result<Option<Leader>, ClusterError> {
    loop {
        let Some(epoch) = highest(root).await? else {
            return Ok(None);
        };
        let path = name(CLAIM, epoch);
        let content = match root.get(&path).await {
            Ok(content) => content,
            // The next leader has deleted it since.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        let at = serde_json::from_slice(&content).map_err(|e| {
            let place = root.display(&path);
            ClusterError::Connection(format!(
                "{place} is no claim of leadership: {e}; delete it, or use another folder"
            ))
        })?;
        return Ok(Some(Leader { epoch, at }));
    }
}

#[async_trait]
impl Leadership for Claim {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn lost(&mut self) -> String {
        loop {
            // A store that does not answer is as good as one that refuses.
            let renewed = match timeout(self.lease, self.renew()).await {
                Ok(renewed) => renewed.map_err(|error| error.to_string()),
                Err(_) => Err("the store does not answer".to_owned()),
            };
            match renewed {
                Ok(Some(newer)) => return format!("epoch {newer} has taken over"),
                Ok(None) => {}
                Err(error) => {
                    if timer::now() - self.renewed >= self.lease {
                        return format!(
                            "the leadership could not be renewed for {} ms: {error}",
                            self.lease.as_millis()
                        );
                    }
                    tracing::warn!(%error, "the leadership could not be renewed; tried again");
                }
            }
            sleep(self.lease / 4).await;
        }
    }
}

impl Claim {
    /// Gives a sign of life; the epoch that has taken over, if one has.
    async fn renew(&mut self) -> Result<Option<u64>, CheckpointError> {
        let newest = highest(&self.root).await?.filter(|newest| *newest > self.epoch);
        if newest.is_some() {
            return Ok(newest);
        }
        self.signs += 1;
        let sign = Bytes::from(format!("{}\n", self.signs));
        self.root.put_over(&name(SIGN, self.epoch), sign).await?;
        self.renewed = timer::now();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::Options;

    /// Nobody listens at the addresses of these candidates.
    fn candidate(port: u16) -> Candidate {
        Candidate {
            rpc_address: format!("127.0.0.1:{port}"),
            rest_address: String::new(),
        }
    }

    fn election(root: &Root, lease_ms: u64) -> LeaseElection {
        let settings = RpcSettings::from_options(&Options::new()).unwrap();
        LeaseElection::new(root.clone(), Duration::from_millis(lease_ms), settings)
    }

    #[tokio::test]
    async fn one_leads_until_its_process_has_ended() {
        let root = Root::in_memory();
        let election = election(&root, 60_000);
        assert_eq!(election.leader().await.unwrap(), None);
        // A listener stands for its process.
        let process = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let first = candidate(process.local_addr().unwrap().port());
        let mut leads = election.campaign(&first).await.unwrap();
        assert_eq!(leads.epoch(), 1);
        let second = candidate(1);
        let mut campaign = election.campaign(&second);
        let soon = Duration::from_millis(300);
        assert!(
            tokio::time::timeout(soon, &mut campaign).await.is_err(),
            "the first one leads"
        );
        drop(process);
        let next = campaign.await.unwrap();
        let leader = election.leader().await.unwrap().unwrap();
        assert_eq!((next.epoch(), leader.epoch, leader.at), (2, 2, second));
        assert_eq!(leads.lost().await, "epoch 2 has taken over");
    }

    #[tokio::test]
    async fn who_hangs_is_replaced_when_the_lease_is_over_and_not_before() {
        let root = Root::in_memory();
        let election = election(&root, 200);
        // It accepts no connection, and closes none.
        let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let first = candidate(hangs.local_addr().unwrap().port());
        let mut leads = election.campaign(&first).await.unwrap();
        {
            let second = candidate(1);
            let mut campaign = election.campaign(&second);
            let alive = tokio::time::timeout(Duration::from_millis(900), leads.lost());
            tokio::select! {
                lost = alive => assert!(lost.is_err(), "it was lost while it gave signs: {lost:?}"),
                _ = &mut campaign => panic!("a leader that gives signs was replaced"),
            }
            assert_eq!(campaign.await.unwrap().epoch(), 2);
        }
        assert_eq!(leads.lost().await, "epoch 2 has taken over");
        let left: Vec<String> = root.list().await.unwrap().into_iter().map(|file| file.path).collect();
        assert!(left.iter().all(|path| !path.contains(&name(CLAIM, 1))), "{left:?}");
    }
}
