//! Which windows a record belongs to: [`WindowAssigner`] and those that Flink has.

use super::trigger::{EventTimeTrigger, NeverTrigger, ProcessingTimeTrigger, Trigger};
use super::{GlobalWindow, TimeWindow, Window};
use crate::function::BoxError;
use flott_core::EventTime;
use flott_core::time::window_start;
use std::sync::Arc;
use std::time::Duration;

/// Says which windows a record belongs to.
pub trait WindowAssigner<T>: Clone + Send + Sync + 'static {
    /// Its windows.
    type Window: Window;
    /// The trigger that its windows have if none is set.
    type Trigger: Trigger<T, Self::Window>;

    /// Appends the windows of a record to `out`. `timestamp` is its event time (`i64::MIN` if it has none and
    /// [`Self::is_event_time`] is false), `now_ms` processing time, both in milliseconds.
    ///
    /// # Errors
    /// Fails the task.
    fn assign_windows(
        &self,
        value: &T,
        timestamp: EventTime,
        now_ms: i64,
        out: &mut Vec<Self::Window>,
    ) -> Result<(), BoxError>;

    /// Appends the windows of all records whose event times lie between two, both included, if those are the same for all
    /// ([`Self::assign_windows`] would say so of each); else `false`, and each is asked for.
    fn assign_windows_to_all(&self, times: (EventTime, EventTime), now_ms: i64, out: &mut Vec<Self::Window>) -> bool {
        let _ = (times, now_ms, out);
        false
    }

    /// The trigger that its windows have if none is set.
    fn default_trigger(&self) -> Self::Trigger;

    /// Whether windows are of event time: then records without one are an error, and records behind the watermark are late.
    fn is_event_time(&self) -> bool;

    /// Whether windows that touch become one ([`Window::cover`]).
    fn is_merging(&self) -> bool {
        false
    }

    /// The window that ends at `end`, for assigners whose windows all have one size: theirs are kept in less room and fire faster,
    /// if they fire once at their end.
    fn window_ending(&self, end: EventTime) -> Option<Self::Window> {
        let _ = end;
        None
    }

    /// What is wrong with its settings.
    ///
    /// # Errors
    /// Refuses the program.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// What the operator is called.
    fn name(&self) -> &'static str {
        "Windows"
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Size, distance and offset of windows in a row, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
}

impl Row {
    /// Appends all windows that hold `time`, the latest first.
    #[inline]
    fn windows_of(&self, time: EventTime, out: &mut Vec<TimeWindow>) {
        let mut start = window_start(time, self.offset_ms, self.slide_ms);
        let behind = time.saturating_sub(self.size_ms);
        while start > behind {
            out.push(TimeWindow::new(start, start.saturating_add(self.size_ms)));
            start -= self.slide_ms;
        }
    }

    /// Whether two times have the same windows: none begins and none has ended between them.
    fn are_together(&self, from: EventTime, to: EventTime) -> bool {
        let latest_start = |time: EventTime| window_start(time, self.offset_ms, self.slide_ms);
        latest_start(from) == latest_start(to)
            && latest_start(from.saturating_sub(self.size_ms)) == latest_start(to.saturating_sub(self.size_ms))
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let Self {
            size_ms,
            slide_ms,
            offset_ms,
        } = *self;
        if size_ms <= 0 || slide_ms <= 0 {
            return Err(format!(
                "{name}: the size ({size_ms} ms) and the slide ({slide_ms} ms) must be one millisecond at least"
            ));
        }
        if offset_ms.unsigned_abs() >= slide_ms.unsigned_abs() {
            return Err(format!(
                "{name}: the offset ({offset_ms} ms) must be less than {slide_ms} ms either way, since windows repeat after that"
            ));
        }
        Ok(())
    }
}

macro_rules! row_windows {
    ($(#[$doc:meta])* $name:ident, $trigger:ty, $is_event_time:literal, $time:ident => $at:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(Row);

        impl $name {
            /// Moves all windows by so many milliseconds; less than their distance. Days of UTC+8 have −8 hours.
            pub fn with_offset_ms(mut self, offset_ms: i64) -> Self {
                self.0.offset_ms = offset_ms;
                self
            }
        }

        impl<T> WindowAssigner<T> for $name {
            type Window = TimeWindow;
            type Trigger = $trigger;

            #[inline]
            fn assign_windows(
                &self,
                _value: &T,
                timestamp: EventTime,
                now_ms: i64,
                out: &mut Vec<TimeWindow>,
            ) -> Result<(), BoxError> {
                let $time = (timestamp, now_ms);
                self.0.windows_of($at, out);
                Ok(())
            }

            fn assign_windows_to_all(
                &self,
                (from, to): (EventTime, EventTime),
                now_ms: i64,
                out: &mut Vec<TimeWindow>,
            ) -> bool {
                let at = |timestamp: EventTime| {
                    let $time = (timestamp, now_ms);
                    $at
                };
                let is_same = self.0.are_together(at(from), at(to));
                if is_same {
                    self.0.windows_of(at(from), out);
                }
                is_same
            }

            fn default_trigger(&self) -> $trigger {
                <$trigger>::default()
            }

            fn is_event_time(&self) -> bool {
                $is_event_time
            }

            #[inline]
            fn window_ending(&self, end: EventTime) -> Option<TimeWindow> {
                Some(TimeWindow::new(end.saturating_sub(self.0.size_ms), end))
            }

            fn check(&self) -> Result<(), String> {
                self.0.check(stringify!($name))
            }

            fn name(&self) -> &'static str {
                stringify!($name)
            }
        }
    };
}

