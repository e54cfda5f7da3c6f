//! A store for tests: [`MemoryStore`].

use super::{ColdBatch, ColdError, ColdRead, ColdStore, ColdWrite};
use flott_core::encoding::EncodedRows;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows in a sorted map: what RocksDB does, without it. It bounds no memory; with it, tests run all that the tiers of a table do.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: Mutex<Arc<Rows>>,
}

#[derive(Debug, Default, Clone)]
struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryStore {
    fn rows(&self) -> MutexGuard<'_, Arc<Rows>> {
        // Every section leaves the map whole, so a panic elsewhere does not make it wrong.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.rows().0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where rows of these stores are.
const PLACE: &str = "memory";

impl ColdRead for Rows {
    fn place(&self) -> String {
        PLACE.to_owned()
    }

    fn get(&self, keys: &EncodedRows, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), ColdError> {
        for (index, key) in keys.iter().enumerate() {
            if let Some(value) = self.0.get(key) {
                found(index, value);
            }
        }
        Ok(())
    }

    fn scan(&self, from: &[u8], until: &[u8], row: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ColdError> {
        let mut rows = self.0.range(from.to_vec()..until.to_vec());
        while let Some((key, value)) = rows.next()
            && row(key, value)
        {}
        Ok(())
    }
}

impl ColdRead for MemoryStore {
    fn place(&self) -> String {
        PLACE.to_owned()
    }

    fn get(&self, keys: &EncodedRows, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), ColdError> {
        self.rows().get(keys, found)
    }

    fn scan(&self, from: &[u8], until: &[u8], row: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ColdError> {
        self.rows().scan(from, until, row)
    }
}

impl ColdStore for MemoryStore {
    fn write(&self, batch: &ColdBatch) -> Result<(), ColdError> {
        let mut shared = self.rows();
        let rows = &mut Arc::make_mut(&mut shared).0;
        for write in batch.iter() {
            match write {
                ColdWrite::Put(key, value) => {
                    rows.insert(key.to_vec(), value.to_vec());
                }
                ColdWrite::Delete(key) => {
                    rows.remove(key);
                }
                ColdWrite::DeleteRange(from, until) => {
                    let gone: Vec<Vec<u8>> = rows
                        .range(from.to_vec()..until.to_vec())
                        .map(|(key, _)| key.clone())
                        .collect();
                    gone.iter().for_each(|key| drop(rows.remove(key)));
                }
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn ColdRead> {
        Arc::clone(&self.rows()) as Arc<dyn ColdRead>
    }
}
