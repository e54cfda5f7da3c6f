//! Which slice of time a row belongs to: [`Slices`].
//!
//! Time is cut into slices, as long as a TUMBLE's size or a HOP's slide. A slice is named by its end; a window is one or
//! several adjacent slices, named by its end too. Slices and windows are in wall-clock time where the time attribute is
//! TIMESTAMP_LTZ or the clock ([`WallClock`]), else in the TIMESTAMP's own. A CUMULATE has slices of a step's length; a slice
//! belongs to the windows from its own end to the end of the longest. Rows that bring their window along have one slice,
//! which is that window. Sessions have no slices ([`super::sessions`]); only their times are read here.
//!
//! ```text
//! HOP(slide 2, size 6)    slices   |--2--|--4--|--6--|--8--|
//!                         windows  [------- 6 -------)            slice 4 belongs to the windows 4, 6 and 8
//!                                        [------- 8 -------)
//! ```

use crate::nodes::{TimeAttribute, WindowSpec};
use crate::operators::wall_clock::WallClock;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use flott_core::time::{END_OF_TIME, window_start};
use flott_core::{Batch, Field};
use flott_runtime::TaskError;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Adjacent rows of one slice are taken without copying while a batch has at most so many runs; more are gathered.
const MAX_RUNS: usize = 8;

/// Rows of a batch that belong to one slice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// All of them.
    All,
    /// Adjacent ones.
    Run { offset: usize, rows: usize },
    /// These.
    Rows(UInt32Array),
}

impl Part {
    /// Number of rows, of a batch of `all`.
    pub(crate) fn len(&self, all: usize) -> usize {
        match self {
            Self::All => all,
            Self::Run { rows, .. } => *rows,
            Self::Rows(rows) => rows.len(),
        }
    }

    /// The part's rows of those columns that are `needed`; the others stay whole.
    pub(crate) fn of(&self, columns: &[ArrayRef], needed: &[bool]) -> Result<Vec<ArrayRef>, ArrowError> {
        let part = |(column, needed): (&ArrayRef, &bool)| match self {
            Self::Run { offset, rows } if *needed => Ok(column.slice(*offset, *rows)),
            Self::Rows(rows) if *needed => arrow_select::take::take(column.as_ref(), rows, None),
            _ => Ok(column.clone()),
        };
        columns.iter().zip(needed).map(part).collect()
    }

    /// The part's values of a slice that runs beside the columns.
    pub(crate) fn of_slice<'a, T: Copy>(&self, values: &'a [T]) -> Cow<'a, [T]> {
        match self {
            Self::All => Cow::Borrowed(values),
            Self::Run { offset, rows } => Cow::Borrowed(&values[*offset..offset + rows]),
            Self::Rows(rows) => rows.values().iter().map(|r| values[*r as usize]).collect(),
        }
    }
}

/// The slices of a window function over a time attribute.
#[derive(Debug, Clone)]
pub(crate) struct Slices {
    window: WindowSpec,
    time: TimeAttribute,
    clock: WallClock,
    /// Name of the time attribute, for messages.
    column: String,
}

impl Slices {
    /// Slices of `window`, cut by `time` of rows of `input`, on this clock.
    pub(crate) fn new(window: WindowSpec, time: TimeAttribute, clock: WallClock, input: &[Field]) -> Self {
        let column = match time {
            TimeAttribute::EventTime { column } | TimeAttribute::Attached { window_end: column, .. } => {
                input.get(column).map_or_else(String::new, |f| f.name.clone())
            }
            TimeAttribute::ProcessingTime => "PROCTIME()".into(),
        };
        Self {
            window,
            time,
            clock,
            column,
        }
    }

    /// Whether windows are cut by the clock.
    pub(crate) fn is_processing_time(&self) -> bool {
        self.time.is_processing_time()
    }

    /// Whether each slice is a window of its own.
    pub(crate) fn are_windows(&self) -> bool {
        self.is_attached() || matches!(self.window, WindowSpec::Tumble { .. })
    }

    /// Whether rows bring windows along that were cut by the clock: one that has fired fires again for rows that were on
    /// their way, as in Flink.
    pub(crate) fn is_never_late(&self) -> bool {
        self.is_attached() && self.is_processing_time()
    }

    fn is_attached(&self) -> bool {
        matches!(self.time, TimeAttribute::Attached { .. })
    }

