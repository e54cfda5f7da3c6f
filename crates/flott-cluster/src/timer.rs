//! How the control plane waits: by Tokio's timers. In the simulated runs of this crate's tests time passes as their seed says.

#[cfg(not(test))]
use tokio::time::Instant;

#[cfg(test)]
pub(crate) use crate::simulation::timer::{now, sleep, sleep_until, timeout, timeout_at};
#[cfg(not(test))]
pub(crate) use tokio::time::{sleep, sleep_until, timeout, timeout_at};

/// The time now.
#[cfg(not(test))]
pub(crate) fn now() -> Instant {
    Instant::now()
}
