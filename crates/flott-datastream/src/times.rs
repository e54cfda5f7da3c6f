//! The event times of records: of all, of none, or of some.
//!
//! Streams mostly have times throughout or not at all, and both cost nothing to tell apart: no vector, or a whole one. A function
//! may emit with a time here and without one there (a processing-time timer has none), so a place can stay blank.

use flott_core::EventTime;
use serde::{Deserialize, Serialize};

/// In the place of a time that a record does not have; no record has it, as in Flink.
const NO_TIME: EventTime = EventTime::MIN;

/// Event times in milliseconds, by the place of their records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times(Vec<EventTime>);

impl Times {
    /// Whether no record has a time.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many places there are; 0 if no record has a time.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time of record `index`, if it has one.
    #[inline]
    pub fn get(&self, index: usize) -> Option<EventTime> {
        self.0.get(index).copied().filter(|time| *time != NO_TIME)
    }

    /// The latest time.
    pub fn latest(&self) -> Option<EventTime> {
        self.0.iter().copied().max().filter(|time| *time != NO_TIME)
    }

    /// The earliest and the latest time, if all records have one.
    pub(crate) fn range(&self) -> Option<(EventTime, EventTime)> {
        let earliest = self.0.iter().copied().min().filter(|time| *time != NO_TIME)?;
        Some((earliest, self.latest()?))
    }

    /// Takes the times out of all records for which `kept` is false.
    pub(crate) fn retain(&mut self, kept: &[bool]) {
        let mut kept = kept.iter();
        self.0.retain(|_| kept.next().is_some_and(|kept| *kept));
    }

    /// Notes the time of a record behind `before` others.
    #[inline]
    pub(crate) fn push(&mut self, before: usize, time: Option<EventTime>) {
        match time {
            Some(time) => {
                if self.0.len() < before {
                    self.0.resize(before, NO_TIME);
                }
                self.0.push(time);
            }
            None if self.0.is_empty() => {}
            None => self.0.push(NO_TIME),
        }
    }

    /// Notes the times of `count` records behind `before` others.
    pub(crate) fn append(&mut self, before: usize, more: Self, count: usize) {
        if more.is_empty() && self.is_empty() {
            return;
        }
        self.0.resize(before, NO_TIME);
        self.0.extend(more.0);
        self.0.resize(before + count, NO_TIME);
    }

    /// The times of the records at `indices`.
    pub(crate) fn take(&self, indices: &[u32]) -> Self {
        match self.is_empty() {
            true => Self::default(),
            false => Self(indices.iter().map(|i| self.0[*i as usize]).collect()),
        }
    }

    /// Spreads them as their records are: see [`flott_core::Rows::scatter`].
    pub(crate) fn scatter(&self, targets: &[u32], counts: &[usize]) -> Vec<Self> {
        let room = |count: &usize| if self.is_empty() { 0 } else { *count };
        let mut parts: Vec<Vec<EventTime>> = counts.iter().map(|n| Vec::with_capacity(room(n))).collect();
        for (time, target) in self.0.iter().zip(targets) {
            parts[*target as usize].push(*time);
        }
        parts.into_iter().map(Self).collect()
    }

    /// The times one after the other.
    pub(crate) fn cursor(self) -> TimesCursor {
        TimesCursor(self.0.into_iter())
    }
}

impl From<Vec<EventTime>> for Times {
    fn from(times: Vec<EventTime>) -> Self {
        Self(times)
    }
}

/// Gives out [`Times`] record by record.
#[derive(Debug, Default)]
pub(crate) struct TimesCursor(std::vec::IntoIter<EventTime>);

impl TimesCursor {
    /// The time of the next record, if it has one.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<EventTime> {
        self.0.next().filter(|time| *time != NO_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_time_keep_their_places() {
        let mut times = Times::default();
        for (place, time) in [None, Some(5), None, Some(7)].into_iter().enumerate() {
            times.push(place, time);
        }
        times.append(4, Times::default(), 2);
        times.append(6, Times::from(vec![9]), 1);
        let all: Vec<_> = (0..8).map(|i| times.get(i)).collect();
        assert_eq!(all, [None, Some(5), None, Some(7), None, None, Some(9), None]);
        assert_eq!((times.len(), times.latest()), (7, Some(9)));
        let mut cursor = times.clone().cursor();
        assert_eq!((cursor.next(), cursor.next()), (None, Some(5)));
        let parts = times.scatter(&[0, 1, 0, 1, 0, 0, 1], &[4, 3]);
        assert_eq!(parts[1], Times::from(vec![5, 7, 9]));
        assert_eq!(times.take(&[6, 0]).get(1), None);
        let mut none = Times::default();
        none.append(3, Times::default(), 2);
        assert!(none.is_empty());
    }
}
