//! State, timers and event time of keyed streams.

use super::{env, sorted};
use flott::CheckpointId;
use flott::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn words(env: &StreamExecutionEnvironment, text: &str) -> DataStream<(String, i64)> {
    let words: Vec<(String, i64)> = text.split(' ').map(|w| (w.to_owned(), 1)).collect();
    env.from_collection(words)
}

/// S4's running counts: the last of each word is right, in any parallelism.
#[test]
fn words_are_counted() {
    for parallelism in [1, 3] {
        let env = env();
        env.set_parallelism(parallelism);
        let counts = words(&env, "to be or not to be")
            .key_by(|w| w.0.clone())
            .sum(|w| &mut w.1);
        let expected = [("be", 1), ("be", 2), ("not", 1), ("or", 1), ("to", 1), ("to", 2)];
        assert_eq!(sorted(counts), expected.map(|(w, n)| (w.to_owned(), n)));
    }
}

#[test]
fn rolling_aggregations_keep_what_flink_keeps() {
    let rows = [("a", 5, 1), ("a", 3, 2), ("a", 9, 3), ("a", 3, 4), ("b", 1, 5)];
    type Row = (String, i64, i64);
    let run = |of: fn(KeyedStream<String, Row>) -> DataStream<Row>| {
        let env = env();
        let rows = env.from_collection(rows.map(|(k, v, n)| (k.to_owned(), v, n)));
        let rows = of(rows.key_by(|r| r.0.clone())).filter(|r| r.0 == "a");
        rows.execute_and_collect("rolling")
            .unwrap()
            .into_iter()
            .map(|r| (r.1, r.2))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(|s| s.sum(|r| &mut r.1)), [(5, 1), (8, 1), (17, 1), (20, 1)]);
    assert_eq!(run(|s| s.min(|r| &mut r.1)), [(5, 1), (3, 1), (3, 1), (3, 1)]);
    assert_eq!(run(|s| s.max(|r| &mut r.1)), [(5, 1), (5, 1), (9, 1), (9, 1)]);
    assert_eq!(run(|s| s.min_by(|r| r.1)), [(5, 1), (3, 2), (3, 2), (3, 2)]);
    assert_eq!(run(|s| s.max_by(|r| r.1)), [(5, 1), (5, 1), (9, 3), (9, 3)]);
    assert_eq!(
        run(|s| s.reduce(|a, b| (a.0, a.1 * b.1, b.2))),
        [(5, 1), (15, 2), (135, 3), (405, 4)]
    );
}

/// S6: the running click count of each user.
#[derive(Clone, Default)]
struct RunningCount {
    count: ValueState<i64>,
}

type Click = (String, i64);

impl KeyedProcessFunction<String, Click> for RunningCount {
    type Out = Click;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.count = ctx.value_state("clickCount")?;
        Ok(())
    }

    fn process_element(&mut self, click: Click, ctx: &mut ProcessContext<'_, String, Click>) -> Result<(), BoxError> {
        let count = self.count.value(ctx).unwrap_or(&0) + click.1;
        self.count.update(ctx, count);
        ctx.collect((click.0, count));
        Ok(())
    }
}

fn clicks() -> [Click; 4] {
    [("u1", 2), ("u2", 3), ("u1", 5), ("u1", 1)].map(|(user, n)| (user.to_owned(), n))
}

/// G6.
#[test]
fn clicks_are_counted() {
    let env = env();
    let counts = env
        .from_collection(clicks())
        .key_by(|c| c.0.clone())
        .process(RunningCount::default());
    let expected = [("u1", 2), ("u2", 3), ("u1", 7), ("u1", 8)].map(|(user, n)| (user.to_owned(), n));
    assert_eq!(counts.execute_and_collect("clicks").unwrap(), expected);
}

/// Tells when a checkpoint is complete that covers a click.
#[derive(Clone, Default)]
struct Covered {
    has_click: bool,
    first: Option<CheckpointId>,
    is_complete: Arc<AtomicBool>,
}

impl MapFunction<Click> for Covered {
    type Out = i64;

