//! Keyed state of functions: handles that `open` declares, and what a function reads and writes them through.
//!
//! All states of a function that have one value a key lie in one table, a column each: the key is looked up once a record. A map
//! state has a table of its own, placed by the key, so that it moves with it. State is found by name: a state that is new starts
//! empty, one that is gone is left behind.

use crate::key::Key;
use flott_core::{KeyGroupRange, LogicalType};
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{KeyedTable, StateValue, TableDescriptor};
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

/// Name of the table of all states with one value a key.
const VALUES_TABLE: &str = "values";

/// Number of a state that `open` has not declared.
const UNDECLARED: usize = usize::MAX;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident<$($v:ident),*>) => {
        $(#[$doc])*
        pub struct $name<$($v),*> {
            index: usize,
            value: PhantomData<fn() -> ($($v,)*)>,
        }

        impl<$($v),*> $name<$($v),*> {
            fn at(index: usize) -> Self {
                Self { index, value: PhantomData }
            }

            fn index(&self) -> usize {
                assert!(
                    self.index != UNDECLARED,
                    "a state is used that open() has not declared: self.state = ctx.{}(\"name\")?",
                    $name::<$($v),*>::DECLARED_BY
                );
                self.index
            }
        }

        impl<$($v),*> Clone for $name<$($v),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($v),*> Copy for $name<$($v),*> {}

        impl<$($v),*> Default for $name<$($v),*> {
            fn default() -> Self {
                Self::at(UNDECLARED)
            }
        }

        impl<$($v),*> fmt::Debug for $name<$($v),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), " {}"), self.index)
            }
        }
    };
}

handle!(
    /// One value a key. Declared in `open` by [`StateDeclarations::value_state`]; before that it is [`Default`].
    ValueState<V>
);
handle!(
    /// A list a key. Declared in `open` by [`StateDeclarations::list_state`].
    ListState<V>
);

impl<V> ValueState<V> {
    const DECLARED_BY: &'static str = "value_state";
}

impl<V> ListState<V> {
    const DECLARED_BY: &'static str = "list_state";
}

impl<V: StateValue> ValueState<V> {
    /// The value of the key at hand.
    pub fn value<'s>(&self, state: &'s impl AsState) -> Option<&'s V> {
        let state = state.as_state();
        state.table.values::<V>(self.index()).get(state.slot)
    }

    /// Sets the value of the key at hand.
    pub fn update(&self, state: &mut impl AsState, value: V) {
        *self.entry(state) = Some(value);
    }

    /// The value of the key at hand, to be changed in its place; `None` clears it.
    pub fn entry<'s>(&self, state: &'s mut impl AsState) -> &'s mut Option<V> {
        let state = state.as_state_mut();
        let slot = state.slot;
        state.table.values_mut::<V>(self.index()).get_mut(slot)
    }

    /// Removes the value of the key at hand.
    pub fn clear(&self, state: &mut impl AsState) {
        *self.entry(state) = None;
    }
}

impl<V: StateValue> ListState<V> {
    /// The list of the key at hand.
    pub fn get<'s>(&self, state: &'s impl AsState) -> &'s [V] {
        let state = state.as_state();
        let list = state.table.values::<Vec<V>>(self.index()).get(state.slot);
        list.map_or(&[], Vec::as_slice)
    }

    /// Appends to the list of the key at hand.
    pub fn add(&self, state: &mut impl AsState, value: V) {
        self.entry(state).get_or_insert_default().push(value);
    }

    /// Replaces the list of the key at hand; an empty one is none.
    pub fn update(&self, state: &mut impl AsState, list: Vec<V>) {
        *self.entry(state) = (!list.is_empty()).then_some(list);
    }

    /// Removes the list of the key at hand.
    pub fn clear(&self, state: &mut impl AsState) {
        *self.entry(state) = None;
    }

    fn entry<'s>(&self, state: &'s mut impl AsState) -> &'s mut Option<Vec<V>> {
        let state = state.as_state_mut();
        let slot = state.slot;
        state.table.values_mut::<Vec<V>>(self.index()).get_mut(slot)
    }
}

