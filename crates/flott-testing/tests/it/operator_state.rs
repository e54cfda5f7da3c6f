//! Lists that belong to a subtask: spread over others, or given to all, when a snapshot is restored.

use flott::prelude::*;
use flott_testing::{OneInputHarness, OneInputHarnessBuilder};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps what it is given; a zero makes it say what it has.
#[derive(Clone, Default)]
struct Keep {
    spread: OperatorListState<i64>,
    everywhere: OperatorListState<String>,
}

impl Keep {
    fn declare(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.spread = ctx.operator_list_state("spread")?;
        self.everywhere = ctx.operator_union_list_state("everywhere")?;
        Ok(())
    }

    fn keep(&self, value: i64, mut say: impl FnMut(Vec<i64>, Vec<String>)) {
        match value {
            0 => say(self.spread.get(), self.everywhere.get()),
            value => {
                self.spread.add(value);
                self.everywhere.with(|list| list.push(format!("n{value}")));
            }
        }
    }
}

type Said = (Vec<i64>, Vec<String>);

impl FlatMapFunction<i64> for Keep {
    type Out = Said;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }

    fn flat_map(&mut self, value: i64, out: &mut Collector<Said>) -> Result<(), BoxError> {
        self.keep(value, |spread, everywhere| out.collect((spread, everywhere)));
        Ok(())
    }
}

impl ProcessFunction<i64> for Keep {
    type Out = Said;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }

    fn process_element(&mut self, value: i64, ctx: &mut Context<'_, Said>) -> Result<(), BoxError> {
        self.keep(value, |spread, everywhere| ctx.collect((spread, everywhere)));
        Ok(())
    }
}

impl KeyedProcessFunction<i64, i64> for Keep {
    type Out = Said;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        let runtime = ctx.runtime().clone();
        self.declare(&runtime)
    }

    fn process_element(&mut self, value: i64, ctx: &mut ProcessContext<'_, i64, Said>) -> Result<(), BoxError> {
        self.keep(value, |spread, everywhere| ctx.collect((spread, everywhere)));
        Ok(())
    }
}

type Describe = fn() -> OneInputHarnessBuilder<i64, Said>;

/// Every subtask says what it has: all restored values once, and all of them everywhere.
fn check(describe: Describe) {
    let mut harness = describe().with_parallelism(2).open().unwrap();
    (1..=20).try_for_each(|n| harness.process_value(n)).unwrap();
    let mut snapshot = harness.snapshot().unwrap();
    for parallelism in [3, 1, 4] {
        let mut harness = describe()
            .with_parallelism(parallelism)
            .restore(&snapshot)
            .open()
            .unwrap();
        snapshot = harness.snapshot().unwrap();
        (0..parallelism).try_for_each(|_| harness.process_value(0)).unwrap();
        let said = harness.take_values();
        assert_eq!(said.len(), parallelism);
        let mut spread: Vec<i64> = said.iter().flat_map(|s| s.0.clone()).collect();
        spread.sort_unstable();
        assert_eq!(spread, (1..=20).collect::<Vec<_>>(), "parallelism {parallelism}");
        for (own, everywhere) in said {
            assert!(
                own.len() >= 20 / parallelism - 1 && own.len() <= 20usize.div_ceil(parallelism) + 1,
                "{own:?}"
            );
            let seen: std::collections::BTreeSet<String> = everywhere.into_iter().collect();
            assert_eq!(seen, (1..=20).map(|n| format!("n{n}")).collect());
        }
    }
}

#[test]
fn lists_of_flat_maps_are_spread_or_everywhere() {
    check(|| OneInputHarness::of(|numbers: DataStream<i64>| numbers.rebalance().flat_map_with(Keep::default())));
}

#[test]
fn lists_of_process_functions_are_spread_or_everywhere() {
    check(|| OneInputHarness::of(|numbers: DataStream<i64>| numbers.rebalance().process(Keep::default())));
}

#[test]
fn keyed_functions_keep_lists_too() {
    let build = || OneInputHarness::for_keyed_process_function::<i64>(Keep::default(), |n| n % 3);
    let mut harness = build().open().unwrap();
    (1..=5).try_for_each(|n| harness.process_value(n)).unwrap();
    let snapshot = harness.snapshot().unwrap();
    let mut harness = build().restore(&snapshot).open().unwrap();
    harness.process_value(0).unwrap();
    assert_eq!(harness.take_values()[0].0, [1, 2, 3, 4, 5]);
}

impl<W> ProcessWindowFunction<i64, i64, W> for Keep {
    type Out = Said;

    fn open(&mut self, ctx: &mut OpenWindowContext) -> Result<(), BoxError> {
        let runtime = ctx.runtime().clone();
        self.declare(&runtime)
    }

