//! Time to live of state: [`StateTtlConfig`], and the rules by which values expire.
//!
//! A value expires when processing time comes to its last update plus the time to live, as in Flink. A value state keeps the time
//! of its update in a column beside it, a list one time an element, a map one an entry. What has expired is not given out and is
//! removed from memory by sweeps, a few thousand keys at a time, so that nothing outlives its time by more than a quarter.

use flott_core::{LogicalType, TypeKind};
use flott_state::KeyedTable;
use std::time::Duration;

/// Names of the parts of a map's entry: its value, and the time of its update. No field of a program has the second one.
const ENTRY_PARTS: [&str; 2] = ["value", "value.updated"];

/// Names the parts of the entries of a map with a time to live, for those who read state without the program.
pub(super) fn name_parts(map: &mut LogicalType) {
    if let TypeKind::Map(_, value) = &mut map.kind
        && let TypeKind::Row(fields) = &mut value.kind
    {
        for (field, name) in fields.iter_mut().zip(ENTRY_PARTS) {
            name.clone_into(&mut field.name);
        }
    }
}

/// When the time to live begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdateType {
    /// With each write.
    #[default]
    OnCreateAndWrite,
    /// With each read, too.
    OnReadAndWrite,
}

/// Whether a value can be read that has expired and is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateVisibility {
    /// Never.
    #[default]
    NeverReturnExpired,
    /// Once: the read removes it.
    ReturnExpiredIfNotCleanedUp,
}

/// How long a state lives, in processing time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateTtlConfig {
    time_to_live_ms: i64,
    update_type: UpdateType,
    visibility: StateVisibility,
}

impl StateTtlConfig {
    /// Values live so long after they were written (whole milliseconds).
    pub fn new(time_to_live: Duration) -> Self {
        Self {
            time_to_live_ms: i64::try_from(time_to_live.as_millis()).unwrap_or(i64::MAX),
            update_type: UpdateType::default(),
            visibility: StateVisibility::default(),
        }
    }

    /// When the time begins anew.
    pub fn set_update_type(mut self, update_type: UpdateType) -> Self {
        self.update_type = update_type;
        self
    }

    /// Whether expired values can be read.
    pub fn set_state_visibility(mut self, visibility: StateVisibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// A value that was updated at `stamp_ms` has expired at `now_ms`.
    #[inline]
    pub(crate) fn is_expired(&self, stamp_ms: i64, now_ms: i64) -> bool {
        stamp_ms.saturating_add(self.time_to_live_ms) <= now_ms
    }

    pub(crate) fn updates_on_read(&self) -> bool {
        self.update_type == UpdateType::OnReadAndWrite
    }

    pub(crate) fn returns_expired(&self) -> bool {
        self.visibility == StateVisibility::ReturnExpiredIfNotCleanedUp
    }

    /// Between two sweeps over all keys.
    pub(crate) fn sweep_interval_ms(&self) -> i64 {
        (self.time_to_live_ms / 4).clamp(1, 60_000)
    }
}

/// A name, and what else is said of a state when it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDescriptor {
    pub(crate) name: String,
    pub(crate) ttl: Option<StateTtlConfig>,
}

impl StateDescriptor {
    /// A state of a name, by which it is found again.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ttl: None,
        }
    }

    /// Lets its values expire.
    pub fn enable_time_to_live(mut self, ttl: StateTtlConfig) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl From<&str> for StateDescriptor {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for StateDescriptor {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// The time to live of a declared state, and the column of its stamps (unused where they lie in the values).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ttl {
    pub(crate) config: StateTtlConfig,
    pub(crate) stamps: usize,
}

/// What a look at a slot for what has expired did to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evicted {
    Nothing,
    /// Something was removed. Who reads it from elsewhere removes it again.
    Removed,
    /// What had no stamp was given one, which must last.
    Stamped,
}

/// Removes what has expired of one slot: `(table, column of values, time to live, slot, now_ms)`.
pub(crate) type Evict = fn(&mut KeyedTable, usize, &Ttl, u32, i64) -> Evicted;

/// A column whose values expire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TtlColumn {
    pub(crate) column: usize,
    pub(crate) ttl: Ttl,
    pub(crate) evict: Evict,
}
