//! Side outputs, connected streams, broadcast state.

use super::lives::{life, run};
use super::{env, sorted};
use flott::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Sends odd numbers aside, and multiples of ten to a third place.
#[derive(Clone)]
struct Split {
    odd: OutputTag<String>,
    tens: OutputTag<i64>,
}

fn split() -> Split {
    Split {
        odd: OutputTag::new("odd"),
        tens: OutputTag::new("tens"),
    }
}

impl ProcessFunction<i64> for Split {
    type Out = i64;

    fn process_element(&mut self, value: i64, ctx: &mut Context<'_, i64>) -> Result<(), BoxError> {
        if value % 10 == 0 {
            ctx.output(&self.tens, value);
        }
        match value % 2 {
            0 => ctx.collect(value),
            _ => ctx.output(&self.odd, format!("odd {value}")),
        }
        Ok(())
    }
}

fn gathered<T: Data + Ord>(stream: &DataStream<T>) -> Arc<Mutex<Vec<T>>> {
    let seen = Arc::new(Mutex::new(vec![]));
    let sink = seen.clone();
    stream.for_each(move |record| sink.lock().unwrap().push(record));
    seen
}

fn taken<T: Ord>(seen: &Mutex<Vec<T>>) -> Vec<T> {
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort();
    seen
}

/// Every record is where it was sent, once, in every parallelism; a tag that is read twice is read twice, one that is not read is
/// dropped.
#[test]
fn side_outputs_get_what_is_sent_to_them() {
    for (parallelism, records) in [(1, 20), (3, 20), (1, 30_000)] {
        let env = env();
        env.set_parallelism(parallelism);
        let even = env.from_sequence(1, records).process(split());
        let odd = even.get_side_output(&OutputTag::<String>::new("odd"));
        let first = gathered(&odd);
        let second = gathered(&odd.map(|text| text.len()).filter(|n| *n == 5));
        let keyed = gathered(&odd.key_by(|text| text.len() as i64).reduce(|a, b| a.max(b)));
        let expected: Vec<i64> = (1..=records / 2).map(|n| n * 2).collect();
        assert_eq!(sorted(even.clone()), expected);
        let mut odds: Vec<String> = (0..records / 2).map(|n| format!("odd {}", n * 2 + 1)).collect();
        odds.sort();
        assert_eq!(taken(&second), [5; 5]);
        let keyed = taken(&keyed);
        assert_eq!((keyed.len(), keyed.last()), (odds.len(), odds.last()));
        assert_eq!(taken(&first), odds);
    }
}

/// Nobody needs to read the main output.
#[test]
fn a_side_output_may_be_all_that_is_read() {
    let env = env();
    let side = env.from_sequence(1, 30).process(split()).get_side_output(&split().tens);
    assert_eq!(side.execute_and_collect("side").unwrap(), [10, 20, 30]);
}

/// Side records carry the time of their record: windows and timers behind them work.
#[test]
fn side_outputs_keep_event_times() {
    #[derive(Clone)]
    struct Times;
    impl ProcessFunction<String> for Times {
        type Out = (String, Option<i64>);
        fn process_element(&mut self, value: String, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
            let time = ctx.timestamp();
            ctx.collect((value, time));
            Ok(())
        }
    }
    let env = env();
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|n: &i64, _| n * 1000);
    let numbers = env.from_sequence(1, 4).assign_timestamps_and_watermarks(&strategy);
    let odd = numbers.process(split()).get_side_output(&split().odd).process(Times);
    let expected = [("odd 1", 1000), ("odd 3", 3000)].map(|(t, ms)| (t.to_owned(), Some(ms)));
    assert_eq!(odd.execute_and_collect("times").unwrap(), expected);
}

#[test]
fn side_outputs_that_cannot_be_are_refused() {
    let refused = |describe: fn(&StreamExecutionEnvironment)| {
        let env = env();
        env.configure("restart-strategy.type", "none");
        describe(&env);
        env.execute("refused").unwrap_err().to_string()
    };
    let error = refused(|env| {
        let stream = env.from_sequence(1, 4).process(split());
        stream.get_side_output(&split().odd).print();
        stream.get_side_output(&OutputTag::<i32>::new("odd")).print();
    });
    let expected =
        "the side output 'odd' is read as alloc::string::String and as i32: give one of the tags another name";
    assert_eq!(error, expected);
    let error = refused(|env| {
        let stream = env.from_sequence(1, 4).process(split());
        stream.get_side_output(&OutputTag::<i32>::new("odd")).print();
    });
    assert!(
        error.contains("the side output 'odd' is read as i32, and alloc::string::String is emitted to it"),
        "{error}"
    );
    let error = refused(|env| {
        let stream = env.from_sequence(1, 4).process(split());
        stream.get_side_output(&split().odd).name("odd").print();
    });
    assert!(
        error.starts_with("name() speaks of an operator, and a side output is none"),
        "{error}"
    );
}

