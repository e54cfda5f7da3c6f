//! [`UpsertBuffer`]: the last value of each key, so that a table that changes often is written less often.

use std::collections::HashMap;

/// A key, and its value; no value deletes it.
type Upsert = (Box<[u8]>, Option<Box<[u8]>>);

/// See the module. It is due when it holds `max_rows` keys, or when its oldest row has waited `interval_ms`.
#[derive(Debug)]
pub(super) struct UpsertBuffer {
    max_rows: usize,
    interval_ms: i64,
    /// In the order in which keys came first.
    rows: Vec<Upsert>,
    index: HashMap<Box<[u8]>, usize>,
    oldest_ms: Option<i64>,
}

impl UpsertBuffer {
    pub fn new(max_rows: usize, interval_ms: i64) -> Self {
        Self {
            max_rows,
            interval_ms,
            rows: Vec::new(),
            index: HashMap::new(),
            oldest_ms: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>, now_ms: i64) {
        self.oldest_ms.get_or_insert(now_ms);
        match self.index.get(key) {
            Some(&row) => self.rows[row].1 = value.map(Box::from),
            None => {
                self.index.insert(Box::from(key), self.rows.len());
                self.rows.push((Box::from(key), value.map(Box::from)));
            }
        }
    }

    pub fn due_ms(&self) -> Option<i64> {
        self.oldest_ms.map(|ms| ms.saturating_add(self.interval_ms))
    }

    pub fn is_due(&self, now_ms: i64) -> bool {
        self.rows.len() >= self.max_rows || self.due_ms().is_some_and(|due| now_ms >= due)
    }

    pub fn drain(&mut self) -> Vec<Upsert> {
        self.oldest_ms = None;
        self.index.clear();
        std::mem::take(&mut self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_of_each_key_and_knows_when_it_is_due() {
        let mut buffer = UpsertBuffer::new(2, 100);
        assert_eq!(buffer.due_ms(), None);
        buffer.put(b"a", Some(b"1"), 10);
        buffer.put(b"a", None, 20);
        assert!(!buffer.is_due(109) && buffer.is_due(110));
        buffer.put(b"b", Some(b"2"), 30);
        assert!(buffer.is_due(30), "two keys");
        let rows = buffer.drain();
        assert_eq!(
            rows,
            [(Box::from(*b"a"), None), (Box::from(*b"b"), Some(Box::from(*b"2")))]
        );
        assert!(buffer.is_empty() && !buffer.is_due(1_000));
    }
}
