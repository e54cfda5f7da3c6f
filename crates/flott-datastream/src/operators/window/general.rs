//! Windows with any assigner, trigger, evictor and lateness, sessions among them: a list of windows for each key.
//!
//! ```text
//!  batch ─► keys ─► slot of the key: [(window, contents, trigger's state), …] ─► trigger ─► function
//!  timers of (key, window): of the trigger, and one at which the window's life is over
//! ```
//! The rules are those of Flink's `WindowOperator`: a window's life is over at its last time plus the allowed lateness; windows of
//! sessions are merged before the record is added. A window that holds nothing any more is given up with its key.

use super::{Common, event_time, guard_window, guarded, opened};
use crate::function::BoxError;
use crate::key::{Key, KeyAt, Keys};
use crate::records::Data;
use crate::timers::{Due, Timers};
use crate::window::Window;
use crate::window::assigner::WindowAssigner;
use crate::window::contents::Contents;
use crate::window::evictor::EvictorContext;
use crate::window::function::{ProcessWindowFunction, WindowContext};
use crate::window::trigger::{TimeDomain, TimerRequest, Trigger, TriggerContext, TriggerResult};
use flott_core::hash::hash_columns;
use flott_core::time::END_OF_TIME;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, OperatorSnapshot, StateValue, TableDescriptor};
use std::sync::Arc;

/// A window of a key: itself, its contents, its trigger's state.
type Pane<W, C, S> = (W, Option<C>, S);

/// The keys of a batch whose records are being added, by their places.
struct Work<K> {
    keys: Keys<K>,
    hashes: Arc<Vec<u64>>,
    slots: Vec<u32>,
    global_slots: Vec<u32>,
}

/// What a call is about that has not come to its end.
enum Open<K> {
    Nothing,
    Batch(Work<K>),
    EventTimers(EventTime),
    ProcessingTimers(i64),
}

/// What is at hand: a key, and where its windows are.
struct Place<'a, K> {
    key: KeyAt<'a, K>,
    key_hash: u64,
    slot: u32,
}

/// See the module.
pub(super) struct General<K, T, A, G, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    common: Common<K, T, F::Out>,
    windows: Windows<K, T, A, G, C, F>,
    open_call: Open<K>,
}

/// The windows of all keys and what works on them.
struct Windows<K, T, A, G, C, F>
where
    A: WindowAssigner<T>,
{
    assigner: A,
    trigger: G,
    contents: C,
    function: F,
    lateness_ms: i64,
    is_event_time: bool,
    is_merging: bool,
    /// One column: the list of a key's windows.
    table: KeyedTable,
    event_timers: Timers<(K, A::Window)>,
    processing_timers: Timers<(K, A::Window)>,
    assigned: Vec<A::Window>,
    requests: Vec<TimerRequest>,
    /// Slots of window state that were looked at.
    window_slots: Vec<u32>,
}