/// Counts what both streams give, and tells it when it is closed.
#[derive(Clone, Default)]
struct Both {
    seen: u64,
    told: Arc<AtomicU64>,
}

impl CoMapFunction<i64, String> for Both {
    type Out = String;
    fn map1(&mut self, value: i64) -> Result<String, BoxError> {
        self.seen += 1;
        Ok(format!("number {value}"))
    }
    fn map2(&mut self, value: String) -> Result<String, BoxError> {
        self.seen += 1;
        Ok(format!("text {value}"))
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.told.fetch_add(self.seen, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn two_streams_meet_in_one_function() {
    let connect = |env: &StreamExecutionEnvironment| {
        let texts = env.from_collection(["a", "b"].map(String::from));
        env.from_sequence(1, 3).connect(&texts)
    };
    let expected = ["number 1", "number 2", "number 3", "text a", "text b"];
    let both = Both::default();
    assert_eq!(sorted(connect(&env()).map_with(both.clone())), expected);
    assert_eq!(both.told.load(Ordering::SeqCst), 5);
    let mapped = connect(&env()).map(|n| format!("number {n}"), |t| format!("text {t}"));
    assert_eq!(sorted(mapped), expected);
    let many = connect(&env()).flat_map(
        |n, out| (0..n).for_each(|i| out.collect(i)),
        |text, out| out.collect(text.len() as i64 * 100),
    );
    assert_eq!(sorted(many), [0, 0, 0, 1, 1, 2, 100, 100]);
}

/// A failure is told with the record of its own input.
#[test]
fn a_failure_names_the_record_of_its_input() {
    let env = env();
    env.configure("restart-strategy.type", "none");
    let numbers = env.from_sequence(1, 3);
    let texts = env.from_collection([1.5f64, 2.5]);
    let mapped = numbers.connect(&texts).map(
        |n| n.to_string(),
        |x| {
            assert!(x < 2.0, "too large");
            x.to_string()
        },
    );
    let error = mapped.execute_and_collect("fails").unwrap_err().to_string();
    let expected = "Co-Map[3]: the function panicked at record 2, 2.5, of type f64: too large";
    assert!(error.contains(expected), "{error}");
}

/// Pairs each order with its payment; an order that is not paid in time is given up by a timer.
#[derive(Clone, Default)]
struct Payments {
    order: ValueState<i64>,
}

type Event = (i64, i64);

impl KeyedCoProcessFunction<i64, Event, Event> for Payments {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.order = ctx.value_state("order")?;
        Ok(())
    }

    fn process_element1(&mut self, order: Event, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        self.order.update(ctx, order.1);
        ctx.register_event_time_timer(order.1 + 100);
        Ok(())
    }

    fn process_element2(&mut self, paid: Event, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        match self.order.entry(ctx).take() {
            Some(ordered) => {
                ctx.delete_event_time_timer(ordered + 100);
                ctx.collect(format!("{}: {ordered} paid at {}", paid.0, paid.1));
            }
            None => ctx.collect(format!("{}: nothing to pay at {}", paid.0, paid.1)),
        }
        Ok(())
    }

    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        if let Some(ordered) = self.order.entry(ctx).take() {
            let key = *ctx.current_key();
            ctx.collect(format!("{key}: {ordered} given up at {timestamp}"));
        }
        Ok(())
    }
}

/// State and timers that both inputs see live on when the job is stopped between any two records, at any parallelism.
#[test]
fn keyed_streams_share_state_and_timers_across_restores() {
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|e: &Event, _| e.1);
    let given = |lives: &[super::lives::Life]| {
        let mut given = run(lives, |env, sources| {
            let orders = [(1, 10), (2, 20), (3, 30), (4, 500)];
            let payments = [(1, 40), (3, 60), (1, 510)];
            let orders = sources.source(env, 0, orders, &strategy).key_by(|e| e.0);
            let payments = sources.source(env, 1, payments, &strategy).key_by(|e| e.0);
            orders.connect(&payments).process(Payments::default())
        });
        given.sort();
        given
    };
    let expected = [
        "1: 10 paid at 40",
        "1: nothing to pay at 510",
        "2: 20 given up at 120",
        "3: 30 paid at 60",
        "4: 500 given up at 600",
    ];
    // Orders come before payments, a life each.
    let steps: [&[usize]; 6] = [&[1, 0], &[3, 0], &[3, 1], &[3, 2], &[4, 2], &[4, 3]];
    for parallelisms in [[1; 6], [1, 3, 2, 1, 4, 2]] {
        let lives: Vec<_> = steps
            .iter()
            .zip(parallelisms)
            .map(|(until, p)| life(until, p))
            .collect();
        assert_eq!(given(&lives), expected, "{parallelisms:?}");
    }
}

