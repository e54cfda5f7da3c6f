//! Tests of the task, step by step and on its thread.

use super::*;
use crate::Flow;
use crate::chain::ChainOperator;
use crate::connector::{ReaderPoll, SourceReader, Split};
use crate::exchange::in_flight::Held;
use crate::exchange::{self, Spread};
use flott_core::clock::SystemClock;
use flott_core::{Batch, JobId, Options};
use flott_state::{BackendSettings, StateBackend};
use std::sync::Mutex;

fn barrier(checkpoint: CheckpointId) -> Barrier {
    Barrier {
        checkpoint,
        triggered_ms: 0,
        then: AfterBarrier::Continue,
        overtakes_from_ms: None,
    }
}

fn data(rows: usize) -> Element {
    Element::Data(Batch::new(vec![], rows))
}

/// A task of these operators and its input.
fn deployment(operators: Vec<(OperatorContext, Box<dyn Operator>)>) -> (TaskDeployment, exchange::Sender) {
    let waker = Waker::new();
    let (input, receiver) = exchange::channel(1 << 20, Waker::new(), waker.clone());
    let deployment = TaskDeployment {
        info: info(),
        head: Head::Gate(InputGate::new([(0, receiver)])),
        operators,
        edges: vec![],
        restored: vec![],
        flush_interval_ms: 0,
        waker,
        clock: Arc::new(SystemClock),
        metrics: Arc::new(TaskMetrics::new([])),
    };
    (deployment, input)
}

fn info() -> Arc<TaskInfo> {
    Arc::new(TaskInfo {
        job_id: JobId(1),
        job_name: "job".into(),
        task_name: "task".into(),
        subtask: 0,
        parallelism: 1,
        max_parallelism: 128,
        attempt: 1,
        generation: 1,
        options: Arc::new(Options::new()),
    })
}

/// A task without operators, its input and its commands.
fn task() -> (Task, exchange::Sender, Sender<TaskCommand>) {
    let (deployment, input) = deployment(vec![]);
    let (commands, receiver) = channel();
    (Task::open(deployment, receiver).unwrap(), input, commands)
}

/// Has read nothing of the splits that it was given.
struct Unread(Vec<Split>);

impl SourceReader for Unread {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        self.0.extend(splits);
        Ok(())
    }
    fn no_more_splits(&mut self) {}
    fn poll(&mut self, _: i64) -> Result<ReaderPoll, TaskError> {
        Ok(ReaderPoll::Idle { until_ms: None })
    }
    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(self.0.clone())
    }
}

#[test]
fn splits_that_come_behind_a_checkpoints_command_are_not_in_it() {
    let (mut task, _input, commands) = task();
    let (reader, generator, metrics) = (Box::new(Unread(vec![])), None, Arc::default());
    let policy = EmitPolicy {
        interval_ms: 0,
        on_event: false,
        report_interval_ms: None,
        idle_timeout_ms: None,
    };
    task.feed = Feed::Source {
        id: OperatorId(1),
        driver: SourceDriver::new(reader, generator, policy, metrics),
        finished: false,
        stopping: false,
        markers: Markers {
            interval_ms: 0,
            last_ms: 0,
        },
    };
    let snapshots = Arc::new(Mutex::new(vec![]));
    let listener = {
        let snapshots = snapshots.clone();
        move |event| {
            if let TaskEvent::Snapshot { barrier, captured } = event {
                let splits = captured
                    .operators
                    .iter()
                    .map(|(_, o)| o.operator_state.len())
                    .sum::<usize>();
                snapshots.lock().unwrap().push((barrier.checkpoint, splits));
            }
        }
    };
    let split = |id: &str| {
        let (id, state) = (id.to_owned(), vec![]);
        TaskCommand::AddSplits(vec![Split { id, state }.into()])
    };
    // All are there before the task takes any: as if it could not before.
    for command in [
        split("a"),
        TaskCommand::Checkpoint(barrier(1)),
        split("b"),
        TaskCommand::Checkpoint(barrier(2)),
        split("c"),
    ] {
        commands.send(command).unwrap();
    }
    while task.step(0, &listener).unwrap() == Step::Progress {}
    let given_up = vec![TaskCommand::Checkpoint(barrier(4)), TaskCommand::CheckpointAborted(4)];
    for together in [
        vec![TaskCommand::Checkpoint(barrier(3))],
        given_up,
        vec![TaskCommand::Checkpoint(barrier(5))],
    ] {
        for command in together {
            commands.send(command).unwrap();
        }
        while task.step(0, &listener).unwrap() == Step::Progress {}
    }
    assert_eq!(*snapshots.lock().unwrap(), [(2, 2), (3, 3), (5, 3)]);
}

