//! Broadcast state: maps that every subtask holds alike, because each sees all records of a broadcast stream.
//!
//! A stream that is broadcast ([`crate::DataStream::broadcast_stream`]) is connected to another, keyed or not. Its records may change the
//! maps; the other's records read them. A checkpoint keeps the maps as operator state: one entry a map, of which one subtask's
//! goes to all subtasks that are restored.

use crate::entries::{read_entry, write_entry};
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::key::Key;
use crate::process::{Context, OpenContext, ProcessContext};
use crate::records::Data;
use crate::state::{KeyState, StateDeclarations, WrongDeclaration};
use bytes::Bytes;
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{OperatorEntry, Redistribute, StateValue, TableCursor};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A map that all subtasks hold alike. Declared in `open` by [`OpenBroadcastContext::broadcast_state`].
pub struct BroadcastState<K, V> {
    index: usize,
    entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for BroadcastState<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for BroadcastState<K, V> {}

impl<K, V> Default for BroadcastState<K, V> {
    fn default() -> Self {
        Self {
            index: usize::MAX,
            entries: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for BroadcastState<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BroadcastState {}", self.index)
    }
}

impl<K: StateValue + Ord, V: StateValue> BroadcastState<K, V> {
    fn map<'s>(&self, states: &'s BroadcastStates) -> &'s BTreeMap<K, V> {
        let map = states.maps.get(self.index).map(|m| m.map.as_any());
        let map = map.and_then(<dyn Any>::downcast_ref);
        map.expect(
            "a broadcast state is used that open() has not declared: self.state = ctx.broadcast_state(\"name\")?",
        )
    }

    fn map_mut<'s>(&self, states: &'s mut BroadcastStates) -> &'s mut BTreeMap<K, V> {
        let map = states.maps.get_mut(self.index).map(|m| m.map.as_any_mut());
        let map = map.and_then(<dyn Any>::downcast_mut);
        map.expect(
            "a broadcast state is used that open() has not declared: self.state = ctx.broadcast_state(\"name\")?",
        )
    }

    /// The value of an entry.
    pub fn get<'s>(&self, ctx: &'s impl AsBroadcast, key: &K) -> Option<&'s V> {
        self.map(ctx.as_broadcast()).get(key)
    }

    /// Whether there is such an entry.
    pub fn contains(&self, ctx: &impl AsBroadcast, key: &K) -> bool {
        self.get(ctx, key).is_some()
    }

    /// All entries, in the order of their keys.
    pub fn entries<'s>(&self, ctx: &'s impl AsBroadcast) -> impl Iterator<Item = (&'s K, &'s V)> {
        self.map(ctx.as_broadcast()).iter()
    }

    /// Sets an entry. Only a broadcast record can do that: all subtasks see it, so that all hold the same.
    pub fn put(&self, ctx: &mut impl AsBroadcastMut, key: K, value: V) {
        self.map_mut(ctx.as_broadcast_mut()).insert(key, value);
    }

    /// Sets some entries.
    pub fn put_all(&self, ctx: &mut impl AsBroadcastMut, entries: impl IntoIterator<Item = (K, V)>) {
        self.map_mut(ctx.as_broadcast_mut()).extend(entries);
    }

    /// Removes an entry.
    pub fn remove(&self, ctx: &mut impl AsBroadcastMut, key: &K) {
        self.map_mut(ctx.as_broadcast_mut()).remove(key);
    }

    /// Removes all entries.
    pub fn clear(&self, ctx: &mut impl AsBroadcastMut) {
        self.map_mut(ctx.as_broadcast_mut()).clear();
    }
}

/// What broadcast state can be read through.
pub trait AsBroadcast {
    #[doc(hidden)]
    fn as_broadcast(&self) -> &BroadcastStates;
}

/// What broadcast state can be changed through: the contexts of broadcast records.
pub trait AsBroadcastMut: AsBroadcast {
    #[doc(hidden)]
    fn as_broadcast_mut(&mut self) -> &mut BroadcastStates;
}

/// All broadcast states of a function.
#[derive(Default)]
pub struct BroadcastStates {
    maps: Vec<Named>,
}

struct Named {
    name: String,
    map: Box<dyn AnyMap>,
}

impl fmt::Debug for BroadcastStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.maps.iter().map(|m| &m.name)).finish()
    }
}

