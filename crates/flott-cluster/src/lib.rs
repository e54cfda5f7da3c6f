//! The control plane: from a plan to running tasks, their checkpoints, their failures and their end.
//!
//! Decisions are pure and separate from what carries them out: [`job_state::JobMachine`] (the life of a job) and
//! [`coordinator::Coordinator`] (checkpoints) take facts and give effects; the job master performs the effects.
//! A checkpoint's walk: `Trigger` → barriers → [`flott_runtime::task::TaskEvent::Snapshot`] → encode and upload →
//! acknowledge → manifest → commit of the sinks → notify.

pub mod coordinator;
pub mod job_state;
pub mod restart;
pub mod settings;