/// Has a timer that is due whenever it is asked.
struct AlwaysDue;

impl Operator for AlwaysDue {
    fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }
    fn process(&mut self, _: usize, _: Batch, _: &mut Output) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }
    fn next_timer(&self) -> Option<i64> {
        Some(0)
    }
}

#[test]
fn timers_without_end_keep_no_barrier_waiting() {
    let (mut task, input, _commands) = task();
    let operator = ChainOperator {
        id: OperatorId(1),
        name: "due".into(),
        operator: Box::new(AlwaysDue),
        metrics: Arc::default(),
    };
    let router = Router::new(vec![], Arc::new(TaskMetrics::new([])), 0);
    task.chain = Chain::new(vec![operator], router);
    input.send(Element::Barrier(barrier(1))).unwrap();
    let passed = Arc::new(Mutex::new(vec![]));
    let listener = {
        let passed = passed.clone();
        move |event| {
            if let TaskEvent::Snapshot { barrier, .. } = event {
                passed.lock().unwrap().push(barrier.checkpoint);
            }
        }
    };
    for _ in 0..20 {
        task.step(0, &listener).unwrap();
    }
    assert_eq!(*passed.lock().unwrap(), [1]);
}

#[test]
fn a_command_that_comes_behind_its_barrier_makes_no_second_snapshot() {
    let (mut task, input, commands) = task();
    let events = Arc::new(Mutex::new(vec![]));
    let listener = {
        let events = events.clone();
        move |event| {
            events.lock().unwrap().push(match event {
                TaskEvent::Snapshot { barrier, .. } => format!("snapshot {}", barrier.checkpoint),
                other => format!("{other:?}"),
            });
        }
    };
    let mut run = || {
        while task.step(0, &listener).unwrap() == Step::Progress {}
        std::mem::take(&mut *events.lock().unwrap())
    };
    input.send(Element::Barrier(barrier(1))).unwrap();
    assert_eq!(run(), ["snapshot 1"]);
    commands.send(TaskCommand::Checkpoint(barrier(1))).unwrap();
    assert!(run().is_empty());
    input.send(Element::End(EndOfInput::Drained)).unwrap();
    assert_eq!(run(), ["Drained"]);
    commands.send(TaskCommand::Checkpoint(barrier(2))).unwrap();
    assert_eq!(run(), ["snapshot 2"]);
}

/// Counts rows, and takes a millisecond for each.
struct Slow(Arc<Mutex<usize>>);

impl Operator for Slow {
    fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }
    fn process(&mut self, _: usize, batch: Batch, _: &mut Output) -> Result<Flow, TaskError> {
        *self.0.lock().unwrap() += batch.num_rows();
        std::thread::sleep(Duration::from_millis(batch.num_rows() as u64));
        Ok(Flow::Done)
    }
}