    /// Whether windows grow: each holds the one before.
    pub(crate) fn are_cumulative(&self) -> bool {
        matches!(self.window, WindowSpec::Cumulate { .. }) && !self.is_attached()
    }

    fn slice_ms(&self) -> i64 {
        self.window.slice_ms()
    }

    /// End of the last window that a slice belongs to.
    pub(crate) fn last_window(&self, slice_end: i64) -> i64 {
        match self.window {
            _ if self.is_attached() => slice_end,
            WindowSpec::Cumulate { size_ms, .. } => self.window_start(slice_end) + size_ms,
            _ => slice_end + self.window.size_ms() - self.slice_ms(),
        }
    }

    /// End of the first slice of a window.
    pub(crate) fn first_slice(&self, window_end: i64) -> i64 {
        if self.is_attached() {
            return window_end;
        }
        self.window_start(window_end) + self.slice_ms()
    }

    /// The first window behind `fired_window` that a slice belongs to.
    pub(crate) fn next_window(&self, slice_end: i64, fired_window: i64) -> i64 {
        if fired_window < slice_end {
            return slice_end;
        }
        match self.is_attached() {
            true => slice_end,
            false => slice_end + ((fired_window - slice_end) / self.slice_ms() + 1) * self.slice_ms(),
        }
    }

    /// Distance between adjacent windows.
    pub(crate) fn step_ms(&self) -> i64 {
        self.slice_ms()
    }

    /// Start of a window, in wall-clock time.
    pub(crate) fn window_start(&self, window_end: i64) -> i64 {
        match self.window {
            WindowSpec::Cumulate { size_ms, offset_ms, .. } => window_start(window_end - 1, offset_ms, size_ms),
            _ => window_end - self.window.size_ms(),
        }
    }

    /// The last millisecond of a window as an instant.
    pub(crate) fn window_time(&self, window_end: i64) -> i64 {
        self.clock.first_instant_of(window_end - 1)
    }

    /// The instant at which the last millisecond of a window has come; it fires when the watermark is there.
    pub(crate) fn fires_at(&self, window_end: i64) -> i64 {
        self.clock.last_instant_of(window_end - 1)
    }

    /// Whether a window has fired when the watermark is at `progress`.
    pub(crate) fn has_fired(&self, window_end: i64, progress: i64) -> bool {
        progress == END_OF_TIME || progress >= self.fires_at(window_end)
    }

    /// The slice that holds an instant.
    pub(crate) fn slice_of_instant(&mut self, instant_ms: i64) -> i64 {
        let wall = self.clock.at(instant_ms);
        self.slice_of(wall)
    }

    /// The slice that holds a wall-clock time.
    #[inline]
    pub(crate) fn slice_of(&self, wall_ms: i64) -> i64 {
        window_start(wall_ms, self.window.offset_ms(), self.slice_ms()) + self.slice_ms()
    }

    /// How many windows hold a row at most.
    pub(crate) fn windows_of_row(&self) -> usize {
        (self.window.size_ms() as u64).div_ceil(self.slice_ms() as u64) as usize
    }

    /// Appends the ends of all windows that hold a wall-clock time, in Flink's order: of a HOP the latest first, of a
    /// CUMULATE the shortest. The size need not be a multiple of the slide; where it is smaller, there may be none.
    pub(crate) fn windows_of_time(&self, wall_ms: i64, ends: &mut Vec<i64>) {
        let (size, step) = (self.window.size_ms(), self.slice_ms());
        let first = window_start(wall_ms, self.window.offset_ms(), step);
        if matches!(self.window, WindowSpec::Cumulate { .. }) {
            let last = self.last_window(first + step);
            ends.extend((first + step..=last).step_by(step as usize));
            return;
        }
        let mut start = first;
        while start > wall_ms - size {
            ends.push(start + size);
            start -= step;
        }
    }

