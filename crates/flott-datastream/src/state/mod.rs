//! Keyed state of functions: handles that `open` declares, and what a function reads and writes them through.
//!
//! All states of a function lie in one table, a column each, so the key is looked up once a record: a list or a map is one value of
//! its key. State is found by name: a state that is new starts empty, one that is gone is left behind.
//!
//! Read [`handles`] (states of one value or a list), [`map`] and [`ttl`]; [`operator`] has state that belongs to no key.

pub mod handles;
pub mod map;
pub mod operator;
pub mod ttl;

pub use handles::{AggregatingState, ListState, ReducingState, ValueState};
pub use map::{MapEntries, MapState};
pub use operator::OperatorListState;
pub use ttl::{StateDescriptor, StateTtlConfig, StateVisibility, UpdateType};

use crate::function::{AggregateFunction, BoxError};
use flott_core::LogicalType;
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{KeyedTable, StateValue, TableCursor, TableDescriptor};
use map::MapOf;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use ttl::{Evict, Evicted, Ttl, TtlColumn};

/// Keys that a sweep looks at in one call.
const SWEEP_ROWS: usize = 8192;

/// What a read asks to be done once the call of user code is over.
type Touch = Box<dyn FnOnce(&mut KeyedTable) + Send>;

/// The state of the key at hand.
pub struct KeyState {
    table: KeyedTable,
    slot: u32,
    /// Processing time of the batch at hand; only kept where something expires.
    now_ms: i64,
    touches: RefCell<Vec<Touch>>,
    expiring: Vec<TtlColumn>,
    /// Where the sweep at work goes on.
    sweep_cursor: TableCursor,
    next_sweep_ms: i64,
}

impl fmt::Debug for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyState")
            .field("table", self.table.descriptor())
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
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

/// `open` declares what cannot be; the job ends with it, since no restart can help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongDeclaration(String);

impl WrongDeclaration {
    /// Two of a kind have one name.
    pub(crate) fn two(what: &str, name: &str) -> Self {
        Self(format!(
            "two {what} are named '{name}': state is found by its name, so give one another"
        ))
    }
}

/// What `open` declares.
#[derive(Default)]
pub struct StateDeclarations {
    columns: Vec<Declared>,
    names: BTreeSet<String>,
    expiring: Vec<TtlColumn>,
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

/// A name, or a [`StateDescriptor`] with more, declares a state. All methods fail if the function has another state of the name.
impl StateDeclarations {
    /// Declares a state of one value a key.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn value_state<V: StateValue>(
        &mut self,
        descriptor: impl Into<StateDescriptor>,
    ) -> Result<ValueState<V>, BoxError> {
        let (index, ttl) = self.stamped::<V, i64>(descriptor.into(), handles::evict_value::<V>)?;
        Ok(ValueState::at(index, ttl))
    }

