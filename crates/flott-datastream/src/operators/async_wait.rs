//! Records that wait for the answers of an asynchronous function.
//!
//! ```text
//!  batch ─► backlog ─► line (id ─► record under way | watermark | idleness), at most `capacity` records ─► answers, watermarks
//!                          │ spawned on Tokio                    ▲
//!                          └──► async_invoke ──► answers, wake ──┘
//! ```
//! The line is the order of the stream. Ordered, only its first element leaves; unordered, any record before the first watermark that has its answer.
//! Watermarks lie in the line, so the operator passes them on itself. Deadlines and retries go by the task's clock. What is in the line at a
//! barrier is operator state, whether it has its answer or not, and is asked again after a restore, before all new input.

use super::{describe_failure, guarded};
use crate::async_io::{AsyncFunction, AsyncRetryStrategy};
use crate::entries::{read_entry, write_entry};
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::records::{Data, Records};
use crate::state::operator::OperatorStates;
use flott_core::clock::SharedClock;
use flott_core::time::END_OF_TIME;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::{Element, Flow, Operator, OperatorContext, Output, TaskError, Waker};
use flott_state::{OperatorEntry, OperatorSnapshot, Redistribute, StateValue};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Operator state of the records under way.
const STATE: &str = "async-in-flight";

/// Records of one entry of state: entries are what a restore spreads over subtasks.
const ENTRY_RECORDS: usize = 16;

/// How a function is asked.
pub(crate) struct AsyncSettings<U> {
    pub(crate) is_ordered: bool,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) capacity: usize,
    pub(crate) retry: Option<AsyncRetryStrategy<U>>,
}

impl<U> Clone for AsyncSettings<U> {
    fn clone(&self) -> Self {
        Self {
            is_ordered: self.is_ordered,
            timeout_ms: self.timeout_ms,
            capacity: self.capacity,
            retry: self.retry.clone(),
        }
    }
}

/// An answer: the record's id, the attempt that it is for, and what was said, or how the function panicked.
struct Answer<U> {
    id: u64,
    attempt: u32,
    said: Result<Vec<U>, BoxError>,
}

/// Where answers arrive, from any thread.
struct Mailbox<U>(Mutex<VecDeque<Answer<U>>>);

impl<U> Mailbox<U> {
    fn answers(&self) -> MutexGuard<'_, VecDeque<Answer<U>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a record is.
enum Progress<U> {
    /// It is asked for.
    Asked(AbortHandle),
    /// It is asked for again later.
    Resting,
    /// It has its answer.
    Answered(Vec<U>),
}

struct UnderWay<T, U> {
    value: T,
    time: Option<EventTime>,
    attempt: u32,
    progress: Progress<U>,
    deadline_ms: Option<i64>,
}

/// An element of the line.
enum InLine<T, U> {
    Record(UnderWay<T, U>),
    Mark(Element),
}

/// What is to be done at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Retry,
    Timeout,
}

/// What the open call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// For nothing.
    Nothing,
    /// For room.
    Room,
    /// For all answers.
    All,
}

/// What is known once the operator is open.
struct Opened<F> {
    function: Arc<F>,
    runtime: Handle,
    waker: Waker,
    clock: SharedClock,
}

/// The operator around an [`AsyncFunction`].
pub(crate) struct AsyncWait<T, F: AsyncFunction<T>> {
    function: F,
    settings: AsyncSettings<F::Out>,
    opened: Option<Opened<F>>,
    lists: OperatorStates,
    mailbox: Arc<Mailbox<F::Out>>,
    /// Records that are not asked for yet.
    backlog: VecDeque<(T, Option<EventTime>)>,
    line: BTreeMap<u64, InLine<T, F::Out>>,
    next_id: u64,
    /// Records in the line.
    under_way: usize,
    /// Marks that come behind the backlog.
    late_marks: Vec<Element>,
    /// Ids of the marks in the line.
    marks: BTreeSet<u64>,
    /// Ids of records that have their answers.
    answered: BTreeSet<u64>,
    alarms: BTreeSet<(i64, Alarm, u64)>,
    waits: Waits,
    collector: Collector<F::Out>,
}

