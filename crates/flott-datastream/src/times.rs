//! The event times of records: of all, of none, or of some.
//!
//! Streams mostly have times throughout or not at all, and both cost nothing to tell apart: no vector, or a whole one. A function
//! may emit with a time here and without one there (a processing-time timer has none), so a place can stay blank.

use flott_core::EventTime;
use serde::{Deserialize, Serialize};

/// In the place of a time that a record does not have; no record has it, as in Flink.
const NO_TIME: EventTime = EventTime::MIN;

/// Event times in milliseconds, by the place of their records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Times {
    times: Vec<EventTime>,
    /// The least and the greatest in any place, where they are known: windows ask for nothing else.
    #[serde(skip)]
    range: Option<(EventTime, EventTime)>,
}

impl PartialEq for Times {
    fn eq(&self, other: &Self) -> bool {
        self.times == other.times
    }
}

impl Eq for Times {}

fn range_of(times: &[EventTime]) -> Option<(EventTime, EventTime)> {
    let first = *times.first()?;
    let widened = |(least, greatest): (EventTime, EventTime), time: &EventTime| (least.min(*time), greatest.max(*time));
    Some(times.iter().fold((first, first), widened))
}

impl Times {
    /// Whether no record has a time.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// How many places there are; 0 if no record has a time.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// The time of record `index`, if it has one.
    #[inline]
    pub fn get(&self, index: usize) -> Option<EventTime> {
        self.times.get(index).copied().filter(|time| *time != NO_TIME)
    }

    /// The latest time.
    pub fn latest(&self) -> Option<EventTime> {
        let (_, latest) = self.range.or_else(|| range_of(&self.times))?;
        Some(latest).filter(|time| *time != NO_TIME)
    }

    /// The earliest and the latest time, if all records have one.
    pub(crate) fn range(&self) -> Option<(EventTime, EventTime)> {
        let range = self.range.or_else(|| range_of(&self.times));
        range.filter(|(earliest, _)| *earliest != NO_TIME)
    }

    /// Takes the times out of all records for which `kept` is false.
    pub(crate) fn retain(&mut self, kept: &[bool]) {
        self.range = None;
        let mut place = 0;
        for (index, kept) in kept.iter().enumerate().take(self.times.len()) {
            self.times[place] = self.times[index];
            place += usize::from(*kept);
        }
        self.times.truncate(place);
    }

    /// Notes the time of a record behind `before` others.
    #[inline]
    pub(crate) fn push(&mut self, before: usize, time: Option<EventTime>) {
        self.range = None;
        match time {
            Some(time) => {
                if self.times.len() < before {
                    self.times.resize(before, NO_TIME);
                }
                self.times.push(time);
            }
            None if self.times.is_empty() => {}
            None => self.times.push(NO_TIME),
        }
    }

    /// Notes the times of `count` records behind `before` others.
    pub(crate) fn append(&mut self, before: usize, more: Self, count: usize) {
        if more.is_empty() && self.is_empty() {
            return;
        }
        self.range = None;
        self.times.resize(before, NO_TIME);
        self.times.extend(more.times);
        self.times.resize(before + count, NO_TIME);
    }

    /// The times of the records at `indices`.
    pub(crate) fn take(&self, indices: &[u32]) -> Self {
        match self.is_empty() {
            true => Self::default(),
            false => Self::unranged(indices.iter().map(|i| self.times[*i as usize]).collect()),
        }
    }

    /// Spreads them as their records are: see [`flott_core::Rows::scatter`].
    pub(crate) fn scatter(&self, targets: &[u32], counts: &[usize]) -> Vec<Self> {
        let room = |count: &usize| if self.is_empty() { 0 } else { *count };
        let mut parts: Vec<Vec<EventTime>> = counts.iter().map(|n| Vec::with_capacity(room(n))).collect();
        for (time, target) in self.times.iter().zip(targets) {
            parts[*target as usize].push(*time);
        }
        parts.into_iter().map(Self::unranged).collect()
    }

    fn unranged(times: Vec<EventTime>) -> Self {
        Self { times, range: None }
    }

    /// The times one after the other.
    pub(crate) fn cursor(self) -> TimesCursor {
        TimesCursor(self.times.into_iter())
    }
}

impl From<Vec<EventTime>> for Times {
    fn from(times: Vec<EventTime>) -> Self {
        let range = range_of(&times);
        Self { times, range }
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
        assert_eq!((times.range(), parts[1].range()), (None, Some((5, 9))));
        let mut ranged = Times::from(vec![4, 2, 8]);
        assert_eq!((ranged.range(), ranged.latest()), (Some((2, 8)), Some(8)));
        ranged.retain(&[true, false, false]);
        assert_eq!(ranged.range(), Some((4, 4)));
        ranged.push(1, Some(1));
        assert_eq!(ranged.range(), Some((1, 4)));
        ranged.append(2, Times::from(vec![9]), 1);
        assert_eq!(ranged.range(), Some((1, 9)));
        let mut none = Times::default();
        none.append(3, Times::default(), 2);
        assert!(none.is_empty());
    }
}