impl<K, T, A, G, C, F> General<K, T, A, G, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    pub(super) fn open(
        common: Common<K, T, F::Out>,
        assigner: A,
        trigger: G,
        contents: C,
        function: &mut Option<F>,
        lateness_ms: i64,
        ctx: &OperatorContext,
    ) -> Result<Self, TaskError> {
        type Panes<W, C, S> = Vec<Pane<W, C, S>>;
        let ty = Panes::<A::Window, C::Kept, G::State>::state_type();
        let descriptor = TableDescriptor::new("windows-by-key", K::types()).values("windows", ty);
        let mut table = ctx.table(descriptor)?;
        table.keep_values::<Panes<A::Window, C::Kept, G::State>>(0);
        if let Some(restored) = &ctx.restored {
            restored.load_table(&mut table)?;
        }
        let key_fields = K::types().len();
        Ok(Self {
            common,
            windows: Windows {
                lateness_ms,
                is_event_time: assigner.is_event_time(),
                is_merging: assigner.is_merging(),
                assigner,
                trigger,
                contents,
                table,
                event_timers: Timers::open_placed("window-event-time-timers", key_fields, ctx)?,
                processing_timers: Timers::open_placed("window-processing-time-timers", key_fields, ctx)?,
                function: opened(function)?,
                assigned: vec![],
                requests: vec![],
                window_slots: vec![],
            },
            open_call: Open::Nothing,
        })
    }

    /// Adds records until none is left or enough was emitted; gives back what is left.
    fn work(&mut self, work: Work<K>) -> Result<Option<Work<K>>, TaskError> {
        let Self { common, windows, .. } = self;
        let now_ms = common.clock.now_ms();
        common.global.set_now(now_ms);
        common.of_window.set_now(now_ms);
        let has_global = common.global.is_used();
        let mut at_hand = std::mem::take(&mut common.at_hand);
        let ended = at_hand.guard(|at_hand| {
            while !common.collector.is_full() {
                let row = at_hand.place();
                let Some((value, time)) = at_hand.next() else { break };
                if has_global {
                    common.global.select(work.global_slots[row]);
                }
                let place = Place {
                    key: work.keys.at(row),
                    key_hash: work.hashes[row],
                    slot: work.slots[row],
                };
                windows.add(common, &place, value, time, now_ms)?;
            }
            Ok(())
        });
        common.at_hand = at_hand;
        ended?;
        windows.apply_timers()?;
        if common.at_hand.len() > 0 {
            return Ok(Some(work));
        }
        windows.forget_blank(&work.slots);
        windows.forget_state(common, &work.global_slots);
        Ok(None)
    }

    /// Calls the timers of one time that are due; `false` if there are none.
    fn fire(&mut self, until_ms: i64, domain: TimeDomain) -> Result<bool, TaskError> {
        let Self { common, windows, .. } = self;
        let timers = match domain {
            TimeDomain::EventTime => &mut windows.event_timers,
            TimeDomain::ProcessingTime => &mut windows.processing_timers,
        };
        let Some(due) = timers.take_due(until_ms)? else {
            return Ok(false);
        };
        let Due { time_ms, keys, hashes } = due;
        let (columns, of_windows) = keys.columns().split_at(K::types().len());
        let keys = Keys::<K>::in_columns(columns.to_vec(), hashes.len());
        let mut slots = Vec::with_capacity(hashes.len());
        windows.relieve(common)?;
        windows.table.slots(columns, &hashes, &mut slots)?;
        let now_ms = common.clock.now_ms();
        common.global.set_now(now_ms);
        common.of_window.set_now(now_ms);
        let mut global_slots = vec![];
        if common.global.is_used() {
            common.global.table().slots(columns, &hashes, &mut global_slots)?;
        }
        guard_window(|at| {
            for row in 0..hashes.len() {
                let window = A::Window::from_columns(&mut of_windows.iter(), row);
                *at = Some(window.clone());
                if let Some(slot) = global_slots.get(row) {
                    common.global.select(*slot);
                }
                let place = Place {
                    key: keys.at(row),
                    key_hash: hashes[row],
                    slot: slots[row],
                };
                windows.on_timer(common, &place, &window, (time_ms, domain), now_ms)?;
            }
            Ok(())
        })?;
        windows.apply_timers()?;
        windows.forget_blank(&slots);
        windows.forget_state(common, &global_slots);
        Ok(true)
    }
}

