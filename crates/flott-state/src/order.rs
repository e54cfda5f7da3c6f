//! The order of a run's rows: by key group, cut into blocks: [`Order`].
//!
//! Columns are read in the order of slots and each value is written to its place, one place per group at a time: reads are
//! sequential, and the few hundred lines being written stay in the first cache. Reading in the order of the run instead would
//! miss the cache for nearly every value of a large table.

use crate::column::Fixed;
use crate::pack::Packing;
use flott_core::KeyGroup;
use std::ops::Range;

/// Slots sorted by key group; slots of a group keep their order.
#[derive(Debug)]
pub(crate) struct Order {
    slots: Vec<u32>,
    /// The group of each slot.
    groups: Vec<KeyGroup>,
    /// Where each group starts in the run; one more than there are groups.
    starts: Vec<usize>,
    /// Rows of a block at most.
    block_rows: usize,
    /// The first block of each group, among all blocks of the run.
    first_blocks: Vec<usize>,
}

/// Where the next value of a group goes.
struct Place {
    at: usize,
    /// Rows that still fit into the block.
    left: usize,
    block: usize,
}

impl Order {
    /// The order of ascending `slots`, whose groups are below `groups`, in blocks of `block_rows`.
    pub(crate) fn by_group(
        slots: Vec<u32>,
        groups: usize,
        block_rows: usize,
        group_of: impl Fn(usize) -> KeyGroup,
    ) -> Self {
        let mut starts = vec![0usize; groups + 1];
        let mut of_slots = Vec::with_capacity(slots.len());
        for &slot in &slots {
            let group = group_of(slot as usize);
            of_slots.push(group);
            starts[usize::from(group) + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        Self {
            slots,
            groups: of_slots,
            starts,
            block_rows,
            first_blocks: vec![0; groups],
        }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slots, ascending.
    pub(crate) fn slots(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().map(|slot| *slot as usize)
    }

    /// Says which block of the run is the first of a group.
    pub(crate) fn begin_group(&mut self, group: usize, block: usize) {
        self.first_blocks[group] = block;
    }

    /// The values of the slots, sorted.
    #[inline]
    pub(crate) fn sort<T: Copy + Default>(&self, value_of: impl Fn(usize) -> T) -> Vec<T> {
        let mut sorted = vec![T::default(); self.slots.len()];
        let mut next = self.starts.clone();
        for (slot, &group) in self.slots().zip(&self.groups) {
            let next = &mut next[usize::from(group)];
            sorted[*next] = value_of(slot);
            *next += 1;
        }
        sorted
    }

    /// Packs the values of the slots into `out`: those of a block side by side from `starts[block]` on, which is then moved
    /// behind them.
    #[inline]
    pub(crate) fn write<T: Fixed>(
        &self,
        packing: Packing,
        starts: &mut [usize],
        out: &mut [u8],
        value_of: impl Fn(usize) -> T,
    ) {
        match packing.width {
            0 => {}
            1 => self.write_wide::<T, 1>(packing.base, starts, out, value_of),
            2 => self.write_wide::<T, 2>(packing.base, starts, out, value_of),
            4 => self.write_wide::<T, 4>(packing.base, starts, out, value_of),
            8 => self.write_wide::<T, 8>(packing.base, starts, out, value_of),
            _ => self.write_wide::<T, 16>(packing.base, starts, out, value_of),
        }
    }

    #[inline]
    fn write_wide<T: Fixed, const N: usize>(
        &self,
        base: i128,
        starts: &mut [usize],
        out: &mut [u8],
        value_of: impl Fn(usize) -> T,
    ) {
        let rows_left = |group: usize, block: usize| {
            let before = (block - self.first_blocks[group]) * self.block_rows;
            (self.rows_of(group).len() - before).min(self.block_rows)
        };
        let mut places: Vec<Place> = (0..self.first_blocks.len())
            .map(|group| match self.rows_of(group).is_empty() {
                true => Place {
                    at: 0,
                    left: 0,
                    block: 0,
                },
                false => Place {
                    at: starts[self.first_blocks[group]],
                    left: rows_left(group, self.first_blocks[group]),
                    block: self.first_blocks[group],
                },
            })
            .collect();
        for (slot, &group) in self.slots().zip(&self.groups) {
            let group = usize::from(group);
            let place = &mut places[group];
            if place.left == 0 {
                starts[place.block] = place.at;
                place.block += 1;
                place.at = starts[place.block];
                place.left = rows_left(group, place.block);
            }
            out[place.at..place.at + N].copy_from_slice(&value_of(slot).pack::<N>(base));
            place.at += N;
            place.left -= 1;
        }
        for (group, place) in places.iter().enumerate() {
            if !self.rows_of(group).is_empty() {
                starts[place.block] = place.at;
            }
        }
    }

    /// The rows of a group.
    pub(crate) fn rows_of(&self, group: usize) -> Range<usize> {
        self.starts[group]..self.starts[group + 1]
    }

    /// The row of a slot.
    pub(crate) fn row_of(&self, slot: u32) -> Option<usize> {
        let index = self.slots.binary_search(&slot).ok()?;
        let group = self.groups[index];
        let before = self.groups[..index].iter().filter(|g| **g == group).count();
        Some(self.starts[usize::from(group)] + before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_group_and_keep_their_order() {
        let groups = [2u16, 0, 2, 9, 1, 0];
        let order = Order::by_group(vec![0, 1, 2, 4, 5], 3, 8, |slot| groups[slot]);
        assert_eq!(order.sort(|slot| slot), [1, 5, 4, 0, 2]);
        assert_eq!(
            (order.rows_of(0), order.rows_of(1), order.rows_of(2)),
            (0..2, 2..3, 3..5)
        );
        assert_eq!(
            (order.row_of(4), order.row_of(2), order.row_of(3)),
            (Some(2), Some(4), None)
        );
    }

    #[test]
    fn values_go_to_the_blocks_of_their_group() {
        // Group 0 has three rows in blocks of two, group 1 none, group 2 one.
        let groups = [0u16, 2, 0, 0];
        let mut order = Order::by_group(vec![0, 1, 2, 3], 3, 2, |slot| groups[slot]);
        order.begin_group(0, 0);
        order.begin_group(2, 2);
        let (mut starts, mut out) = ([1, 10, 20], [0; 32]);
        let value = |slot: usize| 1_000 + slot as i64;
        let packing = i64::packing(order.slots().map(value));
        order.write(packing, &mut starts, &mut out, value);
        assert_eq!((packing.width, starts), (1, [3, 11, 21]));
        assert_eq!((&out[1..3], out[10], out[20]), (&[0u8, 2][..], 3, 1));
    }
}
