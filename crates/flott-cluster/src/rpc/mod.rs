//! JobManager and TaskManagers as processes: one connection each, kept by the TaskManager.
//!
//! ```text
//!  TaskManager ── handshake, Registration ──► JobManager      slots join the pool
//!              ◄── Deploy, Order, Ask, Heartbeat ─
//!              ── Report, Answered, Heartbeat ──►
//! ```
//! Below the handshake there may be TLS ([`flott_runtime::net::Transport`]). Messages are JSON, length-prefixed ([`flott_runtime::net`]), in order. Whoever hears nothing for `heartbeat.timeout` takes the other for
//! dead and closes; a process that ends closes at once. To the JobManager a closed connection is a lost TaskManager, with all tasks that
//! ran there. What it was asked ([`crate::inquiry`]) it answers in any order, beside all else. The TaskManager registers anew, with what it still runs: a JobManager that has taken over from another goes on with that
//! ([`crate::high_availability`]); without high availability the TaskManager has cancelled it.

mod inquiries;
mod job_manager;
mod messages;
mod settings;
mod task_manager;
mod watch;

#[cfg(test)]
pub(crate) use job_manager::Remote;
pub use job_manager::{JobManagerPort, JobManagerServer};
#[cfg(test)]
pub(crate) use messages::FromJobManager;
pub(crate) use messages::{FromTaskManager, read, write};
pub use settings::{RpcSettings, is_loopback, port};
pub use task_manager::{Finding, TaskManagerIdentity, UNREGISTERED, run_task_manager};
pub use watch::process_ended;
