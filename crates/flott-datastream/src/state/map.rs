//! A map a key: [`MapState`].
//!
//! The map is one value of its key, in the order of its own keys. Captures share it; it is copied when it is written while a
//! checkpoint still reads it.

use super::AsState;
use super::handles::handle;
use super::ttl::{Evicted, Ttl};
use flott_core::LogicalType;
use flott_state::value::DamagedValue;
use flott_state::{KeyedTable, StateValue};
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::sync::Arc;

/// Number of a state that `open` has not declared.
const UNDECLARED: usize = usize::MAX;

/// A map as it lies in a column.
#[derive(Debug)]
pub(crate) struct MapOf<K, V>(Arc<BTreeMap<K, V>>);

impl<K, V> Clone for MapOf<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Default for MapOf<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// In the form of a `BTreeMap`.
impl<K: StateValue + Ord, V: StateValue> StateValue for MapOf<K, V> {
    fn state_type() -> LogicalType {
        BTreeMap::<K, V>::state_type()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn check(stored: &LogicalType) -> Result<(), String> {
        BTreeMap::<K, V>::check(stored)
    }

    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        BTreeMap::read(stored, bytes).map(|map| Self(Arc::new(map)))
    }

    fn owned_bytes(&self) -> usize {
        self.0.owned_bytes()
    }
}

handle!(
    /// A map a key, in the order of its own keys. Declared in `open` by [`super::StateDeclarations::map_state`].
    ///
    /// With a time to live each entry has its own.
    MapState<K, V> by "map_state"
);

impl<K: StateValue + Ord, V: StateValue> MapState<K, V> {
    fn plain<'s>(&self, table: &'s KeyedTable, slot: u32) -> Option<&'s BTreeMap<K, V>> {
        table.values::<MapOf<K, V>>(self.index()).get(slot).map(|m| &*m.0)
    }

    fn timed<'s>(&self, table: &'s KeyedTable, slot: u32) -> Option<&'s BTreeMap<K, (V, i64)>> {
        table
            .values::<MapOf<K, (V, i64)>>(self.index())
            .get(slot)
            .map(|m| &*m.0)
    }

    /// The value of an entry.
    pub fn get<'s>(&self, state: &'s impl AsState, key: &K) -> Option<&'s V> {
        let state = state.as_state();
        let (column, slot, now_ms) = (self.index(), state.slot, state.now_ms);
        let Some(ttl) = self.ttl() else {
            return self.plain(&state.table, slot)?.get(key);
        };
        let (value, stamp) = self.timed(&state.table, slot)?.get(key)?;
        if ttl.config.is_expired(*stamp, now_ms) {
            if !ttl.config.returns_expired() {
                return None;
            }
            let key = key.clone();
            state.touch(move |table| {
                change::<K, (V, i64)>(table, column, slot, |map| drop(map.remove(&key)));
            });
        } else if ttl.config.updates_on_read() {
            let key = key.clone();
            state.touch(move |table| {
                change::<K, (V, i64)>(table, column, slot, |map| {
                    if let Some((_, stamp)) = map.get_mut(&key) {
                        *stamp = now_ms;
                    }
                });
            });
        }
        Some(value)
    }

    /// Whether there is such an entry.
    pub fn contains(&self, state: &impl AsState, key: &K) -> bool {
        self.get(state, key).is_some()
    }

    /// Sets an entry.
    pub fn put(&self, state: &mut impl AsState, key: K, value: V) {
        let state = state.as_state_mut();
        let (column, slot, now_ms) = (self.index(), state.slot, state.now_ms);
        match self.ttl() {
            None => change(&mut state.table, column, slot, |map| drop(map.insert(key, value))),
            Some(_) => {
                state.apply_touches();
                change(&mut state.table, column, slot, |map| {
                    map.insert(key, (value, now_ms));
                });
            }
        }
    }

    /// Sets many entries.
    pub fn put_all(&self, state: &mut impl AsState, entries: impl IntoIterator<Item = (K, V)>) {
        for (key, value) in entries {
            self.put(state, key, value);
        }
    }

    /// Removes an entry.
    pub fn remove(&self, state: &mut impl AsState, key: &K) {
        let state = state.as_state_mut();
        let (column, slot) = (self.index(), state.slot);
        match self.ttl() {
            None => change::<K, V>(&mut state.table, column, slot, |map| drop(map.remove(key))),
            Some(_) => {
                state.apply_touches();
                change::<K, (V, i64)>(&mut state.table, column, slot, |map| drop(map.remove(key)));
            }
        }
    }

    /// Sets an entry to what `modify` makes of it; `None` is none.
    pub fn modify(&self, state: &mut impl AsState, key: K, modify: impl FnOnce(Option<V>) -> Option<V>) {
        let state = state.as_state_mut();
        let (column, slot, now_ms) = (self.index(), state.slot, state.now_ms);
        let Some(ttl) = self.ttl() else {
            change(&mut state.table, column, slot, |map| {
                let before = map.remove(&key);
                map.extend(modify(before).map(|value| (key, value)));
            });
            return;
        };
        state.apply_touches();
        change::<K, (V, i64)>(&mut state.table, column, slot, |map| {
            let is_seen = |stamp| ttl.config.returns_expired() || !ttl.config.is_expired(stamp, now_ms);
            let before = map.remove(&key).filter(|(_, stamp)| is_seen(*stamp));
            map.extend(modify(before.map(|(value, _)| value)).map(|value| (key, (value, now_ms))));
        });
    }

    /// All entries of the key at hand, in the order of their keys.
    pub fn entries<'s>(&self, state: &'s impl AsState) -> MapEntries<'s, K, V> {
        self.range(state, ..)
    }

    /// The entries whose keys are in a range, in order. For a time to live this reads all entries.
    pub fn range<'s>(&self, state: &'s impl AsState, range: impl RangeBounds<K>) -> MapEntries<'s, K, V> {
        let state = state.as_state();
        let (column, slot, now_ms) = (self.index(), state.slot, state.now_ms);
        let Some(ttl) = self.ttl() else {
            let map = self.plain(&state.table, slot);
            return MapEntries(Entries::Plain(map.map(|m| m.range(range))));
        };
        let map = self.timed(&state.table, slot);
        if ttl.config.updates_on_read() && map.is_some() {
            state.touch(move |table| {
                evict_entries::<K, V>(table, column, &ttl, slot, now_ms);
                change::<K, (V, i64)>(table, column, slot, |map| {
                    map.values_mut().for_each(|(_, stamp)| *stamp = now_ms);
                });
            });
        } else if ttl.config.returns_expired() && map.is_some() {
            state.touch(move |table| {
                evict_entries::<K, V>(table, column, &ttl, slot, now_ms);
            });
        }
        MapEntries(Entries::Timed {
            entries: map.map(|m| m.range(range)),
            ttl,
            now_ms,
        })
    }

    /// The keys of all entries, in order.
    pub fn keys<'s>(&self, state: &'s impl AsState) -> impl Iterator<Item = &'s K> {
        self.entries(state).map(|(key, _)| key)
    }

    /// The values of all entries, in the order of their keys.
    pub fn values<'s>(&self, state: &'s impl AsState) -> impl Iterator<Item = &'s V> {
        self.entries(state).map(|(_, value)| value)
    }

    /// Whether the key at hand has no entry.
    pub fn is_empty(&self, state: &impl AsState) -> bool {
        let state = state.as_state();
        match self.ttl() {
            None => self.plain(&state.table, state.slot).is_none_or(BTreeMap::is_empty),
            Some(_) => self.entries(state).next().is_none(),
        }
    }

    /// Removes all entries of the key at hand.
    pub fn clear(&self, state: &mut impl AsState) {
        let state = state.as_state_mut();
        let (column, slot) = (self.index(), state.slot);
        match self.ttl() {
            None => state.table.values_mut::<MapOf<K, V>>(column).set(slot, None),
            Some(_) => {
                state.apply_touches();
                state.table.values_mut::<MapOf<K, (V, i64)>>(column).set(slot, None);
            }
        }
    }
}