#[test]
fn a_barrier_overtakes_the_rest_of_a_batch_that_a_slow_chain_has() {
    let (mut deployment, _) = deployment(vec![]);
    let (input, receiver) = exchange::channel(1 << 20, Waker::new(), deployment.waker.clone());
    deployment.head = Head::Gate(InputGate::overtaken([(0, Some(Spread::Any), receiver)]));
    deployment.info = Arc::new(TaskInfo {
        options: Arc::new([(crate::unaligned::ENABLED, "true")].into_iter().collect()),
        ..TaskInfo::clone(&info())
    });
    let (_commands, receiver) = channel();
    let mut task = Task::open(deployment, receiver).unwrap();
    let seen = Arc::new(Mutex::new(0));
    let operator = ChainOperator {
        id: OperatorId(1),
        name: "slow".into(),
        operator: Box::new(Slow(seen.clone())),
        metrics: Arc::default(),
    };
    task.chain = Chain::new(vec![operator], Router::new(vec![], Arc::new(TaskMetrics::new([])), 0));
    input.send(data(8_000)).unwrap();
    let captured = Arc::new(Mutex::new(None));
    let listener = {
        let captured = captured.clone();
        move |event| {
            if let TaskEvent::Snapshot { captured: part, .. } = event {
                *captured.lock().unwrap() = Some(part);
            }
        }
    };
    while *seen.lock().unwrap() == 0 {
        assert_eq!(task.step(0, &listener).unwrap(), Step::Progress);
    }
    input.send(data(5)).unwrap();
    let overtaking = Barrier {
        overtakes_from_ms: Some(0),
        ..barrier(1)
    };
    input.send(Element::Barrier(overtaking)).unwrap();
    while captured.lock().unwrap().is_none() {
        assert_eq!(task.step(0, &listener).unwrap(), Step::Progress);
    }
    let part = captured.lock().unwrap().take().unwrap();
    let rows = |entry: &Recorded| match entry {
        Recorded::Rows {
            rows: Held::Batch(batch),
            ..
        } => batch.num_rows(),
        _ => 0,
    };
    let recorded: usize = part.in_flight[0].recorded.iter().map(rows).sum();
    let done = *seen.lock().unwrap();
    assert_eq!(done + recorded, 8_005);
    assert!(
        part.is_unaligned && done < 1_000,
        "{done} rows were worked off before the barrier"
    );
}

/// What an operator does where it is not well.
#[derive(Clone, Copy, PartialEq)]
enum Ill {
    No,
    AtOpen,
    AtRow,
    PanicsAtRow,
    PanicsAtWord,
}

/// Notes what it is told; its close never ends well.
struct Told {
    name: &'static str,
    ill: Ill,
    told: Arc<Mutex<Vec<String>>>,
}

