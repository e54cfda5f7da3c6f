//! JobManager and TaskManagers as processes: one connection each, kept by the TaskManager.
//!
//! ```text
//!  TaskManager ── handshake, Registration ──► JobManager      slots join the pool
//!              ◄── Deploy, Order, Heartbeat ─
//!              ── Report, Heartbeat ────────►
//! ```
//! Messages are JSON, length-prefixed ([`flott_runtime::net`]), in order. Whoever hears nothing for `heartbeat.timeout` takes the other for
//! dead and closes; a process that ends closes at once. To the JobManager a closed connection is a lost TaskManager, with all tasks that
//! ran there; the TaskManager cancels these and registers anew.

mod job_manager;
mod messages;
pub mod process;
mod settings;
mod task_manager;

pub use job_manager::JobManagerServer;
pub use settings::{RpcSettings, check_exposure, is_loopback, port};
pub use task_manager::{TaskManagerIdentity, run_task_manager};