/// Rules of the second stream say what each number is multiplied by.
#[derive(Clone, Default)]
struct Multiply {
    factors: BroadcastState<String, i64>,
}

impl BroadcastProcessFunction<i64, (String, i64)> for Multiply {
    type Out = (i64, i64);

    fn open(&mut self, ctx: &mut OpenBroadcastContext<'_>) -> Result<(), BoxError> {
        self.factors = ctx.broadcast_state("factors")?;
        Ok(())
    }

    fn process_element(&mut self, value: i64, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        let product: i64 = self.factors.entries(ctx).map(|(_, factor)| factor).product();
        ctx.collect((value, value * product));
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        (name, factor): (String, i64),
        ctx: &mut BroadcastContext<'_, Self::Out>,
    ) -> Result<(), BoxError> {
        match factor {
            0 => self.factors.remove(ctx, &name),
            factor => self.factors.put(ctx, name, factor),
        }
        Ok(())
    }
}

/// Every subtask has every rule, also those that come with a rescale.
#[test]
fn broadcast_state_is_everywhere_and_survives() {
    let strategy = || WatermarkStrategy::no_watermarks();
    let steps: [&[usize]; 5] = [&[0, 1], &[6, 1], &[6, 2], &[12, 3], &[18, 4]];
    for parallelisms in [[1; 5], [1, 3, 2, 4, 1]] {
        let lives: Vec<_> = steps
            .iter()
            .zip(parallelisms)
            .map(|(until, p)| life(until, p))
            .collect();
        let mut given = run(&lives[..3], |env, sources| {
            let rules = [("a", 2), ("b", 5), ("a", 0), ("c", 7)].map(|(n, f)| (n.to_owned(), f));
            let rules = sources.source(env, 1, rules, &WatermarkStrategy::no_watermarks());
            let numbers = sources.source(env, 0, 0..18i64, &strategy()).rebalance();
            numbers
                .connect_broadcast(&rules.broadcast_stream())
                .process(Multiply::default())
        });
        given.sort_unstable();
        assert_eq!(
            given,
            (0..6).map(|n| (n, n * 2)).collect::<Vec<_>>(),
            "{parallelisms:?}"
        );
    }
}

/// Counts a key's records that pass the threshold which the broadcast stream sets; a new threshold gives all counts so far.
#[derive(Clone, Default)]
struct Above {
    counts: ValueState<i64>,
    threshold: BroadcastState<bool, i64>,
}

impl KeyedBroadcastProcessFunction<i64, (i64, i64), i64> for Above {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenKeyedBroadcastContext<'_>) -> Result<(), BoxError> {
        self.counts = ctx.value_state("counts")?;
        self.threshold = ctx.broadcast_state("threshold")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, value): (i64, i64),
        ctx: &mut ProcessContext<'_, i64, String>,
    ) -> Result<(), BoxError> {
        let threshold = self.threshold.get(ctx, &true).copied().unwrap_or(i64::MAX);
        if value > threshold {
            *self.counts.entry(ctx).get_or_insert_default() += 1;
        }
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        threshold: i64,
        ctx: &mut KeyedBroadcastContext<'_, i64, String>,
    ) -> Result<(), BoxError> {
        self.threshold.put(ctx, true, threshold);
        let counts = self.counts;
        ctx.apply_to_keyed_state(|key, state, out| {
            if let Some(count) = counts.entry(state).take() {
                out.collect(format!("{key} had {count} before {threshold}"));
            }
            Ok(())
        })
    }
}

#[test]
fn keyed_state_and_broadcast_state_live_side_by_side() {
    let steps: [&[usize]; 5] = [&[0, 1], &[5, 1], &[5, 2], &[9, 2], &[10, 3]];
    for parallelisms in [[1; 5], [3, 1, 2, 4, 3]] {
        let lives: Vec<_> = steps
            .iter()
            .zip(parallelisms)
            .map(|(until, p)| life(until, p))
            .collect();
        let mut given = run(&lives[..4], |env, sources| {
            let values = [
                (1, 5),
                (2, 50),
                (1, 70),
                (3, 20),
                (2, 60),
                (1, 70),
                (2, 90),
                (3, 85),
                (3, 100),
                (4, 0),
            ];
            let values = sources.source(env, 0, values, &WatermarkStrategy::no_watermarks());
            let thresholds = sources.source(env, 1, [10, 80, 0], &WatermarkStrategy::no_watermarks());
            let keyed = values.key_by(|v| v.0);
            keyed
                .connect_broadcast(&thresholds.broadcast_stream())
                .process(Above::default())
        });
        given.sort();
        let expected = ["1 had 1 before 80", "2 had 2 before 80", "3 had 1 before 80"];
        assert_eq!(given, expected, "{parallelisms:?}");
    }
}