impl<K, T, A, G, C, F> Windows<K, T, A, G, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    /// When a window's life is over: its last time, in event time with the allowed lateness; `None` if never.
    fn end_of_life(&self, window: &A::Window) -> Option<i64> {
        let last = window.max_timestamp();
        let end = match self.is_event_time {
            true => last.saturating_add(self.lateness_ms),
            false => last,
        };
        (end < i64::MAX).then_some(end)
    }

    fn domain(&self) -> TimeDomain {
        match self.is_event_time {
            true => TimeDomain::EventTime,
            false => TimeDomain::ProcessingTime,
        }
    }

    fn is_late(&self, window: &A::Window, watermark: EventTime) -> bool {
        self.is_event_time && self.end_of_life(window).is_some_and(|end| end <= watermark)
    }

    /// The windows of the key at hand.
    fn panes(&mut self, slot: u32) -> &mut Vec<Pane<A::Window, C::Kept, G::State>> {
        self.table.values_mut(0).get_mut(slot).get_or_insert_default()
    }

    /// Hands on the timers that the trigger has asked for, and the window's last one if it is new.
    fn request(&mut self, place: &Place<'_, K>, window: &A::Window, end_of_life: bool) {
        let domain = self.domain();
        let last = self
            .end_of_life(window)
            .filter(|_| end_of_life)
            .map(|time_ms| TimerRequest {
                time_ms,
                domain,
                is_removal: false,
            });
        if self.requests.is_empty() && last.is_none() {
            return;
        }
        let key = (place.key.get().clone(), window.clone());
        for TimerRequest {
            time_ms,
            domain,
            is_removal,
        } in self.requests.drain(..).chain(last)
        {
            let timers = match domain {
                TimeDomain::EventTime => &mut self.event_timers,
                TimeDomain::ProcessingTime => &mut self.processing_timers,
            };
            timers.request(&key, place.key_hash, time_ms, is_removal);
        }
    }

    /// Adds a record to its windows.
    fn add(
        &mut self,
        common: &mut Common<K, T, F::Out>,
        place: &Place<'_, K>,
        value: T,
        time: Option<EventTime>,
        now_ms: i64,
    ) -> Result<(), BoxError> {
        let timestamp = event_time(time, self.is_event_time)?;
        let watermark = common.watermark;
        let mut assigned = std::mem::take(&mut self.assigned);
        self.assigner.assign_windows(&value, timestamp, now_ms, &mut assigned)?;
        let mut was_added = false;
        for window in assigned.drain(..) {
            let window = match self.is_merging {
                true => self.merge(place, window, watermark, now_ms)?,
                false => window,
            };
            if self.is_late(&window, watermark) {
                if self.is_merging {
                    self.panes(place.slot).retain(|p| p.0 != window);
                }
                continue;
            }
            was_added = true;
            let panes = self.table.values_mut::<Vec<Pane<A::Window, C::Kept, G::State>>>(0);
            let panes = panes.get_mut(place.slot).get_or_insert_default();
            let (index, is_new) = match panes.iter().position(|p| p.0 == window) {
                Some(index) => (index, false),
                None => {
                    panes.push((window.clone(), None, G::State::default()));
                    (panes.len() - 1, true)
                }
            };
            let (_, kept, state) = &mut panes[index];
            self.contents.add(kept, value.clone(), time)?;
            let mut ctx = TriggerContext {
                state,
                watermark,
                now_ms,
                requests: &mut self.requests,
            };
            let result = self.trigger.on_element(&value, timestamp, &window, &mut ctx)?;
            self.request(place, &window, is_new);
            self.carry_out(common, place, &window, result, now_ms)?;
        }
        self.assigned = assigned;
        // With lateness a window may outlive its records' own times: only what is behind all of it is late, as in Flink.
        let is_behind = self.is_event_time && timestamp.saturating_add(self.lateness_ms) <= watermark;
        if !was_added && is_behind {
            common.late(value, time);
        }
        Ok(())
    }

    /// Merges a new window with those of its key that it touches; gives the window that the record belongs to.
    fn merge(
        &mut self,
        place: &Place<'_, K>,
        new: A::Window,
        watermark: EventTime,
        now_ms: i64,
    ) -> Result<A::Window, BoxError> {
        let panes = self.panes(place.slot);
        let mut merged = new;
        let mut touched: Vec<usize> = vec![];
        // What is covered now may touch others.
        while let Some((index, cover)) = panes.iter().enumerate().find_map(|(index, pane)| {
            let cover = merged.cover(&pane.0)?;
            (!touched.contains(&index)).then_some((index, cover))
        }) {
            touched.push(index);
            merged = cover;
        }
        if touched.is_empty() || (touched.len() == 1 && panes[touched[0]].0 == merged) {
            return Ok(merged);
        }
        touched.sort_unstable();
        let mut old: Vec<_> = touched
            .into_iter()
            .rev()
            .map(|index| panes.swap_remove(index))
            .collect();
        old.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Option<C::Kept> = None;
        let (mut windows, mut states) = (vec![], vec![]);
        for (window, of_window, state) in old {
            kept = match (kept, of_window) {
                (Some(a), Some(b)) => Some(self.contents.merge(a, b)),
                (a, b) => a.or(b),
            };
            windows.push(window);
            states.push(state);
        }
        let mut state = G::State::default();
        let mut ctx = TriggerContext {
            state: &mut state,
            watermark,
            now_ms,
            requests: &mut self.requests,
        };
        self.trigger.on_merge(&merged, states, &mut ctx)?;
        self.request(place, &merged, true);
        for window in windows.into_iter().filter(|w| *w != merged) {
            let mut gone = G::State::default();
            let mut ctx = TriggerContext {
                state: &mut gone,
                watermark,
                now_ms,
                requests: &mut self.requests,
            };
            self.trigger.clear(&window, &mut ctx)?;
            if let Some(time_ms) = self.end_of_life(&window) {
                let domain = self.domain();
                self.requests.push(TimerRequest {
                    time_ms,
                    domain,
                    is_removal: true,
                });
            }
            self.request(place, &window, false);
        }
        self.panes(place.slot).push((merged.clone(), kept, state));
        Ok(merged)
    }

    /// Fires and purges a window as its trigger says.
    fn carry_out(
        &mut self,
        common: &mut Common<K, T, F::Out>,
        place: &Place<'_, K>,
        window: &A::Window,
        result: TriggerResult,
        now_ms: i64,
    ) -> Result<(), BoxError> {
        if result == TriggerResult::Continue {
            return Ok(());
        }
        let panes = self.table.values_mut::<Vec<Pane<A::Window, C::Kept, G::State>>>(0);
        let panes = panes.get_mut(place.slot).get_or_insert_default();
        let Some((_, kept, _)) = panes.iter_mut().find(|p| p.0 == *window) else {
            return Ok(());
        };
        let evictor_ctx = EvictorContext {
            watermark: common.watermark,
            now_ms,
        };
        if result.is_fire() && kept.is_some() {
            let elements = match (result.is_purge(), kept.take()) {
                (true, Some(all)) => self.contents.take_elements(all, window, &evictor_ctx)?,
                (_, Some(mut all)) => {
                    let elements = self.contents.elements(&mut all, window, &evictor_ctx)?;
                    *kept = Some(all);
                    elements
                }
                (_, None) => return Ok(()),
            };
            select_window(common, place, window, &mut self.window_slots)?;
            let mut ctx = context(common, place, window, now_ms);
            self.function.process(elements, &mut ctx)?;
            if !result.is_purge() {
                self.contents.fired(kept, window, &evictor_ctx)?;
            }
        }
        if result.is_purge() {
            *kept = None;
        }
        Ok(())
    }

    /// A timer of a window is due.
    fn on_timer(
        &mut self,
        common: &mut Common<K, T, F::Out>,
        place: &Place<'_, K>,
        window: &A::Window,
        (time_ms, domain): (i64, TimeDomain),
        now_ms: i64,
    ) -> Result<(), BoxError> {
        let is_merging = self.is_merging;
        let panes = self.table.values_mut::<Vec<Pane<A::Window, C::Kept, G::State>>>(0);
        let panes = panes.get_mut(place.slot).get_or_insert_default();
        let index = match panes.iter().position(|p| p.0 == *window) {
            Some(index) => index,
            // It has become part of another.
            None if is_merging => return Ok(()),
            None => {
                panes.push((window.clone(), None, G::State::default()));
                panes.len() - 1
            }
        };
        let mut ctx = TriggerContext {
            state: &mut panes[index].2,
            watermark: common.watermark,
            now_ms,
            requests: &mut self.requests,
        };
        let result = match domain {
            TimeDomain::EventTime => self.trigger.on_event_time(time_ms, window, &mut ctx)?,
            TimeDomain::ProcessingTime => self.trigger.on_processing_time(time_ms, window, &mut ctx)?,
        };
        self.request(place, window, false);
        self.carry_out(common, place, window, result, now_ms)?;
        if domain == self.domain() && self.end_of_life(window) == Some(time_ms) {
            self.end(common, place, window, now_ms)?;
        }
        Ok(())
    }

    /// A window's life is over.
    fn end(
        &mut self,
        common: &mut Common<K, T, F::Out>,
        place: &Place<'_, K>,
        window: &A::Window,
        now_ms: i64,
    ) -> Result<(), BoxError> {
        let panes = self.table.values_mut::<Vec<Pane<A::Window, C::Kept, G::State>>>(0);
        let panes = panes.get_mut(place.slot).get_or_insert_default();
        let Some(index) = panes.iter().position(|p| p.0 == *window) else {
            return Ok(());
        };
        let (_, _, mut state) = panes.swap_remove(index);
        let mut ctx = TriggerContext {
            state: &mut state,
            watermark: common.watermark,
            now_ms,
            requests: &mut self.requests,
        };
        self.trigger.clear(window, &mut ctx)?;
        self.request(place, window, false);
        let slot = select_window(common, place, window, &mut self.window_slots)?;
        common.collector.time = Some(window.max_timestamp());
        self.function.clear(&mut context(common, place, window, now_ms))?;
        if let Some(slot) = slot {
            common.of_window.table().remove(&[slot]);
        }
        Ok(())
    }

    /// Lets windows and states leave memory that were not asked for lately. No slot is held then.
    fn relieve(&mut self, common: &mut Common<K, T, F::Out>) -> Result<(), TaskError> {
        self.table.relieve()?;
        common.global.table().relieve()?;
        common.of_window.table().relieve()?;
        Ok(())
    }

    fn apply_timers(&mut self) -> Result<(), TaskError> {
        self.event_timers.apply()?;
        self.processing_timers.apply()
    }

    /// Gives up windows that hold nothing, and keys without windows. Sessions hold their time, whatever else.
    fn forget_blank(&mut self, slots: &[u32]) {
        let column = self.table.values_mut::<Vec<Pane<A::Window, C::Kept, G::State>>>(0);
        let mut blank = vec![];
        for slot in slots {
            let Some(panes) = column.get_mut(*slot) else {
                blank.push(*slot);
                continue;
            };
            if !self.is_merging {
                panes.retain(|(_, kept, state)| kept.is_some() || *state != G::State::default());
            }
            if panes.is_empty() {
                blank.push(*slot);
            }
        }
        self.table.remove(&blank);
    }

    fn forget_state(&mut self, common: &mut Common<K, T, F::Out>, global_slots: &[u32]) {
        common.global.forget_blank(global_slots);
        if !self.window_slots.is_empty() {
            common.of_window.forget_blank(&self.window_slots);
            self.window_slots.clear();
        }
    }
}

