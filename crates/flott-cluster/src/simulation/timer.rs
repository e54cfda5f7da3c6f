//! Waiting in simulated time where a simulated process runs, and by Tokio's timers in all other tests.

use super::world::{Key, World};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// It took too long.
#[derive(Debug)]
pub(crate) struct Elapsed;

pub(crate) fn now() -> Instant {
    World::here().map_or_else(Instant::now, |(world, _)| world.instant())
}

pub(crate) async fn sleep(duration: Duration) {
    sleep_until(now() + duration).await;
}

pub(crate) async fn sleep_until(at: Instant) {
    match World::here() {
        Some((world, process)) => {
            let at_ms = world.ms_of(at);
            Sleep {
                world,
                process,
                at_ms,
                waiting: None,
            }
            .await;
        }
        None => tokio::time::sleep_until(at).await,
    }
}

pub(crate) async fn timeout<T>(duration: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    timeout_at(now() + duration, work).await
}

pub(crate) async fn timeout_at<T>(at: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = sleep_until(at) => Err(Elapsed),
    }
}

/// Ends when the world's time has come there.
struct Sleep {
    world: Arc<World>,
    /// Whose.
    process: usize,
    at_ms: i64,
    waiting: Option<(Key, Waker)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.now_ms() >= self.at_ms {
            return Poll::Ready(());
        }
        let is_known = |(_, waker): &(Key, Waker)| waker.will_wake(context.waker());
        if !self.waiting.as_ref().is_some_and(is_known) {
            self.forget();
            let waker = context.waker().clone();
            let key = self.world.wake_at(self.at_ms, self.process, waker.clone());
            self.waiting = Some((key, waker));
        }
        Poll::Pending
    }
}

impl Sleep {
    fn forget(&mut self) {
        if let Some((key, _)) = self.waiting.take() {
            self.world.forget(key);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
