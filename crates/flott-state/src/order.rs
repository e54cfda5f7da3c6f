//! The order of a run's rows, by key group: [`Order`].
//!
//! Columns are read in the order of slots and each value is written to its place, one place per group at a time: reads are
//! sequential, and the few hundred lines being written stay in the first cache. Reading in the order of the run instead would
//! miss the cache for nearly every value of a large table.

use flott_core::KeyGroup;
use std::ops::Range;

/// Slots sorted by key group; slots of a group keep their order.
#[derive(Debug)]
pub(crate) struct Order {
    slots: Vec<u32>,
    /// Where the row of `slots[i]` is in the run.
    places: Vec<u32>,
    /// Where each group starts in the run; one more than there are groups.
    starts: Vec<usize>,
}

impl Order {
    /// The order of ascending `slots`, whose groups are below `groups`.
    pub(crate) fn by_group(slots: &[u32], groups: usize, group_of: impl Fn(usize) -> KeyGroup) -> Self {
        let mut starts = vec![0usize; groups + 1];
        for &slot in slots {
            starts[usize::from(group_of(slot as usize)) + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let place = |&slot: &u32| {
            let next = &mut next[usize::from(group_of(slot as usize))];
            *next += 1;
            (*next - 1) as u32
        };
        Self {
            places: slots.iter().map(place).collect(),
            slots: slots.to_vec(),
            starts,
        }
    }

    /// The values of the slots, sorted.
    #[inline]
    pub(crate) fn sort<T: Copy + Default>(&self, value_of: impl Fn(usize) -> T) -> Vec<T> {
        let mut sorted = vec![T::default(); self.slots.len()];
        for (&slot, &place) in self.slots.iter().zip(&self.places) {
            sorted[place as usize] = value_of(slot as usize);
        }
        sorted
    }

    /// The rows of a group.
    pub(crate) fn rows_of(&self, group: usize) -> Range<usize> {
        self.starts[group]..self.starts[group + 1]
    }

    /// The row of a slot.
    pub(crate) fn row_of(&self, slot: u32) -> Option<usize> {
        let index = self.slots.binary_search(&slot).ok()?;
        Some(self.places[index] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_group_and_keep_their_order() {
        let groups = [2u16, 0, 2, 9, 1, 0];
        let order = Order::by_group(&[0, 1, 2, 4, 5], 3, |slot| groups[slot]);
        assert_eq!(order.sort(|slot| slot), [1, 5, 4, 0, 2]);
        assert_eq!(
            (order.rows_of(0), order.rows_of(1), order.rows_of(2)),
            (0..2, 2..3, 3..5)
        );
        assert_eq!((order.row_of(4), order.row_of(3)), (Some(2), None));
    }
}