/// A map whose types only its handle knows.
trait AnyMap: Send {
    fn write(&self) -> Result<Bytes, TaskError>;
    fn read(&mut self, name: &str, bytes: &[u8]) -> Result<(), TaskError>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<K: StateValue + Ord, V: StateValue> AnyMap for BTreeMap<K, V> {
    fn write(&self) -> Result<Bytes, TaskError> {
        write_entry(self)
    }

    fn read(&mut self, name: &str, bytes: &[u8]) -> Result<(), TaskError> {
        *self = read_entry(&format!("the broadcast state '{name}'"), bytes)?;
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl BroadcastStates {
    /// What a checkpoint keeps of the maps.
    ///
    /// # Errors
    /// If a type cannot be described.
    pub(crate) fn snapshot(&self) -> Result<Vec<OperatorEntry>, TaskError> {
        let entry = |named: &Named| {
            Ok(OperatorEntry {
                name: entry_name(&named.name),
                bytes: named.map.write()?,
                redistribute: Redistribute::Broadcast,
            })
        };
        self.maps.iter().map(entry).collect()
    }
}

fn entry_name(name: &str) -> String {
    format!("broadcast/{name}")
}

/// The broadcast states that `open` declares.
#[derive(Default)]
pub(crate) struct BroadcastDeclarations {
    states: BroadcastStates,
    names: BTreeSet<String>,
}

impl fmt::Debug for BroadcastDeclarations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.names).finish()
    }
}

impl BroadcastDeclarations {
    fn declare<K: StateValue + Ord, V: StateValue>(&mut self, name: &str) -> Result<BroadcastState<K, V>, BoxError> {
        if !self.names.insert(name.to_owned()) {
            return Err(WrongDeclaration::two("broadcast states", name).into());
        }
        self.states.maps.push(Named {
            name: name.to_owned(),
            map: Box::new(BTreeMap::<K, V>::new()),
        });
        Ok(BroadcastState {
            index: self.states.maps.len() - 1,
            entries: PhantomData,
        })
    }

    /// The declared states, restored if there is something to restore.
    ///
    /// # Errors
    /// If the restored state does not fit.
    pub(crate) fn open(mut self, ctx: &OperatorContext) -> Result<BroadcastStates, TaskError> {
        if let Some(restored) = &ctx.restored {
            for Named { name, map } in &mut self.states.maps {
                let entry = entry_name(name);
                for bytes in restored.operator_state(&entry) {
                    map.read(name, bytes)?;
                }
            }
        }
        Ok(self.states)
    }
}

/// What `open` of a [`BroadcastProcessFunction`] is told, and where it declares state.
#[derive(Debug)]
pub struct OpenBroadcastContext<'a> {
    pub(crate) runtime: &'a RuntimeContext,
    pub(crate) broadcast: &'a mut BroadcastDeclarations,
}

impl OpenBroadcastContext<'_> {
    /// Where the function runs.
    pub fn runtime(&self) -> &RuntimeContext {
        self.runtime
    }

    /// Declares a map that all subtasks hold alike.
    ///
    /// # Errors
    /// If the function has another broadcast state of this name.
    pub fn broadcast_state<K: StateValue + Ord, V: StateValue>(
        &mut self,
        name: &str,
    ) -> Result<BroadcastState<K, V>, BoxError> {
        self.broadcast.declare(name)
    }
}

/// What `open` of a [`KeyedBroadcastProcessFunction`] is told, and where it declares state: keyed as in [`OpenContext`], and broadcast.
#[derive(Debug)]
pub struct OpenKeyedBroadcastContext<'a>(pub(crate) &'a mut OpenContext);

impl OpenKeyedBroadcastContext<'_> {
    /// Where the function runs.
    pub fn runtime(&self) -> &RuntimeContext {
        self.0.runtime()
    }

    /// Declares a map that all subtasks hold alike.
    ///
    /// # Errors
    /// If the function has another broadcast state of this name.
    pub fn broadcast_state<K: StateValue + Ord, V: StateValue>(
        &mut self,
        name: &str,
    ) -> Result<BroadcastState<K, V>, BoxError> {
        self.0.broadcast.declare(name)
    }
}

impl Deref for OpenKeyedBroadcastContext<'_> {
    type Target = StateDeclarations;
    fn deref(&self) -> &StateDeclarations {
        self.0
    }
}

impl DerefMut for OpenKeyedBroadcastContext<'_> {
    fn deref_mut(&mut self) -> &mut StateDeclarations {
        self.0
    }
}

