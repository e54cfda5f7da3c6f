//! The task: one subtask of a chain, on a thread of its own.
//!
//! A task takes [`TaskCommand`]s and tells [`TaskEvent`]s; it knows nobody else. Its life: open the operators (restoring
//! state), run until the input ends or it is told to stop, then stay until [`TaskCommand::Finish`], because a last
//! checkpoint may still be asked of it, and at every end, be it a failure or a panic, close the operators. Checkpoints are triggered at sources, by command; at every other task the
//! barrier comes through the gate, unless all its input has ended: then the command itself is the barrier.
//!
//! A barrier that may overtake goes into the chain as soon as that is empty, before what the task and its gate still hold; what these
//! hold is recorded. The task tells its snapshot when all is recorded that belongs to it: when the barriers of all channels have come, and
//! its own have left for other processes (`Part`).
//!
//! A step never waits. Between steps the thread parks on its [`Waker`], so data, commands and timers wake it at once;
//! the time between is counted as idle or back-pressured.

mod overtaking;

use crate::batching::{Batching, Pace};
use crate::chain::{Chain, ChainEvent, ChainState};
use crate::connector::{Source, TimedSplit, WatermarkGenerator};
use crate::context::{OperatorContext, TaskInfo};
use crate::element::{AfterBarrier, Barrier, Element, EndOfInput, Output};
use crate::error::{FailureLabel, TaskError, panic_text};
use crate::exchange::{GateEvent, InFlight, InputGate, Recorded, Router, RouterEdge};
use crate::failpoint::{self, Action};
use crate::metrics::TaskMetrics;
use crate::operator::Operator;
use crate::source::{EmitPolicy, SourceDriver, SourceState};
use crate::waker::Waker;
use flott_core::clock::SharedClock;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{CheckpointId, OperatorId};
use flott_state::{OperatorEntry, OperatorSnapshot, Redistribute};
use overtaking::{Part, Pending};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Name of the operator state in which a source keeps its splits, one entry a split, as JSON of [`Split`].
pub const SPLITS_STATE: &str = "splits";

/// Longest park without a timer; only a guard, since every change wakes the task.
const LONGEST_PARK: Duration = Duration::from_millis(500);

/// How often the time of a task that never waits is counted, in milliseconds.
const COUNT_INTERVAL_MS: i64 = 100;

/// What a task is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TaskCommand {
    /// Read these splits too.
    AddSplits(Vec<TimedSplit>),
    /// No split follows.
    NoMoreSplits,
    /// A checkpoint begins.
    Checkpoint(Barrier),
    /// A checkpoint is complete and committed.
    CheckpointComplete(CheckpointId),
    /// A checkpoint that had begun was given up.
    CheckpointAborted(CheckpointId),
    /// The source may read up to this time; splits ahead of it wait for the others of their group (watermark alignment).
    AlignWatermarks(EventTime),
    /// End where you are; state is given up.
    Cancel,
    /// Fail with this text: what is outside the task asks for it.
    Fail(FailureLabel, String),
    /// The last checkpoint is done: end.
    Finish,
}

/// What a task tells.
#[derive(Debug)]
pub enum TaskEvent {
    /// Operators are open; the first step follows.
    Running,
    /// State was captured at a barrier; to be encoded and written by the receiver.
    Snapshot {
        /// The barrier.
        barrier: Barrier,
        /// Captured state, operators in order, the source first, and rows that the barrier has overtaken.
        captured: Box<Captured>,
    },
    /// How far the source has come, which is in a group of watermark alignment; it expects [`TaskCommand::AlignWatermarks`].
    ReportedWatermark(EventTime),
    /// All input is read and processed.
    Drained,
    /// The input was stopped behind a savepoint.
    Stopped,
    /// A latency marker reached the end of the chain, after so many milliseconds.
    Latency(i64),
    /// The thread ends, as told.
    Ended,
    /// The thread ends because of this.
    Failed(TaskError),
}

