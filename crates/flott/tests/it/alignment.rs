//! Watermark alignment: sources that wait for the slowest of their group.

use super::lives::OneSplit;
use flott::datastream::{Records, TypedSource};
use flott::prelude::*;
use flott::runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott::runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TaskError};
use flott_cluster::{JobHandle, JobStatus, Restore, Submission, submit};
use flott_core::CheckpointId;
use flott_core::clock::SystemClock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DRIFT_MS: i64 = 100;

/// What a test sees of a source, and how it steers it.
#[derive(Default)]
struct Control {
    /// How many records it may hand out.
    until: AtomicUsize,
    handed_out: AtomicUsize,
    /// Time of the last record.
    time_ms: AtomicI64,
    is_paused: AtomicBool,
    /// How often it was asked for records.
    polls: AtomicUsize,
    has_ended: AtomicBool,
    /// By how much it was ahead of the other at most, once that has a record.
    lead_ms: AtomicI64,
}

/// Records that are their own times, one a batch.
#[derive(Clone)]
struct Steered {
    times: Arc<[i64]>,
    control: Arc<Control>,
    other: Arc<Control>,
    /// Whether each record but the first waits until the other is paused further on, or at its end.
    is_slow: bool,
}

impl TypedSource for Steered {
    type Out = i64;
}

impl Source for Steered {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(OneSplit(restored.is_some())))
    }

    fn reader(&self, _ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(SteeredReader {
            source: self.clone(),
            position: None,
            no_more: false,
        }))
    }
}

struct SteeredReader {
    source: Steered,
    position: Option<usize>,
    no_more: bool,
}

impl SourceReader for SteeredReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            let state: [u8; 8] = split.state.as_slice().try_into().unwrap();
            self.position = Some(u64::from_le_bytes(state) as usize);
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let Steered {
            times,
            control,
            other,
            is_slow,
        } = &self.source;
        control.polls.fetch_add(1, SeqCst);
        let Some(position) = self.position else {
            return Ok(match self.no_more {
                true => ReaderPoll::Finished,
                false => ReaderPoll::Idle { until_ms: None },
            });
        };
        let Some(time_ms) = times.get(position).copied() else {
            self.position = None;
            control.has_ended.store(true, SeqCst);
            return Ok(ReaderPoll::SplitFinished(0));
        };
        let is_other_further = other.is_paused.load(SeqCst) && other.time_ms.load(SeqCst) >= time_ms;
        let waits = *is_slow && position > 0 && !is_other_further && !other.has_ended.load(SeqCst);
        if position >= control.until.load(SeqCst) || control.is_paused.load(SeqCst) || waits {
            let until_ms = Some(now_ms + 1);
            return Ok(ReaderPoll::Idle { until_ms });
        }
        if !*is_slow && other.handed_out.load(SeqCst) > 0 && control.handed_out.load(SeqCst) >= 2 {
            control.lead_ms.fetch_max(time_ms - other.time_ms.load(SeqCst), SeqCst);
        }
        control.time_ms.store(time_ms, SeqCst);
        control.handed_out.fetch_add(1, SeqCst);
        self.position = Some(position + 1);
        let batch = Records::of(vec![time_ms]).into_batch();
        Ok(ReaderPoll::Batch { split: 0, batch })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let split = |position: usize| Split {
            id: "script".to_owned(),
            state: (position as u64).to_le_bytes().to_vec(),
        };
        Ok(self.position.map(split).into_iter().collect())
    }

    fn set_paused(&mut self, _split: usize, paused: bool) {
        self.source.control.is_paused.store(paused, SeqCst);
    }
}

/// A fast source beside a slow one, and what came of both.
struct Pair {
    fast: Steered,
    slow: Steered,
    seen: Arc<Mutex<Vec<i64>>>,
}

impl Pair {
    fn new() -> Self {
        let (fast, slow) = (Arc::<Control>::default(), Arc::<Control>::default());
        let source = |times: Vec<i64>, control: &Arc<Control>, other: &Arc<Control>, is_slow| Steered {
            times: times.into(),
            control: control.clone(),
            other: other.clone(),
            is_slow,
        };
        Self {
            fast: source([0].into_iter().chain(500..=5_000).collect(), &fast, &slow, false),
            slow: source((0..=50).map(|n| n * 100).collect(), &slow, &fast, true),
            seen: Arc::default(),
        }
    }