impl Told {
    fn note(&self, what: &str) {
        self.told.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Operator for Told {
    fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        self.note("open");
        match self.ill {
            Ill::AtOpen => Err(TaskError::user("it does not open")),
            _ => Ok(()),
        }
    }
    fn process(&mut self, _: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        assert!(self.ill != Ill::PanicsAtRow, "no rows at all");
        if self.ill == Ill::AtRow {
            return Err(TaskError::user("not this row"));
        }
        out.emit(batch);
        Ok(Flow::Done)
    }
    fn snapshot(&mut self, _: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        self.note("snapshot");
        Ok(OperatorSnapshot::default())
    }
    fn checkpoint_complete(&mut self, _: CheckpointId) {
        assert!(self.ill != Ill::PanicsAtWord, "nothing is complete");
        self.note("complete");
    }
    fn checkpoint_aborted(&mut self, _: CheckpointId) {
        self.note("aborted");
    }
    fn close(&mut self) -> Result<(), TaskError> {
        self.note("close");
        match self.name {
            "a" => Err(TaskError::user("it does not close")),
            name => panic!("{name} panics in its close"),
        }
    }
}

type Operators = Vec<(OperatorContext, Box<dyn Operator>)>;

/// The operators a, b, c, and what they are told.
fn noting(ill: [Ill; 3]) -> (Operators, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(vec![]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let operators = ["a", "b", "c"].into_iter().zip(ill).map(|(name, ill)| {
        let told = Arc::clone(&told);
        let ctx = OperatorContext {
            task: info(),
            operator_id: OperatorId(1),
            operator_name: name.to_owned(),
            waker: Waker::new(),
            clock: Arc::new(SystemClock),
            runtime: runtime.handle().clone(),
            metrics: Arc::default(),
            restored: None,
            backend: StateBackend::new(&BackendSettings::from_options(&Options::new()).unwrap(), 1),
        };
        let operator: Box<dyn Operator> = Box::new(Told { name, ill, told });
        (ctx, operator)
    });
    (operators.collect(), Arc::clone(&told))
}

/// Starts a task of them; gives its commands, its input, its events, and what its operators are told.
fn told(
    ill: [Ill; 3],
) -> (
    TaskHandle,
    exchange::Sender,
    Receiver<TaskEvent>,
    Arc<Mutex<Vec<String>>>,
) {
    let (operators, told) = noting(ill);
    let (deployment, input) = deployment(operators);
    let (sender, events) = channel();
    let listener = move |event| drop(sender.send(event));
    (spawn(deployment, listener).unwrap(), input, events, told)
}

/// The next event, as text.
fn next(events: &Receiver<TaskEvent>) -> String {
    match events.recv_timeout(Duration::from_secs(60)).unwrap() {
        TaskEvent::Snapshot { barrier, .. } => format!("snapshot {}", barrier.checkpoint),
        TaskEvent::Failed(error) => error.full_text(),
        other => format!("{other:?}"),
    }
}

#[test]
fn operators_are_closed_behind_word_of_the_last_checkpoint() {
    let (task, input, events, told) = told([Ill::No; 3]);
    assert_eq!(next(&events), "Running");
    input.send(Element::End(EndOfInput::Drained)).unwrap();
    assert_eq!(next(&events), "Drained");
    task.send(TaskCommand::Checkpoint(barrier(1)));
    assert_eq!(next(&events), "snapshot 1");
    task.send(TaskCommand::CheckpointComplete(1));
    task.send(TaskCommand::Finish);
    assert_eq!(next(&events), "Ended");
    let of_all = |what: &str, order: [&str; 3]| order.map(|name| format!("{name} {what}"));
    let expected = [
        of_all("open", ["a", "b", "c"]),
        of_all("snapshot", ["a", "b", "c"]),
        of_all("complete", ["a", "b", "c"]),
        of_all("close", ["c", "b", "a"]),
    ];
    assert_eq!(*told.lock().unwrap(), expected.concat());
}

#[test]
fn every_end_closes_what_was_opened_and_is_told_as_it_was() {
    let cancelled = told([Ill::No; 3]);
    cancelled.0.send(TaskCommand::Cancel);
    let failed = told([Ill::No, Ill::AtRow, Ill::No]);
    failed.1.send(data(1)).unwrap();
    let panicked = told([Ill::No, Ill::PanicsAtRow, Ill::No]);
    panicked.1.send(data(1)).unwrap();
    let refused = told([Ill::No, Ill::AtOpen, Ill::No]);
    let alarmed = told([Ill::No, Ill::PanicsAtWord, Ill::No]);
    alarmed.0.send(TaskCommand::CheckpointComplete(1));
    let all = ["a open", "b open", "c open", "c close", "b close", "a close"].as_slice();
    let some = ["a open", "b open", "b close", "a close"].as_slice();
    for ((_task, _input, events, told), end, expected) in [
        (cancelled, "Ended", all),
        (failed, "b: not this row", all),
        (panicked, "a task panicked: no rows at all", all),
        (refused, "b: it does not open", some),
        (
            alarmed,
            "b: it panicked when it was told that checkpoint 1 is complete: nothing is complete",
            &[
                "a open",
                "b open",
                "c open",
                "a complete",
                "c close",
                "b close",
                "a close",
            ],
        ),
    ] {
        let mut event = next(&events);
        if event == "Running" {
            event = next(&events);
        }
        assert_eq!(event, end);
        assert_eq!(*told.lock().unwrap(), expected, "{end}");
    }
}

#[test]
fn a_checkpoint_that_is_given_up_before_its_barrier_comes_is_not_captured() {
    let (operators, told) = noting([Ill::No; 3]);
    let (deployment, input) = deployment(operators);
    let (commands, receiver) = channel();
    let mut task = Task::open(deployment, receiver).unwrap();
    let snapshots = Arc::new(Mutex::new(vec![]));
    let listener = {
        let snapshots = snapshots.clone();
        move |event| {
            if let TaskEvent::Snapshot { barrier, .. } = event {
                snapshots.lock().unwrap().push(barrier.checkpoint);
            }
        }
    };
    told.lock().unwrap().clear();
    commands.send(TaskCommand::CheckpointAborted(1)).unwrap();
    input.send(Element::Barrier(barrier(1))).unwrap();
    while task.step(0, &listener).unwrap() == Step::Progress {}
    assert_eq!(*told.lock().unwrap(), ["a aborted", "b aborted", "c aborted"]);
    told.lock().unwrap().clear();
    input.send(Element::Barrier(barrier(2))).unwrap();
    while task.step(0, &listener).unwrap() == Step::Progress {}
    commands.send(TaskCommand::CheckpointAborted(2)).unwrap();
    while task.step(0, &listener).unwrap() == Step::Progress {}
    let expected = [
        "a snapshot",
        "b snapshot",
        "c snapshot",
        "a aborted",
        "b aborted",
        "c aborted",
    ];
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(*snapshots.lock().unwrap(), [2]);
}