/// What a subtask has captured of a checkpoint.
#[derive(Debug, Default)]
pub struct Captured {
    /// State, operators in order, the source first.
    pub operators: Vec<(OperatorId, OperatorSnapshot)>,
    /// Rows that the barrier has overtaken, where there are any, not encoded yet.
    pub in_flight: Vec<InFlight>,
    /// Bytes of rows that were let in between the first barrier and the last.
    pub processed_bytes: u64,
    /// Whether the barrier has overtaken what the task held.
    pub is_unaligned: bool,
}

/// Who hears a task.
pub trait TaskListener: Send {
    /// Takes an event; must not wait.
    fn on_event(&self, event: TaskEvent);
}

impl<F: Fn(TaskEvent) + Send> TaskListener for F {
    fn on_event(&self, event: TaskEvent) {
        self(event);
    }
}

/// A source at the head of a chain.
pub struct SourceHead {
    /// Context of the source operator.
    pub ctx: OperatorContext,
    /// Makes the reader.
    pub source: Arc<dyn Source>,
    /// Makes watermarks.
    pub generator: Option<Box<dyn WatermarkGenerator>>,
    /// When they are emitted.
    pub policy: EmitPolicy,
    /// Milliseconds between latency markers; 0: none.
    pub latency_interval_ms: i64,
}

/// Where a task's elements come from.
pub enum Head {
    /// A source.
    Source(Box<SourceHead>),
    /// Other tasks.
    Gate(InputGate),
}

/// Everything that a task is made of.
pub struct TaskDeployment {
    /// Where it runs.
    pub info: Arc<TaskInfo>,
    /// Its input.
    pub head: Head,
    /// Its operators with their contexts, in order; a source is not among them.
    pub operators: Vec<(OperatorContext, Box<dyn Operator>)>,
    /// Its exchanges.
    pub edges: Vec<RouterEdge>,
    /// Rows in flight of the checkpoint that it starts from, which it processes first.
    pub restored: Vec<Recorded>,
    /// Longest time that small parts wait in front of an exchange, in milliseconds.
    pub flush_interval_ms: i64,
    /// Wakes it.
    pub waker: Waker,
    /// Processing time.
    pub clock: SharedClock,
    /// Its counters.
    pub metrics: Arc<TaskMetrics>,
}

/// The other end of a running task.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    commands: Sender<TaskCommand>,
    waker: Waker,
}

impl TaskHandle {
    /// Tells the task something and wakes it. A task that has ended does not hear.
    pub fn send(&self, command: TaskCommand) {
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

/// Starts the task's thread.
///
/// # Errors
/// If the system gives no thread.
pub fn spawn(deployment: TaskDeployment, listener: impl TaskListener + 'static) -> Result<TaskHandle, TaskError> {
    let (commands, receiver) = channel();
    let handle = TaskHandle {
        commands,
        waker: deployment.waker.clone(),
    };
    let name: String = deployment.info.task_name.chars().take(10).collect();
    let name = format!("{name}-{}", deployment.info.subtask);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            listener.on_event(match unpanicked(|| live(deployment, receiver, &listener)) {
                Ok(()) => TaskEvent::Ended,
                Err(error) => TaskEvent::Failed(error),
            });
        })
        .map_err(|e| {
            TaskError::caused(
                FailureLabel::Resources,
                "no thread for a task: raise the limit of threads",
                e,
            )
        })?;
    Ok(handle)
}

/// Runs a part of a task's life; a panic is an error like others.
fn unpanicked<R>(part: impl FnOnce() -> Result<R, TaskError>) -> Result<R, TaskError> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or_else(|panic| {
        let text = format!("a task panicked: {}", panic_text(panic.as_ref()));
        Err(TaskError::internal(text))
    })
}

/// The life of a task, from its opening to its close; all that it held is gone then.
fn live(
    deployment: TaskDeployment,
    commands: Receiver<TaskCommand>,
    listener: &dyn TaskListener,
) -> Result<(), TaskError> {
    deployment.waker.listen();
    let (waker, clock) = (deployment.waker.clone(), deployment.clock.clone());
    let mut task = Task::open(deployment, commands)?;
    listener.on_event(TaskEvent::Running);
    let ended = unpanicked(|| run(&mut task, &waker, &clock, listener));
    task.close();
    ended
}

