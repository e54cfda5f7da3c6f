//! Windows against Flink's rules: against a model over random records, and in the cases that have names; stopped and restored in
//! between, at other parallelisms too.

use super::env;
use super::lives::{Life, life, run};
use flott::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

type Row = (i64, i64, i64);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Rows of key, time and value; times are up to `late_ms` behind the latest.
fn random_rows(count: usize, late_ms: i64) -> Vec<Row> {
    let mut seed = 42u64;
    let mut below = |limit: i64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % limit as u64) as i64
    };
    let mut latest = -200;
    let row = |_| {
        latest += below(40);
        (below(4), latest - below(late_ms + 1), below(10))
    };
    (0..count).map(row).collect()
}

fn behind(late_ms: u64) -> WatermarkStrategy<Row> {
    WatermarkStrategy::for_bounded_out_of_orderness(ms(late_ms)).with_timestamp_assigner(|r: &Row, _| r.1)
}

/// What windows of all rows come to, when the program runs straight, and stopped every few records, also at other parallelisms, and where
/// memory holds few of them.
fn windowed<U: Data + Ord + std::fmt::Debug>(
    rows: &[Row],
    strategy: &WatermarkStrategy<Row>,
    describe: impl Fn(KeyedStream<i64, Row>) -> DataStream<U>,
) -> Vec<U> {
    let every = |n: usize, parallelisms: [usize; 3]| -> Vec<Life> {
        let ends = (1..)
            .map(|i| i * n)
            .take_while(|end| *end < rows.len())
            .chain([rows.len()]);
        ends.enumerate()
            .map(|(i, end)| life(&[end], parallelisms[i % 3]))
            .collect()
    };
    let step = (rows.len() / 6).max(1);
    let mut expected: Option<Vec<U>> = None;
    for lives in [
        vec![life(&[rows.len()], 1)],
        every(step, [1, 1, 1]),
        every(step, [2, 3, 1]),
        vec![life(&[rows.len()], 1).tiered("2")],
        every(step, [1, 2, 2]).into_iter().map(|l| l.tiered("3")).collect(),
    ] {
        let mut given = run(&lives, |env, sources| {
            describe(sources.source(env, 0, rows.to_vec(), strategy).key_by(|r| r.0))
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

/// Key, start, end, sum, and the values in the order in which they came.
type Summed = (i64, i64, i64, i64, Vec<i64>);

fn model(rows: &[Row], windows_of: impl Fn(i64) -> Vec<(i64, i64)>) -> Vec<Summed> {
    let mut all: BTreeMap<(i64, i64, i64), Vec<i64>> = BTreeMap::new();
    for (key, time, value) in rows {
        for (start, end) in windows_of(*time) {
            all.entry((*key, start, end)).or_default().push(*value);
        }
    }
    let summed = |((key, start, end), values): (_, Vec<i64>)| (key, start, end, values.iter().sum(), values);
    all.into_iter().map(summed).collect()
}

/// Everything that a window holds.
#[derive(Clone)]
struct Everything;

impl ProcessWindowFunction<i64, Row, TimeWindow> for Everything {
    type Out = Summed;
    fn process(
        &mut self,
        elements: Elements<Row>,
        ctx: &mut WindowContext<'_, i64, TimeWindow, Summed>,
    ) -> Result<(), BoxError> {
        let values: Vec<i64> = elements.map(|r| r.2).collect();
        let (key, window) = (*ctx.key(), *ctx.window());
        ctx.collect((key, window.start(), window.end(), values.iter().sum(), values));
        Ok(())
    }
}

#[test]
fn windows_in_a_row_hold_what_the_model_says() {
    let rows = random_rows(90, 70);
    let windows_of = |size: i64, slide: i64, offset: i64| {
        move |time: i64| {
            let starts = time - size + 1..=time;
            let aligned = starts.filter(|s| (s - offset).rem_euclid(slide) == 0);
            aligned.map(|s| (s, s + size)).collect::<Vec<_>>()
        }
    };
    let strategy = behind(70);
    let tumbling = TumblingEventTimeWindows::of(ms(100)).with_offset_ms(-30);
    let expected = model(&rows, windows_of(100, 100, -30));
    assert!(expected.len() > 30);
    assert_eq!(
        windowed(&rows, &strategy, |s| s.window(tumbling).process(Everything)),
        expected
    );
    let sliding = SlidingEventTimeWindows::of(ms(100), ms(40)).with_offset_ms(7);
    let expected = model(&rows, windows_of(100, 40, 7));
    assert_eq!(
        windowed(&rows, &strategy, |s| s.window(sliding).process(Everything)),
        expected
    );
    // Gaps between windows: some records belong to none.
    let gaps = SlidingEventTimeWindows::of(ms(30), ms(50));
    let expected = model(&rows, windows_of(30, 50, 0));
    assert_eq!(
        windowed(&rows, &strategy, |s| s.window(gaps).process(Everything)),
        expected
    );
    // With lateness and nothing late the other operator gives the same.
    let expected = model(&rows, windows_of(100, 40, 7));
    let late = |s: KeyedStream<i64, Row>| s.window(sliding).allowed_lateness(ms(1)).process(Everything);
    assert_eq!(windowed(&rows, &strategy, late), expected);
}

#[test]
fn sessions_are_what_lies_within_gaps() {
    let rows = random_rows(90, 70);
    // Records of a key in the order of their times; a session ends where the next is more than the gap away.
    let sessions = |gap_of: fn(&Row) -> i64| {
        let mut by_key: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        rows.iter().for_each(|r| by_key.entry(r.0).or_default().push(*r));
        let mut all = vec![];
        for (key, mut rows) in by_key {
            rows.sort_by_key(|r| r.1);
            let mut open: Option<(i64, i64, i64)> = None;
            for row in rows {
                let end = row.1 + gap_of(&row);
                open = match open {
                    Some((start, until, sum)) if row.1 <= until => Some((start, until.max(end), sum + row.2)),
                    ended => {
                        all.extend(ended.map(|(start, until, sum)| (key, start, until, sum)));
                        Some((row.1, end, row.2))
                    }
                };
            }
            all.extend(open.map(|(start, until, sum)| (key, start, until, sum)));
        }
        all.sort_unstable();
        all
    };
    let given = |assigner: EventTimeSessionWindows<Row>| {
        let given = windowed(&rows, &behind(70), move |s| {
            s.window(assigner.clone()).process(Everything)
        });
        given.into_iter().map(|s| (s.0, s.1, s.2, s.3)).collect::<Vec<_>>()
    };
    let expected = sessions(|_| 60);
    assert!(expected.len() > 15 && expected.len() < 60, "{}", expected.len());
    assert_eq!(given(EventTimeSessionWindows::with_gap(ms(60))), expected);
    let by_value = |r: &Row| ms(20 + 10 * r.2 as u64);
    let expected = sessions(|r| 20 + 10 * r.2);
    assert_eq!(given(EventTimeSessionWindows::with_dynamic_gap(by_value)), expected);
}

#[derive(Clone)]
struct Mean;

impl AggregateFunction for Mean {
    type In = Row;
    type Accumulator = (i64, i64);
    type Out = (i64, i64);
    fn create_accumulator(&self) -> (i64, i64) {
        (0, 0)
    }
    fn add(&self, row: Row, (sum, count): &mut (i64, i64)) {
        *sum += row.2;
        *count += 1;
    }
    fn get_result(&self, accumulator: &(i64, i64)) -> (i64, i64) {
        *accumulator
    }
    fn merge(&self, a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
        (a.0 + b.0, a.1 + b.1)
    }
}

/// Adds key and window to what a window was folded into.
#[derive(Clone)]
struct Where;

impl<X: Data> ProcessWindowFunction<i64, X, TimeWindow> for Where {
    type Out = (i64, i64, X);
    fn process(
        &mut self,
        elements: Elements<X>,
        ctx: &mut WindowContext<'_, i64, TimeWindow, Self::Out>,
    ) -> Result<(), BoxError> {
        let (key, start) = (*ctx.key(), ctx.window().start());
        elements.for_each(|x| ctx.collect((key, start, x)));
        Ok(())
    }
}

#[test]
fn windows_are_folded_as_records_come() {
    let rows = [(1, 10, 5), (1, 20, 3), (2, 30, 9), (1, 110, 1), (1, 90, 7), (2, 250, 2)];
    let strategy = behind(30);
    let window = TumblingEventTimeWindows::of(ms(100));
    type Fold = fn(WindowedStream<i64, Row, TumblingEventTimeWindows, EventTimeTrigger>) -> DataStream<Row>;
    let folds: [(&str, Fold, [Row; 4]); 6] = [
        (
            "sum",
            |w| w.sum(|r| &mut r.2),
            [(1, 10, 15), (1, 110, 1), (2, 30, 9), (2, 250, 2)],
        ),
        (
            "min",
            |w| w.min(|r| &mut r.2),
            [(1, 10, 3), (1, 110, 1), (2, 30, 9), (2, 250, 2)],
        ),
        (
            "max",
            |w| w.max(|r| &mut r.2),
            [(1, 10, 7), (1, 110, 1), (2, 30, 9), (2, 250, 2)],
        ),
        (
            "min_by",
            |w| w.min_by(|r| r.2),
            [(1, 20, 3), (1, 110, 1), (2, 30, 9), (2, 250, 2)],
        ),
        (
            "max_by",
            |w| w.max_by(|r| r.2),
            [(1, 90, 7), (1, 110, 1), (2, 30, 9), (2, 250, 2)],
        ),
        (
            "reduce",
            |w| w.reduce(|a, b| (a.0, b.1, a.2 * b.2)),
            [(1, 90, 105), (1, 110, 1), (2, 30, 9), (2, 250, 2)],
        ),
    ];
    for (name, fold, expected) in folds {
        let given = windowed(&rows, &strategy, |s| fold(s.window(window)));
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(given, expected, "{name}");
    }
    let means = windowed(&rows, &strategy, |s| s.window(window).aggregate_with(Mean, Where));
    let expected = [(1, 0, (15, 3)), (1, 100, (1, 1)), (2, 0, (9, 1)), (2, 200, (2, 1))];
    assert_eq!(means, expected);
    let sessions = windowed(&rows, &strategy, |s| {
        s.window(EventTimeSessionWindows::with_gap(ms(50)))
            .aggregate_with(Mean, Where)
    });
    assert_eq!(
        sessions,
        [(1, 10, (8, 2)), (1, 90, (8, 2)), (2, 30, (9, 1)), (2, 250, (2, 1))]
    );
    let reduced = windowed(&rows, &strategy, |s| {
        s.window(window)
            .reduce_with(|a, b| (a.0, a.1, a.2 + b.2), Where)
            .map(|w| (w.0, w.1, w.2.2))
    });
    assert_eq!(reduced, [(1, 0, 15), (1, 100, 1), (2, 0, 9), (2, 200, 2)]);
}

/// Results have the last time of their window, so windows behind windows work.
#[test]
fn windows_stand_behind_windows() {
    let rows = [(1, 10, 5), (2, 20, 3), (1, 130, 9), (2, 180, 1), (1, 250, 7)];
    let given = windowed(&rows, &behind(0), |s| {
        let sums = s.window(TumblingEventTimeWindows::of(ms(100))).sum(|r| &mut r.2);
        sums.window_all(TumblingEventTimeWindows::of(ms(200)))
            .apply(|_, window, rows, out| out.collect((window.end(), rows.map(|r| r.2).sum::<i64>())))
    });
    assert_eq!(given, [(200, 18), (400, 7)]);
}

fn in_order(rows: &[Row]) -> DataStream<Row> {
    let env = env();
    env.configure("pipeline.auto-watermark-interval", "0")
        .configure("execution.batch-rows", "1")
        .configure("restart-strategy.type", "none");
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|r: &Row, _| r.1);
    env.from_collection(rows.to_vec())
        .assign_timestamps_and_watermarks(&strategy)
}

fn collect<T: Data>(stream: DataStream<T>) -> Vec<T> {
    stream.execute_and_collect("windows").unwrap()
}

/// A late record fires its window again while that is kept, then goes aside; without a side output it is dropped.
#[test]
fn late_records_fire_again_and_then_go_aside() {
    // The watermark is one less than the latest time: 100 fires [0, 100), and with 50 of lateness it is gone at 149, so by 150.
    let rows = [
        (1, 10, 1),
        (1, 100, 10),
        (1, 20, 2),
        (1, 149, 20),
        (1, 30, 3),
        (1, 150, 30),
        (1, 40, 4),
        (1, 250, 0),
    ];
    let late = OutputTag::<Row>::new("late");
    let sums = in_order(&rows)
        .key_by(|r| r.0)
        .window(TumblingEventTimeWindows::of(ms(100)))
        .allowed_lateness(ms(50))
        .side_output_late_data(&late)
        .sum(|r| &mut r.2);
    let too_late = sums.get_side_output(&late).map(|r| (0, r.1, r.2));
    let all = collect(sums.union(&[&too_late]));
    let of = |late: bool| {
        all.iter()
            .filter(|r| (r.0 == 0) == late)
            .map(|r| r.2)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(false), [1, 3, 6, 60, 0]);
    assert_eq!(of(true), [4]);

    // Without lateness the window of one size is gone with its firing, in the operator that has no timers too.
    for aligned in [true, false] {
        let windows = in_order(&rows)
            .key_by(|r| r.0)
            .window(TumblingEventTimeWindows::of(ms(100)));
        let windows = windows.side_output_late_data(&late);
        let sums = match aligned {
            true => windows.sum(|r| &mut r.2),
            false => windows.trigger(PurgingTrigger::of(EventTimeTrigger)).sum(|r| &mut r.2),
        };
        let too_late = sums.get_side_output(&late).map(|r| (0, r.1, r.2));
        let all = collect(sums.union(&[&too_late]));
        let of = |late: bool| {
            all.iter()
                .filter(|r| (r.0 == 0) == late)
                .map(|r| r.2)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(false), [1, 60, 0], "{aligned}");
        assert_eq!(of(true), [2, 3, 4], "{aligned}");
    }

    // A record between windows belongs to none, and is late only behind the watermark.
    for general in [false, true] {
        let rows = [(1, 10, 1), (1, 40, 2), (1, 60, 4), (1, 45, 8), (1, 90, 16)];
        let windows = in_order(&rows)
            .key_by(|r| r.0)
            .window(SlidingEventTimeWindows::of(ms(30), ms(50)));
        let windows = windows.side_output_late_data(&late);
        let sums = match general {
            true => windows.trigger(PurgingTrigger::of(EventTimeTrigger)).sum(|r| &mut r.2),
            false => windows.sum(|r| &mut r.2),
        };
        let too_late = sums.get_side_output(&late).map(|r| (0, r.1, r.2));
        let mut all: Vec<_> = collect(sums.union(&[&too_late]))
            .into_iter()
            .map(|r| (r.0, r.2))
            .collect();
        all.sort_unstable();
        assert_eq!(all, [(0, 8), (1, 1), (1, 4)], "{general}");
    }

    // A record that touches a session which lives on is not late, and moves the session's beginning.
    let rows = [(1, 100, 1), (1, 155, 0), (1, 70, 2), (1, 171, 0), (1, 400, 0)];
    let sessions = in_order(&rows)
        .key_by(|_| 1i64)
        .window(EventTimeSessionWindows::with_gap(ms(40)))
        .allowed_lateness(ms(20))
        .side_output_late_data(&late)
        .apply(|_, window, rows, out| out.collect((window.start(), window.end(), rows.map(|r| r.2).sum::<i64>())));
    let expected = [(100, 140, 1), (70, 140, 3), (155, 211, 0), (400, 440, 0)];
    assert_eq!(collect(sessions), expected);
}

/// A trigger's state belongs to key and window, lives with it and merges with it.
#[test]
fn triggers_fire_when_flinks_do() {
    let rows = [
        (1, 10, 1),
        (1, 20, 2),
        (2, 30, 4),
        (1, 40, 8),
        (1, 60, 16),
        (2, 90, 32),
        (1, 95, 64),
        (1, 130, 128),
    ];
    let strategy = behind(0);
    let window = TumblingEventTimeWindows::of(ms(100));
    let count = windowed(&rows, &strategy, |s| {
        s.window(window).trigger(CountTrigger::of(2)).sum(|r| &mut r.2)
    });
    assert_eq!(
        count,
        [(1, 10, 3), (1, 10, 27), (2, 30, 36)],
        "what is left at the end does not fire"
    );
    let purging = windowed(&rows, &strategy, |s| {
        s.window(window)
            .trigger(PurgingTrigger::of(CountTrigger::of(2)))
            .sum(|r| &mut r.2)
    });
    assert_eq!(purging, [(1, 10, 3), (1, 40, 24), (2, 30, 36)]);
    let continuous = windowed(&rows, &strategy, |s| {
        s.window(window)
            .trigger(ContinuousEventTimeTrigger::of(ms(50)))
            .sum(|r| &mut r.2)
    });
    // At 50 what came before the watermark passed it, at 99 all.
    let expected = [(1, 10, 27), (1, 10, 91), (1, 130, 128), (2, 30, 4), (2, 30, 36)];
    let mut distinct = continuous;
    distinct.dedup();
    assert_eq!(distinct, expected);
    let merged = windowed(&rows, &strategy, |s| {
        s.window(EventTimeSessionWindows::with_gap(ms(25)))
            .trigger(CountTrigger::of(3))
            .sum(|r| &mut r.2)
    });
    assert_eq!(merged, [(1, 10, 11)], "counts of merged sessions are added");
    let deltas = windowed(&rows, &strategy, |s| {
        s.window(GlobalWindows)
            .trigger(DeltaTrigger::of(30.0, |a: &Row, b: &Row| (b.1 - a.1) as f64))
            .sum(|r| &mut r.2)
    });
    assert_eq!(deltas, [(1, 10, 27), (1, 10, 91), (1, 10, 219), (2, 30, 36)]);
}

#[test]
fn count_windows_and_evictors_keep_what_flinks_do() {
    let rows: Vec<Row> = (1..=7).map(|n| (1, n * 10, n)).chain([(2, 80, 100)]).collect();
    let strategy = behind(0);
    let values = |rows: Elements<Row>| rows.map(|r| r.2).collect::<Vec<i64>>();
    let tumbling = windowed(&rows, &strategy, |s| s.count_window(3).sum(|r| &mut r.2));
    assert_eq!(tumbling, [(1, 10, 6), (1, 40, 15)]);
    let sliding = windowed(&rows, &strategy, |s| {
        s.count_window_sliding(3, 2)
            .apply(move |_, _, rows, out| out.collect(values(rows)))
    });
    assert_eq!(sliding, [vec![1, 2], vec![2, 3, 4], vec![4, 5, 6]]);
    let summed = windowed(&rows, &strategy, |s| s.count_window_sliding(3, 2).sum(|r| &mut r.2));
    assert_eq!(summed, [(1, 10, 3), (1, 20, 9), (1, 40, 15)]);
    let all = windowed(&rows, &strategy, |s| {
        let rows = s.reduce(|_, b| b);
        rows.count_window_all(4)
            .apply(move |_, _, rows, out| out.collect(rows.count()))
    });
    assert_eq!(all, [4, 4]);
    let window = || SlidingEventTimeWindows::of(ms(100), ms(100));
    let last_30ms = windowed(&rows, &strategy, |s| {
        let windows = s.window(window()).evictor(TimeEvictor::of(ms(30)));
        windows.apply(move |_, _, rows, out| out.collect(values(rows)))
    });
    assert_eq!(last_30ms, [vec![5, 6, 7], vec![100]]);
    let near_the_last = windowed(&rows, &strategy, |s| {
        let near = DeltaEvictor::of(3.0, |a: &Row, last: &Row| (last.2 - a.2).abs() as f64);
        s.window(window()).evictor(near).aggregate_with(Mean, Where)
    });
    assert_eq!(near_the_last, [(1, 0, (18, 3)), (2, 0, (100, 1))]);
    // Evicted behind the function, for the next firing.
    let after = windowed(&rows, &strategy, |s| {
        let windows = s.window(GlobalWindows).trigger(CountTrigger::of(2));
        let windows = windows.evictor(CountEvictor::of(1).after());
        windows.apply(move |_, _, rows, out| out.collect(values(rows)))
    });
    assert_eq!(after, [vec![1, 2], vec![2, 3, 4], vec![4, 5, 6]]);
}

/// Counts firings of a window, and windows of a key.
#[derive(Clone, Default)]
struct Firings {
    of_window: ValueState<i64>,
    of_key: ValueState<i64>,
}

impl ProcessWindowFunction<i64, Row, TimeWindow> for Firings {
    type Out = (i64, i64, i64, i64);

    fn open(&mut self, ctx: &mut OpenWindowContext) -> Result<(), BoxError> {
        self.of_window = ctx.window_state().value_state("firings")?;
        self.of_key = ctx.global_state().value_state("firings")?;
        Ok(())
    }

    fn process(
        &mut self,
        _: Elements<Row>,
        ctx: &mut WindowContext<'_, i64, TimeWindow, Self::Out>,
    ) -> Result<(), BoxError> {
        let of_window = self.of_window.value(ctx.window_state()).unwrap_or(&0) + 1;
        self.of_window.update(ctx.window_state_mut(), of_window);
        let of_key = self.of_key.value(ctx.global_state()).unwrap_or(&0) + 1;
        self.of_key.update(ctx.global_state_mut(), of_key);
        let (key, start) = (*ctx.key(), ctx.window().start());
        ctx.collect((key, start, of_window, of_key));
        Ok(())
    }
}

#[test]
fn functions_have_state_of_the_window_and_of_the_key() {
    let rows = [
        (1, 10, 1),
        (1, 20, 2),
        (2, 30, 4),
        (1, 110, 8),
        (1, 120, 16),
        (2, 190, 32),
        (1, 195, 64),
        (1, 230, 128),
    ];
    let given = windowed(&rows, &behind(0), |s| {
        s.window(TumblingEventTimeWindows::of(ms(100)))
            .trigger(CountTrigger::of(1))
            .process(Firings::default())
    });
    let expected = [
        (1, 0, 1, 1),
        (1, 0, 2, 2),
        (1, 100, 1, 3),
        (1, 100, 2, 4),
        (1, 100, 3, 5),
        (1, 200, 1, 6),
        (2, 0, 1, 1),
        (2, 100, 1, 2),
    ];
    assert_eq!(given, expected);
}

/// Windows of processing time fire when their last millisecond has passed, by an injected clock; the aligned and the general operator.
#[test]
fn processing_time_windows_fire_by_the_clock() {
    let rows = [(1, 0, 1), (1, 0, 2), (2, 0, 4), (1, 0, 8), (2, 0, 16)];
    let times = [1000, 5999, 6000, 6100, 14_000];
    let lives: Vec<Life> = times
        .iter()
        .enumerate()
        .map(|(i, now)| life(&[i + 1], 1 + i % 2).at(*now))
        .collect();
    let sums = |describe: fn(KeyedStream<i64, Row>) -> DataStream<Row>| {
        let mut given = run(&lives, |env, sources| {
            let rows = sources.source(env, 0, rows, &WatermarkStrategy::no_watermarks());
            describe(rows.key_by(|r| r.0)).map(|r| (r.0, r.2))
        });
        given.sort_unstable();
        given
    };
    // [0, 3000) holds 1, [3000, 6000) holds 2, [6000, 9000) holds 4 and 8; the last is still open at the end.
    let expected = [(1, 1), (1, 2), (1, 8), (2, 4)];
    assert_eq!(
        sums(|s| s.window(TumblingProcessingTimeWindows::of(ms(3000))).sum(|r| &mut r.2)),
        expected
    );
    let general = |s: KeyedStream<i64, Row>| {
        let windows = s.window(TumblingProcessingTimeWindows::of(ms(3000)));
        windows
            .trigger(PurgingTrigger::of(ProcessingTimeTrigger))
            .sum(|r| &mut r.2)
    };
    assert_eq!(sums(general), expected);
    // Sessions of 500 ms: 2 and 8 are 101 ms apart.
    let sessions = |s: KeyedStream<i64, Row>| {
        s.window(ProcessingTimeSessionWindows::with_gap(ms(500)))
            .sum(|r| &mut r.2)
    };
    assert_eq!(sums(sessions), [(1, 1), (1, 10), (2, 4)]);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let rows = [(1, 10, 1), (1, 20, 0)];
    let refused = |describe: &dyn Fn(KeyedStream<i64, Row>) -> DataStream<Row>| {
        let stream = describe(in_order(&rows).key_by(|r| r.0));
        stream.execute_and_collect("refused").unwrap_err().to_string()
    };
    let error = refused(&|s| s.window(TumblingEventTimeWindows::of(ms(0))).sum(|r| &mut r.2));
    assert!(
        error.starts_with("TumblingEventTimeWindows: the size (0 ms)"),
        "{error}"
    );
    let error = refused(&|s| {
        let sessions = s.window(EventTimeSessionWindows::with_gap(ms(5)));
        sessions
            .trigger(DeltaTrigger::of(1.0, |_: &Row, _: &Row| 0.0))
            .sum(|r| &mut r.2)
    });
    assert!(
        error.starts_with("EventTimeSessionWindows merge windows, and the trigger cannot"),
        "{error}"
    );
    let error = refused(&|s| {
        let windows = s.window(TumblingProcessingTimeWindows::of(ms(5)));
        windows.allowed_lateness(ms(1)).sum(|r| &mut r.2)
    });
    assert!(
        error.starts_with("nothing is late in TumblingProcessingTimeWindows"),
        "{error}"
    );
    let error = refused(&|s| {
        let sessions = s.window(EventTimeSessionWindows::with_gap(ms(5)));
        sessions.process(Firings::default()).map(|f| (f.0, f.1, f.2))
    });
    assert!(
        error.contains("the function has state of its windows, and EventTimeSessionWindows merge"),
        "{error}"
    );
    let error = refused(&|s| {
        let windows = s.window(TumblingEventTimeWindows::of(ms(100)));
        windows.apply(|_, _, rows, out| rows.for_each(|r| out.collect((1, 2, 10 / r.2))))
    });
    let expected = "the function panicked for the window TimeWindow { start: 0, end: 100 }: attempt to divide by zero";
    assert!(error.contains(expected), "{error}");
    let error = refused(&|s| {
        let windows = s.window(TumblingEventTimeWindows::of(ms(100)));
        windows.reduce(|_, b| (1, 2, 10 / b.2))
    });
    let expected = "TumblingEventTimeWindows[4]: the function panicked at record 2, (1,20,0), of type (i64, i64, i64) with event time 20: \
                    attempt to divide by zero";
    assert!(error.contains(expected), "{error}");
    let env = env();
    env.configure("restart-strategy.type", "none");
    let untimed = env.from_sequence(1, 3).key_by(|n| *n);
    let sums = untimed
        .window(TumblingEventTimeWindows::of(ms(10)))
        .reduce(|a, b| a + b);
    let error = sums.execute_and_collect("untimed").unwrap_err().to_string();
    let expected = "at record 1, 1, of type i64: the record has no event time: call assign_timestamps_and_watermarks before key_by";
    assert!(error.contains(expected), "{error}");
}

/// A window of more keys than fit into one batch, and a window function that emits more than that.
#[test]
fn large_windows_come_out_whole() {
    for aligned in [true, false] {
        let env = StreamExecutionEnvironment::get_execution_environment();
        let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|_: &i64, _| 5);
        let numbers = env.from_sequence(0, 39_999).assign_timestamps_and_watermarks(&strategy);
        let windows = numbers.key_by(|n| n / 2).window(TumblingEventTimeWindows::of(ms(10)));
        let sums = match aligned {
            true => windows.reduce(|a, b| a + b),
            false => windows
                .trigger(PurgingTrigger::of(EventTimeTrigger))
                .reduce(|a, b| a + b),
        };
        let many = sums.flat_map(|n, out| (0..2).for_each(|_| out.collect(n)));
        let mut given = collect(many);
        given.sort_unstable();
        let expected: Vec<i64> = (0..40_000).map(|n| n / 2 * 4 + 1).collect();
        assert_eq!(given, expected, "{aligned}");
    }
}
