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
//! Kinds of election stand behind [`LeaderElection`]: [`lease`] needs a folder and nothing else.

pub mod jobs;
pub mod lease;

use crate::error::ClusterError;
use crate::rpc::RpcSettings;
use async_trait::async_trait;
use flott_checkpoint::Root;
use flott_core::Options;
use flott_core::options::OptionError;
use lease::LeaseElection;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

impl HighAvailability {
    /// Reads the options; `None` with `high-availability.type: NONE`, which is the default.
    ///
    /// # Errors
    /// If a value is wrong or missing, or the folder cannot be used.
    pub async fn from_options(options: &Options, settings: &RpcSettings) -> Result<Option<Self>, ClusterError> {
        let kind = options.one_of("high-availability.type", &["NONE", "FILESYSTEM"])?;
        if kind.unwrap_or(0) == 0 {
            return Ok(None);
        }
        let dir = options.get("high-availability.storageDir").ok_or_else(|| {
            let allowed =
                "a folder that all JobManagers and TaskManagers reach: a path of this machine, or s3://bucket/path";
            OptionError::new("high-availability.storageDir", "(unset)", allowed)
        })?;
        let cluster = options.get("high-availability.cluster-id").unwrap_or("default");
        let dir = format!("{}/{}", dir.trim_end_matches('/'), cluster.trim_matches('/'));
        let root = Root::open(&dir, options)?;
        root.probe().await?;
        let lease_ms = options
            .duration_ms("high-availability.lease-duration")?
            .unwrap_or(LEASE_MS);
        let lease = Duration::from_millis(lease_ms.max(1) as u64);
        Ok(Some(Self {
            election: Arc::new(LeaseElection::new(root.folder("leader"), lease, settings.clone())),
            jobs: root.folder("jobs"),
            checkpoint_dir: format!("{dir}/checkpoints"),
        }))
    }
}
