use super::*;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Emits watermarks behind each batch, and knows no idleness.
const PLAIN: EmitPolicy = EmitPolicy {
    interval_ms: 0,
    on_event: false,
    idle_timeout_ms: None,
    report_interval_ms: None,
};

struct Script(VecDeque<ReaderPoll>);

/// Notes which splits are paused, and hands out no rows of those.
#[derive(Default)]
struct Pausing {
    rows: VecDeque<ReaderPoll>,
    paused: Arc<Mutex<Vec<usize>>>,
}

impl SourceReader for Pausing {
    fn add_splits(&mut self, _: Vec<Split>) -> Result<(), TaskError> {
        Ok(())
    }
    fn no_more_splits(&mut self) {}
    fn poll(&mut self, _: i64) -> Result<ReaderPoll, TaskError> {
        let paused = self.paused.lock().unwrap();
        let next = self
            .rows
            .iter()
            .position(|poll| !matches!(poll, ReaderPoll::Batch { split, .. } if paused.contains(split)));
        Ok(next
            .and_then(|index| self.rows.remove(index))
            .unwrap_or(ReaderPoll::Idle { until_ms: None }))
    }
    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(vec![])
    }
    fn set_paused(&mut self, split: usize, paused: bool) {
        let mut all = self.paused.lock().unwrap();
        all.retain(|s| *s != split);
        if paused {
            all.push(split);
        }
    }
}

impl SourceReader for Script {
    fn add_splits(&mut self, _: Vec<Split>) -> Result<(), TaskError> {
        Ok(())
    }
    fn no_more_splits(&mut self) {}
    fn poll(&mut self, _: i64) -> Result<ReaderPoll, TaskError> {
        Ok(self.0.pop_front().unwrap_or(ReaderPoll::Idle { until_ms: None }))
    }
    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(vec![split("b").split, split("a").split])
    }
}

fn split(id: &str) -> TimedSplit {
    let (id, state) = (id.to_owned(), vec![]);
    Split { id, state }.into()
}

struct FirstColumn;

impl WatermarkGenerator for FirstColumn {
    fn watermarks(&mut self, batch: &Batch) -> Result<Int64Array, TaskError> {
        Ok(batch.column(0).as_primitive::<Int64Type>().clone())
    }
}

fn rows(split: usize, times: &[i64]) -> ReaderPoll {
    ReaderPoll::Batch {
        split,
        batch: Batch::new(vec![Arc::new(Int64Array::from(times.to_vec()))], times.len()),
    }
}

/// As [`FirstColumn`], and idle behind a batch whose last row's time ends with a 9.
#[derive(Default)]
struct EndsIdle {
    split: usize,
    idle: Vec<usize>,
}

impl WatermarkGenerator for EndsIdle {
    fn watermarks(&mut self, batch: &Batch) -> Result<Int64Array, TaskError> {
        let times = FirstColumn.watermarks(batch)?;
        self.idle.retain(|split| *split != self.split);
        if times.values().last().is_some_and(|time| time % 10 == 9) {
            self.idle.push(self.split);
        }
        Ok(times)
    }
    fn at_split(&mut self, split: usize) {
        self.split = split;
    }
    fn is_idle(&self, split: usize) -> bool {
        self.idle.contains(&split)
    }
}

fn run(on_event: bool, idle: Option<i64>, script: Vec<(i64, ReaderPoll)>) -> Vec<String> {
    run_by(FirstColumn, on_event, idle, script)
}

fn run_by(
    generator: impl WatermarkGenerator + 'static,
    on_event: bool,
    idle: Option<i64>,
    script: Vec<(i64, ReaderPoll)>,
) -> Vec<String> {
    let (clock, polls): (Vec<i64>, VecDeque<ReaderPoll>) = script.into_iter().unzip();
    let policy = EmitPolicy {
        on_event,
        idle_timeout_ms: idle,
        ..PLAIN
    };
    let mut driver = SourceDriver::new(
        Box::new(Script(polls)),
        Some(Box::new(generator)),
        policy,
        Arc::default(),
    );
    driver.add_splits(vec![split("a"), split("b")], 0).unwrap();
    let mut out = Output::new();
    for now in clock {
        driver.poll(now, &mut out).unwrap();
    }
    let text = |e| match e {
        Element::Data(b) => format!("{:?}", b.column(0).as_primitive::<Int64Type>().values().to_vec()),
        Element::Watermark(t) => format!("wm {t}"),
        Element::Idle(i) => format!("idle {i}"),
        other => format!("{other:?}"),
    };
    out.drain().map(text).collect()
}