    fn map(&mut self, click: Click) -> Result<i64, BoxError> {
        self.has_click = true;
        Ok(click.1)
    }

    fn snapshot_state(&mut self, checkpoint: CheckpointId) -> Result<(), BoxError> {
        if self.has_click {
            self.first.get_or_insert(checkpoint);
        }
        Ok(())
    }

    fn notify_checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        if self.first.is_some_and(|first| checkpoint >= first) {
            self.is_complete.store(true, Ordering::SeqCst);
        }
    }
}

/// G6 with a failure before the fourth event: it is still 8, and what came before the checkpoint is not read again.
#[test]
fn a_count_survives_a_failure() {
    let options = [
        ("execution.batch-rows", "1"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ];
    let env = StreamExecutionEnvironment::create_local_environment(options.into_iter().collect());
    env.enable_checkpointing(Duration::from_millis(20));
    let (has_failed, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let first_reads = reads.clone();
    let covered = Covered::default();
    let is_covered = covered.is_complete.clone();
    let counts = env
        .from_generator(4, move |n| {
            if n == 0 {
                first_reads.fetch_add(1, Ordering::SeqCst);
            }
            // So long that a checkpoint is asked for, which the fourth event waits for.
            if n == 2 {
                std::thread::sleep(Duration::from_millis(300));
            }
            let since = Instant::now();
            while n == 3 && !is_covered.load(Ordering::SeqCst) && since.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(n < 3 || has_failed.swap(true, Ordering::SeqCst), "the machine fails");
            clicks()[n as usize].clone()
        })
        .key_by(|c| c.0.clone())
        .process(RunningCount::default())
        .map_with(covered);
    assert_eq!(counts.execute_and_collect("clicks").unwrap().last(), Some(&8));
    assert_eq!(reads.load(Ordering::SeqCst), 1, "the state came from a checkpoint");
}

/// Gathers the values of a key and gives them at their timer, which each value moves.
#[derive(Clone, Default)]
struct Gather {
    values: ListState<i64>,
    timer: ValueState<i64>,
}

impl KeyedProcessFunction<i64, (i64, i64)> for Gather {
    type Out = (i64, i64, Vec<i64>);

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.values = ctx.list_state("values")?;
        self.timer = ctx.value_state("timer")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, time): (i64, i64),
        ctx: &mut ProcessContext<'_, i64, Self::Out>,
    ) -> Result<(), BoxError> {
        if let Some(before) = self.timer.value(ctx).copied() {
            ctx.delete_event_time_timer(before);
        }
        ctx.register_event_time_timer(time + 100);
        ctx.register_event_time_timer(time + 100);
        self.timer.update(ctx, time + 100);
        self.values.add(ctx, time);
        Ok(())
    }

    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, i64, Self::Out>) -> Result<(), BoxError> {
        assert_eq!(ctx.timestamp(), Some(timestamp));
        let values = self.values.get(ctx).to_vec();
        self.values.clear(ctx);
        self.timer.clear(ctx);
        let key = *ctx.current_key();
        ctx.collect((key, timestamp, values));
        Ok(())
    }
}

/// Timers fire in the order of their times, once, and one that was taken back does not.
#[test]
fn timers_fire_when_the_watermark_passes_them() {
    for parallelism in [1, 3] {
        let env = env();
        env.set_parallelism(parallelism)
            .configure("pipeline.auto-watermark-interval", "0");
        let rows = [(1, 10), (2, 20), (1, 60), (3, 500), (2, 90), (1, 500), (2, 1000)];
        let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|r: &(i64, i64), _| r.1);
        // Three assigners would each know a third of the times, and the order in which their watermarks come is anyone's.
        let timed = env
            .from_collection(rows)
            .assign_timestamps_and_watermarks(&strategy)
            .set_parallelism(1);
        let gathered = timed.key_by(|r| r.0).process(Gather::default());
        let expected = [
            (1, 160, vec![10, 60]),
            (1, 600, vec![500]),
            // 90 comes when time has passed 120 and is 499: its own timer is at 190, but moved before time moves on.
            (2, 120, vec![20]),
            (2, 1100, vec![90, 1000]),
            (3, 600, vec![500]),
        ];
        assert_eq!(sorted(gathered), expected, "parallelism {parallelism}");
    }
}

