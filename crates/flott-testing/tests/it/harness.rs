//! Every kind of function in its harness.

use flott::prelude::*;
use flott_testing::{HarnessError, OneInputHarness, Output, StreamRecord, TwoInputHarness};
use std::time::Duration;

/// As README shows it.
#[test]
fn words_are_counted() -> Result<(), HarnessError> {
    let build =
        || OneInputHarness::of(|words: DataStream<(String, i64)>| words.key_by(|w| w.0.clone()).sum(|w| &mut w.1));
    let mut harness = build().open()?;
    harness.process_element(("be".to_owned(), 1), 1_000)?;
    assert_eq!(harness.take_values(), [("be".to_owned(), 1)]);
    let snapshot = harness.snapshot()?;
    let mut harness = build().with_parallelism(2).restore(&snapshot).open()?;
    harness.process_element(("be".to_owned(), 1), 2_000)?;
    assert_eq!(harness.take_values(), [("be".to_owned(), 2)]);
    Ok(())
}

/// Gathers the values of a key until its timer of processing time.
#[derive(Clone, Default)]
struct Gather {
    values: ListState<i64>,
}

impl KeyedProcessFunction<String, (String, i64)> for Gather {
    type Out = (String, Vec<i64>);

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.values = ctx.list_state("values")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, value): (String, i64),
        ctx: &mut ProcessContext<'_, String, Self::Out>,
    ) -> Result<(), BoxError> {
        if value < 0 {
            return Err(format!("{value} is negative").into());
        }
        if self.values.get(ctx).is_empty() {
            let at_ms = ctx.current_processing_time() + 100;
            ctx.register_processing_time_timer(at_ms);
        }
        self.values.add(ctx, value);
        Ok(())
    }

    fn on_timer(&mut self, _time: i64, ctx: &mut ProcessContext<'_, String, Self::Out>) -> Result<(), BoxError> {
        let values = self.values.get(ctx).to_vec();
        self.values.clear(ctx);
        let key = ctx.current_key().clone();
        ctx.collect((key, values));
        Ok(())
    }
}

fn gather() -> flott_testing::OneInputHarnessBuilder<(String, i64), (String, Vec<i64>)> {
    OneInputHarness::for_keyed_process_function(Gather::default(), |r: &(String, i64)| r.0.clone())
}

#[test]
fn the_clock_fires_timers_before_the_call_returns() {
    let mut harness = gather().with_processing_time(1_000).open().unwrap();
    for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
        harness.process_value((key.to_owned(), value)).unwrap();
    }
    assert_eq!(harness.num_keyed_state_entries().unwrap(), 2);
    assert_eq!(harness.num_processing_time_timers().unwrap(), 2);
    assert_eq!(harness.num_event_time_timers().unwrap(), 0);
    harness.set_processing_time(1_099).unwrap();
    assert_eq!(harness.take_output(), []);
    harness.set_processing_time(1_100).unwrap();
    let mut values = harness.take_values();
    values.sort();
    assert_eq!(values, [("a".to_owned(), vec![1, 3]), ("b".to_owned(), vec![2])]);
    assert_eq!(harness.num_keyed_state_entries().unwrap(), 0);
    assert_eq!(harness.num_processing_time_timers().unwrap(), 0);
    let error = harness.set_processing_time(1_000).unwrap_err().to_string();
    assert!(error.contains("1100") && error.contains("1000"), "{error}");
}

#[test]
fn a_snapshot_goes_on_at_any_parallelism() {
    let mut harness = gather().open().unwrap();
    for key in 0..20 {
        harness.process_value((format!("k{key}"), key)).unwrap();
    }
    let mut snapshot = harness.snapshot().unwrap();
    // The first harness goes on by itself, and nothing of that is in the snapshot.
    harness.process_value(("k0".to_owned(), 7)).unwrap();
    for (round, parallelism) in [3, 1, 4].into_iter().enumerate() {
        let builder = gather().with_parallelism(parallelism).with_processing_time(50);
        let mut harness = builder.restore(&snapshot).open().unwrap();
        assert_eq!(harness.num_keyed_state_entries().unwrap(), 20, "round {round}");
        assert_eq!(harness.num_processing_time_timers().unwrap(), 20);
        snapshot = harness.snapshot().unwrap();
    }
    let mut harness = gather().restore(&snapshot).open().unwrap();
    harness.set_processing_time(100).unwrap();
    let mut values = harness.take_values();
    values.sort_by_key(|v| v.1[0]);
    assert_eq!(values, (0..20).map(|k| (format!("k{k}"), vec![k])).collect::<Vec<_>>());
}