    /// Declares a state of a list a key.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn list_state<V: StateValue>(
        &mut self,
        descriptor: impl Into<StateDescriptor>,
    ) -> Result<ListState<V>, BoxError> {
        let (index, ttl) = self.stamped::<Vec<V>, Vec<i64>>(descriptor.into(), handles::evict_list::<V>)?;
        Ok(ListState::at(index, ttl))
    }

    /// Declares a state of a map a key.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn map_state<K: StateValue + Ord, V: StateValue>(
        &mut self,
        descriptor: impl Into<StateDescriptor>,
    ) -> Result<MapState<K, V>, BoxError> {
        let StateDescriptor { name, ttl } = descriptor.into();
        let Some(config) = ttl else {
            return Ok(MapState::at(self.declare::<MapOf<K, V>>(&name)?, None));
        };
        let index = self.declare::<MapOf<K, (V, i64)>>(&name)?;
        ttl::name_parts(&mut self.columns[index].ty);
        let ttl = Ttl { config, stamps: index };
        self.expiring.push(TtlColumn {
            column: index,
            ttl,
            evict: map::evict_entries::<K, V>,
        });
        Ok(MapState::at(index, Some(ttl)))
    }

    /// Declares a state of one value a key, into which `reduce` folds what is added.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn reducing_state<V: StateValue>(
        &mut self,
        descriptor: impl Into<StateDescriptor>,
        reduce: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Result<ReducingState<V>, BoxError> {
        Ok(ReducingState::new(self.value_state(descriptor)?, Arc::new(reduce)))
    }

    /// Declares a state of one accumulator a key, into which `aggregate` folds what is added.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn aggregating_state<A: AggregateFunction>(
        &mut self,
        descriptor: impl Into<StateDescriptor>,
        aggregate: A,
    ) -> Result<AggregatingState<A>, BoxError> {
        Ok(AggregatingState::new(self.value_state(descriptor)?, aggregate))
    }

    /// A column of values, and if they expire one of their stamps.
    fn stamped<V: StateValue, S: StateValue>(
        &mut self,
        descriptor: StateDescriptor,
        evict: Evict,
    ) -> Result<(usize, Option<Ttl>), BoxError> {
        let column = self.declare::<V>(&descriptor.name)?;
        let Some(config) = descriptor.ttl else {
            return Ok((column, None));
        };
        let stamps = self.declare::<S>(&format!("{}.updated", descriptor.name))?;
        let ttl = Ttl { config, stamps };
        self.expiring.push(TtlColumn { column, ttl, evict });
        Ok((column, Some(ttl)))
    }

    fn declare<V: StateValue>(&mut self, name: &str) -> Result<usize, BoxError> {
        if !self.names.insert(name.to_owned()) {
            return Err(WrongDeclaration::two("states", name).into());
        }
        self.columns.push(Declared {
            name: name.to_owned(),
            ty: V::state_type(),
            keep: KeyedTable::keep_values::<V>,
        });
        Ok(self.columns.len() - 1)
    }

    /// Whether nothing is declared.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The declared state by keys of `key`, whose first `placed_by` fields place them, in the table of `name`; restored if there is
    /// something to restore.
    ///
    /// # Errors
    /// If the restored state does not fit.
    pub(crate) fn open(
        self,
        name: &str,
        key: Vec<LogicalType>,
        placed_by: usize,
        ctx: &OperatorContext,
    ) -> Result<KeyState, TaskError> {
        self.open_in(name, key, placed_by, ctx, |descriptor| {
            let (max_parallelism, key_groups) = (ctx.task.max_parallelism, ctx.task.key_groups());
            Ok(KeyedTable::new(descriptor, max_parallelism, key_groups))
        })
    }

    /// The same in a table that may lie partly on disk, which is asked to make room where no slot is held.
    ///
    /// # Errors
    /// If the restored state does not fit, or there is no disk.
    pub(crate) fn open_tiered(
        self,
        name: &str,
        key: Vec<LogicalType>,
        placed_by: usize,
        ctx: &OperatorContext,
    ) -> Result<KeyState, TaskError> {
        if self.is_empty() {
            // It would take its share of the memory for nothing.
            return self.open(name, key, placed_by, ctx);
        }
        self.open_in(name, key, placed_by, ctx, |descriptor| ctx.table(descriptor))
    }

    fn open_in(
        self,
        name: &str,
        key: Vec<LogicalType>,
        placed_by: usize,
        ctx: &OperatorContext,
        make: impl FnOnce(TableDescriptor) -> Result<KeyedTable, TaskError>,
    ) -> Result<KeyState, TaskError> {
        let is_part = placed_by < key.len();
        let mut descriptor = TableDescriptor::new(name, key);
        if is_part {
            descriptor = descriptor.placed_by(placed_by);
        }
        for column in &self.columns {
            descriptor = descriptor.values(&column.name, column.ty.clone());
        }
        let mut table = make(descriptor)?;
        for (index, column) in self.columns.iter().enumerate() {
            (column.keep)(&mut table, index);
        }
        if let Some(restored) = &ctx.restored
            && !self.columns.is_empty()
        {
            restored.load_table(&mut table)?;
        }
        let mut state = KeyState {
            table,
            slot: 0,
            now_ms: 0,
            touches: RefCell::default(),
            expiring: self.expiring,
            sweep_cursor: TableCursor::default(),
            next_sweep_ms: 0,
        };
        state.next_sweep_ms = ctx.clock.now_ms().saturating_add(state.sweep_interval_ms());
        Ok(state)
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
        if !self.expiring.is_empty() {
            self.apply_touches();
        }
        self.slot = slot;
    }

    /// Processing time of what comes now.
    pub(crate) fn set_now(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
    }

    fn touch(&self, touch: impl FnOnce(&mut KeyedTable) + Send + 'static) {
        self.touches.borrow_mut().push(Box::new(touch));
    }

    fn apply_touches(&mut self) {
        for touch in self.touches.get_mut().drain(..) {
            touch(&mut self.table);
        }
    }

    /// Gives up the keys among `slots` that hold nothing.
    pub(crate) fn forget_blank(&mut self, slots: &[u32]) {
        if !self.expiring.is_empty() {
            self.apply_touches();
            // A stamp whose value was cleared holds nothing.
            for &slot in slots {
                self.evict(slot);
            }
        }
        let blank = self.table.blank_among(slots);
        if !blank.is_empty() {
            self.table.remove(&blank);
        }
    }

    fn evict(&mut self, slot: u32) {
        for TtlColumn { column, ttl, evict } in &self.expiring {
            match evict(&mut self.table, *column, ttl, slot, self.now_ms) {
                Evicted::Nothing => {}
                // No change for increments: what they still hold is as expired when it is read.
                Evicted::Removed => self.table.mark_newer_than_store(&[slot]),
                Evicted::Stamped => self.table.mark_changed(&[slot]),
            }
        }
    }

    fn sweep_interval_ms(&self) -> i64 {
        let intervals = self.expiring.iter().map(|c| c.ttl.config.sweep_interval_ms());
        intervals.min().unwrap_or(i64::MAX)
    }

    /// When something that has expired is to be removed, in processing time.
    pub(crate) fn next_sweep_ms(&self) -> Option<i64> {
        (!self.expiring.is_empty() && !self.table.is_empty()).then_some(self.next_sweep_ms)
    }

    /// Looks at the next keys, if it is time, and removes what has expired of them.
    ///
    /// # Errors
    /// If keys cannot be read.
    pub(crate) fn sweep(&mut self, now_ms: i64) -> Result<(), TaskError> {
        if self.expiring.is_empty() || now_ms < self.next_sweep_ms {
            return Ok(());
        }
        self.now_ms = now_ms;
        let mut slots = vec![];
        self.table.relieve()?;
        let more = self.table.next_page(&mut self.sweep_cursor, SWEEP_ROWS, &mut slots)?;
        self.forget_blank(&slots);
        self.next_sweep_ms = match more {
            // The rest of this pass comes as soon as there is nothing else to do.
            true => now_ms,
            false => now_ms.saturating_add(self.sweep_interval_ms()),
        };
        Ok(())
    }
}
