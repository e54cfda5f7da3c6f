//! From a key's hash to its slot: [`SlotIndex`].
//!
//! Open addressing with linear probing over 64-bit entries: the upper half is the hash's upper half, the lower half the
//! slot. A look-up touches one cache line here and then the key itself, which the caller compares. The lowest bits of the
//! upper half choose the place, so an entry says itself where it belongs: growing and removing need nothing but the entries
//! (with the hashes kept elsewhere, a removal cost a cache miss for every entry behind it). The bits above them tell the
//! entries of one place apart. No tombstones: a removal moves the entries behind it forward.

const EMPTY: u64 = u64::MAX;

/// Rows that [`SlotIndex::hint`] looks up at once: enough to overlap their cache misses, few enough to stay in registers
/// and the first cache.
pub const HINTED_ROWS: usize = 64;

/// No slot has a hash like that.
pub const NO_HINT: u32 = u32::MAX;

/// A hash index over slots; the keys and full hashes are the caller's.
#[derive(Debug, Default)]
pub struct SlotIndex {
    /// Length is zero or a power of two; at most 5/8 of the entries are in use.
    entries: Vec<u64>,
    len: usize,
}

/// What a look-up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The key's slot.
    Slot(u32),
    /// The key is not there; it can be put here while nothing else changes.
    Vacant(usize),
}

impl SlotIndex {
    #[inline]
    fn tag(hash: u64) -> u64 {
        hash & 0xffff_ffff_0000_0000
    }

    /// The place where the search for a hash, or for an entry, begins.
    #[inline]
    fn home(hash: u64, mask: usize) -> usize {
        (hash >> 32) as usize & mask
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let capacity = (needed * 8 / 5 + 1).next_power_of_two().max(16);
        let old = std::mem::replace(&mut self.entries, vec![EMPTY; capacity]);
        for entry in old {
            if entry != EMPTY {
                let place = self.first_empty(entry);
                self.entries[place] = entry;
            }
        }
    }

    /// Looks for the slot of a key with this hash; `is_key` compares a candidate slot's key.
    #[inline]
    pub fn find(&self, hash: u64, mut is_key: impl FnMut(u32) -> bool) -> Found {
        let entries = self.entries.as_slice();
        let mask = entries.len().wrapping_sub(1);
        let tag = Self::tag(hash);
        let mut place = Self::home(hash, mask);
        while let Some(&entry) = entries.get(place) {
            if entry == EMPTY {
                break;
            }
            if Self::tag(entry) == tag && is_key(entry as u32) {
                return Found::Slot(entry as u32);
            }
            place = (place + 1) & mask;
        }
        Found::Vacant(place)
    }

    /// For each hash the slot whose hash has the same upper half, or [`NO_HINT`]: almost always the key's slot, but the key must
    /// be compared.
    ///
    /// The entries are fetched in a loop of their own, without a branch between them, so that the cache misses of a block
    /// of rows overlap; this halves the time of a look-up among a million keys.
    #[inline]
    pub fn hint(&self, hashes: &[u64], hints: &mut [u32; HINTED_ROWS]) {
        let entries = self.entries.as_slice();
        if entries.is_empty() {
            hints.fill(NO_HINT);
            return;
        }
        let mask = entries.len() - 1;
        let mut fetched = [EMPTY; HINTED_ROWS];
        for (entry, hash) in fetched.iter_mut().zip(hashes) {
            *entry = entries[Self::home(*hash, mask)];
        }
        for ((hint, entry), &hash) in hints.iter_mut().zip(fetched).zip(hashes) {
            let tag = Self::tag(hash);
            let mut entry = entry;
            let mut place = Self::home(hash, mask);
            while Self::tag(entry) != tag && entry != EMPTY {
                place = (place + 1) & mask;
                entry = entries[place];
            }
            // The slot of an empty entry is NO_HINT.
            *hint = entry as u32;
        }
    }

    /// Puts a slot at the vacant place that [`Self::find`] gave for this hash.
    #[inline]
    pub fn put(&mut self, place: usize, hash: u64, slot: u32) {
        let place = if (self.len + 1) * 8 > self.entries.len() * 5 {
            self.grow(self.len + 1);
            self.first_empty(hash)
        } else {
            place
        };
        self.entries[place] = Self::tag(hash) | u64::from(slot);
        self.len += 1;
    }

    fn first_empty(&self, hash: u64) -> usize {
        let mask = self.entries.len() - 1;
        let mut place = Self::home(hash, mask);
        while self.entries[place] != EMPTY {
            place = (place + 1) & mask;
        }
        place
    }

    /// Takes out a slot that has this hash.
    pub fn remove(&mut self, hash: u64, slot: u32) {
        if self.entries.is_empty() {
            return;
        }
        let mask = self.entries.len() - 1;
        let wanted = Self::tag(hash) | u64::from(slot);
        let mut hole = Self::home(hash, mask);
        while self.entries[hole] != wanted {
            if self.entries[hole] == EMPTY {
                return;
            }
            hole = (hole + 1) & mask;
        }
        let mut next = (hole + 1) & mask;
        while self.entries[next] != EMPTY {
            let home = Self::home(self.entries[next], mask);
            // The entry may fill the hole unless its home lies behind the hole, on the way to it.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.entries[hole] = self.entries[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.entries[hole] = EMPTY;
        self.len -= 1;
    }

    /// Takes all slots out and gives the memory back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// A model test: the index against a `HashMap`, with hashes that collide often.
    #[test]
    fn behaves_as_a_map_under_insertions_and_removals() {
        let mut index = SlotIndex::default();
        let mut model: HashMap<u64, u32> = HashMap::new();
        let mut hashes: Vec<u64> = Vec::new();
        let mut state = 12345u64;
        for step in 0..20_000u32 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let hash = (((state >> 33) % 400) << 32) | (((state >> 50) % 3) << 60);
            let found = index.find(hash, |s| hashes[s as usize] == hash);
            assert_eq!(
                matches!(found, Found::Slot(_)),
                model.contains_key(&hash),
                "step {step}"
            );
            match found {
                Found::Slot(slot) if state & 1 == 0 => {
                    index.remove(hash, slot);
                    model.remove(&hash);
                }
                Found::Slot(slot) => assert_eq!(model[&hash], slot),
                Found::Vacant(place) => {
                    let slot = hashes.len() as u32;
                    hashes.push(hash);
                    index.put(place, hash, slot);
                    model.insert(hash, slot);
                }
            }
        }
        assert_eq!(index.len, model.len());
        for (hash, slot) in model {
            assert_eq!(index.find(hash, |s| s == slot), Found::Slot(slot));
        }
    }
}
