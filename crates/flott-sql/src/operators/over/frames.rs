//! Which rows enter and leave the frames of partitions, in which order: [`Frames`], pure.

use crate::nodes::OverFrame;
use std::collections::VecDeque;

/// A row that is due, or held in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowAt {
    /// Slot of its partition.
    pub(crate) partition: u32,
    /// Its time.
    pub(crate) time: i64,
    /// Slot of its bytes; means nothing where rows are not kept.
    pub(crate) slot: u32,
}

/// Rows on their way into and out of frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Which row: below the number of due rows one of them, else one of `left`.
    pub(crate) rows: Vec<u32>,
    /// Partition of each step.
    pub(crate) partitions: Vec<u32>,
    /// 1: the row enters; -1: it leaves.
    pub(crate) signs: Vec<i64>,
    /// For each due row, the step behind which its frame is complete.
    pub(crate) complete: Vec<u32>,
    /// For each due row, the step in which the first row of its time (for ROWS: itself) entered.
    pub(crate) first: Vec<u32>,
    /// Rows of earlier calls that left.
    pub(crate) left: Vec<RowAt>,
    /// Slots of all rows that left: nobody needs their bytes any more.
    pub(crate) gone: Vec<u32>,
}

/// The rows in the frames of all partitions, where frames have a bound.
#[derive(Debug)]
pub(crate) struct Frames {
    frame: OverFrame,
    /// By the slot of the partition.
    held: Vec<VecDeque<Held>>,
    /// How many rows there are.
    rows: usize,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    row: RowAt,
    /// Its number among the due rows of the call at hand; of an earlier call: [`EARLIER`].
    due: u32,
}

const EARLIER: u32 = u32::MAX;

impl Frames {
    pub(crate) fn new(frame: OverFrame) -> Self {
        Self {
            frame,
            held: vec![],
            rows: 0,
        }
    }

    fn of(&mut self, partition: u32) -> &mut VecDeque<Held> {
        let partition = partition as usize;
        if partition >= self.held.len() {
            self.held.resize_with(partition + 1, VecDeque::new);
        }
        &mut self.held[partition]
    }

    /// Puts a row of restored state into its frame; rows of a partition come in order.
    pub(crate) fn load(&mut self, row: RowAt) {
        let held = Held { row, due: EARLIER };
        self.of(row.partition).push_back(held);
        self.rows += 1;
    }

    /// How many rows are in frames.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Gives up the frame of a partition that leaves memory: the slots of its rows.
    pub(crate) fn give_up(&mut self, partition: u32) -> impl Iterator<Item = u32> {
        let held = self.held.get_mut(partition as usize).map(std::mem::take);
        let held = held.unwrap_or_default();
        self.rows -= held.len();
        held.into_iter().map(|h| h.row.slot)
    }

    /// The steps of due rows: all rows of a partition's time are together, times of a partition ascend.
    pub(crate) fn advance(&mut self, due: &[RowAt]) -> Steps {
        let mut steps = Steps::default();
        let mut start = 0;
        while start < due.len() {
            let RowAt { partition, time, .. } = due[start];
            let same = |row: &RowAt| row.partition == partition && row.time == time;
            let length = match self.frame.is_range() {
                true => due[start..].iter().take_while(|r| same(r)).count(),
                false => 1,
            };
            let group = start..start + length;
            if let OverFrame::Range { preceding_ms } = self.frame {
                let oldest = time.saturating_sub(preceding_ms);
                self.leave_while(partition, due.len(), &mut steps, |held, _| held.row.time < oldest);
            }
            if let OverFrame::Rows { preceding } = self.frame {
                let room = usize::try_from(preceding).unwrap_or(usize::MAX);
                self.leave_while(partition, due.len(), &mut steps, |_, count| count > room);
            }
            let first = steps.rows.len() as u32;
            for row in group.clone() {
                steps.push(row as u32, partition, 1);
                if self.frame.is_bounded() {
                    let held = Held {
                        row: due[row],
                        due: row as u32,
                    };
                    self.of(partition).push_back(held);
                    self.rows += 1;
                }
            }
            let complete = steps.rows.len() as u32 - 1;
            steps.complete.extend(std::iter::repeat_n(complete, length));
            steps.first.extend(std::iter::repeat_n(first, length));
            start = group.end;
        }
        for row in due {
            if let Some(held) = self.held.get_mut(row.partition as usize) {
                held.iter_mut()
                    .rev()
                    .take_while(|h| h.due != EARLIER)
                    .for_each(|h| h.due = EARLIER);
            }
        }
        steps
    }

