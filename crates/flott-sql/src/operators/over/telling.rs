//! Due rows on their way out, in pieces that have room: [`Telling`].
//!
//! ```text
//! steps   [ taken ───────────── | piece | later ]      a piece runs through the kernels: what they hold behind each step
//! rows    [ told ─────── | complete | later ]          rows whose frame is complete behind a step that is taken are told
//! ```
//!
//! A piece is bounded by the rows that its steps are made of, and by the values behind those that complete a frame. Mostly
//! all steps are one piece.

use super::aggregate::Taken;
use super::frames::{RowAt, Steps};
use crate::operators::{MAX_EMITTED_BYTES, MAX_EMITTED_ROWS};
use arrow_array::{ArrayRef, UInt32Array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_select::concat::concat;
use arrow_select::take::take;
use flott_runtime::TaskError;
use std::ops::Range;

/// Bytes of the rows of one piece.
pub(super) const PIECE_BYTES: usize = 8 * MAX_EMITTED_BYTES;

/// Due rows and their steps, and how far they have come.
#[derive(Debug)]
pub(super) struct Telling {
    pub(super) due: Vec<RowAt>,
    pub(super) steps: Steps,
    /// Columns of the due rows and, behind them, of those that left, where they are at hand.
    pub(super) columns: Option<Vec<ArrayRef>>,
    /// Bytes of each due row, and of those that left.
    pub(super) row_bytes: Vec<usize>,
    /// Steps before this one are taken.
    step: usize,
    /// Rows before this one are told.
    row: usize,
    behind: Behind,
}

/// The values behind steps.
#[derive(Debug, Default)]
struct Behind {
    /// The first step; in front of it there may be a row for the first of the peers at hand.
    from: usize,
    is_carried: bool,
    values: Vec<ArrayRef>,
    /// Bytes of each row of `values` that are as long as they like.
    bytes: Vec<usize>,
}

impl Behind {
    fn place(&self, step: usize) -> usize {
        match step.checked_sub(self.from) {
            Some(place) => place + usize::from(self.is_carried),
            None => 0,
        }
    }
}

impl Telling {
    pub(super) fn new(due: Vec<RowAt>, steps: Steps, columns: Option<Vec<ArrayRef>>, row_bytes: Vec<usize>) -> Self {
        Self {
            due,
            steps,
            columns,
            row_bytes,
            step: 0,
            row: 0,
            behind: Behind::default(),
        }
    }

    /// Whether all rows are told.
    pub(super) fn is_over(&self) -> bool {
        self.row == self.due.len()
    }

    /// The step to go on with.
    pub(super) fn next_step(&self) -> usize {
        self.step
    }

    /// Whether the next row is complete.
    pub(super) fn has_complete(&self) -> bool {
        !self.is_over() && (self.steps.complete[self.row] as usize) < self.step
    }

    /// How many of the next steps have rows that fit into a piece, at least one.
    pub(super) fn steps_with_room(&self) -> usize {
        let rest = &self.steps.rows[self.step..];
        let mut bytes = 0;
        let fits = |row: &&u32| {
            bytes += self.row_bytes[**row as usize];
            bytes <= PIECE_BYTES
        };
        match self.row_bytes.is_empty() {
            true => rest.len(),
            false => rest.iter().take_while(fits).count().max(1),
        }
    }

    /// Which of these steps complete a frame.
    pub(super) fn completing(&self, steps: Range<usize>) -> BooleanBuffer {
        marked(&self.steps.complete, steps)
    }

    /// In which of these steps the first row of its time enters.
    pub(super) fn first(&self, steps: Range<usize>) -> BooleanBuffer {
        marked(&self.steps.first, steps)
    }

    /// Notes the values behind so many of the next steps; `bytes` are of those that are as long as they like.
    ///
    /// # Errors
    /// If values cannot be put together, which is a defect of ours.
    pub(super) fn take(
        &mut self,
        steps: usize,
        values: Vec<ArrayRef>,
        mut bytes: Vec<usize>,
        taken: &[Taken],
    ) -> Result<(), TaskError> {
        let from = self.step;
        self.step += steps;
        let first = self.steps.first.get(self.row).map_or(from, |first| *first as usize);
        // Peers that come in several pieces: what was behind the first of them is still to be told.
        let is_carried = first < from && taken.contains(&Taken::First);
        let values = match is_carried {
            false => values,
            true => {
                let place = self.behind.place(first);
                bytes.insert(0, 0);
                let pairs = self.behind.values.iter().zip(&values);
                let both = pairs.map(|(before, after)| concat(&[before.slice(place, 1).as_ref(), after.as_ref()]));
                both.collect::<Result<_, _>>()?
            }
        };
        self.behind = Behind {
            from,
            is_carried,
            values,
            bytes,
        };
        Ok(())
    }

    /// The next complete rows that fit into one call, with their values.
    ///
    /// # Errors
    /// If values cannot be put together, which is a defect of ours.
    pub(super) fn tell(&mut self, taken: &[Taken]) -> Result<(Range<usize>, Vec<ArrayRef>), TaskError> {
        let start = self.row;
        let mut bytes = 0;
        let complete = self.steps.complete[start..].iter().take(MAX_EMITTED_ROWS);
        let complete = complete.take_while(|step| (**step as usize) < self.step);
        for (row, &step) in (start..).zip(complete) {
            bytes += self.row_bytes.get(row).copied().unwrap_or(0);
            bytes += self
                .behind
                .bytes
                .get(self.behind.place(step as usize))
                .copied()
                .unwrap_or(0);
            if bytes > MAX_EMITTED_BYTES && row > start {
                break;
            }
            self.row = row + 1;
        }
        let rows = start..self.row;
        let mut told = Vec::with_capacity(taken.len());
        for (value, taken) in self.behind.values.iter().zip(taken) {
            let steps = match taken {
                Taken::Complete => &self.steps.complete,
                Taken::First => &self.steps.first,
            };
            let places = steps[rows.clone()]
                .iter()
                .map(|step| self.behind.place(*step as usize) as u32);
            told.push(take(value.as_ref(), &UInt32Array::from_iter_values(places), None)?);
        }
        Ok((rows, told))
    }
}

/// Which of a range of steps are among those that ascend.
fn marked(steps: &[u32], range: Range<usize>) -> BooleanBuffer {
    let mut mark = BooleanBufferBuilder::new(range.len());
    mark.append_n(range.len(), false);
    let start = steps.partition_point(|step| (*step as usize) < range.start);
    let inside = steps[start..].iter().map(|step| *step as usize);
    inside
        .take_while(|step| *step < range.end)
        .for_each(|step| mark.set_bit(step - range.start, true));
    mark.finish()
}
