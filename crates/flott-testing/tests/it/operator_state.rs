//! Lists that belong to a subtask: spread over others, or given to all, when a snapshot is restored.

use flott::prelude::*;
use flott_testing::{OneInputHarness, OneInputHarnessBuilder};
use std::sync::{Arc, Mutex};

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
