//! Kinds of keyed state, and their time to live.

use super::lives::{Life, life, run};
use flott::prelude::*;
use std::time::Duration;

/// Keeps all kinds of state and gives what they hold with each record.
#[derive(Clone, Default)]
struct Kinds {
    map: MapState<String, i64>,
    reduced: ReducingState<i64>,
    mean: AggregatingState<Mean>,
}

#[derive(Clone)]
struct Mean;

impl AggregateFunction for Mean {
    type In = i64;
    type Accumulator = (i64, i64);
    type Out = f64;
    fn create_accumulator(&self) -> (i64, i64) {
        (0, 0)
    }
    fn add(&self, value: i64, accumulator: &mut (i64, i64)) {
        accumulator.0 += value;
        accumulator.1 += 1;
    }
    fn get_result(&self, accumulator: &(i64, i64)) -> f64 {
        accumulator.0 as f64 / accumulator.1 as f64
    }
    fn merge(&self, a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
        (a.0 + b.0, a.1 + b.1)
    }
}

impl KeyedProcessFunction<i64, (i64, i64)> for Kinds {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.map = ctx.map_state("map")?;
        self.reduced = ctx.reducing_state("max", i64::max)?;
        self.mean = ctx.aggregating_state("mean", Mean)?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, value): (i64, i64),
        ctx: &mut ProcessContext<'_, i64, String>,
    ) -> Result<(), BoxError> {
        if value < 0 {
            self.map.remove(ctx, &"odd".to_owned());
            self.reduced.clear(ctx);
            self.mean.clear(ctx);
            assert_eq!((self.reduced.get(ctx), self.mean.get(ctx)), (None, None));
        } else {
            let name = if value % 2 == 0 { "even" } else { "odd" }.to_owned();
            let before = self.map.get(ctx, &name).copied().unwrap_or(0);
            self.map.put(ctx, name, before + value);
            self.reduced.add(ctx, value);
            self.mean.add(ctx, value);
        }
        let map: Vec<String> = self.map.entries(ctx).map(|(k, v)| format!("{k}={v}")).collect();
        let text = format!(
            "{key}: {{{}}} {} max {:?} mean {:?}",
            map.join(","),
            self.map.is_empty(ctx),
            self.reduced.get(ctx),
            self.mean.get(ctx)
        );
        ctx.collect(text);
        Ok(())
    }
}

/// Stopped and restored before every record, at any parallelism.
#[test]
fn all_kinds_of_state_survive() {
    let rows = [(1, 5), (1, 8), (2, 3), (1, 3), (1, -1), (2, -1), (1, 1)];
    let expected = [
        "1: {odd=5} false max Some(5) mean Some(5.0)",
        "1: {even=8,odd=5} false max Some(8) mean Some(6.5)",
        "2: {odd=3} false max Some(3) mean Some(3.0)",
        "1: {even=8,odd=8} false max Some(8) mean Some(5.333333333333333)",
        "1: {even=8} false max None mean None",
        "2: {} true max None mean None",
        "1: {even=8,odd=1} false max Some(1) mean Some(1.0)",
    ];
    let straight = vec![life(&[7], 1)];
    let every: Vec<Life> = (1..=7).map(|n| life(&[n], 1)).collect();
    let rescaled: Vec<Life> = (1..=7).map(|n| life(&[n], [3, 1, 2][n % 3])).collect();
    let tiered: Vec<Life> = rescaled.iter().map(|l| l.clone().tiered("1")).collect();
    for lives in [straight, every, rescaled, tiered] {
        let given = run(&lives, |env, sources| {
            let rows = sources.source(env, 0, rows, &WatermarkStrategy::no_watermarks());
            rows.key_by(|r| r.0).process(Kinds::default())
        });
        assert_eq!(given, expected);
    }
}

/// Sums by key, of which every third is given up with its fourth record; a timer of each key tells its sum in the end.
#[derive(Clone, Default)]
struct Sums {
    sum: ValueState<i64>,
    seen: ListState<i64>,
}

impl KeyedProcessFunction<i64, (i64, i64)> for Sums {
    type Out = (i64, i64, usize);

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.sum = ctx.value_state("sum")?;
        self.seen = ctx.list_state("seen")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, value): (i64, i64),
        ctx: &mut ProcessContext<'_, i64, (i64, i64, usize)>,
    ) -> Result<(), BoxError> {
        let sum = self.sum.value(ctx).copied().unwrap_or(0) + value;
        self.seen.add(ctx, value);
        if key % 3 == 0 && self.seen.get(ctx).len() == 4 {
            self.sum.clear(ctx);
            self.seen.clear(ctx);
        } else {
            self.sum.update(ctx, sum);
        }
        ctx.register_event_time_timer(1_000_000);
        Ok(())
    }

    fn on_timer(&mut self, _time: i64, ctx: &mut ProcessContext<'_, i64, (i64, i64, usize)>) -> Result<(), BoxError> {
        let key = *ctx.current_key();
        if let Some(sum) = self.sum.value(ctx).copied() {
            let seen = self.seen.get(ctx).len();
            ctx.collect((key, sum, seen));
        }
        Ok(())
    }
}

