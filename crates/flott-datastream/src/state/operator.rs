//! Operator state of functions: lists that belong to a subtask and not to a key ([`OperatorListState`]).
//!
//! A list is declared in `open` ([`crate::RuntimeContext::operator_list_state`]) and is the function's to change at any time; a checkpoint keeps
//! what is in it at the barrier. What was restored is in it from the first record on.

use crate::entries::{read_entry, write_entry};
use crate::function::BoxError;
use crate::state::WrongDeclaration;
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{OperatorEntry, Redistribute, StateValue};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries that a list is cut into at most, which a restore spreads over subtasks.
const ENTRIES: usize = 128;

/// A list of a subtask, kept in checkpoints: Flink's operator `ListState`.
///
/// ```
/// use flott::prelude::*;
///
/// /// Hands records on in pairs.
/// #[derive(Clone, Default)]
/// struct Pairs {
///     waiting: OperatorListState<i64>,
/// }
///
/// impl FlatMapFunction<i64> for Pairs {
///     type Out = (i64, i64);
///
///     fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
///         self.waiting = ctx.operator_list_state("waiting")?;
///         Ok(())
///     }
///
///     fn flat_map(&mut self, value: i64, out: &mut Collector<(i64, i64)>) -> Result<(), BoxError> {
///         match self.waiting.take().pop() {
///             Some(before) => out.collect((before, value)),
///             None => self.waiting.add(value),
///         }
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let pairs = env.from_collection(1..=5).flat_map_with(Pairs::default()).uid("pairs");
/// assert_eq!(pairs.execute_and_collect("pairs")?, [(1, 2), (3, 4)]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub struct OperatorListState<V>(Arc<Mutex<Vec<V>>>);

impl<V> Clone for OperatorListState<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> Default for OperatorListState<V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<V> fmt::Debug for OperatorListState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperatorListState of {}", self.list().len())
    }
}

impl<V> OperatorListState<V> {
    fn list(&self) -> MutexGuard<'_, Vec<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a value.
    pub fn add(&self, value: V) {
        self.list().push(value);
    }

    /// Adds some values.
    pub fn add_all(&self, values: impl IntoIterator<Item = V>) {
        self.list().extend(values);
    }

    /// Puts some values in the place of all.
    pub fn update(&self, values: Vec<V>) {
        *self.list() = values;
    }

    /// Takes all values out.
    pub fn take(&self) -> Vec<V> {
        std::mem::take(&mut *self.list())
    }

    /// Removes all values.
    pub fn clear(&self) {
        self.list().clear();
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    /// Works on the list in its place.
    pub fn with<R>(&self, work: impl FnOnce(&mut Vec<V>) -> R) -> R {
        work(&mut self.list())
    }
}

impl<V: Clone> OperatorListState<V> {
    /// All values.
    pub fn get(&self) -> Vec<V> {
        self.list().clone()
    }
}

/// A list whose type only its handle knows.
trait AnyList: Send + Sync {
    fn write(&self, pieces: usize, out: &mut dyn FnMut(bytes::Bytes)) -> Result<(), TaskError>;
    fn read(&self, what: &str, bytes: &[u8]) -> Result<(), TaskError>;
}

impl<V: StateValue> AnyList for OperatorListState<V> {
    fn write(&self, pieces: usize, out: &mut dyn FnMut(bytes::Bytes)) -> Result<(), TaskError> {
        let list = self.list();
        for piece in list.chunks(list.len().div_ceil(pieces).max(1)) {
            out(write_entry(&piece.to_vec())?);
        }
        Ok(())
    }

    fn read(&self, what: &str, bytes: &[u8]) -> Result<(), TaskError> {
        let values: Vec<V> = read_entry(what, bytes)?;
        self.add_all(values);
        Ok(())
    }
}

struct Declared {
    list: Box<dyn AnyList>,
    redistribute: Redistribute,
}

/// The lists of a function, by the names of their entries.
#[derive(Clone, Default)]
pub(crate) struct OperatorStates(Arc<Mutex<BTreeMap<String, Declared>>>);

impl fmt::Debug for OperatorStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.declared().keys()).finish()
    }
}

impl OperatorStates {
    fn declared(&self) -> MutexGuard<'_, BTreeMap<String, Declared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new list.
    ///
    /// # Errors
    /// If the name is taken.
    pub(crate) fn declare<V: StateValue>(
        &self,
        name: &str,
        redistribute: Redistribute,
    ) -> Result<OperatorListState<V>, BoxError> {
        let list = OperatorListState::default();
        let declared = Declared {
            list: Box::new(list.clone()),
            redistribute,
        };
        let mut all = self.declared();
        let entry = format!("list/{name}");
        if all.contains_key(&entry) {
            return Err(WrongDeclaration::two("operator states", name).into());
        }
        all.insert(entry, declared);
        Ok(list)
    }

    /// Fills the lists with what was restored.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn restore(&self, ctx: &OperatorContext) -> Result<(), TaskError> {
        let Some(restored) = &ctx.restored else {
            return Ok(());
        };
        for (entry, declared) in self.declared().iter() {
            for bytes in restored.operator_state(entry) {
                declared.list.read(&format!("the operator state '{entry}'"), bytes)?;
            }
        }
        Ok(())
    }

    /// What a checkpoint keeps of the lists.
    ///
    /// # Errors
    /// If a type cannot be described.
    pub(crate) fn snapshot(&self) -> Result<Vec<OperatorEntry>, TaskError> {
        let mut entries = vec![];
        for (name, Declared { list, redistribute }) in self.declared().iter() {
            let pieces = match redistribute {
                Redistribute::Split => ENTRIES,
                Redistribute::Union | Redistribute::Broadcast => 1,
            };
            list.write(pieces, &mut |bytes| {
                entries.push(OperatorEntry {
                    name: name.clone(),
                    bytes,
                    redistribute: *redistribute,
                });
            })?;
        }
        Ok(entries)
    }
}