    /// The wall-clock times of a batch's time attribute; at processing time, of `now_ms`.
    pub(crate) fn times(&mut self, batch: &Batch, now_ms: i64) -> Result<Arc<[i64]>, TaskError> {
        let column = match self.time {
            TimeAttribute::ProcessingTime => {
                let wall = self.clock.at(now_ms);
                return Ok(vec![wall; batch.num_rows()].into());
            }
            TimeAttribute::EventTime { column } | TimeAttribute::Attached { window_end: column, .. } => {
                batch.column(column)
            }
        };
        self.reject_nulls(column)?;
        let mut times: Vec<i64> = match column.data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                column.as_primitive::<TimestampMillisecondType>().values().to_vec()
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let values = column.as_primitive::<TimestampMicrosecondType>().values();
                values.iter().map(|t| t.div_euclid(1000)).collect()
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                let values = column.as_primitive::<TimestampNanosecondType>().values();
                values.iter().map(|t| t.div_euclid(1_000_000)).collect()
            }
            other => {
                return Err(TaskError::internal(format!(
                    "the time attribute '{}' is a column of {other}, not of timestamps",
                    self.column
                )));
            }
        };
        if !self.clock.is_utc() && matches!(self.time, TimeAttribute::EventTime { .. }) {
            times.iter_mut().for_each(|t| *t = self.clock.at(*t));
        }
        Ok(times.into())
    }

    fn reject_nulls(&self, column: &ArrayRef) -> Result<(), TaskError> {
        if column.null_count() == 0 {
            return Ok(());
        }
        Err(TaskError::data(format!(
            "the time attribute '{}' is NULL in {} of {} rows of a batch, so their window is unknown: \
             filter such rows with WHERE {} IS NOT NULL before the window",
            self.column,
            column.null_count(),
            column.len(),
            self.column
        )))
    }

    /// Splits a batch by slice. At processing time all rows belong to the slice of `now_ms`.
    ///
    /// Most batches lie in one slice or two: the earliest and the latest row are looked at first, then runs.
    ///
    /// # Errors
    /// If a row's time is NULL.
    pub(crate) fn split(&mut self, batch: &Batch, now_ms: i64) -> Result<Vec<(i64, Part)>, TaskError> {
        if batch.is_empty() {
            return Ok(vec![]);
        }
        if matches!(self.time, TimeAttribute::ProcessingTime) {
            return Ok(vec![(self.slice_of_instant(now_ms), Part::All)]);
        }
        if let TimeAttribute::EventTime { column } = self.time
            && self.clock.is_utc()
            && let Some(times) = batch.column(column).as_primitive_opt::<TimestampMillisecondType>()
        {
            self.reject_nulls(batch.column(column))?;
            return Ok(self.split_times(times.values()));
        }
        let times = self.times(batch, now_ms)?;
        Ok(match self.time {
            TimeAttribute::Attached { .. } => split_runs(&times, |t| (t, t, t + 1)),
            _ => self.split_times(&times),
        })
    }

    fn split_times(&self, times: &[i64]) -> Vec<(i64, Part)> {
        let (earliest, latest) = times
            .iter()
            .fold((i64::MAX, i64::MIN), |(lo, hi), &t| (lo.min(t), hi.max(t)));
        let slice = self.slice_of(earliest);
        if latest < slice {
            return vec![(slice, Part::All)];
        }
        split_runs(times, |t| {
            let end = self.slice_of(t);
            (end, end - self.slice_ms(), end)
        })
    }
}

/// Splits rows whose slices are known.
pub(crate) fn split_values(slice_ends: &[i64]) -> Vec<(i64, Part)> {
    if slice_ends.is_empty() {
        return vec![];
    }
    if slice_ends.iter().all(|e| *e == slice_ends[0]) {
        return vec![(slice_ends[0], Part::All)];
    }
    split_runs(slice_ends, |end| (end, end, end + 1))
}