#[test]
fn an_error_of_a_function_names_its_record_and_ends_the_harness() {
    let mut harness = gather().open().unwrap();
    harness.process_value(("a".to_owned(), 1)).unwrap();
    let error = harness.process_value(("a".to_owned(), -5)).unwrap_err();
    let HarnessError::Failed(text) = error else {
        panic!("{error:?}")
    };
    assert!(text.contains("record 2") && text.contains("-5 is negative"), "{text}");
    let error = harness.process_value(("a".to_owned(), 1)).unwrap_err().to_string();
    assert!(
        error.contains("has failed before") && error.contains("-5 is negative"),
        "{error}"
    );
}

/// A later version of a state's type: a field is new.
mod versions {
    use flott::prelude::*;

    #[derive(Clone, Default, StateValue)]
    pub struct Before {
        count: i64,
    }

    #[derive(Clone, StateValue)]
    pub struct After {
        count: i64,
        #[state(default = nobody)]
        last: String,
    }

    fn nobody() -> String {
        "none".to_owned()
    }

    #[derive(Clone, Default)]
    pub struct Old(ValueState<Before>);

    impl KeyedProcessFunction<i64, i64> for Old {
        type Out = String;
        fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
            self.0 = ctx.value_state("counts")?;
            Ok(())
        }
        fn process_element(&mut self, _: i64, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
            let count = self.0.value(ctx).map_or(0, |c| c.count) + 1;
            self.0.update(ctx, Before { count });
            ctx.collect(format!("{count}"));
            Ok(())
        }
    }

    #[derive(Clone, Default)]
    pub struct New(ValueState<After>);

    impl KeyedProcessFunction<i64, i64> for New {
        type Out = String;
        fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
            self.0 = ctx.value_state("counts")?;
            Ok(())
        }
        fn process_element(&mut self, n: i64, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
            let (count, before) = match self.0.value(ctx) {
                Some(c) => (c.count + 1, c.last.clone()),
                None => (1, "nothing".to_owned()),
            };
            let last = n.to_string();
            self.0.update(ctx, After { count, last });
            ctx.collect(format!("{count} after {before}"));
            Ok(())
        }
    }

    /// The same state as something that cannot be read from it.
    #[derive(Clone, Default)]
    pub struct Other(ValueState<Vec<String>>);

    impl KeyedProcessFunction<i64, i64> for Other {
        type Out = String;
        fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
            self.0 = ctx.value_state("counts")?;
            Ok(())
        }
        fn process_element(&mut self, _: i64, _: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
            Ok(())
        }
    }
}

#[test]
fn a_later_version_of_a_state_reads_an_earlier_one_or_is_refused() {
    let mut harness = OneInputHarness::for_keyed_process_function(versions::Old::default(), |n: &i64| n % 2)
        .open()
        .unwrap();
    [1, 2, 3]
        .into_iter()
        .try_for_each(|n| harness.process_value(n))
        .unwrap();
    assert_eq!(harness.take_values(), ["1", "1", "2"]);
    let snapshot = harness.snapshot().unwrap();
    let mut harness = OneInputHarness::for_keyed_process_function(versions::New::default(), |n: &i64| n % 2)
        .restore(&snapshot)
        .open()
        .unwrap();
    [5, 7].into_iter().try_for_each(|n| harness.process_value(n)).unwrap();
    assert_eq!(harness.take_values(), ["3 after none", "4 after 5"]);
    let other = OneInputHarness::for_keyed_process_function(versions::Other::default(), |n: &i64| n % 2);
    let error = other.restore(&snapshot).open().unwrap_err().to_string();
    assert!(error.contains("counts"), "{error}");
}

#[test]
fn records_keep_their_times_and_late_ones_go_to_their_side_output() {
    let late = OutputTag::<(String, i64)>::new("late");
    let of_windows = late.clone();
    let mut harness = OneInputHarness::of(move |stream: DataStream<(String, i64)>| {
        stream
            .key_by(|r| r.0.clone())
            .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
            .side_output_late_data(&of_windows)
            .sum(|r| &mut r.1)
    })
    .with_side_output(&late)
    .open()
    .unwrap();
    let row = |n| ("a".to_owned(), n);
    harness.process_element(row(1), 3).unwrap();
    harness.process_element(row(2), 12).unwrap();
    harness.process_watermark(9).unwrap();
    harness.process_element(row(4), 5).unwrap();
    harness.process_watermark(5).unwrap();
    let record = |value, timestamp| {
        Output::Record(StreamRecord {
            value,
            timestamp: Some(timestamp),
        })
    };
    assert_eq!(harness.take_output(), [record(row(1), 9), Output::Watermark(9)]);
    let late: Vec<_> = harness
        .take_side_output(&late)
        .into_iter()
        .map(|r| (r.value, r.timestamp))
        .collect();
    assert_eq!(late, [(row(4), Some(5))]);
    harness.end_input().unwrap();
    assert_eq!(harness.take_values(), [row(2)]);
    assert!(matches!(harness.process_element(row(1), 1), Err(HarnessError::Ended)));
}

