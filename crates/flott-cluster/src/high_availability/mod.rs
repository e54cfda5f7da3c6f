//! Several JobManagers, of which one leads: who that is, and what the next one needs to go on.
//!
//! ```text
//!  standby ── campaign ──► leads ── takes every job of the log ──► adopts what still runs, starts the rest again
//!                            └─ lost ──► hands all out of its hands, and is a standby again
//! ```
//! What must never go wrong does not rest on the election, which only makes it quick: two processes that both believe that they lead do no
//! harm. A job's checkpoints belong to the highest claim of their folder ([`flott_checkpoint`]), a job's end is an entry of its log
//! that only one process can append ([`jobs`]), and a TaskManager obeys nobody of an earlier epoch than the one that it has seen.
//!
//! Kinds of election stand behind [`LeaderElection`]: [`lease`] needs a folder and nothing else, [`zookeeper`] a ZooKeeper beside it. Epochs come from
//! the folder under both (`claims.rs`).

mod claims;
pub mod jobs;
pub mod lease;
pub mod zookeeper;

use crate::error::ClusterError;
use crate::rpc::RpcSettings;
use async_trait::async_trait;
use flott_checkpoint::Root;
use flott_core::Options;
use flott_core::options::OptionError;
use lease::LeaseElection;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use zookeeper::ZooKeeperElection;

/// Which kind of election, and what it was called in older versions of Flink.
const TYPE: [&str; 2] = ["high-availability.type", "high-availability"];

/// How long a leader may be silent before a standby takes over that cannot see that its process has ended.
const LEASE_MS: i64 = 5_000;

/// A JobManager that can lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where TaskManagers reach it, host and port.
    pub rpc_address: String,
    /// Where its REST answers, host and port.
    pub rest_address: String,
}

/// The JobManager that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Number of its leadership; later ones are higher.
    pub epoch: u64,
    /// Where it is.
    pub at: Candidate,
}

impl fmt::Display for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the JobManager at {} (epoch {})", self.at.rpc_address, self.epoch)
    }
}

/// How a JobManager comes to lead, and how others find it.
#[async_trait]
pub trait LeaderElection: Send + Sync {
    /// Waits until `candidate` leads. Cancel-safe.
    ///
    /// # Errors
    /// If the election cannot be taken part in.
    async fn campaign(&self, candidate: &Candidate) -> Result<Box<dyn Leadership>, ClusterError>;

    /// Who leads, as far as is known; `None`: nobody has yet.
    ///
    /// # Errors
    /// If it cannot be asked.
    async fn leader(&self) -> Result<Option<Leader>, ClusterError>;

    /// Waits until somebody leads with a later epoch than `epoch`. Never ends where the election tells nothing by itself, but has to be asked.
    /// Cancel-safe.
    async fn later_than(&self, _epoch: u64) -> Leader {
        pending().await
    }
}

/// What a leader has, until it is lost.
#[async_trait]
pub trait Leadership: Send {
    /// Its number, higher than all before.
    fn epoch(&self) -> u64;

    /// Waits until it is lost; why. Cancel-safe.
    async fn lost(&mut self) -> String;
}

/// What `high-availability.*` asks for.
#[derive(Clone)]
pub struct HighAvailability {
    /// Who leads.
    pub election: Arc<dyn LeaderElection>,
    /// Where jobs are kept.
    pub jobs: Root,
    /// Where checkpoints go of jobs that do not say where.
    pub checkpoint_dir: String,
}

/// Kinds of election.
enum Kind {
    Filesystem,
    ZooKeeper,
}

impl Kind {
    /// What the options ask for; `None`: they ask for none, which is the default.
    fn of(options: &Options) -> Result<Option<Self>, OptionError> {
        let key = TYPE.into_iter().find(|key| options.get(key).is_some());
        let kind = match key {
            Some(key) => options.one_of(key, &["NONE", "FILESYSTEM", "ZOOKEEPER"])?,
            None => None,
        };
        Ok(match kind {
            Some(1) => Some(Self::Filesystem),
            Some(2) => Some(Self::ZooKeeper),
            _ => None,
        })
    }
}