    /// The steps that empty the frames of partitions whose youngest row is older than `time`; only for RANGE frames.
    pub(crate) fn retire(&mut self, time: i64, mut is_kept: impl FnMut(u32) -> bool) -> (Steps, Vec<u32>) {
        let is_over = |held: &VecDeque<Held>| held.back().is_some_and(|h| h.row.time < time);
        let partitions = (0u32..).zip(&self.held);
        let over = partitions.filter(|(partition, held)| is_over(held) && !is_kept(*partition));
        let over: Vec<u32> = over.map(|(partition, _)| partition).collect();
        let mut steps = Steps::default();
        for &partition in &over {
            self.leave_while(partition, 0, &mut steps, |_, _| true);
        }
        (steps, over)
    }

    fn leave_while(
        &mut self,
        partition: u32,
        due: usize,
        steps: &mut Steps,
        mut leaves: impl FnMut(&Held, usize) -> bool,
    ) {
        let Some(held) = self.held.get_mut(partition as usize) else {
            return;
        };
        while let Some(front) = held.front().copied().filter(|h| leaves(h, held.len())) {
            held.pop_front();
            self.rows -= 1;
            let row = match front.due {
                EARLIER => {
                    steps.left.push(front.row);
                    (due + steps.left.len() - 1) as u32
                }
                due => due,
            };
            steps.push(row, partition, -1);
            steps.gone.push(front.row.slot);
        }
        if held.is_empty() {
            // Many partitions fall silent; those that go on need little.
            *held = VecDeque::new();
        }
    }

    /// Memory in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let rows: usize = self.held.iter().map(VecDeque::capacity).sum();
        self.held.capacity() * size_of::<VecDeque<Held>>() + rows * size_of::<Held>()
    }
}

impl Steps {
    fn push(&mut self, row: u32, partition: u32, sign: i64) {
        self.rows.push(row);
        self.partitions.push(partition);
        self.signs.push(sign);
    }

    /// Whether each due row is one step, in order.
    pub(crate) fn is_plain(&self) -> bool {
        self.rows.len() == self.complete.len() && self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<RowAt> {
        let row = |(i, part): (usize, &str)| {
            let (partition, time) = part.split_once('@').unwrap();
            RowAt {
                partition: partition.parse().unwrap(),
                time: time.parse().unwrap(),
                slot: i as u32 + 100,
            }
        };
        text.split_whitespace().enumerate().map(row).collect()
    }

    fn text(steps: &Steps) -> String {
        let all: Vec<String> = (steps.rows.iter().zip(&steps.signs))
            .map(|(row, sign)| format!("{}{row}", if *sign > 0 { '+' } else { '-' }))
            .collect();
        format!("{} | {:?}", all.join(" "), steps.complete)
    }

    #[test]
    fn frames_without_bound_only_grow() {
        let due = rows("0@1 0@1 1@1 0@2");
        assert_eq!(
            text(&Frames::new(OverFrame::UnboundedRows).advance(&due)),
            "+0 +1 +2 +3 | [0, 1, 2, 3]"
        );
        let steps = Frames::new(OverFrame::UnboundedRange).advance(&due);
        assert_eq!(text(&steps), "+0 +1 +2 +3 | [1, 1, 2, 3]");
        assert_eq!(steps.first, [0, 0, 2, 3]);
    }

    #[test]
    fn rows_leave_by_number() {
        let mut frames = Frames::new(OverFrame::Rows { preceding: 1 });
        assert_eq!(
            text(&frames.advance(&rows("0@1 0@1 0@2 1@2"))),
            "+0 +1 -0 +2 +3 | [0, 1, 3, 4]"
        );
        let steps = frames.advance(&rows("0@5 0@6"));
        assert_eq!(text(&steps), "-2 +0 -3 +1 | [1, 3]");
        assert_eq!(steps.gone, [101, 102], "the second and third row of the first call");
        let mut none = Frames::new(OverFrame::Rows { preceding: 0 });
        assert_eq!(text(&none.advance(&rows("0@1 0@2"))), "+0 -0 +1 | [0, 2]");
    }

    #[test]
    fn rows_leave_by_age_and_empty_partitions_are_retired() {
        let mut frames = Frames::new(OverFrame::Range { preceding_ms: 10 });
        assert_eq!(
            text(&frames.advance(&rows("0@1 0@1 1@4 0@11"))),
            "+0 +1 +2 +3 | [1, 1, 2, 3]"
        );
        let steps = frames.advance(&rows("0@12 0@12"));
        assert_eq!(text(&steps), "-2 -3 +0 +1 | [3, 3]");
        let (steps, over) = frames.retire(5, |_| false);
        assert_eq!((text(&steps).as_str(), over), ("-0 | []", vec![1]));
        assert!(frames.retire(13, |p| p == 0).1.is_empty());
        assert_eq!(frames.retire(13, |_| false).0.gone.len(), 3);
    }
}