/// Counts of windows that fire by number, or by time since their first or last record.
fn batches(trigger: ProcessingTimeoutTrigger<CountTrigger>) -> OneInputHarness<i64, Vec<i64>> {
    let describe = move |numbers: DataStream<i64>| {
        let windows = numbers
            .key_by(|_| 0i64)
            .window(GlobalWindows)
            .trigger(PurgingTrigger::of(trigger));
        windows.apply(|_, _, numbers, out| out.collect(numbers.collect()))
    };
    OneInputHarness::of(describe).open().unwrap()
}

#[test]
fn a_trigger_with_a_timeout_does_not_wait_for_ever() {
    let trigger = ProcessingTimeoutTrigger::of(CountTrigger::of(3), Duration::from_millis(100));
    let mut harness = batches(trigger);
    (1..=4).try_for_each(|n| harness.process_value(n)).unwrap();
    assert_eq!(harness.take_values(), [[1, 2, 3]]);
    harness.set_processing_time(60).unwrap();
    harness.process_value(5).unwrap();
    harness.set_processing_time(100).unwrap();
    assert!(harness.take_values().is_empty());
    harness.set_processing_time(101).unwrap();
    assert_eq!(harness.take_values(), [[4, 5]]);
    // The count begins anew.
    (6..=8).try_for_each(|n| harness.process_value(n)).unwrap();
    assert_eq!(harness.take_values(), [[6, 7, 8]]);
    assert_eq!(harness.num_processing_time_timers().unwrap(), 0);

    let mut harness = batches(trigger.reset_timer_on_new_record());
    harness.process_value(1).unwrap();
    harness.set_processing_time(60).unwrap();
    harness.process_value(2).unwrap();
    harness.set_processing_time(160).unwrap();
    assert!(harness.take_values().is_empty());
    harness.set_processing_time(161).unwrap();
    assert_eq!(harness.take_values(), [[1, 2]]);
}

#[test]
fn a_rule_of_ones_own_moves_time() {
    let mut harness = OneInputHarness::of(|numbers: DataStream<i64>| {
        let strategy = WatermarkStrategy::for_punctuated(|n: &i64, time| (n % 10 == 0).then_some(time - 1));
        numbers.assign_timestamps_and_watermarks(&strategy.with_timestamp_assigner(|n, _| n * 100))
    })
    .with_option("pipeline.auto-watermark-interval", "1 h")
    .open()
    .unwrap();
    [3, 10, 12, 5, 20]
        .into_iter()
        .try_for_each(|n| harness.process_value(n))
        .unwrap();
    let times: Vec<i64> = harness
        .take_output()
        .into_iter()
        .map(|output| match output {
            Output::Record(record) => record.timestamp.unwrap(),
            Output::Watermark(time) => -time,
        })
        .collect();
    assert_eq!(times, [300, 1000, -999, 1200, 500, 2000, -1999]);
}

/// Joins orders with their payments, whichever comes first, for 100 ms.
#[derive(Clone, Default)]
struct Pay {
    order: ValueState<i64>,
    paid: ValueState<i64>,
}

