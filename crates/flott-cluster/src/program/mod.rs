//! Programs in a session cluster: jobs whose operators, sources and sinks exist only where their own `main` has run.
//!
//! ```text
//!  JobManager ── starts ──► coordinator   main ─► execute: tells the plan, then asks enumerators and committers as it is told
//!  TaskManager ─ starts ──► its child     main ─► execute: a TaskManager of the slots that are lent to it, for this job alone
//! ```
//! The job's master, its checkpoints and its restarts are those of every job: only the two ends of it are asked for in the coordinator
//! ([`Coordinator`]). Slots are lent ([`Lease`]) when the job needs some, by TaskManagers that start a child for them ([`Lender`]), and come back when
//! it needs them no more; a child registers as any TaskManager does, and tells which lease it is.
//!
//! Both are told over their standard input what they are ([`Assignment`]), and end when that is closed: none outlives who started it.

mod coordinator;
mod edges;
mod files;
mod lender;
mod messages;
mod process;
mod served;

pub(crate) use coordinator::Coordinator;
pub(crate) use edges::{Enumerating, ProgramCommitter, ProgramSource};
pub(crate) use files::ProgramFiles;
pub use lender::Lender;
pub(crate) use lender::PartOf;
pub use messages::Assignment;
pub use process::{Assigned, ROLE};
pub use served::serve;

use flott_core::{Fingerprint, JobId, Options};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A program as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// The name of its file.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal digits: by it processes know the file.
    pub digest: String,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Its command line, without its own name.
    pub arguments: Vec<String>,
    /// Options that its environment begins with.
    pub options: Options,
}

/// Slots of a TaskManager that are lent to a process of a program, which is a TaskManager of its own for one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Tells leases apart, also those of different leaders.
    pub id: String,
    /// Whose job it is.
    pub job: JobId,
    /// How many slots.
    pub slots: usize,
}

/// What a TaskManager is told that is to lend slots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseOrder {
    /// The slots.
    pub lease: Lease,
    /// Who gets them.
    pub program: ProgramSpec,
}

/// A program whose job may be lent slots.
#[derive(Debug, Clone)]
pub struct Lessee {
    /// The program.
    pub program: ProgramSpec,
    /// Its file, for TaskManagers that ask for it.
    pub file: PathBuf,
    /// The graph that its processes must describe.
    pub fingerprint: Fingerprint,
}
