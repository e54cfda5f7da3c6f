//! Whether this process gets on: what tells a hung one from a busy one, for who would restart it.
//!
//! Two things are watched. Control loops (a job master's, a TaskManager's) say when they begin with a message and when they wait for the
//! next: one that is at the same message for longer than the patience hangs, while one with a long line of messages is busy. And the Tokio
//! runtime itself takes a step each second ([`beat`]): where it does not, no loop is even polled.
//!
//! Tasks' threads are not watched here, but told of ([`crate::hang`]): a slow function is the job's matter, and a process that is restarted
//! for it is slower still.

use flott_core::Options;
use flott_core::options::OptionError;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The option that says how long a loop may be at one message, and the runtime may take no step.
const TIMEOUT: &str = "liveness.timeout";

/// The same without it, in milliseconds: longer than any of them is by right, for they do not wait for disks or networks.
const TIMEOUT_MS: i64 = 30_000;

/// Between two steps of the runtime.
const BEAT: Duration = Duration::from_secs(1);

/// What is watched in a process.
#[derive(Debug)]
pub struct Liveness {
    started: Instant,
    loops: Mutex<BTreeMap<u64, (String, Arc<Work>)>>,
    next: AtomicU64,
    /// The runtime, once it beats.
    runtime: OnceLock<Work>,
    /// Why it cannot do its work yet, or no more.
    unready: Mutex<Option<String>>,
    /// What takes longer hangs.
    patience_ms: AtomicU64,
}

/// When a piece of work began, in milliseconds since the start, plus 1; 0: it waits.
#[derive(Debug, Default)]
struct Work(AtomicU64);

impl Default for Liveness {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            loops: Mutex::default(),
            next: AtomicU64::new(0),
            runtime: OnceLock::new(),
            unready: Mutex::default(),
            patience_ms: AtomicU64::new(TIMEOUT_MS.unsigned_abs()),
        }
    }
}

/// Of this process.
pub fn process() -> &'static Liveness {
    static PROCESS: OnceLock<Liveness> = OnceLock::new();
    PROCESS.get_or_init(Liveness::default)
}

/// Begins to watch this process and its runtime, with the patience of `liveness.timeout`. Needs Tokio.
///
/// # Errors
/// If that is no duration above 0.
pub fn begin(options: &Options) -> Result<(), OptionError> {
    let ms = options.duration_ms(TIMEOUT)?.unwrap_or(TIMEOUT_MS);
    if ms <= 0 {
        return Err(OptionError::new(TIMEOUT, &format!("{ms} ms"), "a duration above 0"));
    }
    process().set_patience(Duration::from_millis(ms.unsigned_abs()));
    tokio::spawn(process().beat());
    Ok(())
}

/// A control loop that is watched until this is dropped.
#[derive(Debug)]
pub struct Watched<'a> {
    liveness: &'a Liveness,
    id: u64,
    work: Arc<Work>,
}

impl Liveness {
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    fn loops(&self) -> MutexGuard<'_, BTreeMap<u64, (String, Arc<Work>)>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a loop from now on, as one that waits.
    pub fn watch(&self, name: impl Into<String>) -> Watched<'_> {
        let (id, work) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::new(Work::default()));
        self.loops().insert(id, (name.into(), work.clone()));
        Watched {
            liveness: self,
            id,
            work,
        }
    }

    /// Takes a step each second, for ever: for the runtime that is to be watched.
    pub async fn beat(&self) -> Infallible {
        let beat = self.runtime.get_or_init(Work::default);
        loop {
            beat.0.store(self.now(), Ordering::Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    }

    fn set_patience(&self, patience: Duration) {
        self.patience_ms.store(patience.as_millis() as u64, Ordering::Relaxed);
    }

    /// Says whether the process can do its work, for [`Liveness::ready`].
    pub fn set_ready(&self, ready: Result<(), String>) {
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = ready.err();
    }

    /// Whether the process can do its work, as it has said.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        let unready = self.unready.lock().unwrap_or_else(PoisonError::into_inner);
        unready.clone().map_or(Ok(()), Err)
    }

    /// Whether everything gets on.
    ///
    /// # Errors
    /// What has hung for too long, in words.
    pub fn check(&self) -> Result<(), String> {
        let (now, patience) = (
            self.now(),
            Duration::from_millis(self.patience_ms.load(Ordering::Relaxed)),
        );
        let age = |work: &Work| match work.0.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(now.saturating_sub(since)),
        };
        let loops = self.loops();
        let of_loop = |(name, work): &(String, Arc<Work>)| {
            let age = age(work);
            (age > patience).then(|| format!("{name} has been at one message for {} s: it hangs", age.as_secs()))
        };
        let runtime = self.runtime.get().map(age).filter(|age| *age > patience + BEAT);
        let runtime = runtime.map(|age| format!("the runtime has taken no step for {} s: it hangs", age.as_secs()));
        match loops.values().filter_map(of_loop).chain(runtime).next() {
            Some(hung) => Err(hung),
            None => Ok(()),
        }
    }
}

impl Watched<'_> {
    /// It begins with a message.
    pub fn works(&self) {
        self.work.0.store(self.liveness.now(), Ordering::Relaxed);
    }

    /// It waits for the next.
    pub fn waits(&self) {
        self.work.0.store(0, Ordering::Relaxed);
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.liveness.loops().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TIME: Duration = Duration::ZERO;
    const PATIENCE: Duration = Duration::from_secs(30);

    fn check(liveness: &Liveness, patience: Duration) -> Result<(), String> {
        liveness.set_patience(patience);
        liveness.check()
    }

    /// Until the clock has moved on, whatever its resolution.
    fn a_moment(liveness: &Liveness) {
        let now = liveness.now();
        while liveness.now() < now + 3 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_is_at_one_message_for_too_long_hangs() {
        let liveness = Liveness::default();
        let (one, other) = (
            liveness.watch("the master of job 1"),
            liveness.watch("the master of job 2"),
        );
        one.works();
        a_moment(&liveness);
        assert_eq!(check(&liveness, PATIENCE), Ok(()));
        let hung = check(&liveness, NO_TIME).unwrap_err();
        assert!(hung.contains("the master of job 1") && hung.contains("hangs"), "{hung}");
        one.waits();
        assert_eq!(check(&liveness, NO_TIME), Ok(()));
        other.works();
        a_moment(&liveness);
        assert!(check(&liveness, NO_TIME).is_err());
        drop(other);
        assert_eq!(check(&liveness, NO_TIME), Ok(()));
    }

    #[test]
    fn who_begins_again_and_again_is_busy() {
        let liveness = Liveness::default();
        let one = liveness.watch("one");
        let patience = Duration::from_secs(5);
        for _ in 0..1_000 {
            one.works();
            assert_eq!(check(&liveness, patience), Ok(()));
        }
    }

    #[test]
    fn a_runtime_without_steps_hangs() {
        let liveness = Liveness::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        assert_eq!(check(&liveness, NO_TIME), Ok(()));
        // It is driven for its first step, and then no more.
        let first = async { tokio::time::timeout(Duration::from_millis(1), liveness.beat()).await };
        assert!(runtime.block_on(first).is_err());
        let deadline = Instant::now() + PATIENCE;
        while check(&liveness, NO_TIME).is_ok() {
            assert!(Instant::now() < deadline, "it is not missed");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(check(&liveness, NO_TIME).unwrap_err().contains("the runtime"));
        assert_eq!(check(&liveness, PATIENCE), Ok(()));
    }
}