impl KeyedCoProcessFunction<String, (String, i64), (String, i64)> for Pay {
    type Out = (String, i64, i64);

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.order = ctx.value_state("order")?;
        self.paid = ctx.value_state("paid")?;
        Ok(())
    }

    fn process_element1(
        &mut self,
        (id, sum): (String, i64),
        ctx: &mut ProcessContext<'_, String, Self::Out>,
    ) -> Result<(), BoxError> {
        match self.paid.entry(ctx).take() {
            Some(paid) => ctx.collect((id, sum, paid)),
            None => self.order.update(ctx, sum),
        }
        Ok(())
    }

    fn process_element2(
        &mut self,
        (id, paid): (String, i64),
        ctx: &mut ProcessContext<'_, String, Self::Out>,
    ) -> Result<(), BoxError> {
        match self.order.entry(ctx).take() {
            Some(sum) => ctx.collect((id, sum, paid)),
            None => {
                self.paid.update(ctx, paid);
                let until = ctx.timestamp().unwrap_or(0) + 100;
                ctx.register_event_time_timer(until);
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, _: i64, ctx: &mut ProcessContext<'_, String, Self::Out>) -> Result<(), BoxError> {
        if let Some(paid) = self.paid.entry(ctx).take() {
            let id = ctx.current_key().clone();
            ctx.collect((id, 0, paid));
        }
        Ok(())
    }
}

#[test]
fn two_inputs_have_a_watermark_each() {
    let open = || {
        let key = |r: &(String, i64)| r.0.clone();
        TwoInputHarness::for_keyed_co_process_function(Pay::default(), key, key)
    };
    let row = |id: &str, n| (id.to_owned(), n);
    let mut harness = open().open().unwrap();
    harness.process_element1(row("x", 5), 1).unwrap();
    harness.process_element2(row("y", 7), 2).unwrap();
    harness.process_element2(row("x", 5), 3).unwrap();
    assert_eq!(harness.take_values(), [("x".to_owned(), 5, 5)]);
    harness.process_watermark1(500).unwrap();
    assert_eq!(harness.num_event_time_timers().unwrap(), 1, "the other input is behind");
    let snapshot = harness.snapshot().unwrap();
    let mut harness = open().with_parallelism(2).restore(&snapshot).open().unwrap();
    harness.process_both_watermarks(102).unwrap();
    assert_eq!(harness.take_values(), [("y".to_owned(), 0, 7)]);
    assert_eq!(harness.num_event_time_timers().unwrap(), 0);
    harness.end_inputs().unwrap();
    assert!(harness.process_value1(row("x", 5)).is_err());
}

/// Counts its records by metrics of all kinds.
#[derive(Clone, Default)]
struct Measured {
    seen: std::sync::Arc<Counter>,
    rate: std::sync::Arc<Meter>,
    sizes: std::sync::Arc<Histogram>,
}

impl MapFunction<i64> for Measured {
    type Out = i64;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let metrics = ctx.metric_group().add_group("shop");
        self.seen = metrics.counter("seen")?;
        self.rate = metrics.meter("rate")?;
        self.sizes = metrics.histogram("sizes")?;
        let seen = self.seen.clone();
        metrics.gauge("half", move || seen.get() as f64 / 2.0)?;
        if ctx.option("test.twice").is_some() {
            metrics.counter("seen")?;
        }
        if ctx.option("test.own").is_some() {
            ctx.metric_group().counter("numRecordsIn")?;
        }
        Ok(())
    }

    fn map(&mut self, value: i64) -> Result<i64, BoxError> {
        self.seen.inc();
        self.rate.mark_event();
        self.sizes.update(value);
        Ok(value)
    }
}

#[test]
fn functions_have_metrics_of_their_own() {
    let build =
        || OneInputHarness::of(|numbers: DataStream<i64>| numbers.map_with(Measured::default()).name("Measured"));
    let mut harness = build().open().unwrap();
    (1..=9).try_for_each(|n| harness.process_value(n)).unwrap();
    let metric = |name: &str| harness.metric("Measured", name);
    assert_eq!(metric("numRecordsIn"), Some(9.0));
    assert_eq!(metric("shop.seen"), Some(9.0));
    assert_eq!(metric("shop.half"), Some(4.5));
    assert_eq!(metric("shop.sizes"), Some(5.0));
    assert!(metric("shop.rate").unwrap() > 0.0);
    assert_eq!(metric("nothing"), None);
    for option in ["test.twice", "test.own"] {
        let error = build().with_option(option, "true").open().unwrap_err().to_string();
        assert!(error.contains("two metrics of the function are named"), "{error}");
    }
}

/// Records of an interval join that are behind the watermark are counted, or go aside; those at it are in time.
#[test]
fn an_interval_join_sends_late_records_aside() {
    let (late_left, late_right) = (OutputTag::<i64>::new("late left"), OutputTag::<i64>::new("late right"));
    for are_wanted in [false, true] {
        let (left, right) = (late_left.clone(), late_right.clone());
        let describe = move |first: DataStream<i64>, second: DataStream<i64>| {
            let join = first
                .key_by(|_| 0i64)
                .interval_join(&second.key_by(|_| 0i64))
                .between(-5, 5);
            let join = match are_wanted {
                true => join
                    .side_output_left_late_data(&left)
                    .side_output_right_late_data(&right),
                false => join,
            };
            join.process(|a, b, out| out.collect(a * 100 + b))
        };
        let mut harness = TwoInputHarness::of(describe)
            .with_side_output(&late_left)
            .with_side_output(&late_right)
            .open()
            .unwrap();
        harness.process_element1(1, 10).unwrap();
        harness.process_both_watermarks(10).unwrap();
        harness.process_element2(2, 9).unwrap();
        harness.process_element2(3, 10).unwrap();
        harness.process_element1(4, 9).unwrap();
        assert_eq!(harness.take_values(), [103]);
        let aside =
            |records: Vec<StreamRecord<i64>>| records.into_iter().map(|r| (r.value, r.timestamp)).collect::<Vec<_>>();
        let left = aside(harness.take_side_output(&late_left));
        let right = aside(harness.take_side_output(&late_right));
        let dropped = harness.metric("Co-Keyed-Process", "numLateRecordsDropped");
        match are_wanted {
            true => assert_eq!(
                (left, right, dropped),
                (vec![(4, Some(9))], vec![(2, Some(9))], Some(0.0))
            ),
            false => assert_eq!((left, right, dropped), (vec![], vec![], Some(2.0))),
        }
    }
}
