//! What surrounds a job in its process, the same for the command `flott` and for a program of streams: the processes of a cluster
//! ([`cluster`]), where options come from ([`config`]), what a person's signals do ([`signals`], [`stop`]), where metrics are read ([`metrics`]),
//! where traces ([`traces`]) and logs ([`logging`]) go.
//!
//! Nothing here knows SQL or typed streams: it deals with registries, [`flott_cluster::JobHandle`]s and [`flott_core::Options`].

pub mod cluster;
pub mod config;
mod error;
pub mod logging;
pub mod metrics;
pub mod signals;
pub mod stop;
pub mod traces;

pub use error::LaunchError;