    fn process(&mut self, elements: Elements<i64>, ctx: &mut WindowContext<'_, i64, W, Said>) -> Result<(), BoxError> {
        elements.for_each(|value| self.keep(value, |spread, everywhere| ctx.collect((spread, everywhere))));
        Ok(())
    }
}

/// Windows that keep a table by end, and those that keep lists by key.
#[test]
fn functions_of_windows_keep_lists() {
    type Describe = fn(DataStream<i64>) -> DataStream<Said>;
    let windows: [Describe; 2] = [
        |numbers| {
            let windows = TumblingEventTimeWindows::of(Duration::from_millis(10));
            numbers.key_by(|n| n % 3).window(windows).process(Keep::default())
        },
        |numbers| numbers.key_by(|n| n % 3).count_window(1).process(Keep::default()),
    ];
    for describe in windows {
        let build = || OneInputHarness::of(describe);
        let mut harness = build().open().unwrap();
        (1..=5).try_for_each(|n| harness.process_element(n, n)).unwrap();
        harness.process_watermark(10).unwrap();
        let snapshot = harness.snapshot().unwrap();
        let mut harness = build().restore(&snapshot).open().unwrap();
        harness.process_element(0, 20).unwrap();
        harness.process_watermark(30).unwrap();
        let mut said = harness.take_values();
        said[0].0.sort_unstable();
        assert_eq!(said[0].0, [1, 2, 3, 4, 5]);
        assert_eq!(said[0].1.len(), 5);
    }
}

impl AsyncFunction<i64> for Keep {
    type Out = Said;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }

    async fn async_invoke(&self, value: i64) -> Result<Vec<Said>, BoxError> {
        let mut said = vec![];
        self.keep(value, |spread, everywhere| said.push((spread, everywhere)));
        Ok(said)
    }
}

#[test]
fn asynchronous_functions_keep_lists() {
    let build = || {
        OneInputHarness::of(|numbers: DataStream<i64>| {
            AsyncDataStream::ordered_wait(&numbers, Keep::default(), Duration::ZERO, 1)
        })
    };
    let mut harness = build().open().unwrap();
    (1..=5).try_for_each(|n| harness.process_value(n)).unwrap();
    // Its answer is behind those of all others, so none of them is under way in the snapshot.
    harness.process_value(0).unwrap();
    harness.wait_for_records(1).unwrap();
    let snapshot = harness.snapshot().unwrap();
    let mut harness = build().restore(&snapshot).open().unwrap();
    harness.process_value(0).unwrap();
    harness.wait_for_records(1).unwrap();
    assert_eq!(harness.take_values()[0].0, [1, 2, 3, 4, 5]);
}

/// Writes when three records have come.
#[derive(Clone)]
struct Threes {
    waiting: OperatorListState<i64>,
    written: Arc<Mutex<Vec<Vec<i64>>>>,
}

impl SinkFunction<i64> for Threes {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.waiting = ctx.operator_list_state("waiting")?;
        Ok(())
    }

    fn invoke(&mut self, value: i64, _time: Option<i64>) -> Result<(), BoxError> {
        self.waiting.add(value);
        if self.waiting.len() == 3 {
            self.written.lock().unwrap().push(self.waiting.take());
        }
        Ok(())
    }
}

#[test]
fn sinks_keep_what_they_have_not_written() {
    let written = Arc::new(Mutex::new(vec![]));
    let build = || {
        let sink = Threes {
            waiting: OperatorListState::default(),
            written: written.clone(),
        };
        OneInputHarness::of(move |numbers: DataStream<i64>| {
            numbers.sink_with(sink).uid("threes");
            numbers
        })
    };
    let mut harness = build().open().unwrap();
    (1..=5).try_for_each(|n| harness.process_value(n)).unwrap();
    assert_eq!(*written.lock().unwrap(), [[1, 2, 3]]);
    let snapshot = harness.snapshot().unwrap();
    let mut harness = build().restore(&snapshot).open().unwrap();
    harness.process_value(6).unwrap();
    assert_eq!(*written.lock().unwrap(), [[1, 2, 3], [4, 5, 6]]);
}

/// Declares one list twice.
#[derive(Clone)]
struct Twice;

impl FlatMapFunction<i64> for Twice {
    type Out = i64;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        ctx.operator_list_state::<i64>("list")?;
        ctx.operator_union_list_state::<i64>("list")?;
        Ok(())
    }

    fn flat_map(&mut self, _: i64, _: &mut Collector<i64>) -> Result<(), BoxError> {
        Ok(())
    }
}

#[test]
fn two_lists_of_one_name_are_refused() {
    let harness = OneInputHarness::of(|numbers: DataStream<i64>| numbers.flat_map_with(Twice));
    let error = harness.open().unwrap_err().to_string();
    assert!(error.contains("two operator states are named 'list'"), "{error}");
}