impl<T: Data + StateValue, F: AsyncFunction<T>> AsyncWait<T, F> {
    pub(crate) fn new(function: F, settings: AsyncSettings<F::Out>) -> Self {
        Self {
            function,
            settings,
            opened: None,
            lists: OperatorStates::default(),
            mailbox: Arc::new(Mailbox(Mutex::default())),
            backlog: VecDeque::new(),
            line: BTreeMap::new(),
            next_id: 0,
            under_way: 0,
            late_marks: vec![],
            marks: BTreeSet::new(),
            answered: BTreeSet::new(),
            alarms: BTreeSet::new(),
            waits: Waits::Room,
            collector: Collector::default(),
        }
    }

    fn opened(&self) -> Result<&Opened<F>, TaskError> {
        let opened = self.opened.as_ref();
        opened.ok_or_else(|| TaskError::internal("an asynchronous function is called before it is open"))
    }

    /// Asks for a record's answer on Tokio.
    fn ask(&self, id: u64, attempt: u32, value: T) -> Result<AbortHandle, TaskError> {
        let Opened {
            function,
            runtime,
            waker,
            ..
        } = self.opened()?;
        let (function, waker, mailbox) = (function.clone(), waker.clone(), self.mailbox.clone());
        let asked = runtime.spawn(async move {
            let said = unpanicked(function.async_invoke(value)).await;
            mailbox.answers().push_back(Answer { id, attempt, said });
            waker.wake();
        });
        Ok(asked.abort_handle())
    }

    /// Does all that can be done now.
    fn advance(&mut self, out: &mut Output) -> Result<(), TaskError> {
        self.take_answers()?;
        self.ring()?;
        self.leave(out);
        self.admit()
    }

    /// Lets records of the backlog into the line while there is room, and marks behind the last of them.
    fn admit(&mut self) -> Result<(), TaskError> {
        while self.under_way < self.settings.capacity
            && let Some((value, time)) = self.backlog.pop_front()
        {
            let id = self.next_id;
            self.next_id += 1;
            let now_ms = self.opened()?.clock.now_ms();
            let deadline_ms = self
                .settings
                .timeout_ms
                .map(|timeout_ms| now_ms.saturating_add(timeout_ms));
            self.alarms.extend(deadline_ms.map(|at_ms| (at_ms, Alarm::Timeout, id)));
            let record = UnderWay {
                progress: Progress::Asked(self.ask(id, 1, value.clone())?),
                value,
                time,
                attempt: 1,
                deadline_ms,
            };
            self.line.insert(id, InLine::Record(record));
            self.under_way += 1;
        }
        if self.backlog.is_empty() {
            for mark in self.late_marks.drain(..) {
                self.line.insert(self.next_id, InLine::Mark(mark));
                self.marks.insert(self.next_id);
                self.next_id += 1;
            }
        }
        Ok(())
    }

    /// Gives a record its answer.
    fn settle(&mut self, id: u64, answer: Vec<F::Out>) {
        if let Some(InLine::Record(record)) = self.line.get_mut(&id) {
            record.progress = Progress::Answered(answer);
            self.answered.insert(id);
            if let Some(at_ms) = record.deadline_ms {
                self.alarms.remove(&(at_ms, Alarm::Timeout, id));
            }
        }
    }

