//! When functions are closed: once, however their task ends.

use super::env;
use flott::EventTime;
use flott::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Only guards against hanging.
const DEADLINE: Duration = Duration::from_secs(60);

type Told = Arc<Mutex<Vec<String>>>;

/// Hands numbers on and notes what it is told; it does not close well.
#[derive(Clone)]
struct Noting {
    told: Told,
    fails_at: Option<i64>,
    seen: Option<mpsc::Sender<i64>>,
}

impl Noting {
    fn new() -> Self {
        Self {
            told: Told::default(),
            fails_at: None,
            seen: None,
        }
    }

    fn note(&self, what: &str) {
        self.told.lock().unwrap().push(what.to_owned());
    }
}

impl MapFunction<i64> for Noting {
    type Out = i64;
    fn open(&mut self, _: &RuntimeContext) -> Result<(), BoxError> {
        self.note("open");
        Ok(())
    }
    fn map(&mut self, value: i64) -> Result<i64, BoxError> {
        if self.fails_at == Some(value) {
            return Err(format!("{value} is too much").into());
        }
        // Who waits for the first number is gone behind it.
        if let Some(seen) = self.seen.take() {
            let _ = seen.send(value);
        }
        Ok(value)
    }
    fn snapshot_state(&mut self, _: u64) -> Result<(), BoxError> {
        self.note("snapshot_state");
        Ok(())
    }
    fn notify_checkpoint_complete(&mut self, _: u64) {
        self.note("notify_checkpoint_complete");
    }
    #[expect(clippy::panic, reason = "a close that panics is what is tested")]
    fn close(&mut self) -> Result<(), BoxError> {
        self.note("close");
        panic!("it does not close well");
    }
}

#[test]
fn a_function_is_closed_behind_the_last_checkpoint() {
    let env = env();
    env.set_parallelism(1);
    let noting = Noting::new();
    let mapped = env.from_sequence(1, 3).map_with(noting.clone());
    assert_eq!(mapped.execute_and_collect("all").unwrap(), [1, 2, 3]);
    let expected = ["open", "snapshot_state", "notify_checkpoint_complete", "close"];
    assert_eq!(*noting.told.lock().unwrap(), expected);
}

#[test]
fn a_stop_behind_a_savepoint_closes_and_so_does_a_cancellation() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("file://{}", folder.path().display());
    for is_cancelled in [false, true] {
        let env = env();
        env.set_parallelism(1);
        let (sender, seen) = mpsc::channel();
        let mut noting = Noting::new();
        noting.seen = Some(sender);
        env.from_sequence(1, i64::MAX).map_with(noting.clone()).for_each(drop);
        let job = env.execute_async("endless").unwrap();
        assert_eq!(seen.recv_timeout(DEADLINE), Ok(1));
        let expected: &[&str] = match is_cancelled {
            true => {
                job.cancel().unwrap();
                &["open", "close"]
            }
            false => {
                job.stop_with_savepoint(false, Some(place.as_str())).unwrap();
                &["open", "snapshot_state", "notify_checkpoint_complete", "close"]
            }
        };
        assert_eq!(*noting.told.lock().unwrap(), expected);
    }
}

#[test]
fn a_failure_closes_and_is_told_as_it_was() {
    let env = env();
    env.set_parallelism(1).configure("restart-strategy.type", "none");
    let mut noting = Noting::new();
    noting.fails_at = Some(2);
    env.from_sequence(1, 3).map_with(noting.clone()).for_each(drop);
    let error = env.execute("fails").unwrap_err().to_string();
    assert!(
        error.contains("2 is too much") && !error.contains("close well"),
        "{error}"
    );
    assert_eq!(*noting.told.lock().unwrap(), ["open", "close"]);
}

/// Counts how often it was opened and closed.
#[derive(Clone, Default)]
struct Counting(Arc<[AtomicUsize; 2]>);

impl Counting {
    fn count(&self, at: usize) -> Result<(), BoxError> {
        self.0[at].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|at| self.0[at].load(Ordering::SeqCst))
    }
}

impl ProcessFunction<i64> for Counting {
    type Out = i64;
    fn open(&mut self, _: &RuntimeContext) -> Result<(), BoxError> {
        self.count(0)
    }
    fn process_element(&mut self, value: i64, ctx: &mut Context<'_, i64>) -> Result<(), BoxError> {
        ctx.collect(value);
        Ok(())
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.count(1)
    }
}

impl RichMapFunction<i64, i64> for Counting {
    type Out = i64;
    fn open(&mut self, _: &mut OpenContext) -> Result<(), BoxError> {
        self.count(0)
    }
    fn map(&mut self, value: i64, _: &mut KeyContext<'_, i64>) -> Result<i64, BoxError> {
        Ok(value)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.count(1)
    }
}

impl<W: Window> ProcessWindowFunction<i64, i64, W> for Counting {
    type Out = i64;
    fn open(&mut self, _: &mut OpenWindowContext) -> Result<(), BoxError> {
        self.count(0)
    }
    fn process(&mut self, values: Elements<i64>, ctx: &mut WindowContext<'_, i64, W, i64>) -> Result<(), BoxError> {
        values.for_each(|value| ctx.collect(value));
        Ok(())
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.count(1)
    }
}

impl AsyncFunction<i64> for Counting {
    type Out = i64;
    fn open(&mut self, _: &RuntimeContext) -> Result<(), BoxError> {
        self.count(0)
    }
    async fn async_invoke(&self, value: i64) -> Result<Vec<i64>, BoxError> {
        Ok(vec![value])
    }
    fn close(&self) -> Result<(), BoxError> {
        self.count(1)
    }
}

/// Does not open, or refuses the first number.
#[derive(Clone)]
struct Refusing {
    counting: Counting,
    at_open: bool,
}

impl SinkFunction<i64> for Refusing {
    fn open(&mut self, _: &RuntimeContext) -> Result<(), BoxError> {
        self.counting.count(0)?;
        match self.at_open {
            true => Err("it does not open".into()),
            false => Ok(()),
        }
    }
    fn invoke(&mut self, value: i64, _: Option<EventTime>) -> Result<(), BoxError> {
        Err(format!("not {value}").into())
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.counting.count(1)
    }
}

/// Whatever operator stands around a function, it closes as many as it has opened, also those that could not be opened to their end.
#[test]
fn functions_of_all_operators_are_closed_when_another_one_fails() {
    for at_open in [false, true] {
        let env = env();
        env.set_parallelism(2).configure("restart-strategy.type", "none");
        let counting: [Counting; 6] = Default::default();
        let [process, rich, aligned, general, asynchronous, sink] = counting.each_ref().map(Clone::clone);
        let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|n: &i64, _| *n);
        let numbers = env
            .from_sequence(1, 1000)
            .assign_timestamps_and_watermarks(&strategy)
            .process(process)
            .key_by(|n| n % 3)
            .rich_map(rich)
            .key_by(|n| n % 3)
            .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
            .process(aligned)
            .key_by(|n| n % 3)
            .count_window(2)
            .process(general);
        let counting_sink = Refusing {
            counting: sink,
            at_open,
        };
        AsyncDataStream::unordered_wait(&numbers, asynchronous, Duration::from_secs(60), 4).sink_with(counting_sink);
        let error = env.execute("fails").unwrap_err().to_string();
        let expected = if at_open { "it does not open" } else { "not " };
        assert!(error.contains(expected), "{error}");
        for (place, counting) in counting.iter().enumerate() {
            let [opened, closed] = counting.counts();
            assert!(opened > 0, "{place} was not opened");
            assert_eq!(opened, closed, "{place}");
        }
    }
}
