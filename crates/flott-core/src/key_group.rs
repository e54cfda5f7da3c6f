//! Key groups: the unit in which keyed state is placed, moved and stored.
//!
//! A key's group is a function of its 64-bit hash and the job's maximum parallelism only; subtasks own contiguous
//! ranges. Exchange, state and files all call [`key_group_of`], so that rescaling opens ranges and never re-keys.

use serde::{Deserialize, Serialize};

/// Index of a key group, below the maximum parallelism.
pub type KeyGroup = u16;

/// Highest maximum parallelism, as in Flink (2^15).
pub const UPPER_BOUND_MAX_PARALLELISM: usize = 1 << 15;

/// A contiguous range of key groups, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// First group.
    pub start: KeyGroup,
    /// Last group, included.
    pub end: KeyGroup,
}

impl KeyGroupRange {
    /// The range that holds every group of `max_parallelism`.
    pub fn all(max_parallelism: usize) -> Self {
        Self {
            start: 0,
            end: (max_parallelism - 1) as KeyGroup,
        }
    }

    /// The range of subtask `index` of `parallelism` (Flink's `KeyGroupRangeAssignment`).
    pub fn of_subtask(max_parallelism: usize, parallelism: usize, index: usize) -> Self {
        let start = (index * max_parallelism).div_ceil(parallelism);
        let end = ((index + 1) * max_parallelism - 1) / parallelism;
        Self {
            start: start as KeyGroup,
            end: end as KeyGroup,
        }
    }

    /// Whether `group` lies in the range.
    #[inline]
    pub fn contains(&self, group: KeyGroup) -> bool {
        self.start <= group && group <= self.end
    }

    /// Whether the two ranges share a group.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The groups that both have.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        self.overlaps(other).then(|| Self {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        })
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        usize::from(self.end) - usize::from(self.start) + 1
    }

    /// A range holds at least one group.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// The group of a key with this hash. The table index inside a subtask uses the unmixed hash, so the two share no bits.
#[inline]
pub fn key_group_of(hash: u64, max_parallelism: usize) -> KeyGroup {
    (murmur_mix(hash) % max_parallelism as u64) as KeyGroup
}

/// The subtask that owns `group`.
#[inline]
pub fn subtask_of(group: KeyGroup, max_parallelism: usize, parallelism: usize) -> usize {
    usize::from(group) * parallelism / max_parallelism
}

/// The 64-bit finaliser of MurmurHash3.
#[inline]
fn murmur_mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

/// Flink's default maximum parallelism for an operator of `parallelism`: half as much again, rounded up to a power of two, within 128 and 32768.
pub fn default_max_parallelism(parallelism: usize) -> usize {
    (parallelism + parallelism / 2)
        .next_power_of_two()
        .clamp(128, UPPER_BOUND_MAX_PARALLELISM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_group_once_and_agree_with_subtask_of() {
        for (max, p) in [(128, 1), (128, 3), (128, 7), (128, 128), (4096, 1000)] {
            let mut next = 0usize;
            for s in 0..p {
                let r = KeyGroupRange::of_subtask(max, p, s);
                assert_eq!(usize::from(r.start), next);
                next = usize::from(r.end) + 1;
                for g in r.start..=r.end {
                    assert_eq!(subtask_of(g, max, p), s);
                }
            }
            assert_eq!(next, max);
        }
    }

    #[test]
    fn the_default_rule_is_flinks() {
        assert_eq!(default_max_parallelism(1), 128);
        assert_eq!(default_max_parallelism(100), 256);
        assert_eq!(default_max_parallelism(32768), 32768);
    }

    #[test]
    fn the_group_of_a_hash_is_a_format() {
        assert_eq!([0u64, 1, 42, u64::MAX].map(|h| key_group_of(h, 128)), [0, 44, 76, 33]);
    }
}
