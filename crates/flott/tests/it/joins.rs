//! Joins by window and by distance of times, against a model, stopped and restored in between.

use super::lives::{life, run};
use flott::prelude::*;
use std::time::Duration;

type Row = (i64, i64, i64);

const FIRST: [Row; 6] = [
    (1, 10, 1),
    (2, 20, 2),
    (1, 60, 3),
    (1, 120, 4),
    (3, 150, 5),
    (2, 260, 6),
];
const SECOND: [Row; 6] = [
    (1, 30, 10),
    (1, 70, 20),
    (2, 90, 30),
    (1, 110, 40),
    (2, 250, 50),
    (3, 300, 60),
];

/// What a program makes of both streams, in all lives: straight, and stopped between them.
fn joined<U: Data + Ord + std::fmt::Debug>(
    describe: impl Fn(&DataStream<Row>, &DataStream<Row>) -> DataStream<U>,
) -> Vec<U> {
    let strategy = || {
        WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(500))
            .with_timestamp_assigner(|r: &Row, _| r.1)
    };
    let steps: [&[usize]; 5] = [&[1, 2], &[3, 2], &[4, 4], &[5, 5], &[6, 6]];
    let lives = |parallelisms: [usize; 5]| {
        steps
            .iter()
            .zip(parallelisms)
            .map(|(until, p)| life(until, p))
            .collect()
    };
    let mut expected: Option<Vec<U>> = None;
    for lives in [vec![life(&[6, 6], 1)], lives([1; 5]), lives([2, 1, 3, 1, 2])] {
        let mut given = run(&lives, |env, sources| {
            let first = sources.source(env, 0, FIRST, &strategy());
            let second = sources.source(env, 1, SECOND, &strategy());
            describe(&first, &second)
        });
        given.sort();
        assert_eq!(
            expected.get_or_insert_with(|| given.clone()),
            &given,
            "{} lives",
            lives.len()
        );
    }
    expected.unwrap()
}

fn pairs(is_pair: impl Fn(&Row, &Row) -> bool) -> Vec<(i64, i64)> {
    let all = FIRST.iter().flat_map(|a| SECOND.iter().map(move |b| (*a, *b)));
    let mut pairs: Vec<_> = all
        .filter(|(a, b)| a.0 == b.0 && is_pair(a, b))
        .map(|(a, b)| (a.2, b.2))
        .collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn records_of_one_key_and_window_are_paired() {
    let windows = TumblingEventTimeWindows::of(Duration::from_millis(100));
    let given = joined(|first, second| {
        let on = first.join(second).where_key(|a| a.0).equal_to(|b| b.0);
        on.window(windows).apply(|a, b| (a.2, b.2))
    });
    let expected = pairs(|a, b| a.1 / 100 == b.1 / 100);
    assert_eq!(
        expected,
        [(1, 10), (1, 20), (2, 30), (3, 10), (3, 20), (4, 40), (6, 50)]
    );
    assert_eq!(given, expected);
    let grouped = joined(|first, second| {
        let on = first.co_group(second).where_key(|a| a.0).equal_to(|b| b.0);
        on.window(windows).apply(|first, second, out| {
            let mut sums = (
                first.iter().map(|r| r.2).sum::<i64>(),
                second.iter().map(|r| r.2).sum::<i64>(),
            );
            sums.0 *= first.len() as i64;
            out.collect(sums);
        })
    });
    // Keys of only one stream are there, too.
    assert_eq!(grouped, [(0, 60), (2, 30), (4, 40), (5, 0), (6, 50), (8, 30)]);
}

#[test]
fn records_of_one_key_near_in_time_are_paired() {
    for (lower, upper) in [(-40, 20), (0, 50), (10, 60), (-60, -10), (-1000, 1000)] {
        let given = joined(|first, second| {
            let join = first.key_by(|a| a.0).interval_join(&second.key_by(|b| b.0));
            join.between(lower, upper).process(|a, b, out| out.collect((a.2, b.2)))
        });
        let near = |a: &Row, b: &Row| (lower..=upper).contains(&(b.1 - a.1));
        assert_eq!(given, pairs(near), "{lower} {upper}");
    }
    let exclusive = joined(|first, second| {
        let join = first
            .key_by(|a| a.0)
            .interval_join(&second.key_by(|b| b.0))
            .between(-10, 20);
        let join = join.lower_bound_exclusive().upper_bound_exclusive();
        join.process(|a, b, out| out.collect((a.2, b.2)))
    });
    assert_eq!(exclusive, pairs(|a, b| -10 < b.1 - a.1 && b.1 - a.1 < 20));
}