#[test]
fn the_slower_split_holds_the_watermark() {
    let script = vec![
        (0, rows(0, &[5, 9])),
        (1, rows(1, &[3])),
        (2, rows(1, &[2])),
        (3, rows(1, &[12])),
    ];
    assert_eq!(
        run(false, None, script),
        ["[5, 9]", "[3]", "wm 3", "[2]", "[12]", "wm 9"]
    );
}

#[test]
fn on_event_cuts_batches_where_the_watermark_moves() {
    let script = vec![(0, rows(0, &[100])), (1, rows(1, &[1, 1, 4, 2]))];
    assert_eq!(
        run(true, None, script),
        ["[100]", "[1]", "wm 1", "[1, 4]", "wm 4", "[2]"]
    );
}

#[test]
fn a_split_that_its_generator_makes_idle_counts_up_to_its_last_row() {
    let script = || {
        vec![
            (0, rows(0, &[1000])),
            (1, rows(1, &[5, 900, 909])),
            (2, rows(0, &[1009])),
        ]
    };
    assert_eq!(
        run_by(EndsIdle::default(), true, None, script()),
        [
            "[1000]",
            "[5]",
            "wm 5",
            "[900]",
            "wm 900",
            "[909]",
            "wm 909",
            "wm 1000",
            "[1009]",
            "wm 1009",
            "idle true"
        ]
    );
    assert_eq!(
        run_by(EndsIdle::default(), false, None, script()),
        [
            "[1000]",
            "[5, 900, 909]",
            "wm 909",
            "wm 1000",
            "[1009]",
            "wm 1009",
            "idle true"
        ]
    );
}

#[test]
fn an_idle_split_stops_counting_and_counts_again_with_its_next_row() {
    let idle = || ReaderPoll::Idle { until_ms: None };
    let script = vec![
        (0, rows(0, &[5])),
        (50, rows(0, &[6])),
        (100, idle()),
        (150, idle()),
        (160, rows(1, &[2])),
    ];
    assert_eq!(
        run(false, Some(100), script),
        ["[5]", "[6]", "wm 6", "idle true", "idle false", "[2]"]
    );
}

#[test]
fn a_subtask_without_splits_is_idle_once_it_knows_that_it_has_none() {
    let policy = EmitPolicy {
        interval_ms: 10,
        ..PLAIN
    };
    let reader = Box::new(Script(VecDeque::new()));
    let mut driver = SourceDriver::new(reader, Some(Box::new(FirstColumn)), policy, Arc::default());
    let mut out = Output::new();
    assert_eq!(driver.poll(0, &mut out).unwrap(), SourceState::Idle(Some(10)));
    assert!(out.is_empty(), "splits may still come");
    driver.add_splits(vec![], 5).unwrap();
    assert_eq!(driver.poll(5, &mut out).unwrap(), SourceState::Idle(Some(10)));
    assert_eq!(driver.poll(10, &mut out).unwrap(), SourceState::Idle(None));
    assert!(matches!(out.pop(), Some(Element::Idle(true))));
    driver.add_splits(vec![split("late")], 20).unwrap();
    driver.poll(20, &mut out).unwrap();
    assert!(
        matches!(out.pop(), Some(Element::Idle(false))),
        "a new split holds the watermark at once"
    );
}

#[test]
fn a_split_that_could_not_be_read_is_not_idle() {
    let policy = EmitPolicy {
        idle_timeout_ms: Some(100),
        ..PLAIN
    };
    let polls = [
        rows(0, &[5]),
        rows(0, &[900]),
        rows(1, &[7]),
        ReaderPoll::Idle { until_ms: None },
    ];
    let reader = Box::new(Script(polls.into()));
    let mut driver = SourceDriver::new(reader, Some(Box::new(FirstColumn)), policy, Arc::default());
    driver.add_splits(vec![split("a"), split("b")], 0).unwrap();
    let mut out = Output::new();
    driver.poll(0, &mut out).unwrap();
    for blocked_ms in [10, 300, 5_000] {
        driver.held_back(blocked_ms);
    }
    for now in [6_000, 6_001] {
        driver.poll(now, &mut out).unwrap();
    }
    let told: Vec<_> = out.drain().filter(|e| !matches!(e, Element::Data(_))).collect();
    assert!(matches!(told[..], [Element::Watermark(7)]), "{told:?}");
    driver.poll(6_200, &mut out).unwrap();
    assert!(
        matches!(out.pop(), Some(Element::Idle(true))),
        "who could be read and had nothing is"
    );
}

