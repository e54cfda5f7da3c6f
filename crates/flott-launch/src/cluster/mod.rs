//! The processes of a cluster, whether the command runs them or a program: a JobManager of many jobs ([`run_session`]) or of one
//! ([`run_application`]), and TaskManagers ([`run_task_manager`]).
//!
//! Each reads Flink's options, says on standard error where it is reached, and runs until a signal ends it or its cluster is over. Nothing
//! listens beyond this machine unless it is told to, and then only where something keeps strangers out: certificates or a secret between
//! processes, a token or certificates for REST.

mod job_manager;
mod task_manager;

pub use job_manager::{run_application, run_session};
pub use task_manager::run_task_manager;

use crate::error::LaunchError;
use crate::logging;
use crate::stop::say;
use flott_cluster::dispatcher::ApplicationEnd;
use flott_cluster::high_availability::HighAvailability;
use flott_core::clock::{Clock, SystemClock};
use flott_core::options::is_secret;
use flott_core::{JobId, JobStatus, Options};

/// Begins a process's log with its options.
///
/// # Errors
/// If an option of logging is wrong.
fn start_log(options: &Options) -> Result<(), LaunchError> {
    logging::init_process(options)?;
    for (key, value) in options.iter() {
        let value = if is_secret(key) { "******" } else { value };
        // In Flink's words, which tools look for.
        tracing::info!("Loading configuration property: {key}, {value}");
    }
    Ok(())
}

/// The id of an application's job: under high availability that of its cluster, so that whoever starts it again finds it, else a new one.
pub fn application_job(options: &Options) -> JobId {
    // A kind that there is not is refused where the process begins.
    match HighAvailability::is_asked_for(options).unwrap_or(false) {
        true => {
            let cluster = options.get("high-availability.cluster-id").unwrap_or("default");
            JobId::of(&format!("application/{cluster}"))
        }
        false => JobId::of(&format!("application/{}/{}", SystemClock.now_ms(), std::process::id())),
    }
}

/// Says how an application has ended.
///
/// # Errors
/// If its job has failed.
pub fn application_result(end: &ApplicationEnd) -> Result<(), LaunchError> {
    if end.status == JobStatus::Failed {
        let cause = end.failure.clone();
        return Err(LaunchError::Job {
            job: end.name.clone(),
            status: end.status,
            cause: cause.unwrap_or_else(|| "its cause was told where it ran".to_owned()),
        });
    }
    say(format_args!("job {} '{}' {}", end.job, end.name, end.status));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_has_an_id_of_its_own() {
        let of = |pairs: &[(&str, &str)]| application_job(&pairs.iter().copied().collect());
        let kept = [
            ("high-availability.type", "FILESYSTEM"),
            ("high-availability.cluster-id", "sales"),
        ];
        assert_eq!(of(&kept), of(&kept));
        assert_ne!(of(&kept), of(&kept[..1]), "another cluster");
        assert_ne!(of(&kept), of(&[("high-availability.type", "none"), kept[1]]));
    }
}
