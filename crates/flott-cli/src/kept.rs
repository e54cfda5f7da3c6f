//! The rows that are left of a changelog, in the order in which they came: [`KeptRows`].
//!
//! A row that is taken back is found by its hash, so that a screen of a million rows follows its query.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

/// Texts of the cells of a row.
pub type Cells = Vec<String>;

/// A bag of rows in order.
#[derive(Debug, Default)]
pub struct KeptRows {
    /// By their numbers, which only rise.
    rows: BTreeMap<u64, Cells>,
    /// Numbers of the rows of a hash, oldest first.
    by_hash: HashMap<u64, Vec<u64>>,
    hasher: RandomState,
    next: u64,
}

impl KeptRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Cells> {
        self.rows.values()
    }

    /// Adds a row behind all others.
    pub fn push(&mut self, row: Cells) {
        self.by_hash
            .entry(self.hasher.hash_one(&row))
            .or_default()
            .push(self.next);
        self.rows.insert(self.next, row);
        self.next += 1;
    }

    /// Takes the oldest row away.
    pub fn pop_oldest(&mut self) {
        if let Some((number, row)) = self.rows.pop_first() {
            self.forget(self.hasher.hash_one(&row), number);
        }
    }

    /// Takes the newest row with these cells away, if there is one.
    pub fn remove(&mut self, row: &Cells) {
        let hash = self.hasher.hash_one(row);
        let mut numbers = self.by_hash.get(&hash).into_iter().flatten().rev();
        if let Some(number) = numbers.find(|n| self.rows.get(n) == Some(row)).copied() {
            self.rows.remove(&number);
            self.forget(hash, number);
        }
    }

    fn forget(&mut self, hash: u64, number: u64) {
        if let Some(numbers) = self.by_hash.get_mut(&hash) {
            numbers.retain(|n| *n != number);
            if numbers.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
    }
}

impl FromIterator<Cells> for KeptRows {
    fn from_iter<I: IntoIterator<Item = Cells>>(rows: I) -> Self {
        let mut kept = Self::default();
        rows.into_iter().for_each(|row| kept.push(row));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_equal_rows_goes_first_and_order_stays() {
        let row = |text: &str| vec![text.to_owned()];
        let mut kept: KeptRows = ["a", "b", "a", "c"].map(row).into_iter().collect();
        kept.remove(&row("a"));
        kept.remove(&row("none"));
        let texts = |kept: &KeptRows| kept.iter().map(|r| r[0].clone()).collect::<Vec<_>>();
        assert_eq!(texts(&kept), ["a", "b", "c"]);
        kept.pop_oldest();
        kept.remove(&row("a"));
        assert_eq!((texts(&kept), kept.len()), (vec!["b".to_owned(), "c".to_owned()], 2));
        assert_eq!(kept.by_hash.len(), 2);
    }
}