fn run(task: &mut Task, waker: &Waker, clock: &SharedClock, listener: &dyn TaskListener) -> Result<(), TaskError> {
    let metrics = task.metrics.clone();
    let mut worked_since = Instant::now();
    let mut counted_ms = clock.now_ms();
    loop {
        let now_ms = clock.now_ms();
        // Who never waits is busy, too.
        if now_ms - counted_ms >= COUNT_INTERVAL_MS {
            let now = Instant::now();
            metrics.busy_ns.add((now - worked_since).as_nanos() as u64);
            metrics.state_bytes.set(task.chain.state_bytes() as i64);
            (worked_since, counted_ms) = (now, now_ms);
        }
        let step = task.step(now_ms, listener)?;
        let wait = match step {
            Step::Progress => continue,
            Step::Ended => return Ok(()),
            Step::Wait { until_ms, .. } => until_ms,
        };
        let parked_at = Instant::now();
        metrics.busy_ns.add((parked_at - worked_since).as_nanos() as u64);
        metrics.state_bytes.set(task.chain.state_bytes() as i64);
        let timeout = wait.map_or(LONGEST_PARK, |t| {
            Duration::from_millis(t.saturating_sub(now_ms).max(1) as u64)
        });
        waker.park(timeout.min(LONGEST_PARK));
        worked_since = Instant::now();
        let waited = (worked_since - parked_at).as_nanos() as u64;
        match step {
            Step::Wait {
                back_pressured: true,
                is_blocked,
                ..
            } => {
                metrics.back_pressured_ns.add(waited);
                if let Some(operator) = task.chain.blocked_operator().filter(|_| is_blocked) {
                    operator.blocked_ns.add(waited);
                }
            }
            _ => metrics.idle_ns.add(waited),
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done; step again.
    Progress,
    /// Nothing can be done before a wake-up or this processing time.
    Wait {
        /// Processing time of the next look, in milliseconds.
        until_ms: Option<i64>,
        /// Whether downstream is what it waits for.
        back_pressured: bool,
        /// Whether that is something outside, which an operator waits for, and not room in front of those behind it.
        is_blocked: bool,
    },
    /// The task was told to end.
    Ended,
}

enum Feed {
    Source {
        id: OperatorId,
        driver: SourceDriver,
        finished: bool,
        stopping: bool,
        markers: Markers,
    },
    Gate {
        gate: InputGate,
        aligning_since: Option<Instant>,
        ended: bool,
    },
}

struct Markers {
    interval_ms: i64,
    last_ms: i64,
}

/// A task between two steps. Tests step it without a thread.
pub struct Task {
    feed: Feed,
    chain: Chain,
    pending: VecDeque<Pending>,
    /// How much of a batch the chain gets at once, where barriers may overtake the rest.
    pace: Option<Pace>,
    /// Rows that the chain has, and since when; for `pace`.
    given: Option<(usize, Instant)>,
    /// The watermark that the chain was told last.
    told: EventTime,
    /// Its first operator and its place, by which rows in flight find it again.
    head: (OperatorId, usize),
    /// What the barrier of a checkpoint that is in the chain has overtaken of `pending`.
    overtaken: Option<(CheckpointId, Vec<Recorded>)>,
    part: Option<Part>,
    /// Since the first barrier of a checkpoint.
    processed_bytes: u64,
    commands: Receiver<TaskCommand>,
    /// A checkpoint that was told and whose barrier has not passed yet.
    triggered: Option<Barrier>,
    /// Splits, and word that none follow, handed out behind the triggered barrier. Its checkpoint must not have them: the enumerator's state
    /// in it does not know them, and would find them once more.
    behind_barrier: Vec<TaskCommand>,
    /// The checkpoint whose barrier passed last. Its command may come later than its barrier: it is old news then, and must
    /// not make a second snapshot when the input ends.
    passed: CheckpointId,
    /// Whether the last turn was that of timers.
    has_fired: bool,
    drained: bool,
    cancelled: bool,
    finish: bool,
    source_splits: Option<(OperatorId, OperatorSnapshot)>,
    idle_until: Option<i64>,
    metrics: Arc<TaskMetrics>,
    out: Output,
}

impl Task {
    /// Opens all operators, restoring their state.
    ///
    /// # Errors
    /// If an operator cannot be opened; the message names it.
    pub fn open(deployment: TaskDeployment, commands: Receiver<TaskCommand>) -> Result<Self, TaskError> {
        let metrics = deployment.metrics;
        let batching = Batching::of(&deployment.info.options)?;
        let router = Router::new(deployment.edges, metrics.clone(), deployment.flush_interval_ms);
        let mut chain = Chain::new(vec![], router).cutting(batching.rows_or(usize::MAX));
        let first = deployment.operators.first().map(|(ctx, _)| ctx.operator_id);
        let head = match &deployment.head {
            Head::Source(source) => source.ctx.operator_id,
            Head::Gate(_) => first.unwrap_or(OperatorId(0)),
        };
        let mut pending = VecDeque::new();
        for (ctx, operator) in deployment.operators {
            chain.open(ctx, operator)?;
        }
        let feed = match deployment.head {
            Head::Gate(mut gate) => {
                gate.restore(deployment.restored);
                Feed::Gate {
                    gate,
                    aligning_since: None,
                    ended: false,
                }
            }
            Head::Source(head) => {
                pending.extend(deployment.restored.into_iter().filter_map(Pending::restored));
                let SourceHead {
                    ctx,
                    source,
                    generator,
                    policy,
                    latency_interval_ms,
                } = *head;
                let reader = source.reader(&ctx).map_err(|e| e.at(&ctx.operator_name))?;
                let driver = SourceDriver::new(reader, generator, policy, ctx.metrics.clone());
                let markers = Markers {
                    interval_ms: latency_interval_ms,
                    last_ms: i64::MIN,
                };
                Feed::Source {
                    id: ctx.operator_id,
                    driver,
                    finished: false,
                    stopping: false,
                    markers,
                }
            }
        };
        Ok(Self {
            feed,
            chain,
            pending,
            pace: batching.barriers_overtake.then(Pace::default),
            given: None,
            told: NO_WATERMARK,
            head: (head, deployment.info.subtask),
            overtaken: None,
            part: None,
            processed_bytes: 0,
            commands,
            triggered: None,
            behind_barrier: vec![],
            has_fired: false,
            passed: 0,
            drained: false,
            cancelled: false,
            finish: false,
            source_splits: None,
            idle_until: None,
            metrics,
            out: Output::new(),
        })
    }

    /// Closes the operators, whatever the end was; no step may follow.
    pub fn close(&mut self) {
        self.chain.close();
    }

    /// Does one piece of work: a batch, a barrier, a timer.
    ///
    /// # Errors
    /// If an operator, reader or writer fails.
    pub fn step(&mut self, now_ms: i64, listener: &dyn TaskListener) -> Result<Step, TaskError> {
        self.take_commands(now_ms)?;
        if self.cancelled || self.finish {
            return Ok(Step::Ended);
        }
        let overtakes = self.pace.is_some() && self.may_overtake(now_ms);
        if overtakes {
            self.chain.hurry();
        }
        let chain = self.chain.run(now_ms)?;
        self.measure(chain);
        self.tell(listener, now_ms);
        self.complete_part(listener, now_ms);
        if chain != ChainState::Empty {
            if let Feed::Source { driver, .. } = &mut self.feed {
                driver.held_back(now_ms);
            }
            let until_ms = self
                .chain
                .next_timer()
                .into_iter()
                .chain(self.next_overtaking(now_ms))
                .min();
            return Ok(Step::Wait {
                until_ms,
                back_pressured: true,
                is_blocked: chain == ChainState::Blocked,
            });
        }
        if overtakes && self.overtake(now_ms)? {
            return Ok(Step::Progress);
        }
        if let Some(pending) = self.pending.pop_front() {
            self.let_in(pending, now_ms)?;
            return Ok(Step::Progress);
        }
        // In turn with input: timers that come due for ever, a long sweep's pages, must keep no barrier waiting.
        let is_due = self.chain.next_timer().is_some_and(|t| t <= now_ms);
        self.has_fired = is_due && !self.has_fired;
        if self.has_fired {
            self.chain.fire_timers(now_ms)?;
            return Ok(Step::Progress);
        }
        let is_fed = self.feed(now_ms)?;
        if let Feed::Source { driver, .. } = &mut self.feed
            && let Some(reached) = driver.take_report()
        {
            listener.on_event(TaskEvent::ReportedWatermark(reached));
        }
        if is_fed {
            return Ok(Step::Progress);
        }
        let marker = match &self.feed {
            Feed::Source {
                markers,
                finished: false,
                ..
            } if markers.interval_ms > 0 => Some(markers.last_ms.saturating_add(markers.interval_ms)),
            _ => None,
        };
        let until_ms = self
            .chain
            .next_timer()
            .into_iter()
            .chain(marker)
            .chain(self.idle_until)
            .chain(self.next_overtaking(now_ms))
            .min();
        Ok(Step::Wait {
            until_ms,
            back_pressured: false,
            is_blocked: false,
        })
    }

    fn take_commands(&mut self, now_ms: i64) -> Result<(), TaskError> {
        if self.triggered.is_none() {
            self.take_held(now_ms)?;
        }
        while let Ok(command) = self.commands.try_recv() {
            self.take_command(command, now_ms)?;
        }
        Ok(())
    }

    fn take_held(&mut self, now_ms: i64) -> Result<(), TaskError> {
        let held = std::mem::take(&mut self.behind_barrier);
        held.into_iter().try_for_each(|c| self.take_command(c, now_ms))
    }

    fn take_command(&mut self, command: TaskCommand, now_ms: i64) -> Result<(), TaskError> {
        match (command, &mut self.feed) {
            (TaskCommand::Cancel, _) => self.cancelled = true,
            (TaskCommand::Fail(label, reason), _) => return Err(TaskError::new(label, reason)),
            (TaskCommand::Finish, _) => self.finish = true,
            (command @ (TaskCommand::AddSplits(_) | TaskCommand::NoMoreSplits), Feed::Source { .. })
                if self.triggered.is_some() =>
            {
                self.behind_barrier.push(command);
            }
            (TaskCommand::AddSplits(splits), Feed::Source { driver, .. }) => driver.add_splits(splits, now_ms)?,
            (TaskCommand::NoMoreSplits, Feed::Source { driver, .. }) => driver.no_more_splits(),
            (TaskCommand::AlignWatermarks(limit), Feed::Source { driver, .. }) => driver.align(limit, now_ms),
            (
                TaskCommand::AddSplits(_) | TaskCommand::NoMoreSplits | TaskCommand::AlignWatermarks(_),
                Feed::Gate { .. },
            ) => {
                return Err(TaskError::internal("a task without a source was told what to read"));
            }
            (TaskCommand::Checkpoint(barrier), _) if barrier.checkpoint > self.passed => {
                // One that was not yet taken is given up for this one, which covers the splits between them.
                self.triggered = None;
                self.take_held(now_ms)?;
                self.triggered = Some(barrier);
            }
            (TaskCommand::Checkpoint(_), _) => {}
            (TaskCommand::CheckpointAborted(checkpoint), feed) => {
                if let Feed::Gate { gate, .. } = feed {
                    gate.give_up(checkpoint);
                }
                self.chain.checkpoint_aborted(checkpoint)?;
            }
            (TaskCommand::CheckpointComplete(checkpoint), feed) => {
                if let Feed::Source { driver, .. } = feed {
                    driver.checkpoint_complete(checkpoint);
                }
                self.chain.checkpoint_complete(checkpoint)?;
            }
        }
        Ok(())
    }

    /// Lets one element in; `false` if there is none.
    fn feed(&mut self, now_ms: i64) -> Result<bool, TaskError> {
        if self.drained {
            return self.checkpoint_after_end();
        }
        match &mut self.feed {
            Feed::Source {
                driver,
                finished,
                stopping,
                markers,
                ..
            } => {
                if *finished || *stopping {
                    return Ok(false);
                }
                if let Some(barrier) = self.triggered.take() {
                    *stopping = barrier.then != AfterBarrier::Continue;
                    self.source_barrier(barrier, now_ms)?;
                    if barrier.then == AfterBarrier::Drain {
                        self.pending.push_back(Pending::of(Element::Watermark(END_OF_TIME)));
                    }
                    self.pending.push_back(Pending::of(Element::Barrier(barrier)));
                    self.pending.extend(self.out.drain().map(Pending::of));
                    if barrier.then != AfterBarrier::Continue {
                        self.pending.push_back(Pending::of(Element::End(EndOfInput::Stopped)));
                    }
                    return Ok(true);
                }
                if markers.interval_ms > 0 && now_ms.saturating_sub(markers.last_ms) >= markers.interval_ms {
                    markers.last_ms = now_ms;
                    self.pending.push_back(Pending::of(Element::LatencyMarker(now_ms)));
                }
                let state = driver.poll(now_ms, &mut self.out)?;
                self.pending.extend(self.out.drain().map(Pending::of));
                self.idle_until = None;
                match state {
                    SourceState::Progress => Ok(true),
                    SourceState::Idle(until_ms) => {
                        self.idle_until = until_ms;
                        Ok(!self.pending.is_empty())
                    }
                    SourceState::Finished => {
                        *finished = true;
                        self.pending.push_back(Pending::of(Element::Watermark(END_OF_TIME)));
                        self.pending.push_back(Pending::of(Element::End(EndOfInput::Drained)));
                        Ok(true)
                    }
                }
            }
            Feed::Gate {
                gate,
                aligning_since,
                ended,
            } => {
                if *ended {
                    return Ok(false);
                }
                let event = gate.poll()?;
                if aligning_since.is_none()
                    && let Some(checkpoint) = gate.aligning()
                {
                    *aligning_since = Some(Instant::now());
                    self.metrics.aligning.set(checkpoint as i64);
                    self.metrics.aligning_since_ms.set(now_ms);
                }
                let Some(event) = event else { return Ok(false) };
                let pending = match event {
                    GateEvent::Data(input, spread, batch) => {
                        let bytes = batch.bytes() as u64;
                        self.metrics.records_in.add(batch.num_rows() as u64);
                        self.metrics.bytes_in.add(bytes);
                        if aligning_since.is_some() || gate.is_recording() {
                            self.processed_bytes += bytes;
                        }
                        let element = Element::Data(batch);
                        Pending { input, spread, element }
                    }
                    GateEvent::Watermark(time) => {
                        self.metrics.input_watermark.set(time);
                        Pending::of(Element::Watermark(time))
                    }
                    GateEvent::Idle(idle) => Pending::of(Element::Idle(idle)),
                    GateEvent::LatencyMarker(sent_ms) => Pending::of(Element::LatencyMarker(sent_ms)),
                    GateEvent::Barrier(barrier) => {
                        self.gate_barrier(barrier, now_ms);
                        Pending::of(Element::Barrier(barrier))
                    }
                    GateEvent::End(end) => {
                        *ended = true;
                        Pending::of(Element::End(end))
                    }
                };
                self.pending.push_back(pending);
                Ok(true)
            }
        }
    }

    /// A barrier goes into the chain of a source: captures its positions.
    fn source_barrier(&mut self, barrier: Barrier, now_ms: i64) -> Result<(), TaskError> {
        self.passed = barrier.checkpoint;
        self.metrics.aligned.set(barrier.checkpoint as i64);
        let Feed::Source { id, driver, .. } = &mut self.feed else {
            return Ok(());
        };
        if failpoint::hit("source-offsets") == Some(Action::Early) {
            // Positions then name rows that come only behind the barrier: what tests must find.
            read_ahead(driver, now_ms, &mut self.out)?;
        }
        // The barrier of one that was given up still goes: others may wait for it, who had it from elsewhere.
        self.source_splits = match self.chain.has_given_up(barrier.checkpoint) {
            true => None,
            false => Some((*id, splits_snapshot(driver.snapshot(barrier.checkpoint)?)?)),
        };
        let delay_ms = (now_ms - barrier.triggered_ms).max(0);
        self.metrics.start_delay_ns.set(delay_ms * 1_000_000);
        Ok(())
    }

    /// A barrier goes into the chain behind a gate: it has come from all channels, or overtakes.
    fn gate_barrier(&mut self, barrier: Barrier, now_ms: i64) {
        if let Feed::Gate {
            gate, aligning_since, ..
        } = &mut self.feed
        {
            let aligned = aligning_since.take();
            let aligned_ns = aligned.map_or(0, |since| since.elapsed().as_nanos() as i64);
            self.metrics.alignment_ns.set(aligned_ns);
            if self.chain.has_given_up(barrier.checkpoint) {
                gate.give_up(barrier.checkpoint);
            }
        }
        let delay_ms = (now_ms - barrier.triggered_ms).max(0);
        self.metrics.start_delay_ns.set(delay_ms * 1_000_000);
        self.passed = barrier.checkpoint;
        self.metrics.aligned.set(barrier.checkpoint as i64);
        if self.triggered.is_some_and(|t| t.checkpoint <= barrier.checkpoint) {
            self.triggered = None;
        }
    }

    /// A checkpoint of a task whose input has ended: the command is the barrier.
    fn checkpoint_after_end(&mut self) -> Result<bool, TaskError> {
        let Some(barrier) = self.triggered.take() else {
            return Ok(false);
        };
        self.passed = barrier.checkpoint;
        self.metrics.aligned.set(barrier.checkpoint as i64);
        if let Feed::Source { id, driver, .. } = &mut self.feed
            && !self.chain.has_given_up(barrier.checkpoint)
        {
            self.source_splits = Some((*id, splits_snapshot(driver.snapshot(barrier.checkpoint)?)?));
        }
        self.pending.push_back(Pending::of(Element::Barrier(barrier)));
        Ok(true)
    }

    fn tell(&mut self, listener: &dyn TaskListener, now_ms: i64) {
        while let Some(event) = self.chain.next_event() {
            listener.on_event(match event {
                ChainEvent::Snapshot(barrier, operators) => {
                    self.metrics.captured.set(barrier.checkpoint as i64);
                    let operators = self.source_splits.take().into_iter().chain(operators).collect();
                    self.captured(barrier, operators);
                    continue;
                }
                ChainEvent::Ended(EndOfInput::Drained) => {
                    self.drained = true;
                    TaskEvent::Drained
                }
                ChainEvent::Ended(EndOfInput::Stopped) => TaskEvent::Stopped,
                ChainEvent::Marker(sent_ms) => {
                    let latency_ms = (now_ms - sent_ms).max(0);
                    self.metrics.latency_ms.set(latency_ms);
                    TaskEvent::Latency(latency_ms)
                }
            });
        }
    }
}

/// Reads until there are rows, for a second at most; only for the fail point `source-offsets`.
fn read_ahead(driver: &mut SourceDriver, now_ms: i64, out: &mut Output) -> Result<(), TaskError> {
    for _ in 0..1_000 {
        if driver.poll(now_ms, out)? != SourceState::Progress {
            std::thread::sleep(Duration::from_millis(1));
        } else if !out.is_empty() {
            break;
        }
    }
    Ok(())
}

fn splits_snapshot(splits: Vec<TimedSplit>) -> Result<OperatorSnapshot, TaskError> {
    let entry = |split: &TimedSplit| {
        let bytes = serde_json::to_vec(split)
            .map_err(|e| TaskError::caused(crate::FailureLabel::Internal, "a split's position cannot be written", e))?;
        Ok(OperatorEntry {
            name: SPLITS_STATE.to_owned(),
            bytes: bytes.into(),
            redistribute: Redistribute::Split,
        })
    };
    let operator_state = splits.iter().map(entry).collect::<Result<Vec<_>, TaskError>>()?;
    Ok(OperatorSnapshot {
        operator_state,
        ..OperatorSnapshot::default()
    })
}

#[cfg(test)]
mod tests;
