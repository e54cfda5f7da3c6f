//! Rows that wait for their time, in the order in which they will be told: [`Waiting`].

use super::frames::RowAt;
use std::collections::{BTreeMap, VecDeque};

/// Rows by time; those of one time by partition, then by number.
///
/// Rows of one time are put in order when their time has come, so that a row costs no search among all that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    times: BTreeMap<i64, Same>,
    rows: usize,
    /// How many rows of each partition wait.
    of_partition: Vec<u32>,
    /// How many partitions have rows that wait.
    partitions: usize,
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
        let partition = row.partition as usize;
        if partition >= self.of_partition.len() {
            self.of_partition.resize(partition + 1, 0);
        }
        self.partitions += usize::from(self.of_partition[partition] == 0);
        self.of_partition[partition] += 1;
    }

    /// The earliest time.
    pub(crate) fn first_time(&self) -> Option<i64> {
        self.times.first_key_value().map(|(time, _)| *time)
    }

    /// Takes rows out up to time `until`, until there are at least `room`; with `whole` the rows of a partition's time stay
    /// together.
    pub(crate) fn take_due(&mut self, until: i64, room: usize, whole: bool) -> Vec<RowAt> {
        let due = self.take(until, room, whole);
        for row in &due {
            let waiting = &mut self.of_partition[row.partition as usize];
            *waiting -= 1;
            self.partitions -= usize::from(*waiting == 0);
        }
        self.rows -= due.len();
        due
    }

    fn take(&mut self, until: i64, room: usize, whole: bool) -> Vec<RowAt> {
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
                    return due;
                }
                same.rows.pop_front();
                due.push(RowAt { partition, time, slot });
            }
            first.remove();
        }
        due
    }

    /// How many partitions have rows that wait.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Whether rows of a partition wait.
    #[inline]
    pub(crate) fn holds(&self, partition: u32) -> bool {
        self.of_partition.get(partition as usize).is_some_and(|rows| *rows > 0)
    }

    /// Memory in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.rows * size_of::<(u32, i64, u32)>() + self.times.len() * 64 + self.of_partition.capacity() * 4
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
        let held = |waiting: &Waiting| (waiting.partitions(), [0, 1, 2, 3].map(|p| waiting.holds(p)));
        assert_eq!(held(&waiting), (2, [false, true, true, false]));
        let slots = |due: Vec<RowAt>| due.iter().map(|r| r.slot).collect::<Vec<_>>();
        assert_eq!(slots(waiting.take_due(8, 2, true)), [2, 1, 3]);
        assert_eq!(slots(waiting.take_due(8, 2, true)), [0]);
        assert!(waiting.take_due(8, 2, true).is_empty());
        assert_eq!(held(&waiting), (1, [false, false, true, false]));
        assert_eq!(slots(waiting.take_due(9, 2, false)), [4]);
        assert_eq!((waiting.first_time(), waiting.rows), (None, 0));
        assert_eq!(held(&waiting), (0, [false; 4]));
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
