//! Jobs that tell their results once, at the end of their input.

use super::{env, sorted};
use flott::prelude::*;
use std::time::Duration;

fn batch() -> StreamExecutionEnvironment {
    let env = env();
    env.set_parallelism(2).set_runtime_mode(RuntimeMode::Batch);
    env
}

/// A record's time is its first field.
fn timed() -> WatermarkStrategy<(i64, i64)> {
    WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|row: &(i64, i64), _| row.0)
}

#[test]
fn an_aggregate_is_told_once_a_key() {
    let numbers = |env: &StreamExecutionEnvironment| env.from_sequence(1, 1000).key_by(|n| n % 3);
    assert_eq!(
        sorted(numbers(&batch()).reduce(|a, b| a + b)),
        [166_500, 166_833, 167_167]
    );
    assert_eq!(sorted(numbers(&batch()).max(|n| n)), [998, 999, 1000]);
    assert_eq!(sorted(numbers(&batch()).min_by(|n| *n)), [1, 2, 3]);
    let streaming = env();
    assert_eq!(sorted(numbers(&streaming).max(|n| n)).len(), 1000);
    // What reads the aggregates sees each of them once, too.
    let counts = numbers(&batch()).sum(|n| n).map(|_| 1i64).key_by(|_| 0).sum(|n| n);
    assert_eq!(sorted(counts), [3]);
}

/// Without watermarks on the way nothing is late, at sources and behind them.
#[test]
fn nothing_is_late_before_the_end() {
    let rows = [(100, 1), (900, 2), (5, 3), (450, 4), (1, 5)];
    let windows = || TumblingEventTimeWindows::of(Duration::from_millis(100));
    let sums = |rows: DataStream<(i64, i64)>| sorted(rows.key_by(|_| 0).window(windows()).sum(|row| &mut row.1));
    let expected = [(5, 8), (100, 1), (450, 4), (900, 2)];
    let on_source = |env: &StreamExecutionEnvironment| {
        env.configure("pipeline.auto-watermark-interval", "0");
        let source = DataGeneratorSource::new(move |n| rows[n as usize], rows.len() as u64);
        env.from_source(source, timed(), "rows").set_parallelism(1)
    };
    let behind = |env: &StreamExecutionEnvironment| {
        env.configure("pipeline.auto-watermark-interval", "0");
        env.from_collection(rows).assign_timestamps_and_watermarks(&timed())
    };
    assert_eq!(sums(on_source(&batch())), expected);
    assert_eq!(sums(behind(&batch())), expected);
    assert_ne!(sums(behind(&env())), expected, "a stream drops what is late");
    // Sessions, whose windows are a list by key, are no other.
    let sessions = EventTimeSessionWindows::with_gap(Duration::from_millis(100));
    let sums = behind(&batch()).key_by(|_| 0).window(sessions).sum(|row| &mut row.1);
    assert_eq!(sorted(sums.map(|row| row.1)), [2, 4, 9]);
}

/// Windows of an hour of processing time do not wait for it.
#[test]
fn windows_of_processing_time_fire_at_the_end() {
    let hour = Duration::from_secs(3600);
    let sums = |windows: fn(&KeyedStream<i64, i64>, Duration) -> DataStream<i64>| {
        let numbers = batch().from_sequence(1, 100).key_by(|_| 0i64);
        let sums: Vec<i64> = sorted(windows(&numbers, hour));
        // The hour may pass in between.
        sums.iter().sum::<i64>()
    };
    assert_eq!(
        sums(|n, hour| n.window(TumblingProcessingTimeWindows::of(hour)).reduce(|a, b| a + b)),
        5050
    );
    assert_eq!(
        sums(|n, hour| n
            .window(ProcessingTimeSessionWindows::with_gap(hour))
            .reduce(|a, b| a + b)),
        5050
    );
}

/// Says when it is called, and sets timers of both times, in its timers too.
#[derive(Clone)]
struct Timed;

impl KeyedProcessFunction<i64, (i64, i64)> for Timed {
    type Out = String;

