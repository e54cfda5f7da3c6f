//! Asynchronous functions, whose answers the test gives.

use flott::prelude::*;
use flott_testing::{MiniCluster, OneInputHarness, OneInputHarnessBuilder, Output, StreamRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Answers a number when the test allows it.
#[derive(Clone)]
struct Desk {
    allowed: Arc<watch::Sender<BTreeSet<i64>>>,
    asked: Arc<Mutex<Vec<i64>>>,
    /// Errors to come, by number.
    failures: Arc<Mutex<BTreeMap<i64, u32>>>,
    answers_late: bool,
}

impl Desk {
    fn new() -> Self {
        Self {
            allowed: Arc::new(watch::Sender::new(BTreeSet::new())),
            asked: Arc::default(),
            failures: Arc::default(),
            answers_late: false,
        }
    }

    fn allow(&self, numbers: impl IntoIterator<Item = i64>) {
        self.allowed.send_modify(|allowed| allowed.extend(numbers));
    }

    fn asked(&self) -> Vec<i64> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until so many calls were made.
    fn wait_for_calls(&self, calls: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.asked().len() < calls {
            assert!(Instant::now() < deadline, "{:?} of {calls}", self.asked());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl AsyncFunction<i64> for Desk {
    type Out = String;

    async fn async_invoke(&self, number: i64) -> Result<Vec<String>, BoxError> {
        self.asked.lock().unwrap().push(number);
        let mut allowed = self.allowed.subscribe();
        allowed.wait_for(|allowed| allowed.contains(&number)).await?;
        let fails = match self.failures.lock().unwrap().get_mut(&number) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        match number {
            1313 => panic!("bad luck"),
            _ if fails => Err(format!("no answer to {number}").into()),
            _ => Ok(vec![format!("a{number}")]),
        }
    }

    fn timeout(&self, number: i64) -> Result<Vec<String>, BoxError> {
        match self.answers_late {
            true => Ok(vec![format!("late {number}")]),
            false => Err("too late".into()),
        }
    }
}

type Wait = fn(&DataStream<i64>, Desk, Duration, usize) -> DataStream<String>;

const ORDERED: Wait = AsyncDataStream::ordered_wait;
const UNORDERED: Wait = AsyncDataStream::unordered_wait;

fn harness(wait: Wait, desk: &Desk, timeout_ms: u64, capacity: usize) -> OneInputHarnessBuilder<i64, String> {
    let desk = desk.clone();
    OneInputHarness::of(move |numbers: DataStream<i64>| {
        wait(&numbers, desk, Duration::from_millis(timeout_ms), capacity)
    })
}

fn record(value: &str, timestamp: i64) -> Output<String> {
    Output::Record(StreamRecord {
        value: value.to_owned(),
        timestamp: Some(timestamp),
    })
}

#[test]
fn ordered_answers_stay_in_the_order_of_their_records() {
    let desk = Desk::new();
    let mut harness = harness(ORDERED, &desk, 0, 10).open().unwrap();
    harness.process_element(1, 1).unwrap();
    harness.process_element(2, 2).unwrap();
    harness.process_watermark(10).unwrap();
    harness.process_element(3, 12).unwrap();
    desk.allow([2, 3]);
    desk.wait_for_calls(3);
    assert_eq!(harness.take_output(), []);
    desk.allow([1]);
    harness.wait_for_records(3).unwrap();
    let expected = [
        record("a1", 1),
        record("a2", 2),
        Output::Watermark(10),
        record("a3", 12),
    ];
    assert_eq!(harness.take_output(), expected);
    harness.end_input().unwrap();
    assert_eq!(harness.take_output(), [Output::Watermark(i64::MAX)]);
}

#[test]
fn unordered_answers_come_when_they_are_there_but_pass_no_watermark() {
    let desk = Desk::new();
    let mut harness = harness(UNORDERED, &desk, 0, 10).open().unwrap();
    harness.process_element(1, 1).unwrap();
    harness.process_element(2, 2).unwrap();
    harness.process_watermark(10).unwrap();
    harness.process_element(3, 12).unwrap();
    desk.allow([2, 3]);
    harness.wait_for_records(1).unwrap();
    assert_eq!(harness.take_output(), [record("a2", 2)]);
    desk.allow([1]);
    harness.wait_for_records(2).unwrap();
    let expected = [record("a1", 1), Output::Watermark(10), record("a3", 12)];
    assert_eq!(harness.take_output(), expected);
}

#[test]
fn no_more_records_are_under_way_than_the_capacity() {
    for wait in [ORDERED, UNORDERED] {
        let desk = Desk::new();
        let mut harness = harness(wait, &desk, 0, 2).open().unwrap();
        (1..=5).try_for_each(|n| harness.process_element(n, n)).unwrap();
        desk.wait_for_calls(2);
        harness.process_watermark(100).unwrap();
        assert_eq!(BTreeSet::from_iter(desk.asked()), BTreeSet::from([1, 2]));
        desk.allow([1]);
        harness.wait_for_records(1).unwrap();
        desk.wait_for_calls(3);
        assert_eq!(desk.asked().len(), 3);
        desk.allow(2..=5);
        harness.wait_for_records(5).unwrap();
        let output = harness.take_output();
        assert_eq!(output.last(), Some(&Output::Watermark(100)));
        assert_eq!(output.len(), 6);
    }
}

#[test]
fn what_is_under_way_is_asked_again_after_a_restore_before_all_that_comes() {
    let desk = Desk::new();
    let mut first = harness(ORDERED, &desk, 0, 40).open().unwrap();
    (1..=35).try_for_each(|n| first.process_element(n, n)).unwrap();
    desk.allow([2]);
    let snapshot = first.snapshot().unwrap();
    let entries = first.state_entries().unwrap();
    assert!(
        entries.iter().any(|e| e.state == "async-in-flight" && e.count == 3),
        "{entries:?}"
    );
    drop(first);
    // Less room than records that were under way.
    let desk = Desk::new();
    let mut again = harness(ORDERED, &desk, 0, 2).restore(&snapshot).open().unwrap();
    again.process_watermark(50).unwrap();
    again.process_element(36, 60).unwrap();
    desk.allow(1..=36);
    again.wait_for_records(36).unwrap();
    let mut expected: Vec<Output<String>> = (1..=35).map(|n| record(&format!("a{n}"), n)).collect();
    expected.extend([Output::Watermark(50), record("a36", 60)]);
    assert_eq!(again.take_output(), expected);
    let desk = Desk::new();
    let builder = harness(UNORDERED, &desk, 0, 100).with_parallelism(3);
    let mut spread = builder.restore(&snapshot).open().unwrap();
    desk.allow(1..=35);
    spread.wait_for_records(35).unwrap();
    let values: BTreeSet<String> = spread.take_values().into_iter().collect();
    assert_eq!(values, (1..=35).map(|n| format!("a{n}")).collect());
}

#[test]
fn the_clock_ends_the_time_of_a_record() {
    let desk = Desk {
        answers_late: true,
        ..Desk::new()
    };
    let mut patient = harness(ORDERED, &desk, 100, 10).open().unwrap();
    patient.process_element(1, 1).unwrap();
    patient.set_processing_time(99).unwrap();
    assert_eq!(patient.take_values(), [""; 0]);
    patient.process_element(2, 2).unwrap();
    patient.set_processing_time(100).unwrap();
    assert_eq!(patient.take_values(), ["late 1"]);
    desk.allow([1, 2]);
    patient.wait_for_records(1).unwrap();
    assert_eq!(patient.take_values(), ["a2"]);

    let desk = Desk::new();
    let mut strict = harness(ORDERED, &desk, 100, 10).open().unwrap();
    strict.process_element(7, 1).unwrap();
    let error = strict.set_processing_time(100).unwrap_err().to_string();
    assert!(error.contains("too late") && error.contains("record 1, 7,"), "{error}");
}

#[test]
fn errors_and_panics_name_their_record() {
    for (number, text) in [(5, "no answer to 5"), (1313, "it panicked: bad luck")] {
        let desk = Desk::new();
        desk.failures.lock().unwrap().insert(5, 1);
        desk.allow([4, number]);
        let mut harness = harness(UNORDERED, &desk, 0, 10).open().unwrap();
        harness.process_element(4, 1).unwrap();
        let pushed = harness.process_element(number, 2);
        let error = pushed
            .and_then(|()| harness.wait_for_records(2))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(text) && error.contains(&format!("record 2, {number},")),
            "{error}"
        );
    }
}

fn retrying(desk: &Desk, strategy: AsyncRetryStrategy<String>) -> OneInputHarnessBuilder<i64, String> {
    let desk = desk.clone();
    OneInputHarness::of(move |numbers: DataStream<i64>| {
        AsyncDataStream::ordered_wait_with_retry(&numbers, desk, Duration::ZERO, 10, strategy)
    })
}

#[test]
fn errors_are_tried_again_after_growing_delays() {
    let desk = Desk::new();
    desk.failures.lock().unwrap().insert(1, 2);
    desk.allow([1]);
    let (first, longest) = (Duration::from_millis(10), Duration::from_millis(15));
    let strategy = AsyncRetryStrategy::exponential_backoff(5, first, longest, 2.0);
    let strategy = strategy.if_error(|error| error.to_string().contains("no answer"));
    let mut harness = retrying(&desk, strategy).open().unwrap();
    harness.process_element(1, 1).unwrap();
    // The delay of a call begins when the one before has failed, which the clock, moved on and on, can only come behind.
    let deadline = Instant::now() + Duration::from_secs(60);
    for (calls, earliest_ms) in [(2, 10), (3, 25)] {
        while desk.asked().len() < calls {
            assert!(Instant::now() < deadline, "{:?}", desk.asked());
            harness.set_processing_time(harness.processing_time() + 1).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(harness.processing_time() >= earliest_ms);
    }
    harness.wait_for_records(1).unwrap();
    assert_eq!(harness.take_values(), ["a1"]);
}

#[test]
fn attempts_are_used_up_and_answers_may_be_refused() {
    // Two retries are three calls; the last error counts.
    let desk = Desk::new();
    desk.failures.lock().unwrap().insert(1, 3);
    desk.allow([1]);
    let strategy = AsyncRetryStrategy::fixed_delay(2, Duration::ZERO).if_error(|_| true);
    let mut harness = retrying(&desk, strategy).open().unwrap();
    let pushed = harness.process_element(1, 1);
    let error = pushed
        .and_then(|()| harness.wait_for_records(1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no answer to 1"), "{error}");
    assert_eq!(desk.asked(), [1, 1, 1]);
    // An answer that is never liked is given in the end.
    let desk = Desk::new();
    desk.allow([2]);
    let strategy = AsyncRetryStrategy::fixed_delay(3, Duration::ZERO).if_result(|answers| answers == ["a2"]);
    let mut harness = retrying(&desk, strategy).open().unwrap();
    harness.process_element(2, 1).unwrap();
    harness.wait_for_records(1).unwrap();
    assert_eq!((harness.take_values(), desk.asked().len()), (vec!["a2".to_owned()], 4));
    // An error that is not of the kind fails at once.
    let desk = Desk::new();
    desk.failures.lock().unwrap().insert(1, 1);
    desk.allow([1]);
    let strategy = AsyncRetryStrategy::fixed_delay(3, Duration::ZERO).if_error(|_| false);
    let mut harness = retrying(&desk, strategy).open().unwrap();
    let pushed = harness.process_element(1, 1);
    assert!(pushed.and_then(|()| harness.wait_for_records(1)).is_err());
    assert_eq!(desk.asked(), [1]);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let desk = Desk::new();
    let error = harness(ORDERED, &desk, 0, 0).open().unwrap_err().to_string();
    assert!(error.contains("capacity") && error.contains("1 or more"), "{error}");
    let second = Duration::from_secs(1);
    let strategy = AsyncRetryStrategy::exponential_backoff(3, second, second, 0.5);
    let error = retrying(&desk, strategy).open().unwrap_err().to_string();
    assert!(error.contains("multiplier") && error.contains("0.5"), "{error}");
}

/// Answers after a millisecond.
#[derive(Clone)]
struct Slow;

impl AsyncFunction<i64> for Slow {
    type Out = i64;

    async fn async_invoke(&self, number: i64) -> Result<Vec<i64>, BoxError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(vec![number; 2])
    }
}

#[test]
fn a_killed_job_loses_nothing_that_was_under_way() {
    let cluster = MiniCluster::with_slots(2).unwrap();
    let env = cluster.environment();
    env.set_parallelism(2).enable_checkpointing(Duration::from_millis(10));
    let go = Arc::new(AtomicBool::new(false));
    let (held, seen) = (go.clone(), Arc::new(Mutex::new(BTreeSet::new())));
    env.configure("execution.batch-rows", "7");
    let numbers = env.from_generator(3_000, move |n| {
        while n == 2_999 && !held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        n as i64
    });
    let numbers = numbers.set_parallelism(1).rebalance();
    let answers = AsyncDataStream::unordered_wait(&numbers, Slow, Duration::from_secs(60), 16);
    let sink = seen.clone();
    answers.map(|n| n).for_each(move |n| {
        sink.lock().unwrap().insert(n);
    });
    let mut job = cluster.start(&env, "asking").unwrap();
    job.wait_until("some answers", |_| seen.lock().unwrap().len() > 40)
        .unwrap();
    job.fail_task("Async Wait", 0).unwrap();
    go.store(true, Ordering::SeqCst);
    job.wait().unwrap();
    assert_eq!(job.restarts(), 1);
    assert_eq!(*seen.lock().unwrap(), (0..3_000).collect());
}