    /// Takes the answers that have arrived.
    fn take_answers(&mut self) -> Result<(), TaskError> {
        let answers = std::mem::take(&mut *self.mailbox.answers());
        let now_ms = self.opened()?.clock.now_ms();
        for Answer { id, attempt, said } in answers {
            let Some(InLine::Record(record)) = self.line.get_mut(&id) else {
                continue;
            };
            // The answer of a call that was given up.
            if record.attempt != attempt || !matches!(record.progress, Progress::Asked(_)) {
                continue;
            }
            let strategy = self.settings.retry.as_ref();
            if let Some(delay) = strategy.and_then(|strategy| strategy.delay(attempt, &said)) {
                record.progress = Progress::Resting;
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                self.alarms.insert((now_ms.saturating_add(delay_ms), Alarm::Retry, id));
                continue;
            }
            match said {
                Ok(values) => self.settle(id, values),
                Err(error) => return Err(describe_failure(&record.value, id + 1, record.time, error)),
            }
        }
        Ok(())
    }

    /// Does what is due: retries, then the ends of records whose time is over.
    fn ring(&mut self) -> Result<(), TaskError> {
        let now_ms = self.opened()?.clock.now_ms();
        while let Some(alarm) = self.alarms.first().copied()
            && alarm.0 <= now_ms
        {
            self.alarms.remove(&alarm);
            let (_, alarm, id) = alarm;
            let Some(InLine::Record(record)) = self.line.get(&id) else {
                continue;
            };
            let (value, time, attempt) = (record.value.clone(), record.time, record.attempt + 1);
            match (alarm, &record.progress) {
                (Alarm::Retry, Progress::Resting) => {
                    let asked = self.ask(id, attempt, value)?;
                    if let Some(InLine::Record(record)) = self.line.get_mut(&id) {
                        (record.progress, record.attempt) = (Progress::Asked(asked), attempt);
                    }
                }
                (Alarm::Timeout, Progress::Asked(_) | Progress::Resting) => {
                    if let Progress::Asked(asked) = &record.progress {
                        asked.abort();
                    }
                    let function = self.opened()?.function.clone();
                    let timeout = AssertUnwindSafe(|| function.timeout(value.clone()));
                    let answer = catch_unwind(timeout).unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
                    let answer = answer.map_err(|error| describe_failure(&value, id + 1, time, error))?;
                    self.settle(id, answer);
                }
                (Alarm::Retry, _) | (Alarm::Timeout, Progress::Answered(_)) => {}
            }
        }
        Ok(())
    }

    /// Emits what may leave the line, until enough was emitted.
    fn leave(&mut self, out: &mut Output) {
        while !self.collector.is_full() {
            let Some(first) = self.line.keys().next().copied() else {
                break;
            };
            if self.marks.remove(&first) {
                if let Some(InLine::Mark(mark)) = self.line.remove(&first) {
                    self.collector.emit(out);
                    out.push(mark);
                }
                continue;
            }
            let next = match self.settings.is_ordered {
                true => self.answered.first().copied().filter(|id| *id == first),
                false => {
                    let mark = self.marks.first().copied().unwrap_or(u64::MAX);
                    self.answered.first().copied().filter(|id| *id < mark)
                }
            };
            let Some(id) = next else {
                break;
            };
            self.answered.remove(&id);
            self.under_way -= 1;
            if let Some(InLine::Record(UnderWay {
                time,
                progress: Progress::Answered(values),
                ..
            })) = self.line.remove(&id)
            {
                self.collector.time = time;
                values.into_iter().for_each(|value| self.collector.collect(value));
            }
        }
        self.collector.emit(out);
    }

    /// Whether something can leave at once.
    fn has_leavers(&self) -> bool {
        let Some(first) = self.line.keys().next() else {
            return false;
        };
        match (self.settings.is_ordered, self.answered.first()) {
            _ if self.marks.contains(first) => true,
            (true, answered) => answered == Some(first),
            (false, Some(answered)) => self.marks.first().is_none_or(|mark| answered < mark),
            (false, None) => false,
        }
    }
}

/// Runs a future; a panic is an error of its own.
async fn unpanicked<U>(future: impl Future<Output = Result<Vec<U>, BoxError>> + Send) -> Result<Vec<U>, BoxError> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |ctx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(ctx)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic.as_ref()))))
    })
    .await
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> BoxError {
    format!("it panicked: {}", flott_runtime::error::panic_text(panic)).into()
}

