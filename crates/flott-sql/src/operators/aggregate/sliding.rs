//! MIN, MAX, FIRST_VALUE and LAST_VALUE of frames whose rows leave in the order in which they came: [`SlidingValues`].
//!
//! A value that a later one of its frame surpasses can never be the one that counts again, so each frame keeps a descending
//! (for MIN ascending) queue: the value is in front, a row enters behind the values that it does not surpass, and what leaves
//! is in front or long gone. Of first values none surpasses another, and the last one surpasses all. No set of values and no order are needed, and nothing of it is state: it is made anew from
//! the rows of the frames when the job is restored.

use super::argument::{Values, bytes_at};
use super::extreme::{from_ordered_bits, ordered_bits};
use super::fold::Trace;
use arrow_array::ArrayRef;
use arrow_buffer::NullBuffer;
use flott_state::KeyedTable;
use std::collections::VecDeque;

/// Queues by group.
#[derive(Debug)]
pub(crate) enum SlidingValues {
    I64(Queues<i64>),
    /// As [`ordered_bits`].
    F64(Queues<u64>),
    I128(Queues<i128>),
    Bytes(Queues<Box<[u8]>>),
}

/// Which value of a frame counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Min,
    Max,
    First,
    Last,
}

impl Wanted {
    /// Whether a value is never wanted again when another comes.
    fn surpasses<T: Ord>(self, value: &T, held: &T) -> bool {
        match self {
            Self::Min => value <= held,
            Self::Max => value >= held,
            Self::First => false,
            Self::Last => true,
        }
    }
}

/// By the slot of the group.
#[derive(Debug, Default)]
pub(crate) struct Queues<T>(Vec<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    /// Values that entered.
    entered: u64,
    /// Values that left.
    left: u64,
    /// Values that may become the extreme, with their numbers.
    values: VecDeque<(u64, T)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            entered: 0,
            left: 0,
            values: VecDeque::new(),
        }
    }
}

impl<T: Ord> Queues<T> {
    fn queue(&mut self, slot: u32) -> &mut Queue<T> {
        let slot = slot as usize;
        if slot >= self.0.len() {
            self.0.resize_with(slot + 1, Queue::default);
        }
        &mut self.0[slot]
    }

    fn enter(&mut self, slot: u32, value: T, wanted: Wanted) -> Option<&T> {
        let queue = self.queue(slot);
        while queue
            .values
            .back()
            .is_some_and(|(_, held)| wanted.surpasses(&value, held))
        {
            queue.values.pop_back();
        }
        queue.values.push_back((queue.entered, value));
        queue.entered += 1;
        queue.values.front().map(|(_, value)| value)
    }

    fn leave(&mut self, slot: u32) -> Option<&T> {
        let queue = self.queue(slot);
        if queue.values.front().is_some_and(|(number, _)| *number == queue.left) {
            queue.values.pop_front();
        }
        queue.left += 1;
        if queue.values.is_empty() {
            *queue = Queue::default();
        }
        queue.values.front().map(|(_, value)| value)
    }

    fn forget(&mut self, slot: u32) {
        if let Some(queue) = self.0.get_mut(slot as usize) {
            *queue = Queue::default();
        }
    }

    fn bytes(&self) -> usize {
        let values = |queue: &Queue<T>| queue.values.capacity() * size_of::<(u64, T)>();
        self.0.capacity() * size_of::<Queue<T>>() + self.0.iter().map(values).sum::<usize>()
    }
}

impl SlidingValues {
    /// None yet, for values in the storage form of `column`.
    pub(crate) fn like(values: &Values) -> Self {
        match values {
            Values::I64(_) | Values::Absent => Self::I64(Queues::default()),
            Values::F64(_) => Self::F64(Queues::default()),
            Values::I128(_) => Self::I128(Queues::default()),
            Values::Bytes(_) => Self::Bytes(Queues::default()),
        }
    }

