//! Logs on standard error, of the levels that the variable `FLOTT_LOG` names (`warn` without it).

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sends logs to standard error, unless the process has said already where they go.
pub fn init() {
    let filter = EnvFilter::try_from_env("FLOTT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // Whoever was first wins: a program may have a subscriber of its own.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