impl<T: Data + StateValue, F: AsyncFunction<T>> Operator for AsyncWait<T, F> {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let runtime = RuntimeContext::with_states(ctx, &self.lists);
        guarded("open", || self.function.open(&runtime))?;
        self.lists.restore(ctx)?;
        self.opened = Some(Opened {
            function: Arc::new(self.function.clone()),
            runtime: ctx.runtime.clone(),
            waker: ctx.waker.clone(),
            clock: ctx.clock.clone(),
        });
        for bytes in ctx.restored.iter().flat_map(|restored| restored.operator_state(STATE)) {
            let what = "what an asynchronous function was asked";
            let records: Vec<(Option<EventTime>, T)> = read_entry(what, bytes)?;
            self.backlog
                .extend(records.into_iter().map(|(time, value)| (value, time)));
        }
        self.admit()
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let Records { values, times } = Records::<T>::from_batch(batch)?;
        let mut times = times.cursor();
        self.backlog
            .extend(values.into_iter().map(|value| (value, times.next())));
        self.waits = Waits::Room;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)?;
        if self.has_leavers() {
            return Ok(Flow::More);
        }
        let is_done = match self.waits {
            Waits::Nothing => true,
            Waits::Room => self.backlog.is_empty(),
            Waits::All => self.backlog.is_empty() && self.line.is_empty(),
        };
        Ok(if is_done { Flow::Done } else { Flow::Blocked })
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        // The end of time is passed on by the driver, behind all answers.
        if watermark == END_OF_TIME {
            self.waits = Waits::All;
        } else {
            self.late_marks.push(Element::Watermark(watermark));
            self.waits = Waits::Room;
        }
        self.resume(out)
    }

    fn makes_watermarks(&self) -> bool {
        true
    }

    fn on_idle(&mut self, idle: bool) {
        self.late_marks.push(Element::Idle(idle));
    }

    fn next_timer(&self) -> Option<i64> {
        let has_room = !self.backlog.is_empty() && self.under_way < self.settings.capacity;
        let has_marks = self.backlog.is_empty() && !self.late_marks.is_empty();
        let has_work = self.has_leavers() || has_room || has_marks || !self.mailbox.answers().is_empty();
        if has_work {
            return Some(i64::MIN);
        }
        self.alarms.first().map(|(at_ms, ..)| *at_ms)
    }

    fn on_timer(&mut self, _now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.waits = Waits::Nothing;
        self.resume(out)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let of_line = self.line.values().filter_map(|element| match element {
            InLine::Record(record) => Some((record.time, record.value.clone())),
            InLine::Mark(_) => None,
        });
        let of_backlog = self.backlog.iter().map(|(value, time)| (*time, value.clone()));
        let records: Vec<(Option<EventTime>, T)> = of_line.chain(of_backlog).collect();
        let entry = |records: &[(Option<EventTime>, T)]| {
            Ok(OperatorEntry {
                name: STATE.to_owned(),
                bytes: write_entry(&records.to_vec())?,
                redistribute: Redistribute::Split,
            })
        };
        let under_way = records.chunks(ENTRY_RECORDS).map(entry);
        let mut operator_state = under_way.collect::<Result<Vec<_>, TaskError>>()?;
        operator_state.extend(self.lists.snapshot()?);
        Ok(OperatorSnapshot {
            operator_state,
            ..OperatorSnapshot::default()
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.waits = Waits::All;
        self.resume(out)
    }

    fn close(&mut self) -> Result<(), TaskError> {
        let opened = self.opened.as_ref().map(|opened| &*opened.function);
        let function = opened.unwrap_or(&self.function);
        guarded("close", || function.close())
    }
}

impl<T, F: AsyncFunction<T>> Drop for AsyncWait<T, F> {
    fn drop(&mut self) {
        for element in self.line.values() {
            if let InLine::Record(UnderWay {
                progress: Progress::Asked(asked),
                ..
            }) = element
            {
                asked.abort();
            }
        }
    }
}