/// Makes the state of a window the one at hand; gives its slot, if the function has such state.
fn select_window<K: Key, T: Data, U: Data, W: Window>(
    common: &mut Common<K, T, U>,
    place: &Place<'_, K>,
    window: &W,
    used: &mut Vec<u32>,
) -> Result<Option<u32>, BoxError> {
    if !common.of_window.is_used() {
        return Ok(None);
    }
    let mut columns = place.key.columns();
    columns.extend(W::columns(std::iter::once(window)));
    let hashes = hash_columns(&columns, 1)?;
    let mut slots = vec![];
    let table = common.of_window.table();
    table.slots_with_placement(&columns, &hashes, &[place.key_hash], &mut slots)?;
    used.extend(&slots);
    let slot = slots.first().copied();
    if let Some(slot) = slot {
        common.of_window.select(slot);
    }
    Ok(slot)
}

fn context<'a, K: Key, T, U, W: Window>(
    common: &'a mut Common<K, T, U>,
    place: &Place<'a, K>,
    window: &'a W,
    now_ms: i64,
) -> WindowContext<'a, K, W, U> {
    common.collector.time = Some(window.max_timestamp());
    WindowContext {
        key: place.key.get(),
        window,
        watermark: common.watermark,
        now_ms,
        global: &mut common.global,
        of_window: &mut common.of_window,
        collector: &mut common.collector,
    }
}