/// Splits rows by slice; `slice_of` gives a time's slice with its first instant and the first one behind it.
fn split_runs(times: &[i64], slice_of: impl Fn(i64) -> (i64, i64, i64)) -> Vec<(i64, Part)> {
    let mut runs: Vec<(i64, usize)> = vec![];
    let (mut from, mut until) = (1, 0);
    for (row, &time) in times.iter().enumerate() {
        if time < from || time >= until {
            let slice;
            (slice, from, until) = slice_of(time);
            runs.push((slice, row));
        }
    }
    let ends = runs.iter().skip(1).map(|(_, start)| *start).chain([times.len()]);
    if runs.len() <= MAX_RUNS {
        let part = |(&(slice, offset), end): (&(i64, usize), usize)| {
            (
                slice,
                Part::Run {
                    offset,
                    rows: end - offset,
                },
            )
        };
        return runs.iter().zip(ends).map(part).collect();
    }
    let mut rows: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (&(slice, start), end) in runs.iter().zip(ends) {
        rows.entry(slice).or_default().extend(start as u32..end as u32);
    }
    rows.into_iter()
        .map(|(slice, rows)| (slice, Part::Rows(rows.into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::TimestampMillisecondArray;
    use flott_core::{LogicalType, TypeKind};

    fn slices(window: WindowSpec) -> Slices {
        let input = [Field::new("ts", LogicalType::new(TypeKind::Timestamp(3)))];
        Slices::new(window, TimeAttribute::EventTime { column: 0 }, WallClock::utc(), &input)
    }

    fn batch(times: Vec<Option<i64>>) -> Batch {
        let rows = times.len();
        Batch::new(vec![Arc::new(TimestampMillisecondArray::from(times))], rows)
    }

    #[test]
    fn a_batch_within_one_slice_is_not_split() {
        let mut s = slices(WindowSpec::Tumble {
            size_ms: 10,
            offset_ms: 0,
        });
        let parts = s.split(&batch(vec![Some(3), Some(9), Some(0)]), 0).unwrap();
        assert_eq!(parts, [(10, Part::All)]);
    }

    #[test]
    fn runs_are_taken_as_they_are_and_many_runs_are_gathered() {
        let mut s = slices(WindowSpec::Tumble {
            size_ms: 10,
            offset_ms: 5,
        });
        let parts = s.split(&batch(vec![Some(4), Some(5), Some(14), Some(-6)]), 0).unwrap();
        let run = |slice, offset, rows| (slice, Part::Run { offset, rows });
        assert_eq!(parts, [run(5, 0, 1), run(15, 1, 2), run(-5, 3, 1)]);
        let zigzag: Vec<Option<i64>> = (0..10).map(|i| Some(i % 2 * 10)).collect();
        let parts = s.split(&batch(zigzag), 0).unwrap();
        assert_eq!(parts[0], (5, Part::Rows(vec![0, 2, 4, 6, 8].into())));
        assert_eq!(parts[1], (15, Part::Rows(vec![1, 3, 5, 7, 9].into())));
    }

    #[test]
    fn a_slice_knows_its_windows() {
        let s = slices(WindowSpec::Hop {
            size_ms: 6,
            slide_ms: 2,
            offset_ms: 0,
        });
        let mut ends = vec![];
        s.windows_of_time(3, &mut ends);
        assert_eq!(ends, [8, 6, 4]);
        assert_eq!((s.first_slice(8), s.last_window(4), s.window_start(8)), (4, 8, 2));
        assert_eq!(
            (s.next_window(4, i64::MIN), s.next_window(4, 4), s.next_window(4, 7)),
            (4, 6, 8)
        );
        assert!(s.has_fired(6, 5) && !s.has_fired(6, 4));
    }

    #[test]
    fn growing_windows_end_with_the_longest() {
        let s = slices(WindowSpec::Cumulate {
            size_ms: 6,
            step_ms: 2,
            offset_ms: 1,
        });
        let mut ends = vec![];
        s.windows_of_time(4, &mut ends);
        assert_eq!(ends, [5, 7]);
        assert_eq!((s.window_start(5), s.first_slice(7), s.last_window(3)), (1, 3, 7));
        assert_eq!((s.window_start(7), s.window_start(9), s.last_window(1)), (1, 7, 1));
    }

    #[test]
    fn sliding_windows_may_overlap_in_part_or_leave_gaps() {
        let ends = |size_ms, slide_ms, time| {
            let mut ends = vec![];
            let window = WindowSpec::Hop {
                size_ms,
                slide_ms,
                offset_ms: 0,
            };
            slices(window).windows_of_time(time, &mut ends);
            ends
        };
        assert_eq!(ends(10, 4, 1), [10, 6, 2]);
        assert_eq!(ends(10, 4, 3), [10, 6]);
        assert_eq!((ends(4, 10, 3), ends(4, 10, 4)), (vec![4], vec![]));
    }

    #[test]
    fn a_row_without_time_is_an_error_with_its_remedy() {
        let mut s = slices(WindowSpec::Tumble {
            size_ms: 10,
            offset_ms: 0,
        });
        let error = s.split(&batch(vec![Some(1), None]), 0).unwrap_err().to_string();
        assert!(error.contains("WHERE ts IS NOT NULL"), "{error}");
    }
}
