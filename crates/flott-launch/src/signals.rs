//! How a person's signals, and a system's, reach the jobs of this process.

use crate::error::LaunchError;
use std::sync::OnceLock;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM, and SIGHUP where it is not ignored (as `nohup` has it), noticed from its making on.
#[derive(Debug)]
pub struct StopSignal {
    end: EndSignal,
    interrupt: Interrupt,
}

impl StopSignal {
    /// Begins to notice; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self, LaunchError> {
        Ok(Self {
            end: EndSignal::new()?,
            interrupt: Interrupt::new()?,
        })
    }

    /// Waits until a person or a system wants the process to end. Cancel-safe.
    pub async fn recv(&mut self) {
        tokio::select! {
            () = self.end.recv() => {}
            () = self.interrupt.recv() => {}
        }
    }
}

/// Ctrl-C.
#[derive(Debug)]
pub struct Interrupt(Signal);

impl Interrupt {
    /// Begins to notice; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self, LaunchError> {
        listen(SignalKind::interrupt()).map(Self)
    }

    /// Waits for it. Cancel-safe.
    pub async fn recv(&mut self) {
        self.0.recv().await;
    }
}

/// SIGTERM and SIGHUP: not one query, but the process is to end.
#[derive(Debug)]
pub struct EndSignal {
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl EndSignal {
    /// Begins to notice; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self, LaunchError> {
        // Asked once: listening takes the place of what was set before.
        static HEEDS_HANG_UP: OnceLock<bool> = OnceLock::new();
        let hang_up = HEEDS_HANG_UP.get_or_init(|| !ignores_hang_up());
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            hang_up: match hang_up {
                true => Some(listen(SignalKind::hangup())?),
                false => None,
            },
        })
    }

    /// Waits until the process is to end. Cancel-safe.
    pub async fn recv(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, LaunchError> {
    signal(kind).map_err(LaunchError::Signals)
}

/// Whether whoever started the process had it ignore SIGHUP; only Linux tells.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|l| l.starts_with("SigIgn:") && is_hang_up_in(l))
}

/// Whether SIGHUP, the lowest bit, is in the mask that a line ends with.
fn is_hang_up_in(line: &str) -> bool {
    let last = line.trim_end().chars().last().and_then(|c| c.to_digit(16));
    last.is_some_and(|digit| digit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_is_ignored_where_it_was_before() {
        assert!(is_hang_up_in("SigIgn:\t0000000000000001"));
        assert!(is_hang_up_in("SigIgn:\t000000000000100b\n"));
        assert!(!is_hang_up_in("SigIgn:\t0000000000001000"));
        assert!(!is_hang_up_in("SigIgn:"));
    }
}