/// State of many times what memory may hold, over lives that change where it lies, and its parallelism.
#[test]
fn state_that_does_not_fit_into_memory_keeps_its_totals() {
    const KEYS: i64 = 150;
    let records: Vec<(i64, i64)> = (0..1_000).map(|n| (n * 7919 % 331 % KEYS, n)).collect();
    let mut expected = std::collections::BTreeMap::<i64, (i64, usize)>::new();
    for (key, value) in &records {
        let (sum, seen) = expected.entry(*key).or_default();
        (*sum, *seen) = (*sum + value, *seen + 1);
        if key % 3 == 0 && *seen == 4 {
            expected.remove(key);
        }
    }
    let expected: Vec<(i64, i64, usize)> = expected
        .into_iter()
        .map(|(key, (sum, seen))| (key, sum, seen))
        .collect();
    let lives = [
        life(&[150], 2),
        life(&[350], 2).tiered("12"),
        life(&[500], 3).tiered("5"),
        life(&[600], 1),
        life(&[1_000], 2).tiered("12"),
    ];
    for lives in [&lives[..], &lives[4..]] {
        let mut given = run(lives, |env, sources| {
            let rows = sources.source(env, 0, records.clone(), &WatermarkStrategy::no_watermarks());
            rows.key_by(|r| r.0).process(Sums::default())
        });
        given.sort_unstable();
        assert_eq!(given, expected);
    }
}

/// Tells which keys were silent for long; each record moves the timer of its key far ahead.
#[derive(Clone, Default)]
struct Silence {
    due: ValueState<i64>,
}

/// For how long; no record comes just then.
const SILENCE_MS: i64 = 50_050;

impl KeyedProcessFunction<i64, (i64, i64)> for Silence {
    type Out = (i64, i64);

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.due = ctx.value_state("due")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, time): (i64, i64),
        ctx: &mut ProcessContext<'_, i64, (i64, i64)>,
    ) -> Result<(), BoxError> {
        if let Some(before) = self.due.value(ctx).copied() {
            ctx.delete_event_time_timer(before);
        }
        ctx.register_event_time_timer(time + SILENCE_MS);
        self.due.update(ctx, time + SILENCE_MS);
        Ok(())
    }

    fn on_timer(&mut self, time: i64, ctx: &mut ProcessContext<'_, i64, (i64, i64)>) -> Result<(), BoxError> {
        assert_eq!(self.due.value(ctx).copied(), Some(time), "a timer that was taken back");
        self.due.clear(ctx);
        let key = *ctx.current_key();
        ctx.collect((time, key));
        Ok(())
    }
}

/// A timer a key, of which memory has a few, over lives that change where they lie, and their parallelism.
#[test]
fn timers_that_do_not_fit_into_memory_fire_in_time() {
    const STEP_MS: i64 = 100;
    // One key in four comes seldom, so it is told more than once.
    let key = |n: i64| if n % 4 == 0 { n * 7919 % 331 } else { 331 + n * 31 % 97 };
    let records: Vec<(i64, i64)> = (0..1_600).map(|n| (key(n), n * STEP_MS)).collect();
    let mut expected = vec![];
    let mut last = std::collections::BTreeMap::<i64, i64>::new();
    for (key, time) in &records {
        // The watermark of the record before has come when this one does.
        let is_told = |before: &i64| before + SILENCE_MS < time - STEP_MS;
        expected.extend(
            last.insert(*key, *time)
                .filter(is_told)
                .map(|before| (before + SILENCE_MS, *key)),
        );
    }
    expected.extend(last.into_iter().map(|(key, time)| (time + SILENCE_MS, key)));
    expected.sort_unstable();
    assert!(expected.len() > 450, "{} are told", expected.len());
    let lives = [
        life(&[300], 2),
        life(&[600], 2).tiered("9"),
        life(&[800], 3).tiered("2"),
        life(&[1_000], 1),
        life(&[1_300], 1).tiered("30"),
        life(&[1_450], 1).tiered("30"),
        life(&[1_600], 2).tiered("9"),
    ];
    for lives in [&lives[..], &lives[6..]] {
        let mut given = run(lives, |env, sources| {
            let strategy =
                WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|r: &(i64, i64), _| r.1);
            let rows = sources.source(env, 0, records.clone(), &strategy);
            rows.key_by(|r| r.0).process(Silence::default())
        });
        given.sort_unstable();
        assert_eq!(given, expected);
    }
}

/// What a record does to states that expire.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Do {
    Write,
    Read,
}

#[derive(Clone)]
struct Expiring {
    ttl: StateTtlConfig,
    value: ValueState<i64>,
    list: ListState<i64>,
    map: MapState<i64, i64>,
}