/// The folder of the cluster in `high-availability.storageDir`.
fn dir(options: &Options) -> Result<String, OptionError> {
    let dir = options.get("high-availability.storageDir").ok_or_else(|| {
        let allowed =
            "a folder that all JobManagers and TaskManagers reach: a path of this machine, or s3://bucket/path";
        OptionError::new("high-availability.storageDir", "(unset)", allowed)
    })?;
    let cluster = options.get("high-availability.cluster-id").unwrap_or("default");
    Ok(format!("{}/{}", dir.trim_end_matches('/'), cluster.trim_matches('/')))
}

fn open(options: &Options) -> Result<Root, ClusterError> {
    Ok(Root::open(&dir(options)?, options)?)
}

/// Where leaders put their claims.
fn leaders(root: &Root) -> Root {
    root.folder("leader")
}

fn election(
    kind: &Kind,
    options: &Options,
    claims: Root,
    settings: RpcSettings,
) -> Result<Arc<dyn LeaderElection>, ClusterError> {
    match kind {
        Kind::Filesystem => {
            let lease_ms = options
                .duration_ms("high-availability.lease-duration")?
                .unwrap_or(LEASE_MS);
            let lease = Duration::from_millis(lease_ms.max(1) as u64);
            Ok(Arc::new(LeaseElection::new(claims, lease, settings)))
        }
        Kind::ZooKeeper => Ok(Arc::new(ZooKeeperElection::from_options(options, claims, settings)?)),
    }
}

impl HighAvailability {
    /// Whether the options ask for any.
    ///
    /// # Errors
    /// If they ask for a kind that there is not.
    pub fn is_asked_for(options: &Options) -> Result<bool, OptionError> {
        Ok(Kind::of(options)?.is_some())
    }

    /// Reads the options; `None` with `high-availability.type: NONE`, which is the default. Needs Tokio.
    ///
    /// # Errors
    /// If a value is wrong or missing, or the folder cannot be used.
    pub async fn from_options(options: &Options, settings: &RpcSettings) -> Result<Option<Self>, ClusterError> {
        let Some(kind) = Kind::of(options)? else {
            return Ok(None);
        };
        let root = open(options)?;
        let election = election(&kind, options, leaders(&root), settings.clone())?;
        root.probe().await?;
        Ok(Some(Self {
            election,
            jobs: root.folder("jobs"),
            checkpoint_dir: format!("{}/checkpoints", dir(options)?),
        }))
    }

    /// Who leads the cluster of these options, for who is no process of it; `None`: they ask for no high availability. Needs Tokio.
    ///
    /// # Errors
    /// If a value is wrong or missing, it cannot be asked, or nobody leads.
    pub async fn find_leader(options: &Options) -> Result<Option<Leader>, ClusterError> {
        let leader = match Kind::of(options)? {
            None => return Ok(None),
            Some(Kind::Filesystem) => lease::leader_in(&leaders(&open(options)?)).await?,
            Some(Kind::ZooKeeper) => zookeeper::leader_of(options).await?,
        };
        let nobody = || ClusterError::Connection("no JobManager leads by what high-availability.* says".to_owned());
        leader.map(Some).ok_or_else(nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_has_the_spellings_of_flink() {
        let is_asked_for = |pairs: &[(&str, &str)]| HighAvailability::is_asked_for(&pairs.iter().copied().collect());
        assert_eq!(is_asked_for(&[]), Ok(false));
        for (key, value, is_one) in [
            ("high-availability.type", "zookeeper", true),
            ("high-availability.type", "ZOOKEEPER", true),
            ("high-availability", "zookeeper", true),
            ("high-availability", "filesystem", true),
            ("high-availability.type", "none", false),
        ] {
            assert_eq!(is_asked_for(&[(key, value)]), Ok(is_one), "{key}: {value}");
        }
        let newer = [("high-availability", "zookeeper"), ("high-availability.type", "NONE")];
        assert_eq!(is_asked_for(&newer), Ok(false), "the newer name counts");
        let wrong = is_asked_for(&[("high-availability", "zoo-keeper")])
            .unwrap_err()
            .to_string();
        assert!(
            wrong.contains("'high-availability'") && wrong.contains("ZOOKEEPER"),
            "{wrong}"
        );
    }
}