    fn process_element(&mut self, row: (i64, i64), ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        assert_eq!(ctx.current_watermark(), i64::MIN);
        ctx.register_event_time_timer(row.0 + 1_000);
        ctx.register_processing_time_timer(1);
        ctx.register_processing_time_timer(i64::MAX - 1);
        Ok(())
    }

    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        let watermark = ctx.current_watermark();
        assert_eq!(watermark, i64::MAX);
        ctx.register_event_time_timer(timestamp + 1);
        ctx.register_processing_time_timer(timestamp);
        ctx.collect(format!("{timestamp}"));
        Ok(())
    }
}

#[test]
fn timers_fire_at_the_end_and_those_that_they_set_are_ignored() {
    let rows = batch().from_collection([(7, 1), (3, 2), (7, 3)]);
    let said = rows
        .assign_timestamps_and_watermarks(&timed())
        .key_by(|_| 0)
        .process(Timed);
    let said = said.execute_and_collect("timers").unwrap();
    assert_eq!(said, ["1003", "1007", "1", &(i64::MAX - 1).to_string()]);
}

/// The mode and the interval of checkpoints that a job is planned with.
fn planned(mode: &str, describe: impl Fn(&StreamExecutionEnvironment)) -> Result<(String, bool), String> {
    let env = env();
    env.enable_checkpointing(Duration::from_millis(1))
        .configure("execution.runtime-mode", mode);
    describe(&env);
    let (plan, _) = env
        .program("mode")
        .map_err(|e| e.to_string())?
        .into_parts(flott::registry());
    let mode = plan
        .options
        .get("execution.runtime-mode")
        .unwrap_or_default()
        .to_owned();
    Ok((mode, plan.options.get("execution.checkpointing.interval").is_some()))
}

#[test]
fn the_mode_follows_from_the_sources_where_it_is_automatic() {
    let bounded = |env: &StreamExecutionEnvironment| drop(env.from_sequence(1, 9).print());
    let endless = |env: &StreamExecutionEnvironment| {
        let endless = env.from_generator(u64::MAX, |n| n as i64);
        drop(env.from_sequence(1, 9).union(&[&endless]).print());
    };
    assert_eq!(planned("batch", bounded), Ok(("BATCH".to_owned(), false)));
    assert_eq!(planned("AUTOMATIC", bounded), Ok(("BATCH".to_owned(), false)));
    assert_eq!(planned("automatic", endless), Ok(("STREAMING".to_owned(), true)));
    assert_eq!(planned("STREAMING", bounded), Ok(("STREAMING".to_owned(), true)));
    let error = planned("BATCH", endless).unwrap_err();
    assert_eq!(
        error,
        "'Source: Data Generator' does not end, and 'execution.runtime-mode' is BATCH: set it to STREAMING or AUTOMATIC, or give the \
         source an end"
    );
    let error = planned("steaming", bounded).unwrap_err();
    assert!(
        error.contains("execution.runtime-mode") && error.contains("AUTOMATIC"),
        "{error}"
    );
    for is_keyed in [false, true] {
        let ruled = |env: &StreamExecutionEnvironment| {
            let numbers = env.from_sequence(1, 9);
            let rules = numbers.broadcast_stream();
            match is_keyed {
                true => drop(numbers.key_by(|n| *n).connect_broadcast(&rules).process(Rules).print()),
                false => drop(numbers.connect_broadcast(&rules).process(Rules).print()),
            }
        };
        let error = planned("BATCH", ruled).unwrap_err();
        assert!(error.contains("'execution.runtime-mode' to STREAMING"), "{error}");
        assert_eq!(planned("AUTOMATIC", ruled), Ok(("STREAMING".to_owned(), true)));
    }
}

#[derive(Clone)]
struct Rules;

impl BroadcastProcessFunction<i64, i64> for Rules {
    type Out = i64;
    fn process_element(&mut self, _: i64, _: &mut Context<'_, i64>) -> Result<(), BoxError> {
        Ok(())
    }
    fn process_broadcast_element(&mut self, _: i64, _: &mut BroadcastContext<'_, i64>) -> Result<(), BoxError> {
        Ok(())
    }
}

impl KeyedBroadcastProcessFunction<i64, i64, i64> for Rules {
    type Out = i64;
    fn process_element(&mut self, _: i64, _: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
        Ok(())
    }
    fn process_broadcast_element(
        &mut self,
        _: i64,
        _: &mut KeyedBroadcastContext<'_, i64, i64>,
    ) -> Result<(), BoxError> {
        Ok(())
    }
}