impl KeyedProcessFunction<i64, (Do, i64)> for Expiring {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        let named = |name| StateDescriptor::new(name).enable_time_to_live(self.ttl);
        self.value = ctx.value_state(named("value"))?;
        self.list = ctx.list_state(named("list"))?;
        self.map = ctx.map_state(named("map"))?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (what, n): (Do, i64),
        ctx: &mut ProcessContext<'_, i64, String>,
    ) -> Result<(), BoxError> {
        if what == Do::Write {
            if self.value.value(ctx).is_none() {
                self.value.update(ctx, n);
            }
            self.list.add(ctx, n);
            self.map.put(ctx, n, n);
            return Ok(());
        }
        let map: Vec<i64> = self.map.keys(ctx).copied().collect();
        let text = format!("{:?} {:?} {map:?}", self.value.value(ctx), self.list.get(ctx));
        ctx.collect(text);
        Ok(())
    }
}

/// Runs records at times of an injected clock, a life each, so that everything is restored in between, too.
fn expire(ttl: StateTtlConfig, steps: &[(i64, Do, i64)]) -> Vec<String> {
    let rows: Vec<(Do, i64)> = steps.iter().map(|(_, what, n)| (*what, *n)).collect();
    // Every other one with a part of the state elsewhere than in memory.
    let life_of = |(i, (now_ms, ..)): (usize, &(i64, Do, i64))| match life(&[i + 1], 1 + i % 2).at(*now_ms) {
        life if i % 2 == 0 => life.tiered("1"),
        life => life,
    };
    let lives: Vec<Life> = steps.iter().enumerate().map(life_of).collect();
    run(&lives, |env, sources| {
        let rows = sources.source(env, 0, rows.clone(), &WatermarkStrategy::no_watermarks());
        rows.key_by(|_| 0i64).process(Expiring {
            ttl,
            value: ValueState::default(),
            list: ListState::default(),
            map: MapState::default(),
        })
    })
}

/// Flink's rules: a value lives until its last update plus the time to live, that moment excluded; elements and entries have times of
/// their own.
#[test]
fn state_expires_by_flinks_rules() {
    let second = StateTtlConfig::new(Duration::from_secs(1));
    let steps = [
        (1000, Do::Write, 1),
        (1400, Do::Write, 2),
        (1999, Do::Read, 0),
        (2000, Do::Read, 0),
        (2399, Do::Read, 0),
        (2400, Do::Read, 0),
        (2500, Do::Write, 3),
        (2600, Do::Read, 0),
    ];
    let expected = [
        "Some(1) [1, 2] [1, 2]",
        "None [2] [2]",
        "None [2] [2]",
        "None [] []",
        "Some(3) [3] [3]",
    ];
    assert_eq!(expire(second, &steps), expected);

    // A read lets all live on.
    let on_read = second.set_update_type(UpdateType::OnReadAndWrite);
    let expected = [
        "Some(1) [1, 2] [1, 2]",
        "Some(1) [1, 2] [1, 2]",
        "Some(1) [1, 2] [1, 2]",
        "Some(1) [1, 2] [1, 2]",
        "Some(1) [1, 2, 3] [1, 2, 3]",
    ];
    assert_eq!(expire(on_read, &steps), expected);

    // What has expired is given out once, by the read that removes it.
    let returned = second.set_state_visibility(StateVisibility::ReturnExpiredIfNotCleanedUp);
    let steps = [
        (1000, Do::Write, 1),
        (2100, Do::Read, 0),
        (2100, Do::Read, 0),
        (2200, Do::Write, 2),
        (2300, Do::Read, 0),
    ];
    let seen = expire(returned, &steps);
    // A sweep may be first: then the value is gone, as the name says.
    let first = ["Some(1) [1] [1]", "None [] []"];
    assert!(first.contains(&seen[0].as_str()), "{seen:?}");
    assert_eq!(seen[1..], ["None [] []", "Some(2) [2] [2]"]);
}

/// Sweeps remove what has expired, also of keys that nobody asks for: a read that would be given what is still there finds nothing.
#[test]
fn what_has_expired_is_swept_from_memory() {
    let options = [("execution.batch-rows", "1")];
    let env = StreamExecutionEnvironment::create_local_environment(options.into_iter().collect());
    let records = env.from_generator(2, |n| match n {
        0 => (Do::Write, 1),
        _ => {
            std::thread::sleep(Duration::from_millis(600));
            (Do::Read, 1)
        }
    });
    let ttl = StateTtlConfig::new(Duration::from_millis(40));
    let read = records.key_by(|_| 0i64).process(Expiring {
        ttl: ttl.set_state_visibility(StateVisibility::ReturnExpiredIfNotCleanedUp),
        value: ValueState::default(),
        list: ListState::default(),
        map: MapState::default(),
    });
    assert_eq!(read.execute_and_collect("swept").unwrap(), ["None [] []"]);
}

#[test]
fn a_state_name_is_taken_once_with_its_stamps() {
    #[derive(Clone, Default)]
    struct Twice;
    impl KeyedProcessFunction<i64, i64> for Twice {
        type Out = i64;
        fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
            ctx.map_state::<i64, i64>("count")?;
            ctx.reducing_state::<i64>("count", i64::max)?;
            Ok(())
        }
        fn process_element(&mut self, _: i64, _: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
            Ok(())
        }
    }
    let env = super::env();
    let stream = env.from_collection([1]).key_by(|n| *n).process(Twice);
    let error = stream.execute_and_collect("wrong").unwrap_err().to_string();
    assert!(error.contains("two states are named 'count'"), "{error}");
}