/// Gives each record back at its processing-time timer.
#[derive(Clone, Default)]
struct Later {
    kept: ValueState<String>,
}

impl KeyedProcessFunction<String, String> for Later {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.kept = ctx.value_state("kept")?;
        Ok(())
    }

    fn process_element(&mut self, value: String, ctx: &mut ProcessContext<'_, String, String>) -> Result<(), BoxError> {
        let at_ms = ctx.current_processing_time() + 30;
        ctx.register_processing_time_timer(at_ms);
        self.kept.update(ctx, value);
        Ok(())
    }

    fn on_timer(&mut self, _timestamp: i64, ctx: &mut ProcessContext<'_, String, String>) -> Result<(), BoxError> {
        if let Some(value) = self.kept.entry(ctx).take() {
            ctx.collect(format!("{value} later"));
        }
        Ok(())
    }
}

#[test]
fn timers_fire_when_their_processing_time_has_come() {
    let options = [("execution.batch-rows", "1")];
    let env = StreamExecutionEnvironment::create_local_environment(options.into_iter().collect());
    let seen = Arc::new(Mutex::new(vec![]));
    let (wait_for, sink) = (seen.clone(), seen.clone());
    let records = env.from_generator(3, move |n| {
        // The job must still run when the first two are due; at its end, what is not due is given up, as in Flink.
        let deadline = Instant::now() + Duration::from_secs(30);
        while n == 2 && wait_for.lock().unwrap().len() < 2 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        format!("r{n}")
    });
    let later = records.key_by(String::clone).process(Later::default());
    later.for_each(move |r| sink.lock().unwrap().push(r));
    env.execute("later").unwrap();
    let mut seen = seen.lock().unwrap();
    seen[..2].sort();
    assert_eq!(seen[..2], ["r0 later", "r1 later"]);
}

/// Counts its keys that hold state by asking for what it never wrote.
#[test]
fn state_that_open_did_not_declare_is_refused_by_name() {
    #[derive(Clone, Default)]
    struct Undeclared(ValueState<i64>);
    impl KeyedProcessFunction<i64, i64> for Undeclared {
        type Out = i64;
        fn process_element(&mut self, value: i64, ctx: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
            self.0.update(ctx, value);
            Ok(())
        }
    }
    #[derive(Clone, Default)]
    struct Twice;
    impl KeyedProcessFunction<i64, i64> for Twice {
        type Out = i64;
        fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
            ctx.value_state::<i64>("count")?;
            ctx.list_state::<i64>("count")?;
            Ok(())
        }
        fn process_element(&mut self, _: i64, _: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
            Ok(())
        }
    }
    let fails = |stream: fn(KeyedStream<i64, i64>) -> DataStream<i64>| {
        let env = env();
        let stream = stream(env.from_collection([1]).key_by(|n| *n));
        stream.execute_and_collect("wrong").unwrap_err().to_string()
    };
    let error = fails(|s| s.process(Undeclared::default()));
    assert!(
        error.contains("a state is used that open() has not declared: self.state = ctx.value_state"),
        "{error}"
    );
    let error = fails(|s| s.process(Twice));
    assert!(error.contains("two states are named 'count'"), "{error}");
}

/// What a sink sees of one key is in the order of its records.
#[test]
fn records_of_a_key_stay_in_order() {
    let env = env();
    env.set_parallelism(3);
    let seen = Arc::new(Mutex::new(vec![]));
    let sink = seen.clone();
    let numbers = env.from_sequence(0, 299).set_parallelism(1).key_by(|n| n % 7);
    numbers.reduce(|_, n| n).for_each(move |n| sink.lock().unwrap().push(n));
    env.execute("order").unwrap();
    let seen = seen.lock().unwrap();
    for key in 0..7 {
        let of_key: Vec<i64> = seen.iter().copied().filter(|n| n % 7 == key).collect();
        assert!(of_key.is_sorted() && of_key.len() >= 42, "{of_key:?}");
    }
}
