//! State that stays in memory under a backend that has a disk: [`InMemory`] says when it outgrows its share.
//!
//! Not every operator can leave its rows on disk (ARCHITECTURE.md lists them). Nothing bounds what those hold, so nobody must take the
//! options' bound for one: it is said in the log, once for each operator and process.

use flott_core::{OperatorId, Options};
use flott_state::BackendSettings;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Which operators were told of.
#[derive(Debug)]
pub(super) struct InMemory {
    /// `None`: the backend has no bound.
    bound_bytes: Option<u64>,
    told: Mutex<BTreeSet<OperatorId>>,
}

impl InMemory {
    /// Nothing was told yet. Wrong options are refused elsewhere.
    pub(super) fn new(options: &Options) -> Self {
        let settings = BackendSettings::from_options(options).ok();
        Self {
            bound_bytes: settings.and_then(|s| s.slot_bytes()),
            told: Mutex::default(),
        }
    }

    /// The bound, if a subtask's state in memory is above it and the operator was not told of before.
    pub(super) fn outgrown(&self, operator: OperatorId, bytes: u64) -> Option<u64> {
        let bound_bytes = self.bound_bytes.filter(|bound| bytes > *bound)?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(operator).then_some(bound_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "rocksdb")]
    #[test]
    fn each_operator_is_told_of_once() {
        let options = [
            ("state.backend.type", "rocksdb"),
            ("state.backend.rocksdb.memory.fixed-per-slot", "8 mb"),
        ];
        let memory = InMemory::new(&options.into_iter().collect());
        let (one, other) = (OperatorId(1), OperatorId(2));
        let told =
            [(one, 8 << 20), (one, 9 << 20), (one, 10 << 20), (other, 9 << 20)].map(|(o, b)| memory.outgrown(o, b));
        assert_eq!(told, [None, Some(8 << 20), None, Some(8 << 20)]);
    }

    #[test]
    fn without_a_bound_nobody_is_told() {
        assert_eq!(InMemory::new(&Options::new()).outgrown(OperatorId(1), u64::MAX), None);
    }
}