#[test]
fn a_split_goes_on_at_the_time_of_its_checkpoint() {
    let driver = |polls: Vec<ReaderPoll>| {
        let reader = Box::new(Script(polls.into()));
        SourceDriver::new(reader, Some(Box::new(FirstColumn)), PLAIN, Arc::default())
    };
    let mut out = Output::new();
    let mut before = driver(vec![rows(0, &[900])]);
    before.add_splits(vec![split("a"), split("b")], 0).unwrap();
    before.poll(0, &mut out).unwrap();
    let splits = before.snapshot(1).unwrap();
    let written = serde_json::to_string(&splits).unwrap();
    assert_eq!(
        written,
        r#"[{"id":"b","state":[]},{"id":"a","state":[],"watermark":900}]"#
    );

    let mut after = driver(vec![rows(0, &[5])]);
    after.add_splits(serde_json::from_str(&written).unwrap(), 0).unwrap();
    out.drain().for_each(drop);
    after.poll(0, &mut out).unwrap();
    let told: Vec<_> = out.drain().filter(|e| !matches!(e, Element::Data(_))).collect();
    assert!(
        matches!(told[..], [Element::Watermark(5)]),
        "only the other one held it back: {told:?}"
    );
}

#[test]
fn a_finished_split_does_not_count() {
    let script = vec![
        (0, rows(0, &[5])),
        (1, rows(1, &[50])),
        (2, ReaderPoll::SplitFinished(0)),
    ];
    assert_eq!(run(false, None, script), ["[5]", "[50]", "wm 5", "wm 50"]);
}

fn aligned(rows: impl IntoIterator<Item = ReaderPoll>) -> (SourceDriver, Arc<Mutex<Vec<usize>>>) {
    let reader = Pausing {
        rows: rows.into_iter().collect(),
        ..Pausing::default()
    };
    let paused = reader.paused.clone();
    let policy = EmitPolicy {
        idle_timeout_ms: Some(100),
        report_interval_ms: Some(10),
        ..PLAIN
    };
    let generator = Some(Box::new(FirstColumn) as Box<_>);
    let mut driver = SourceDriver::new(Box::new(reader), generator, policy, Arc::default());
    driver.add_splits(vec![split("a"), split("b")], 0).unwrap();
    (driver, paused)
}

/// Times of the rows that a driver emits.
fn polled(driver: &mut SourceDriver, now_ms: i64) -> (SourceState, Vec<i64>) {
    let mut out = Output::new();
    let state = driver.poll(now_ms, &mut out).unwrap();
    let times = |element| match element {
        Element::Data(batch) => batch.column(0).as_primitive::<Int64Type>().values().to_vec(),
        _ => vec![],
    };
    (state, out.drain().flat_map(times).collect())
}

#[test]
fn a_split_ahead_of_its_group_is_paused_and_the_others_read_on() {
    let (mut driver, paused) = aligned([rows(0, &[500]), rows(0, &[501]), rows(1, &[1]), rows(1, &[2])]);
    driver.align(100, 0);
    assert_eq!(polled(&mut driver, 0).1, [500]);
    assert_eq!(*paused.lock().unwrap(), [0]);
    assert_eq!(polled(&mut driver, 1).1, [1]);
    assert_eq!(polled(&mut driver, 10).1, [2]);
    assert_eq!(driver.take_report(), Some(2), "the slowest split that counts");
    // What is paused is not idle, however long; what has nothing is.
    assert_eq!(polled(&mut driver, 200).1, [0; 0]);
    assert_eq!(driver.take_report(), Some(500));
    driver.align(500, 300);
    assert!(paused.lock().unwrap().is_empty());
    assert_eq!(polled(&mut driver, 301).1, [501]);
}

