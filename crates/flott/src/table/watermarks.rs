//! [`Pacing`]: when a table that is a stream says how far its time has come, and that it is silent.
//!
//! The rules are those of sources: a watermark is told at the interval of the job, or behind each row that moves it; rows that do not come for the
//! timeout make the subtask idle, so that others need not wait for it, and the next row ends that.

use flott_core::EventTime;
use flott_core::clock::SharedClock;
use flott_core::time::NO_WATERMARK;
use flott_runtime::Output;
use flott_runtime::element::Element;

/// Tells watermarks and silence of one subtask.
pub(super) struct Pacing {
    /// A watermark follows its row whatever the interval.
    is_on_event: bool,
    /// After so long without rows the subtask is idle.
    idle_timeout_ms: Option<i64>,
    /// 0: a watermark follows its row.
    interval_ms: i64,
    clock: Option<SharedClock>,
    /// The watermark that the rows so far justify.
    justified: EventTime,
    emitted: EventTime,
    last_row_ms: i64,
    is_idle: bool,
    /// When the interval has passed.
    next_look_ms: Option<i64>,
}

impl Pacing {
    /// Before the first row; `is_on_event`: watermarks do not wait for an interval.
    pub(super) fn new(is_on_event: bool, idle_timeout_ms: Option<i64>) -> Self {
        Self {
            is_on_event,
            idle_timeout_ms: idle_timeout_ms.filter(|ms| *ms > 0),
            interval_ms: 0,
            clock: None,
            justified: NO_WATERMARK,
            emitted: NO_WATERMARK,
            last_row_ms: 0,
            is_idle: false,
            next_look_ms: None,
        }
    }

    /// Begins, with the interval of the job.
    pub(super) fn open(&mut self, interval_ms: i64, clock: &SharedClock) {
        let now_ms = clock.now_ms();
        self.interval_ms = if self.is_on_event { 0 } else { interval_ms };
        self.next_look_ms = self.after_interval(now_ms);
        self.last_row_ms = now_ms;
        self.clock = Some(clock.clone());
    }

    fn after_interval(&self, now_ms: i64) -> Option<i64> {
        (self.interval_ms > 0).then(|| now_ms.saturating_add(self.interval_ms))
    }

    /// Whether a watermark is told behind the row that moves it.
    pub(super) fn is_on_event(&self) -> bool {
        self.interval_ms == 0
    }

    /// Rows have come; called before they go on.
    pub(super) fn wake(&mut self, out: &mut Output) {
        self.last_row_ms = self.clock.as_ref().map_or(0, |clock| clock.now_ms());
        if std::mem::replace(&mut self.is_idle, false) {
            out.push(Element::Idle(false));
        }
    }

    /// Notes the watermark of a row; whether it moves time.
    pub(super) fn justify(&mut self, watermark: EventTime) -> bool {
        let moves = watermark > self.justified;
        self.justified = self.justified.max(watermark);
        moves
    }

    /// Tells the watermark, if it is a new one.
    pub(super) fn emit(&mut self, out: &mut Output) {
        if self.justified > self.emitted {
            self.emitted = self.justified;
            out.push(Element::Watermark(self.emitted));
        }
    }

    /// When [`Self::look`] is to be called.
    pub(super) fn next_look(&self) -> Option<i64> {
        let silent_at_ms = self.silent_at_ms().filter(|_| !self.is_idle);
        self.next_look_ms.into_iter().chain(silent_at_ms).min()
    }

    fn silent_at_ms(&self) -> Option<i64> {
        let timeout_ms = self.idle_timeout_ms?;
        Some(self.last_row_ms.saturating_add(timeout_ms))
    }

    /// Tells what is due.
    pub(super) fn look(&mut self, now_ms: i64, out: &mut Output) {
        let is_silent = self.silent_at_ms().is_some_and(|at_ms| at_ms <= now_ms);
        let is_over = self.next_look_ms.is_some_and(|at_ms| at_ms <= now_ms);
        // Who falls silent leaves its time behind first.
        if is_over || is_silent {
            self.emit(out);
        }
        if is_over {
            self.next_look_ms = self.after_interval(now_ms);
        }
        if is_silent && !self.is_idle {
            self.is_idle = true;
            out.push(Element::Idle(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::clock::ManualClock;

    fn texts(out: &mut Output) -> Vec<String> {
        let text = |element| match element {
            Element::Watermark(time) => format!("watermark {time}"),
            Element::Idle(is_idle) => format!("idle {is_idle}"),
            _ => "something else".to_owned(),
        };
        std::iter::from_fn(|| out.pop()).map(text).collect()
    }

    #[test]
    fn silence_is_told_once_and_ended_by_the_next_row() {
        for interval_ms in [10, 0] {
            let clock = ManualClock::at(0);
            let shared: SharedClock = clock.clone();
            let mut pacing = Pacing::new(false, Some(25));
            let mut out = Output::new();
            pacing.open(interval_ms, &shared);
            clock.set(5);
            pacing.wake(&mut out);
            assert!(pacing.justify(7) && !pacing.justify(6));
            if pacing.is_on_event() {
                pacing.emit(&mut out);
            }
            for now_ms in [10, 20, 30, 31, 40] {
                clock.set(now_ms);
                if pacing.next_look().is_some_and(|at_ms| at_ms <= now_ms) {
                    pacing.look(now_ms, &mut out);
                }
            }
            assert_eq!(texts(&mut out), ["watermark 7", "idle true"], "interval {interval_ms}");
            clock.set(50);
            pacing.wake(&mut out);
            assert_eq!(texts(&mut out), ["idle false"]);
            pacing.look(74, &mut out);
            assert!(texts(&mut out).is_empty());
            assert_eq!(pacing.next_look(), Some(75));
            pacing.look(75, &mut out);
            assert_eq!(texts(&mut out), ["idle true"]);
        }
        assert_eq!(
            Pacing::new(true, None).next_look(),
            None,
            "there is nothing to wait for"
        );
    }
}