    /// As [`super::extreme::OrderedValues::apply`].
    #[expect(clippy::too_many_arguments, reason = "parallel slices of one kernel")]
    pub(crate) fn apply(
        &mut self,
        table: &mut KeyedTable,
        first: usize,
        slots: &[u32],
        signs: Option<&[i64]>,
        column: &ArrayRef,
        valid: Option<&NullBuffer>,
        wanted: Wanted,
        mut trace: Option<&mut Trace>,
    ) {
        let values = Values::of(column);
        for (row, &slot) in slots.iter().enumerate() {
            if valid.is_none_or(|v| v.is_valid(row)) {
                let enters = signs.is_none_or(|s| s[row] > 0);
                macro_rules! change {
                    ($queues:expr, $value:expr) => {
                        match enters {
                            true => $queues.enter(slot, $value, wanted),
                            false => $queues.leave(slot),
                        }
                    };
                }
                match (&mut *self, &values) {
                    (Self::I64(q), Values::I64(v)) => {
                        table
                            .column_mut::<i64>(first)
                            .set_value(slot, change!(q, v[row]).copied());
                    }
                    (Self::I128(q), Values::I128(v)) => {
                        table
                            .column_mut::<i128>(first)
                            .set_value(slot, change!(q, v[row]).copied());
                    }
                    (Self::F64(q), Values::F64(v)) => {
                        let value = change!(q, ordered_bits(v[row])).map(|bits| from_ordered_bits(*bits));
                        table.column_mut::<f64>(first).set_value(slot, value);
                    }
                    (Self::Bytes(q), Values::Bytes(v)) => {
                        let value = change!(q, bytes_at(v, row).into()).map(AsRef::as_ref);
                        table.bytes_column_mut(first).set(slot, value);
                    }
                    _ => {}
                }
            }
            if let Some(trace) = &mut trace {
                trace.note(table, first, slot);
            }
        }
    }

    /// Puts values of restored rows in, in the order in which they came; the state columns hold their extremes already.
    pub(crate) fn load(&mut self, slots: &[u32], column: &ArrayRef, valid: Option<&NullBuffer>, wanted: Wanted) {
        let values = Values::of(column);
        let rows = slots.iter().enumerate();
        for (row, &slot) in rows.filter(|(row, _)| valid.is_none_or(|v| v.is_valid(*row))) {
            match (&mut *self, &values) {
                (Self::I64(q), Values::I64(v)) => drop(q.enter(slot, v[row], wanted)),
                (Self::I128(q), Values::I128(v)) => drop(q.enter(slot, v[row], wanted)),
                (Self::F64(q), Values::F64(v)) => drop(q.enter(slot, ordered_bits(v[row]), wanted)),
                (Self::Bytes(q), Values::Bytes(v)) => drop(q.enter(slot, bytes_at(v, row).into(), wanted)),
                _ => {}
            }
        }
    }

    /// Forgets the values of a slot whose group is gone.
    pub(crate) fn remove_group(&mut self, slot: u32) {
        match self {
            Self::I64(q) => q.forget(slot),
            Self::F64(q) => q.forget(slot),
            Self::I128(q) => q.forget(slot),
            Self::Bytes(q) => q.forget(slot),
        }
    }

    /// Memory in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::I64(q) => q.bytes(),
            Self::F64(q) => q.bytes(),
            Self::I128(q) => q.bytes(),
            Self::Bytes(q) => q.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_that_of_the_values_that_are_left() {
        for wanted in [Wanted::Min, Wanted::Max, Wanted::First, Wanted::Last] {
            let mut queues: Queues<i64> = Queues::default();
            let mut frame: VecDeque<i64> = VecDeque::new();
            let mut state = 7u64;
            for _ in 0..5_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let value = (state >> 40) as i64 % 20;
                let found = if state >> 33 & 1 == 0 && !frame.is_empty() {
                    frame.pop_front();
                    queues.leave(3).copied()
                } else {
                    frame.push_back(value);
                    queues.enter(3, value, wanted).copied()
                };
                let expected = match wanted {
                    Wanted::Min => frame.iter().min(),
                    Wanted::Max => frame.iter().max(),
                    Wanted::First => frame.front(),
                    Wanted::Last => frame.back(),
                };
                assert_eq!(found, expected.copied(), "{wanted:?}");
            }
        }
    }
}
