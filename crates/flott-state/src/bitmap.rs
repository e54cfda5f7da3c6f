//! One bit per slot: [`SlotSet`].

/// A set of slots; slots beyond its end are not in it.
#[derive(Debug, Default, Clone)]
pub struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    /// Adds a slot.
    #[inline]
    pub fn insert(&mut self, slot: u32) {
        let word = (slot >> 6) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot & 63);
    }

    /// Takes a slot out and says whether it was in.
    #[inline]
    pub fn remove(&mut self, slot: u32) -> bool {
        let bit = 1 << (slot & 63);
        match self.words.get_mut((slot >> 6) as usize) {
            Some(word) => {
                let was_in = *word & bit != 0;
                *word &= !bit;
                was_in
            }
            None => false,
        }
    }

    /// Whether a slot is in the set.
    #[inline]
    pub fn contains(&self, slot: u32) -> bool {
        self.words
            .get((slot >> 6) as usize)
            .is_some_and(|w| w & (1 << (slot & 63)) != 0)
    }

    /// Number of slots in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether no slot is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// Adds all slots of `other`.
    pub fn union_with(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, added) in self.words.iter_mut().zip(&other.words) {
            *word |= added;
        }
    }

    /// Keeps only slots that are in `other` too.
    pub fn intersect_with(&mut self, other: &Self) {
        for (i, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(i).copied().unwrap_or(0);
        }
    }

    /// Takes all slots out, and keeps the memory.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.iter_from(0)
    }

    /// The slots from `first` on, ascending.
    pub fn iter_from(&self, first: u32) -> impl Iterator<Item = u32> {
        let start = (first >> 6) as usize;
        let skipped = !((1u64 << (first & 63)) - 1);
        self.words.iter().enumerate().skip(start).flat_map(move |(i, word)| {
            let mut left = if i == start { word & skipped } else { *word };
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros();
                left &= left - 1;
                Some((i as u32) << 6 | bit)
            })
        })
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_in_order_from_any_start() {
        let mut set = SlotSet::default();
        for slot in [3, 64, 65, 200, 0] {
            set.insert(slot);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 64, 65, 200]);
        assert_eq!(set.iter_from(65).collect::<Vec<_>>(), [65, 200]);
        assert_eq!(set.iter_from(66).collect::<Vec<_>>(), [200]);
        assert_eq!(set.iter_from(1000).count(), 0);
        assert!(set.remove(64) && !set.remove(64) && !set.contains(64));
        assert_eq!(set.len(), 4);
    }
}