/// The state of the key at hand.
#[derive(Debug)]
pub struct KeyState {
    table: KeyedTable,
    slot: u32,
}

/// What gives access to [`KeyState`]: the contexts of keyed functions.
pub trait AsState {
    #[doc(hidden)]
    fn as_state(&self) -> &KeyState;
    #[doc(hidden)]
    fn as_state_mut(&mut self) -> &mut KeyState;
}

impl AsState for KeyState {
    fn as_state(&self) -> &KeyState {
        self
    }
    fn as_state_mut(&mut self) -> &mut KeyState {
        self
    }
}

/// What `open` declares.
#[derive(Default)]
pub struct StateDeclarations {
    columns: Vec<Declared>,
    names: BTreeSet<String>,
}

struct Declared {
    name: String,
    ty: LogicalType,
    keep: fn(&mut KeyedTable, usize),
}

impl fmt::Debug for StateDeclarations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.names).finish()
    }
}

impl StateDeclarations {
    /// Declares a state of one value a key.
    ///
    /// # Errors
    /// If the function has another state of this name.
    pub fn value_state<V: StateValue>(&mut self, name: &str) -> Result<ValueState<V>, crate::BoxError> {
        Ok(ValueState::at(self.declare::<V>(name)?))
    }

    /// Declares a state of a list a key.
    ///
    /// # Errors
    /// If the function has another state of this name.
    pub fn list_state<V: StateValue>(&mut self, name: &str) -> Result<ListState<V>, crate::BoxError> {
        Ok(ListState::at(self.declare::<Vec<V>>(name)?))
    }

    fn declare<V: StateValue>(&mut self, name: &str) -> Result<usize, crate::BoxError> {
        if !self.names.insert(name.to_owned()) {
            return Err(
                format!("two states are named '{name}': state is found by its name, so give one another").into(),
            );
        }
        self.columns.push(Declared {
            name: name.to_owned(),
            ty: V::state_type(),
            keep: KeyedTable::keep_values::<V>,
        });
        Ok(self.columns.len() - 1)
    }

    /// The declared state for keys of `K`, restored if there is something to restore.
    ///
    /// # Errors
    /// If the restored state does not fit.
    pub(crate) fn open<K: Key>(self, ctx: &OperatorContext) -> Result<KeyState, TaskError> {
        let mut descriptor = TableDescriptor::new(VALUES_TABLE, K::types());
        for column in &self.columns {
            descriptor = descriptor.values(&column.name, column.ty.clone());
        }
        let groups: KeyGroupRange = ctx.task.key_groups();
        let mut table = KeyedTable::new(descriptor, ctx.task.max_parallelism, groups);
        for (index, column) in self.columns.iter().enumerate() {
            (column.keep)(&mut table, index);
        }
        if let Some(restored) = &ctx.restored {
            restored.load_table(&mut table)?;
        }
        Ok(KeyState { table, slot: 0 })
    }
}

impl KeyState {
    /// Whether the function has any state.
    pub(crate) fn is_used(&self) -> bool {
        !self.table.descriptor().columns.is_empty()
    }

    pub(crate) fn table(&mut self) -> &mut KeyedTable {
        &mut self.table
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Makes the key of `slot` the one at hand.
    #[inline]
    pub(crate) fn select(&mut self, slot: u32) {
        self.slot = slot;
    }

    /// Gives up the keys among `slots` that hold nothing.
    pub(crate) fn forget_blank(&mut self, slots: &[u32]) {
        let blank: Vec<u32> = slots.iter().copied().filter(|s| self.table.is_blank(*s)).collect();
        if !blank.is_empty() {
            self.table.remove(&blank);
        }
    }
}