row_windows!(
    /// Windows of one size, each behind the one before, by event time; aligned to the epoch.
    TumblingEventTimeWindows, EventTimeTrigger, true, time => time.0
);
row_windows!(
    /// Windows of one size, each behind the one before, by the time of the machine.
    TumblingProcessingTimeWindows, ProcessingTimeTrigger, false, time => time.1
);
row_windows!(
    /// Windows of one size that begin at even distances and may overlap, by event time; aligned to the epoch.
    SlidingEventTimeWindows, EventTimeTrigger, true, time => time.0
);
row_windows!(
    /// Windows of one size that begin at even distances and may overlap, by the time of the machine.
    SlidingProcessingTimeWindows, ProcessingTimeTrigger, false, time => time.1
);

macro_rules! tumbling {
    ($($name:ident),*) => {
        $(impl $name {
            /// Windows of `size` (whole milliseconds).
            pub fn of(size: Duration) -> Self {
                let size_ms = ms(size);
                Self(Row { size_ms, slide_ms: size_ms, offset_ms: 0 })
            }
        })*
    };
}

macro_rules! sliding {
    ($($name:ident),*) => {
        $(impl $name {
            /// Windows of `size` that begin every `slide` (whole milliseconds).
            pub fn of(size: Duration, slide: Duration) -> Self {
                Self(Row { size_ms: ms(size), slide_ms: ms(slide), offset_ms: 0 })
            }
        })*
    };
}

tumbling!(TumblingEventTimeWindows, TumblingProcessingTimeWindows);
sliding!(SlidingEventTimeWindows, SlidingProcessingTimeWindows);

/// The gap behind which a session ends: one for all records, or one that each says.
enum Gap<T> {
    Static(i64),
    Dynamic(Arc<dyn Fn(&T) -> Duration + Send + Sync>),
}

impl<T> Clone for Gap<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Static(gap_ms) => Self::Static(*gap_ms),
            Self::Dynamic(gap) => Self::Dynamic(gap.clone()),
        }
    }
}

impl<T> Gap<T> {
    fn window(&self, value: &T, time: EventTime) -> Result<TimeWindow, BoxError> {
        let gap_ms = match self {
            Self::Static(gap_ms) => *gap_ms,
            Self::Dynamic(gap) => ms(gap(value)),
        };
        if gap_ms <= 0 {
            return Err("the gap of a session must be one millisecond at least".into());
        }
        Ok(TimeWindow::new(time, time.saturating_add(gap_ms)))
    }

    fn check(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Static(..=0) => Err(format!("{name}: the gap must be one millisecond at least")),
            _ => Ok(()),
        }
    }
}

macro_rules! session_windows {
    ($(#[$doc:meta])* $name:ident, $trigger:ty, $is_event_time:literal, $time:ident => $at:expr) => {
        $(#[$doc])*
        pub struct $name<T>(Gap<T>);

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl<T> $name<T> {
            /// Sessions that end when nothing came for `gap` (whole milliseconds).
            pub fn with_gap(gap: Duration) -> Self {
                Self(Gap::Static(ms(gap)))
            }

            /// Sessions that each record keeps open for so long as `gap` says.
            pub fn with_dynamic_gap(gap: impl Fn(&T) -> Duration + Send + Sync + 'static) -> Self {
                Self(Gap::Dynamic(Arc::new(gap)))
            }
        }

        impl<T: 'static> WindowAssigner<T> for $name<T> {
            type Window = TimeWindow;
            type Trigger = $trigger;

            fn assign_windows(
                &self,
                value: &T,
                timestamp: EventTime,
                now_ms: i64,
                out: &mut Vec<TimeWindow>,
            ) -> Result<(), BoxError> {
                let $time = (timestamp, now_ms);
                out.push(self.0.window(value, $at)?);
                Ok(())
            }

            fn default_trigger(&self) -> $trigger {
                <$trigger>::default()
            }

            fn is_event_time(&self) -> bool {
                $is_event_time
            }

            fn is_merging(&self) -> bool {
                true
            }

            fn check(&self) -> Result<(), String> {
                self.0.check(stringify!($name))
            }

            fn name(&self) -> &'static str {
                stringify!($name)
            }
        }
    };
}

session_windows!(
    /// Sessions: records of a key without a gap between them, by event time.
    EventTimeSessionWindows, EventTimeTrigger, true, time => time.0
);
session_windows!(
    /// Sessions: records of a key without a gap between them, by the time of the machine.
    ProcessingTimeSessionWindows, ProcessingTimeTrigger, false, time => time.1
);

/// One window for all records; fires only by a trigger that is set ([`super::stream::WindowedStream::trigger`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GlobalWindows;

impl<T> WindowAssigner<T> for GlobalWindows {
    type Window = GlobalWindow;
    type Trigger = NeverTrigger;

    fn assign_windows(&self, _: &T, _: EventTime, _: i64, out: &mut Vec<GlobalWindow>) -> Result<(), BoxError> {
        out.push(GlobalWindow);
        Ok(())
    }

    fn default_trigger(&self) -> NeverTrigger {
        NeverTrigger
    }

    fn is_event_time(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        "GlobalWindows"
    }
}