impl<K, T, A, G, C, F> Operator for General<K, T, A, G, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.windows.relieve(&mut self.common)?;
        let batch = self.common.keyed(batch)?;
        let (mut slots, mut global_slots) = (vec![], vec![]);
        self.windows
            .table
            .slots(batch.keys.columns(), &batch.hashes, &mut slots)?;
        if self.common.global.is_used() {
            let table = self.common.global.table();
            table.slots(batch.keys.columns(), &batch.hashes, &mut global_slots)?;
        }
        self.common.at_hand.take(batch.records);
        self.open_call = Open::Batch(Work {
            keys: batch.keys,
            hashes: batch.hashes,
            slots,
            global_slots,
        });
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.open_call = match std::mem::replace(&mut self.open_call, Open::Nothing) {
            Open::Nothing => Open::Nothing,
            Open::Batch(work) => self.work(work)?.map_or(Open::Nothing, Open::Batch),
            Open::EventTimers(until) => match self.fire(until, TimeDomain::EventTime)? {
                true => Open::EventTimers(until),
                // In batch mode the timers of processing time follow those of event time, at the end.
                false if self.common.is_batch && until == END_OF_TIME => Open::ProcessingTimers(i64::MAX),
                false => Open::Nothing,
            },
            Open::ProcessingTimers(until) => match self.fire(until, TimeDomain::ProcessingTime)? {
                true => Open::ProcessingTimers(until),
                false => Open::Nothing,
            },
        };
        self.common.collector.emit(out);
        Ok(match self.open_call {
            Open::Nothing => Flow::Done,
            _ => Flow::More,
        })
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        self.common.watermark = watermark;
        if self.common.is_batch && watermark == END_OF_TIME {
            self.windows.event_timers.close();
            self.windows.processing_timers.close();
        }
        self.open_call = Open::EventTimers(watermark);
        self.resume(out)
    }

    fn next_timer(&self) -> Option<i64> {
        // A window's last millisecond must have passed.
        let timer = self.windows.processing_timers.next_ms().map(|t| t.saturating_add(1));
        let timer = timer.filter(|_| !self.common.is_batch);
        let sweeps = [
            self.common.global.next_sweep_ms(),
            self.common.of_window.next_sweep_ms(),
        ];
        timer.into_iter().chain(sweeps.into_iter().flatten()).min()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.common.global.sweep(now_ms)?;
        self.common.of_window.sweep(now_ms)?;
        if self.common.is_batch {
            return Ok(Flow::Done);
        }
        self.open_call = Open::ProcessingTimers(now_ms.saturating_sub(1));
        self.resume(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let windows = &mut self.windows;
        let mut keyed = vec![
            windows.table.capture(checkpoint),
            windows.event_timers.capture(checkpoint),
            windows.processing_timers.capture(checkpoint),
        ];
        for state in [&mut self.common.global, &mut self.common.of_window] {
            if state.is_used() {
                keyed.push(state.table().capture(checkpoint));
            }
        }
        Ok(OperatorSnapshot {
            keyed,
            ..OperatorSnapshot::default()
        })
    }

    fn close(&mut self) -> Result<(), TaskError> {
        guarded("close", || self.windows.function.close())
    }

    fn state_bytes(&self) -> usize {
        let windows = &self.windows;
        windows.table.bytes()
            + windows.event_timers.bytes()
            + windows.processing_timers.bytes()
            + self.common.global.bytes()
            + self.common.of_window.bytes()
    }
}