/// Changes a map; an empty one is none.
fn change<K: StateValue + Ord, V: StateValue>(
    table: &mut KeyedTable,
    column: usize,
    slot: u32,
    change: impl FnOnce(&mut BTreeMap<K, V>),
) {
    let entry = table.values_mut::<MapOf<K, V>>(column).get_mut(slot);
    let map = entry.get_or_insert_default();
    change(Arc::make_mut(&mut map.0));
    if map.0.is_empty() {
        *entry = None;
    }
}

/// Removes the entries that have expired.
pub(super) fn evict_entries<K: StateValue + Ord, V: StateValue>(
    table: &mut KeyedTable,
    column: usize,
    ttl: &Ttl,
    slot: u32,
    now_ms: i64,
) -> Evicted {
    let is_expired = |stamp: &i64| ttl.config.is_expired(*stamp, now_ms);
    let map = table.values::<MapOf<K, (V, i64)>>(column).get(slot);
    if !map.is_some_and(|m| m.0.values().any(|(_, stamp)| is_expired(stamp))) {
        return Evicted::Nothing;
    }
    change::<K, (V, i64)>(table, column, slot, |map| {
        map.retain(|_, (_, stamp)| !is_expired(stamp));
    });
    Evicted::Removed
}

/// Entries of a map: [`MapState::entries`].
pub struct MapEntries<'s, K, V>(Entries<'s, K, V>);

enum Entries<'s, K, V> {
    Plain(Option<btree_map::Range<'s, K, V>>),
    Timed {
        entries: Option<btree_map::Range<'s, K, (V, i64)>>,
        ttl: Ttl,
        now_ms: i64,
    },
}

impl<K, V> fmt::Debug for MapEntries<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MapEntries")
    }
}

impl<'s, K, V> Iterator for MapEntries<'s, K, V> {
    type Item = (&'s K, &'s V);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Entries::Plain(entries) => entries.as_mut()?.next(),
            Entries::Timed { entries, ttl, now_ms } => {
                let is_seen = |stamp: i64| ttl.config.returns_expired() || !ttl.config.is_expired(stamp, *now_ms);
                let entries = entries.as_mut()?;
                let (key, (value, _)) = entries.find(|(_, (_, stamp))| is_seen(*stamp))?;
                Some((key, value))
            }
        }
    }
}
