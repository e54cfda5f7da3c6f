//! What can be wrong around a job.

use flott_cluster::{ClusterError, JobStatus};
use flott_core::options::OptionError;
use std::path::PathBuf;

/// The surroundings of a job are not as it needs them.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is no YAML.
    #[error("the configuration file {} is not valid YAML: {source}", path.display())]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: yaml_rust2::ScanError,
    },
    /// The configuration file holds what is no option.
    #[error("the configuration file {} cannot be used: {reason}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What it holds.
        reason: String,
    },
    /// An argument of the command line is wrong.
    #[error("{0}")]
    Argument(String),
    /// A metrics reporter's port is none.
    #[error("option '{option}' has the value '{value}': a port or a range is expected, e.g. 9249-9260")]
    Ports {
        /// The option.
        option: String,
        /// Its value.
        value: String,
    },
    /// No port of a metrics reporter is free.
    #[error(
        "the metrics endpoint cannot listen on {host} at port {ports}: {reason}; give metrics.reporter.prom.port a free port or a range"
    )]
    Listen {
        /// Where.
        host: String,
        /// The ports that were tried.
        ports: String,
        /// Why not.
        reason: String,
    },
    /// The system gives no thread for traces.
    #[error("traces cannot be sent: {0}")]
    Traces(#[source] std::io::Error),
    /// The system does not tell of signals.
    #[error("signals cannot be listened for: {0}")]
    Signals(#[source] std::io::Error),
    /// Nobody can look at the process's memory.
    #[error("no thread could be started that looks at memory: {0}")]
    Watch(#[source] std::io::Error),
    /// No savepoint could be written where one shall be at a stop.
    #[error("--savepoint-on-stop {dir}: {reason}")]
    SavepointDir {
        /// Where.
        dir: String,
        /// Why not.
        reason: String,
    },
    /// The savepoint before a stop was not taken.
    #[error("job '{job}' was stopped without a savepoint: {reason}")]
    NoSavepoint {
        /// The job.
        job: String,
        /// Why.
        reason: String,
    },
    /// The last checkpoint before a stop did not become complete.
    #[error(
        "job '{job}' was cancelled: its last checkpoint was not complete {seconds} s after the stop; it starts again from the one before it"
    )]
    NoLastCheckpoint {
        /// The job.
        job: String,
        /// How long it was waited.
        seconds: u64,
    },
    /// A job hangs.
    #[error("job '{job}' has not ended {seconds} s after it was cancelled")]
    Hangs {
        /// The job.
        job: String,
        /// How long it was waited.
        seconds: u64,
    },
    /// A job could not be stopped.
    #[error("a job could not be stopped: {0}")]
    Stop(#[source] tokio::task::JoinError),
    /// An option of a process is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A process of a cluster cannot do what it is there for.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A process cannot, or must not, listen where it shall.
    #[error("{0}")]
    Place(String),
    /// The server of REST has ended.
    #[error("REST has ended: {0}")]
    Rest(#[source] std::io::Error),
    /// The job of an application has failed.
    #[error("job '{job}' {status}: {cause}")]
    Job {
        /// Its name.
        job: String,
        /// How it has ended.
        status: JobStatus,
        /// Why.
        cause: String,
    },
    /// A signal has ended a JobManager before its job.
    #[error(
        "a signal has ended the JobManager before its job '{job}': under high availability the next JobManager goes on with it, else start it with --restore latest"
    )]
    Interrupted {
        /// The job.
        job: String,
    },
    /// A person did not want to wait for the last checkpoint.
    #[error("a second signal came: the jobs were ended as they were, without a last checkpoint")]
    SecondSignal,
}
