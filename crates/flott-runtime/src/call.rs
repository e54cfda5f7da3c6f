//! Since when an operator is in a call ([`CallClock`]): what tells one that hangs in a user's code from one that has much to do.
//!
//! A call takes a batch, so that two relaxed stores for each are all that it costs. Who looks does so from another thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the call began that an operator is in, in microseconds since this process first asked, plus 1; 0: it is in none. With [`TOLD`]: how
/// long it had taken, in microseconds, when another process told of it.
#[derive(Debug, Default)]
pub struct CallClock(AtomicU64);

/// Marks a duration: between two tellings nobody knows whether the call lasts.
const TOLD: u64 = 1 << 63;

/// A call; it ends when this is dropped.
#[derive(Debug)]
pub struct Call<'a>(&'a CallClock);

/// What times are told against.
fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

fn micros(at: Instant) -> u64 {
    at.saturating_duration_since(beginning()).as_micros() as u64 + 1
}

impl CallClock {
    /// A call begins, at `now`.
    pub fn begin(&self, now: Instant) -> Call<'_> {
        self.0.store(micros(now), Ordering::Relaxed);
        Call(self)
    }

    /// How long the call has taken that it is in.
    pub fn elapsed(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            told if told & TOLD != 0 => Some(Duration::from_micros(told ^ TOLD)),
            since => Some(Duration::from_micros(micros(Instant::now()).saturating_sub(since))),
        }
    }

    /// Shows a call in another process, which had taken so long when it was told of.
    pub(crate) fn show(&self, elapsed: Option<Duration>) {
        let told = |elapsed: Duration| elapsed.as_micros() as u64 | TOLD;
        self.0.store(elapsed.map_or(0, told), Ordering::Relaxed);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_lasts_from_its_begin_to_its_end() {
        let clock = CallClock::default();
        assert_eq!(clock.elapsed(), None);
        let _ = beginning();
        let began = Instant::now();
        let call = clock.begin(began);
        while began.elapsed() < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        assert!(clock.elapsed().is_some_and(|taken| taken >= Duration::from_millis(1)));
        drop(call);
        assert_eq!(clock.elapsed(), None);
        let told = Some(Duration::from_secs(12));
        clock.show(told);
        assert_eq!(clock.elapsed(), told);
    }
}
