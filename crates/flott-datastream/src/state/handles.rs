//! Handles of states that hold one value or one list a key.
//!
//! A handle is a number of a column (and the time to live of what it holds); the value lies in [`super::KeyState`], which the
//! context of a function gives. Within one call a read of an expired value gives the same answer each time.

use super::ttl::{Evicted, Ttl};
use super::{AsState, KeyState};
use crate::function::AggregateFunction;
use flott_state::{KeyedTable, StateValue, ValuesColumn};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Number of a state that `open` has not declared.
const UNDECLARED: usize = usize::MAX;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident<$($v:ident),*> by $declared_by:literal) => {
        $(#[$doc])*
        pub struct $name<$($v),*> {
            index: usize,
            ttl: Option<Ttl>,
            value: PhantomData<fn() -> ($($v,)*)>,
        }

        impl<$($v),*> $name<$($v),*> {
            pub(crate) fn at(index: usize, ttl: Option<Ttl>) -> Self {
                Self { index, ttl, value: PhantomData }
            }

            pub(super) fn index(&self) -> usize {
                assert!(
                    self.index != UNDECLARED,
                    "a state is used that open() has not declared: self.state = ctx.{}(\"name\")?",
                    $declared_by
                );
                self.index
            }

            /// Its time to live, if it has one.
            #[allow(dead_code, reason = "not every kind of state needs it")]
            pub(super) fn ttl(&self) -> Option<Ttl> {
                self.ttl
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
                Self::at(UNDECLARED, None)
            }
        }

        impl<$($v),*> fmt::Debug for $name<$($v),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), " {}"), self.index)
            }
        }
    };
}
pub(super) use handle;

handle!(
    /// One value a key. Declared in `open` by [`super::StateDeclarations::value_state`]; before that it is [`Default`].
    ValueState<V> by "value_state"
);
handle!(
    /// A list a key. Declared in `open` by [`super::StateDeclarations::list_state`].
    ListState<V> by "list_state"
);

impl<V: StateValue> ValueState<V> {
    /// The value of the key at hand.
    pub fn value<'s>(&self, state: &'s impl AsState) -> Option<&'s V> {
        let state = state.as_state();
        let (column, slot) = (self.index(), state.slot);
        let value = state.table.values::<V>(column).get(slot)?;
        let Some(ttl) = self.ttl else {
            return Some(value);
        };
        let now_ms = state.now_ms;
        let stamp = state.table.values::<i64>(ttl.stamps).get(slot);
        if stamp.is_some_and(|s| ttl.config.is_expired(*s, now_ms)) {
            if !ttl.config.returns_expired() {
                return None;
            }
            state.touch(move |table| table.values_mut::<V>(column).set(slot, None));
        } else if ttl.config.updates_on_read() {
            state.touch(move |table| table.values_mut(ttl.stamps).set(slot, Some(now_ms)));
        }
        Some(value)
    }

    /// Sets the value of the key at hand.
    pub fn update(&self, state: &mut impl AsState, value: V) {
        *self.entry(state) = Some(value);
    }

    /// The value of the key at hand, to be changed in its place; `None` clears it. For a time to live this is a write.
    pub fn entry<'s>(&self, state: &'s mut impl AsState) -> &'s mut Option<V> {
        let state = state.as_state_mut();
        let (slot, now_ms) = (state.slot, state.now_ms);
        if let Some(ttl) = self.ttl {
            state.apply_touches();
            let stamp = state.table.values_mut::<i64>(ttl.stamps).get_mut(slot).replace(now_ms);
            let is_expired = stamp.is_some_and(|s| ttl.config.is_expired(s, now_ms));
            if is_expired && !ttl.config.returns_expired() {
                state.table.values_mut::<V>(self.index()).set(slot, None);
            }
        }
        state.table.values_mut::<V>(self.index()).get_mut(slot)
    }

    /// Removes the value of the key at hand.
    pub fn clear(&self, state: &mut impl AsState) {
        *self.entry(state) = None;
    }

    /// The values of all keys, by slot. For a state without a time to live.
    pub(crate) fn column<'s>(&self, state: &'s mut KeyState) -> &'s mut ValuesColumn<V> {
        debug_assert!(self.ttl.is_none());
        state.table.values_mut::<V>(self.index())
    }
}