/// What a broadcast record may do: all that [`Context`] allows, and change broadcast state.
#[derive(Debug)]
pub struct BroadcastContext<'a, U>(pub(crate) Context<'a, U>);

impl<'a, U> Deref for BroadcastContext<'a, U> {
    type Target = Context<'a, U>;
    fn deref(&self) -> &Context<'a, U> {
        &self.0
    }
}

impl<U> DerefMut for BroadcastContext<'_, U> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<U> AsBroadcast for BroadcastContext<'_, U> {
    fn as_broadcast(&self) -> &BroadcastStates {
        self.0.broadcast
    }
}

impl<U> AsBroadcastMut for BroadcastContext<'_, U> {
    fn as_broadcast_mut(&mut self) -> &mut BroadcastStates {
        self.0.broadcast
    }
}

/// What a broadcast record may do beside a keyed stream: also visit the state of all keys of the subtask.
#[derive(Debug)]
pub struct KeyedBroadcastContext<'a, K, U> {
    pub(crate) context: BroadcastContext<'a, U>,
    pub(crate) state: &'a mut KeyState,
    pub(crate) key: PhantomData<fn() -> K>,
}

impl<K: Key, U> KeyedBroadcastContext<'_, K, U> {
    /// Calls `visit` with each key of the subtask that has keyed state, and its state.
    ///
    /// # Errors
    /// What `visit` returns, or if keys cannot be read.
    pub fn apply_to_keyed_state(
        &mut self,
        mut visit: impl FnMut(&K, &mut KeyState, &mut Collector<U>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        const AT_ONCE: usize = 1024;
        if !self.state.is_used() {
            return Ok(());
        }
        let (mut cursor, mut more) = (TableCursor::default(), true);
        let mut slots = vec![];
        while more {
            slots.clear();
            // Slots of the page before are not used any more.
            self.state.table().relieve()?;
            more = self.state.table().next_page(&mut cursor, AT_ONCE, &mut slots)?;
            let columns = self.state.table().keys(&slots)?;
            self.state.table().mark_changed(&slots);
            for (row, slot) in slots.iter().enumerate() {
                let key = K::from_columns(&mut columns.iter(), row);
                self.state.select(*slot);
                visit(&key, self.state, self.context.0.collector)?;
            }
            self.state.forget_blank(&slots);
        }
        Ok(())
    }
}

impl<'a, K, U> Deref for KeyedBroadcastContext<'a, K, U> {
    type Target = BroadcastContext<'a, U>;
    fn deref(&self) -> &BroadcastContext<'a, U> {
        &self.context
    }
}

impl<K, U> DerefMut for KeyedBroadcastContext<'_, K, U> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.context
    }
}

impl<K, U> AsBroadcast for KeyedBroadcastContext<'_, K, U> {
    fn as_broadcast(&self) -> &BroadcastStates {
        self.context.0.broadcast
    }
}

impl<K, U> AsBroadcastMut for KeyedBroadcastContext<'_, K, U> {
    fn as_broadcast_mut(&mut self) -> &mut BroadcastStates {
        self.context.0.broadcast
    }
}

/// Works on a stream and a broadcast one, whose records may change what the other's are treated by.
pub trait BroadcastProcessFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenBroadcastContext<'_>, declares "broadcast state");

    /// Called for each record of the stream that is not broadcast; reads broadcast state.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element(&mut self, value: A, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError>;

    /// Called in every subtask for each broadcast record. Must do the same everywhere.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_broadcast_element(
        &mut self,
        value: B,
        ctx: &mut BroadcastContext<'_, Self::Out>,
    ) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Works on a keyed stream, with state and timers, and a broadcast one, whose records may change what the keyed ones are treated by.
pub trait KeyedBroadcastProcessFunction<K, A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenKeyedBroadcastContext<'_>, declares "keyed and broadcast state");

    /// Called for each keyed record; reads broadcast state.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element(&mut self, value: A, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError>;

    /// Called in every subtask for each broadcast record. Must do the same to broadcast state everywhere.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_broadcast_element(
        &mut self,
        value: B,
        ctx: &mut KeyedBroadcastContext<'_, K, Self::Out>,
    ) -> Result<(), BoxError>;

    /// Called when a timer of a key is due; `timestamp` is the time that was registered, in milliseconds.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError> {
        let _ = (timestamp, ctx);
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}