    fn start(&self, restore: Restore, idleness: Option<Duration>, runtime: &tokio::runtime::Runtime) -> JobHandle {
        let options = [
            ("pipeline.auto-watermark-interval", "5 ms"),
            ("restart-strategy.type", "none"),
        ];
        let env = StreamExecutionEnvironment::create_local_environment(options.into_iter().collect());
        let mut strategy = WatermarkStrategy::for_monotonous_timestamps()
            .with_timestamp_assigner(|time_ms: &i64, _| *time_ms)
            .with_watermark_alignment_every("pair", Duration::from_millis(DRIFT_MS as u64), Duration::from_millis(2));
        let fast = env.from_source(self.fast.clone(), &strategy, "fast").uid("fast");
        if let Some(idleness) = idleness {
            strategy = strategy.with_idleness(idleness);
        }
        let slow = env.from_source(self.slow.clone(), &strategy, "slow").uid("slow");
        let seen = self.seen.clone();
        let sink = fast
            .union(&[&slow])
            .for_each(move |time_ms| seen.lock().unwrap().push(time_ms));
        sink.uid("seen");
        let (plan, registry) = env.program("aligned").unwrap().into_parts(flott::registry());
        let submission = Submission {
            plan,
            restore,
            allow_non_restored_state: false,
        };
        let submitted = submit(Arc::new(registry), Arc::new(SystemClock), submission);
        runtime.block_on(submitted).unwrap()
    }

    /// Starts, and lets the fast source run ahead until it is paused.
    fn paused(&self, runtime: &tokio::runtime::Runtime) -> JobHandle {
        self.slow.control.until.store(1, SeqCst);
        self.fast.control.until.store(2, SeqCst);
        let job = self.start(Restore::Fresh, None, runtime);
        // Until the slow one has told where it is, the fast one may be paused by its own last report, and goes on with the next: a pause that
        // outlasts many rounds of the slow one, each a millisecond, is one by that.
        let rounds = || self.slow.control.polls.load(SeqCst);
        let mut since = rounds();
        wait_for("the pause", &job, || {
            if !self.fast.control.is_paused.load(SeqCst) {
                since = rounds();
            }
            rounds() >= since + 100
        });
        self.fast.control.until.store(usize::MAX, SeqCst);
        job
    }

    fn all(&self) -> Vec<i64> {
        let mut all = [&*self.fast.times, &*self.slow.times].concat();
        all.sort_unstable();
        all
    }

    fn seen(&self) -> Vec<i64> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort_unstable();
        seen
    }
}

fn wait_for(what: &str, job: &JobHandle, mut has_come: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !has_come() {
        assert_eq!(job.stats.failure(), None, "{what}");
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// However slow the slow one is, the fast one is never further ahead than the drift and a batch; at the end nobody is held back.
#[test]
fn a_fast_source_stays_near_the_slow_one() {
    let (pair, runtime) = (Pair::new(), runtime());
    let job = pair.paused(&runtime);
    pair.slow.control.until.store(usize::MAX, SeqCst);
    assert_eq!(
        runtime.block_on(job.ended()),
        JobStatus::Finished,
        "{:?}",
        job.stats.failure()
    );
    let lead_ms = pair.fast.control.lead_ms.load(SeqCst);
    assert!((1..=DRIFT_MS + 1).contains(&lead_ms), "{lead_ms} ms ahead");
    assert_eq!(pair.seen(), pair.all());
}

/// Barriers pass what is paused: it checkpoints and stops, and goes on in a later life.
#[test]
fn a_paused_source_checkpoints_and_stops() {
    let (pair, runtime) = (Pair::new(), runtime());
    let folder = tempfile::tempdir().unwrap();
    let dir = || Some(format!("file://{}", folder.path().display()));
    let job = pair.paused(&runtime);
    runtime.block_on(job.savepoint(dir(), false)).unwrap();
    let path = runtime.block_on(job.savepoint(dir(), true)).unwrap();
    assert_eq!(runtime.block_on(job.ended()), JobStatus::Finished);
    assert_eq!(
        pair.fast.control.handed_out.load(SeqCst),
        2,
        "nothing was read in the pause"
    );
    assert_eq!(pair.seen(), [0, 0, 500]);
    pair.slow.control.until.store(usize::MAX, SeqCst);
    pair.fast.control.is_paused.store(false, SeqCst);
    let job = pair.start(Restore::Path(path), None, &runtime);
    assert_eq!(
        runtime.block_on(job.ended()),
        JobStatus::Finished,
        "{:?}",
        job.stats.failure()
    );
    assert_eq!(pair.seen(), pair.all());
}

#[test]
fn an_idle_source_holds_nobody_back() {
    let (pair, runtime) = (Pair::new(), runtime());
    pair.slow.control.until.store(1, SeqCst);
    pair.fast.control.until.store(usize::MAX, SeqCst);
    let job = pair.start(Restore::Fresh, Some(Duration::from_millis(20)), &runtime);
    let all = pair.fast.times.len();
    wait_for("the fast source", &job, || {
        pair.fast.control.handed_out.load(SeqCst) == all
    });
    job.cancel();
    assert_eq!(runtime.block_on(job.ended()), JobStatus::Canceled);
}