/// Removes a value that has expired, and the stamp of a value that is gone; gives a value a stamp that has none.
pub(super) fn evict_value<V: StateValue>(
    table: &mut KeyedTable,
    column: usize,
    ttl: &Ttl,
    slot: u32,
    now_ms: i64,
) -> Evicted {
    let stamp = table.values::<i64>(ttl.stamps).get(slot).copied();
    let is_there = table.values::<V>(column).get(slot).is_some();
    match (is_there, stamp) {
        (true, Some(stamp)) if ttl.config.is_expired(stamp, now_ms) => {
            table.values_mut::<V>(column).set(slot, None);
            table.values_mut::<i64>(ttl.stamps).set(slot, None);
            Evicted::Removed
        }
        // It was kept before it had a time to live.
        (true, None) => {
            table.values_mut::<i64>(ttl.stamps).set(slot, Some(now_ms));
            Evicted::Stamped
        }
        (false, Some(_)) => {
            table.values_mut::<i64>(ttl.stamps).set(slot, None);
            Evicted::Removed
        }
        _ => Evicted::Nothing,
    }
}

impl<V: StateValue> ListState<V> {
    /// The list of the key at hand.
    pub fn get<'s>(&self, state: &'s impl AsState) -> &'s [V] {
        let state = state.as_state();
        let (column, slot) = (self.index(), state.slot);
        let list = state.table.values::<Vec<V>>(column).get(slot);
        let list = list.map_or(&[][..], Vec::as_slice);
        let Some(ttl) = self.ttl else {
            return list;
        };
        let now_ms = state.now_ms;
        let expired = expired_elements(&state.table, &ttl, slot, now_ms);
        let length = list.len();
        let cut = if ttl.config.returns_expired() { 0 } else { expired };
        if ttl.config.updates_on_read() && expired < length {
            state.touch(move |table| {
                evict_list::<V>(table, column, &ttl, slot, now_ms);
                let stamps = table.values_mut::<Vec<i64>>(ttl.stamps).get_mut(slot);
                *stamps = Some(vec![now_ms; length - expired]);
            });
        } else if expired > 0 {
            state.touch(move |table| {
                evict_list::<V>(table, column, &ttl, slot, now_ms);
            });
        }
        &list[cut..]
    }

    /// Appends to the list of the key at hand.
    pub fn add(&self, state: &mut impl AsState, value: V) {
        let state = state.as_state_mut();
        let (slot, now_ms) = (state.slot, state.now_ms);
        if let Some(ttl) = self.ttl {
            state.apply_touches();
            evict_list::<V>(&mut state.table, self.index(), &ttl, slot, now_ms);
            let stamps = state.table.values_mut::<Vec<i64>>(ttl.stamps).get_mut(slot);
            stamps.get_or_insert_default().push(now_ms);
        }
        let list = state.table.values_mut::<Vec<V>>(self.index()).get_mut(slot);
        list.get_or_insert_default().push(value);
    }

    /// Appends some values to the list of the key at hand.
    pub fn add_all(&self, state: &mut impl AsState, values: impl IntoIterator<Item = V>) {
        for value in values {
            self.add(state, value);
        }
    }

    /// Replaces the list of the key at hand; an empty one is none.
    pub fn update(&self, state: &mut impl AsState, list: Vec<V>) {
        let state = state.as_state_mut();
        let (slot, now_ms) = (state.slot, state.now_ms);
        let list = (!list.is_empty()).then_some(list);
        if let Some(ttl) = self.ttl {
            state.apply_touches();
            let stamps = list.as_ref().map(|list| vec![now_ms; list.len()]);
            state.table.values_mut::<Vec<i64>>(ttl.stamps).set(slot, stamps);
        }
        state.table.values_mut::<Vec<V>>(self.index()).set(slot, list);
    }

    /// Removes the list of the key at hand.
    pub fn clear(&self, state: &mut impl AsState) {
        self.update(state, vec![]);
    }
}

/// How many elements of a list have expired: those at its front, since later ones were stamped later. Elements without a stamp were
/// kept before they had a time to live.
fn expired_elements(table: &KeyedTable, ttl: &Ttl, slot: u32, now_ms: i64) -> usize {
    let stamps = table.values::<Vec<i64>>(ttl.stamps).get(slot);
    stamps.map_or(0, |stamps| {
        let expired = stamps.iter().take_while(|s| ttl.config.is_expired(**s, now_ms));
        expired.count()
    })
}

