//! Rows that wait for their time, in the order in which they will be told: [`Waiting`].

use super::frames::RowAt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Rows by time; those of one time by partition, then by number.
///
/// Rows of one time are put in order when their time has come, so that a row costs no search among all that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    times: BTreeMap<i64, Same>,
    rows: usize,
}

/// Rows of one time.
#[derive(Debug, Default)]
struct Same {
    /// Partition, number, slot.
    rows: VecDeque<(u32, i64, u32)>,
    is_sorted: bool,
}

impl Waiting {
    /// Lets a row wait; its number tells when it came.
    pub(crate) fn insert(&mut self, row: RowAt, number: i64) {
        let same = self.times.entry(row.time).or_default();
        same.rows.push_back((row.partition, number, row.slot));
        same.is_sorted = false;
        self.rows += 1;
    }

    /// The earliest time.
    pub(crate) fn first_time(&self) -> Option<i64> {
        self.times.first_key_value().map(|(time, _)| *time)
    }

    /// Takes rows out up to time `until`, until there are at least `room`; with `whole` the rows of a partition's time stay
    /// together.
    pub(crate) fn take_due(&mut self, until: i64, room: usize, whole: bool) -> Vec<RowAt> {
        let mut due: Vec<RowAt> = vec![];
        while let Some(mut first) = self.times.first_entry().filter(|f| *f.key() <= until) {
            let time = *first.key();
            let same = first.get_mut();
            if !same.is_sorted {
                same.rows.make_contiguous().sort_unstable();
                same.is_sorted = true;
            }
            while let Some(&(partition, _, slot)) = same.rows.front() {
                let continues = |row: &RowAt| whole && (row.partition, row.time) == (partition, time);
                if due.len() >= room && !due.last().is_some_and(continues) {
                    self.rows -= due.len();
                    return due;
                }
                same.rows.pop_front();
                due.push(RowAt { partition, time, slot });
            }
            first.remove();
        }
        self.rows -= due.len();
        due
    }

    /// Partitions with rows that wait.
    pub(crate) fn partitions(&self) -> BTreeSet<u32> {
        let rows = self.times.values().flat_map(|same| &same.rows);
        rows.map(|(partition, ..)| *partition).collect()
    }

    /// Memory in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.rows * size_of::<(u32, i64, u32)>() + self.times.len() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_by_time_partition_and_number_and_those_of_one_frame_together() {
        let mut waiting = Waiting::default();
        let rows = [(2, 5), (1, 5), (1, 3), (1, 5), (2, 9)];
        for (number, (partition, time)) in rows.into_iter().enumerate() {
            let slot = number as u32;
            waiting.insert(RowAt { partition, time, slot }, number as i64);
        }
        assert_eq!(waiting.first_time(), Some(3));
        assert_eq!(waiting.partitions().len(), 2);
        let slots = |due: Vec<RowAt>| due.iter().map(|r| r.slot).collect::<Vec<_>>();
        assert_eq!(slots(waiting.take_due(8, 2, true)), [2, 1, 3]);
        assert_eq!(slots(waiting.take_due(8, 2, true)), [0]);
        assert!(waiting.take_due(8, 2, true).is_empty());
        assert_eq!(slots(waiting.take_due(9, 2, false)), [4]);
        assert_eq!((waiting.first_time(), waiting.bytes()), (None, 0));
    }

    #[test]
    fn rows_by_number_are_cut_anywhere() {
        let mut waiting = Waiting::default();
        for slot in 0..5 {
            let row = RowAt {
                partition: 0,
                time: 1,
                slot,
            };
            waiting.insert(row, i64::from(slot));
        }
        assert_eq!(waiting.take_due(1, 3, false).len(), 3);
        assert_eq!(waiting.take_due(1, 3, false).len(), 2);
    }
}