#[test]
fn a_source_ahead_of_its_group_reads_nothing_and_is_not_idle() {
    let (mut driver, _) = aligned([rows(0, &[500]), rows(1, &[400]), rows(1, &[600])]);
    assert_eq!(polled(&mut driver, 0).1, [500]);
    assert_eq!(driver.take_report(), None, "a split has no row yet");
    driver.align(100, 1);
    assert_eq!(polled(&mut driver, 1).1, [400]);
    for now_ms in [12, 60, 1_000] {
        let next = SourceState::Idle(Some(now_ms));
        let (state, times) = polled(&mut driver, now_ms);
        assert_eq!(
            (state, times),
            (next, vec![]),
            "it looks again at once: the interval of watermarks is 0"
        );
        assert_eq!(driver.take_report(), Some(400), "and says where it is");
    }
    driver.align(400, 1_001);
    assert_eq!(polled(&mut driver, 1_002).1, [600]);
    // Its splits had no rows for a thousand milliseconds, none of which they could have read in.
    assert_eq!(polled(&mut driver, 1_050).0, SourceState::Idle(Some(1_050)));
    assert_eq!(driver.take_report(), Some(500));
}

#[test]
fn who_is_idle_or_at_its_end_holds_nobody_back() {
    let (mut driver, _) = aligned([rows(0, &[5]), rows(1, &[7])]);
    polled(&mut driver, 0);
    polled(&mut driver, 1);
    polled(&mut driver, 150);
    assert_eq!(driver.take_report(), Some(END_OF_TIME));
    let (mut driver, _) = aligned([rows(0, &[5]), rows(1, &[7]), ReaderPoll::Finished]);
    polled(&mut driver, 0);
    polled(&mut driver, 1);
    assert_eq!(polled(&mut driver, 2).0, SourceState::Finished);
    assert_eq!(driver.take_report(), Some(END_OF_TIME));
}

/// Reads splits one after another: the one that is active is that of the last batch.
struct InTurn {
    script: Script,
    active: usize,
}

impl SourceReader for InTurn {
    fn add_splits(&mut self, _: Vec<Split>) -> Result<(), TaskError> {
        Ok(())
    }
    fn no_more_splits(&mut self) {}
    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let polled = self.script.poll(now_ms)?;
        if let ReaderPoll::Batch { split, .. } = &polled {
            self.active = *split;
        }
        Ok(polled)
    }
    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(vec![])
    }
    fn is_active(&self, split: usize) -> bool {
        split == self.active
    }
}

fn shown_by(reader: impl SourceReader + 'static, splits: Vec<TimedSplit>) -> (SourceDriver, Arc<OperatorMetrics>) {
    let metrics = Arc::new(OperatorMetrics::default());
    let generator = Some(Box::new(FirstColumn) as Box<_>);
    let mut driver = SourceDriver::new(Box::new(reader), generator, PLAIN, metrics.clone());
    driver.add_splits(splits, 0).unwrap();
    (driver, metrics)
}

fn ids(metrics: &OperatorMetrics) -> Vec<String> {
    metrics.splits().shown.into_iter().map(|split| split.id).collect()
}

#[test]
fn splits_that_are_not_begun_or_are_read_to_their_ends_are_not_shown() {
    let script = [
        rows(0, &[5]),
        ReaderPoll::SplitFinished(0),
        rows(1, &[7]),
        ReaderPoll::Finished,
    ];
    let reader = InTurn {
        script: Script(script.into()),
        active: 0,
    };
    let (mut driver, metrics) = shown_by(reader, vec![split("a"), split("b")]);
    let expected: [&[&str]; 4] = [&["a"], &[], &["b"], &[]];
    for (step, expected) in expected.into_iter().enumerate() {
        polled(&mut driver, step as i64 * SHOW_INTERVAL_MS);
        assert_eq!(ids(&metrics), expected, "step {step}");
    }
}

#[test]
fn of_many_splits_those_behind_are_shown_and_the_one_with_the_newest_record() {
    let splits: Vec<TimedSplit> = (0..100).map(|index| split(&index.to_string())).collect();
    let script = (0..100).map(|index| rows(index, &[index as i64 + 1]));
    let (mut driver, metrics) = shown_by(Script(script.collect()), splits);
    for step in 0..100 {
        polled(&mut driver, step);
    }
    polled(&mut driver, SHOW_INTERVAL_MS);
    assert_eq!(metrics.splits().total, 100);
    let shown: Vec<String> = (0..SPLITS_SHOWN - 1)
        .chain([99])
        .map(|index| index.to_string())
        .collect();
    assert_eq!(ids(&metrics), shown);
}