/// Removes the elements of a list that have expired, and gives those a stamp that have none.
pub(super) fn evict_list<V: StateValue>(
    table: &mut KeyedTable,
    column: usize,
    ttl: &Ttl,
    slot: u32,
    now_ms: i64,
) -> Evicted {
    let expired = expired_elements(table, ttl, slot, now_ms);
    let length = table.values::<Vec<V>>(column).get(slot).map_or(0, Vec::len);
    let stamped = table.values::<Vec<i64>>(ttl.stamps).get(slot).map_or(0, Vec::len);
    if expired == 0 && stamped == length {
        return Evicted::Nothing;
    }
    let list = table.values_mut::<Vec<V>>(column).get_mut(slot);
    if let Some(elements) = list {
        elements.drain(..expired.min(length));
        if elements.is_empty() {
            *list = None;
        }
    }
    let stamps = table.values_mut::<Vec<i64>>(ttl.stamps).get_mut(slot);
    let mut kept = stamps.take().unwrap_or_default();
    kept.drain(..expired);
    // Those that had no stamp came before the others.
    let missing = (length.saturating_sub(expired)).saturating_sub(kept.len());
    kept.splice(..0, std::iter::repeat_n(now_ms, missing));
    kept.truncate(length.saturating_sub(expired));
    *stamps = (!kept.is_empty()).then_some(kept);
    match missing {
        0 => Evicted::Removed,
        _ => Evicted::Stamped,
    }
}

/// Folds two values of a state into one.
type Reduce<V> = Arc<dyn Fn(V, V) -> V + Send + Sync>;

/// One value a key, into which what is added is folded. Declared in `open` by [`super::StateDeclarations::reducing_state`].
pub struct ReducingState<V> {
    value: ValueState<V>,
    reduce: Option<Reduce<V>>,
}

impl<V> ReducingState<V> {
    pub(super) fn new(value: ValueState<V>, reduce: Reduce<V>) -> Self {
        Self {
            value,
            reduce: Some(reduce),
        }
    }
}

impl<V> Clone for ReducingState<V> {
    fn clone(&self) -> Self {
        Self {
            value: self.value,
            reduce: self.reduce.clone(),
        }
    }
}

impl<V> Default for ReducingState<V> {
    fn default() -> Self {
        Self {
            value: ValueState::default(),
            reduce: None,
        }
    }
}

impl<V> fmt::Debug for ReducingState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReducingState {:?}", self.value)
    }
}

impl<V: StateValue> ReducingState<V> {
    /// What was added so far for the key at hand.
    pub fn get<'s>(&self, state: &'s impl AsState) -> Option<&'s V> {
        self.value.value(state)
    }

    /// Folds a value in.
    pub fn add(&self, state: &mut impl AsState, value: V) {
        let entry = self.value.entry(state);
        *entry = Some(match (entry.take(), &self.reduce) {
            (Some(before), Some(reduce)) => reduce(before, value),
            _ => value,
        });
    }

    /// Removes what was added for the key at hand.
    pub fn clear(&self, state: &mut impl AsState) {
        self.value.clear(state);
    }
}

/// One accumulator a key, into which what is added is folded. Declared in `open` by
/// [`super::StateDeclarations::aggregating_state`].
pub struct AggregatingState<A: AggregateFunction> {
    accumulator: ValueState<A::Accumulator>,
    aggregate: Option<A>,
}

impl<A: AggregateFunction> AggregatingState<A> {
    pub(super) fn new(accumulator: ValueState<A::Accumulator>, aggregate: A) -> Self {
        Self {
            accumulator,
            aggregate: Some(aggregate),
        }
    }

    /// The result of what was added so far for the key at hand; `None` if nothing was.
    pub fn get(&self, state: &impl AsState) -> Option<A::Out> {
        let accumulator = self.accumulator.value(state)?;
        self.aggregate.as_ref().map(|a| a.get_result(accumulator))
    }

    /// Folds a value in.
    pub fn add(&self, state: &mut impl AsState, value: A::In) {
        let entry = self.accumulator.entry(state);
        if let Some(aggregate) = &self.aggregate {
            aggregate.add(value, entry.get_or_insert_with(|| aggregate.create_accumulator()));
        }
    }

    /// Removes what was added for the key at hand.
    pub fn clear(&self, state: &mut impl AsState) {
        self.accumulator.clear(state);
    }
}

impl<A: AggregateFunction> Clone for AggregatingState<A> {
    fn clone(&self) -> Self {
        Self {
            accumulator: self.accumulator,
            aggregate: self.aggregate.clone(),
        }
    }
}

impl<A: AggregateFunction> Default for AggregatingState<A> {
    fn default() -> Self {
        Self {
            accumulator: ValueState::default(),
            aggregate: None,
        }
    }
}

impl<A: AggregateFunction> fmt::Debug for AggregatingState<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AggregatingState {:?}", self.accumulator)
    }
}
