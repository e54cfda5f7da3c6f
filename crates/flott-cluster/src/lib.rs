//! The control plane: from a plan to running tasks, their checkpoints, their failures and their end.
//!
//! Decisions are pure and separate from what carries them out: [`job_state::JobMachine`] (the life of a job) and
//! [`coordinator::Coordinator`] (its checkpoints) take facts and give effects; the job master performs the effects.
//! A checkpoint's walk: `Trigger` → barriers → a task's snapshot → encoded and written → acknowledged → manifest →
//! commit of the sinks → notify.
//!
//! [`submit()`] starts a job in this process: JobManager and TaskManagers share it, and tasks are its threads. [`SteppedJob`] is the
//! same job without threads, for tests of operators.

mod adopt;
mod alignment;
mod allocation;
mod commit;
pub mod coordinator;
pub mod demand;
mod deploy;
mod deployed;
mod deployment;
pub mod diagnosis;
pub mod dispatcher;
mod error;
pub mod events;
pub mod execution;
pub mod failure_label;
pub mod hang;
pub mod high_availability;
pub mod history;
pub mod inquiry;
mod job_log;
mod job_master;
pub mod job_state;
pub mod liveness;
pub mod memory;
pub mod placement;
mod preloading;
mod prepare;
pub mod program;
pub mod protocol;
pub mod rates;
pub mod report;
pub mod requirements;
mod rescaling;
pub mod resources;
pub mod restart;
pub mod restore_check;
pub mod rpc;
mod savepoint;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod slot_pool;
pub mod stats;
pub mod stepped;
mod storage;
mod submit;
pub mod taskmanager;
mod timer;
pub mod traces;

pub use error::ClusterError;
pub use flott_core::JobStatus;
pub use restore_check::{RestoreCheck, check_restore};
pub use stepped::SteppedJob;
pub use submit::{JobHandle, Restore, Submission, submit, submit_traced};
