//! Assigners and merging against Flink's rules, restated without Flink's arithmetic, over many random inputs.

use super::assigner::*;
use super::{TimeWindow, Window};
use std::time::Duration;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as i64
    }

    /// Mostly small, sometimes anywhere that is centuries away.
    fn time(&mut self) -> i64 {
        match self.below(8) {
            0 => self.below(1 << 45) - (1 << 44),
            _ => self.below(2000) - 1000,
        }
    }
}

fn assigned<A: WindowAssigner<(), Window = TimeWindow>>(assigner: &A, event: i64, now: i64) -> Vec<TimeWindow> {
    let mut windows = vec![];
    assigner.assign_windows(&(), event, now, &mut windows).unwrap();
    windows
}

/// The windows that hold `time`, of all that begin at `offset` plus multiples of `slide`: tried out one by one.
fn holding(time: i64, size: i64, slide: i64, offset: i64) -> Vec<TimeWindow> {
    let starts = (time - size + 1..=time).rev();
    let aligned = starts.filter(|start| (start - offset).rem_euclid(slide) == 0);
    aligned.map(|start| TimeWindow::new(start, start + size)).collect()
}

#[test]
fn the_windows_of_all_between_two_times_are_those_of_each() {
    let mut random = Random(11);
    let mut said = [0, 0];
    for _ in 0..3000 {
        let (size, slide, from) = (random.below(60) + 1, random.below(40) + 1, random.time());
        let to = from + random.below(20);
        let of_ms = |ms: i64| Duration::from_millis(ms as u64);
        let sliding = SlidingEventTimeWindows::of(of_ms(size), of_ms(slide)).with_offset_ms(random.below(slide));
        let each: Vec<_> = (from..=to).map(|time| assigned(&sliding, time, 0)).collect();
        let mut of_all = vec![];
        let is_same = WindowAssigner::<()>::assign_windows_to_all(&sliding, (from, to), 0, &mut of_all);
        assert_eq!(
            is_same,
            each.iter().all(|windows| *windows == each[0]),
            "{size} {slide} {from} {to}"
        );
        if is_same {
            assert_eq!(of_all, each[0]);
        }
        said[usize::from(is_same)] += 1;
    }
    assert!(said[0] > 300 && said[1] > 300, "{said:?}");
    // By the clock, all of a batch are together.
    let mut now = vec![];
    let tumbling = TumblingProcessingTimeWindows::of(Duration::from_millis(10));
    assert!(WindowAssigner::<()>::assign_windows_to_all(
        &tumbling,
        (0, 1000),
        25,
        &mut now
    ));
    assert_eq!(now, [TimeWindow::new(20, 30)]);
}

#[test]
fn windows_in_a_row_are_those_that_hold_the_time() {
    let mut random = Random(7);
    for _ in 0..3000 {
        let (size, slide, time) = (random.below(60) + 1, random.below(40) + 1, random.time());
        let of_ms = |ms: i64| Duration::from_millis(ms as u64);
        let tumbling_offset = random.below(2 * size - 1) - (size - 1);
        let tumbling = TumblingEventTimeWindows::of(of_ms(size)).with_offset_ms(tumbling_offset);
        assert_eq!(WindowAssigner::<()>::check(&tumbling), Ok(()));
        let expected = holding(time, size, size, tumbling_offset);
        assert_eq!(
            assigned(&tumbling, time, 0),
            expected,
            "{size} {tumbling_offset} {time}"
        );
        assert_eq!(expected.len(), 1);
        assert_eq!(
            WindowAssigner::<()>::window_ending(&tumbling, expected[0].end()),
            Some(expected[0])
        );

        let offset = random.below(2 * slide - 1) - (slide - 1);
        let sliding = SlidingProcessingTimeWindows::of(of_ms(size), of_ms(slide)).with_offset_ms(offset);
        assert_eq!(WindowAssigner::<()>::check(&sliding), Ok(()));
        let expected = holding(time, size, slide, offset);
        assert_eq!(assigned(&sliding, 0, time), expected, "{size} {slide} {offset} {time}");
        for window in expected {
            assert_eq!(
                WindowAssigner::<()>::window_ending(&sliding, window.end()),
                Some(window)
            );
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let second = Duration::from_secs(1);
    let check = |assigner: &dyn Fn() -> Result<(), String>| assigner().unwrap_err();
    let offset = TumblingEventTimeWindows::of(second).with_offset_ms(-1000);
    assert_eq!(
        check(&|| WindowAssigner::<()>::check(&offset)),
        "TumblingEventTimeWindows: the offset (-1000 ms) must be less than 1000 ms either way, since windows repeat after that"
    );
    let slide = SlidingEventTimeWindows::of(second, Duration::ZERO);
    assert!(
        check(&|| WindowAssigner::<()>::check(&slide)).contains("the slide (0 ms) must be one millisecond at least")
    );
    let gap = EventTimeSessionWindows::<()>::with_gap(Duration::from_micros(1));
    assert_eq!(
        check(&|| gap.check()),
        "EventTimeSessionWindows: the gap must be one millisecond at least"
    );
    let dynamic = ProcessingTimeSessionWindows::with_dynamic_gap(|(): &()| Duration::ZERO);
    assert!(dynamic.assign_windows(&(), 0, 0, &mut vec![]).is_err());
}

#[test]
fn windows_merge_when_they_overlap_or_meet() {
    let window = TimeWindow::new;
    let mut random = Random(11);
    for _ in 0..3000 {
        let (a, b) = (random.below(50), random.below(50));
        let (first, second) = (window(a, a + random.below(20) + 1), window(b, b + random.below(20) + 1));
        let is_apart = first.end() < second.start() || second.end() < first.start();
        let cover = first.cover(&second);
        assert_eq!((cover, cover.is_none()), (second.cover(&first), is_apart));
        if let Some(cover) = cover {
            let times = [first, second].map(|w| [w.start(), w.end()]).concat();
            assert_eq!(Some(&cover.start()), times.iter().min());
            assert_eq!(Some(&cover.end()), times.iter().max());
        }
    }
    assert_eq!(window(0, 5).cover(&window(5, 7)), Some(window(0, 7)));
    assert_eq!(window(0, 5).cover(&window(6, 7)), None);
    assert_eq!(window(0, 5).max_timestamp(), 4);
}
