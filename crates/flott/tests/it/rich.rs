//! Maps, filters and co-functions with state of the key, over several lives; plain methods of keyed streams.

use super::lives::{life, run};
use super::{env, sorted};
use flott::prelude::*;

/// Sums, and lets through what the key has not had.
#[derive(Clone, Default)]
struct Rich {
    sum: ValueState<i64>,
    seen: MapState<i64, bool>,
}

impl Rich {
    fn declare(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.sum = ctx.value_state("sum")?;
        self.seen = ctx.map_state("seen")?;
        Ok(())
    }

    fn add(&self, n: i64, ctx: &mut KeyContext<'_, i64>) -> i64 {
        let sum = self.sum.value(ctx).unwrap_or(&0) + n;
        self.sum.update(ctx, sum);
        sum
    }
}

impl RichMapFunction<i64, i64> for Rich {
    type Out = (i64, i64);

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }
    fn map(&mut self, n: i64, ctx: &mut KeyContext<'_, i64>) -> Result<(i64, i64), BoxError> {
        Ok((*ctx.current_key(), self.add(n, ctx)))
    }
}

impl RichFlatMapFunction<i64, i64> for Rich {
    type Out = i64;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }
    fn flat_map(&mut self, n: i64, ctx: &mut KeyContext<'_, i64>, out: &mut Collector<i64>) -> Result<(), BoxError> {
        out.collect(n);
        out.collect(self.add(n, ctx));
        Ok(())
    }
}

impl RichFilterFunction<i64, i64> for Rich {
    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }
    fn filter(&mut self, n: &i64, ctx: &mut KeyContext<'_, i64>) -> Result<bool, BoxError> {
        let is_new = self.seen.get(ctx, n).is_none();
        self.seen.put(ctx, *n, true);
        Ok(is_new)
    }
}

impl RichCoMapFunction<i64, i64, i64> for Rich {
    type Out = i64;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }
    fn map1(&mut self, n: i64, ctx: &mut KeyContext<'_, i64>) -> Result<i64, BoxError> {
        Ok(self.add(n, ctx))
    }
    fn map2(&mut self, n: i64, ctx: &mut KeyContext<'_, i64>) -> Result<i64, BoxError> {
        Ok(-self.add(n, ctx))
    }
}

impl RichCoFlatMapFunction<i64, i64, i64> for Rich {
    type Out = i64;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.declare(ctx)
    }
    fn flat_map1(&mut self, n: i64, ctx: &mut KeyContext<'_, i64>, _: &mut Collector<i64>) -> Result<(), BoxError> {
        self.add(n, ctx);
        Ok(())
    }
    fn flat_map2(&mut self, n: i64, ctx: &mut KeyContext<'_, i64>, out: &mut Collector<i64>) -> Result<(), BoxError> {
        out.collect(self.add(n, ctx));
        Ok(())
    }
}

const NUMBERS: [i64; 8] = [1, 2, 3, 4, 3, 2, 5, 6];

/// What a program makes of the numbers: straight, and stopped between them.
fn given<U: Data + Ord + std::fmt::Debug>(of: impl Fn(&KeyedStream<i64, i64>) -> DataStream<U>) -> Vec<U> {
    let lives = [vec![life(&[8], 1)], vec![life(&[3], 2), life(&[6], 1), life(&[8], 3)]];
    let mut all = lives.map(|lives| {
        let mut given = run(&lives, |env, sources| {
            let numbers = sources.source(env, 0, NUMBERS, &WatermarkStrategy::no_watermarks());
            of(&numbers.key_by(|n| n % 2))
        });
        given.sort();
        given
    });
    assert_eq!(all[0], all[1]);
    std::mem::take(&mut all[0])
}

#[test]
fn a_map_keeps_state_of_its_key() {
    let sums = [(0, 2), (0, 6), (0, 8), (0, 14), (1, 1), (1, 4), (1, 7), (1, 12)];
    assert_eq!(given(|numbers| numbers.rich_map(Rich::default()).uid("sums")), sums);
    let closure = given(|numbers| {
        let sum = |n: i64, sum: &mut Option<i64>| (n % 2, *sum.insert(sum.unwrap_or(0) + n));
        numbers.map_with_state(sum).uid("sums")
    });
    assert_eq!(closure, sums);
}

#[test]
fn a_flat_map_and_a_filter_keep_state_of_their_keys() {
    let mut both: Vec<i64> = NUMBERS.into_iter().chain([2, 6, 8, 14, 1, 4, 7, 12]).collect();
    both.sort_unstable();
    assert_eq!(
        given(|numbers| numbers.rich_flat_map(Rich::default()).uid("both")),
        both
    );
    let closure = given(|numbers| {
        let code = |n: i64, sum: &mut Option<i64>, out: &mut Collector<i64>| {
            let so_far = sum.insert(sum.unwrap_or(0) + n);
            out.collect(n);
            out.collect(*so_far);
        };
        numbers.flat_map_with_state(code).uid("both")
    });
    assert_eq!(closure, both);
    let once = [1, 2, 3, 4, 5, 6];
    assert_eq!(given(|numbers| numbers.rich_filter(Rich::default()).uid("once")), once);
    let closure = given(|numbers| {
        let is_new = |n: &i64, seen: &mut Option<Vec<i64>>| {
            let seen = seen.get_or_insert_default();
            let is_new = !seen.contains(n);
            seen.push(*n);
            is_new
        };
        numbers.filter_with_state(is_new).uid("once")
    });
    assert_eq!(closure, once);
}

#[test]
fn two_streams_of_one_key_see_one_state() {
    let run = |of: fn(KeyedConnectedStreams<i64, i64, i64>) -> DataStream<i64>| {
        let lives = [life(&[4, 0], 1), life(&[4, 4], 2)];
        run(&lives, |env, sources| {
            let strategy = WatermarkStrategy::no_watermarks();
            let [first, second] = [0, 1].map(|number| sources.source(env, number, [1, 1, 1, 1], &strategy));
            of(first.key_by(|n| *n).connect(&second.key_by(|n| *n)))
        })
    };
    let mapped = run(|both| both.rich_map(Rich::default()).uid("both"));
    assert_eq!(mapped, [1, 2, 3, 4, -5, -6, -7, -8]);
    let flat_mapped = run(|both| both.rich_flat_map(Rich::default()).uid("both"));
    assert_eq!(flat_mapped, [5, 6, 7, 8]);
    assert_eq!(run(|both| both.map(|a| a, |b| -b)), [1, 1, 1, 1, -1, -1, -1, -1]);
}

#[test]
fn a_keyed_stream_is_a_stream() {
    let env = env();
    env.set_parallelism(3);
    let keyed = env.from_sequence(1, 4).key_by(|n| n % 2);
    assert_eq!(sorted(keyed.map(|n| n * 10)), [10, 20, 30, 40]);
    assert_eq!(
        sorted(keyed.union(&[&keyed, &env.from_sequence(5, 5)])),
        [1, 1, 2, 2, 3, 3, 4, 4, 5]
    );
    assert_eq!(sorted(keyed.filter(|n| *n > 2).rebalance()), [3, 4]);
    let mut collected = keyed.execute_and_collect("keyed").unwrap();
    collected.sort_unstable();
    assert_eq!(collected, [1, 2, 3, 4]);
}
