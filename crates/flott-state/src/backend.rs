//! Where keyed state lies, by `state.backend.type`: [`BackendSettings`] read once a job, [`StateBackend`] made once an attempt.
//!
//! Operators ask the backend for their tables and never see it again. Under `hashmap` a table is all in memory; under `rocksdb` memory is a
//! cache of bounded size in front of a store on local disk, which dies with the attempt: what an attempt starts from are the runs of
//! a checkpoint, which are the same under both, so a job changes its backend with any restore.

use crate::cold::{ColdStore, MemoryStore, RowOrder, TableId};
use crate::error::StateError;
use crate::table::{HotBudget, KeyedTable, Share, Tier};
use flott_checkpoint::TableDescriptor;
use flott_checkpoint::local_folder::first_folder;
use flott_core::options::OptionError;
use flott_core::{KeyGroupRange, Options, TypeKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory of a slot under `rocksdb` where no option says it.
const DEFAULT_SLOT_BYTES: usize = 128 << 20;
/// Below this, caches thrash and write buffers are flushed by the row.
const MIN_BYTES: usize = 4 << 20;

const TYPE: &str = "state.backend.type";
const OLD_TYPE: &str = "state.backend";
const LOCAL_DIR: &str = "state.backend.rocksdb.localdir";
const PER_SLOT: &str = "state.backend.rocksdb.memory.fixed-per-slot";
const PER_PROCESS: &str = "state.backend.rocksdb.memory.fixed-per-tm";
const MANAGED: &str = "state.backend.rocksdb.memory.managed";
/// Ours, for tests: rows that each tiered table holds in memory.
const HOT_ROWS: &str = "state.backend.hot-rows";

/// Which backend a job uses, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSettings {
    kind: Kind,
    hot_rows: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    HashMap,
    RocksDb(Disk),
}

/// What RocksDB may use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    /// Folder of the stores' folders.
    local_dir: PathBuf,
    per_slot_bytes: usize,
    /// Whether an option says so.
    is_told: bool,
    /// Instead of it, for all slots of the process, where no option says what a slot has.
    total_bytes: Option<usize>,
    /// Whether the bound holds for the store too.
    is_managed: bool,
}

impl BackendSettings {
    /// Reads the options.
    ///
    /// # Errors
    /// If a value is wrong, or names a backend that this program does not have.
    pub fn from_options(options: &Options) -> Result<Self, StateError> {
        let wrong = |e: OptionError| StateError::Backend(e.to_string());
        let key = if options.get(TYPE).is_some() { TYPE } else { OLD_TYPE };
        let name = options.get(key).unwrap_or("hashmap");
        let kind = match name.to_lowercase().as_str() {
            "hashmap" => Kind::HashMap,
            "rocksdb" if cfg!(feature = "rocksdb") => Kind::RocksDb(Disk::from_options(options)?),
            "rocksdb" => {
                return Err(StateError::Backend(format!(
                    "'{key}' is 'rocksdb', which this program was built without: build it with 'cargo build --release --features \
                     rocksdb' (needs libclang, Debian's libclang-dev, and a C++ compiler), or set 'hashmap'"
                )));
            }
            _ => {
                return Err(StateError::Backend(format!(
                    "'{key}' is '{name}', which is no state backend: known are 'hashmap' and 'rocksdb'"
                )));
            }
        };
        Ok(Self {
            kind,
            hot_rows: options.positive(HOT_ROWS).map_err(wrong)?,
        })
    }
}

impl Disk {
    fn from_options(options: &Options) -> Result<Self, StateError> {
        let wrong = |e: OptionError| StateError::Backend(e.to_string());
        let bytes = |key: &str| match options.memory_bytes(key).map_err(wrong)? {
            Some(bytes) if (bytes as usize) < MIN_BYTES => Err(StateError::Backend(format!(
                "'{key}' is {bytes} bytes: RocksDB needs {} mb at least",
                MIN_BYTES >> 20
            ))),
            bytes => Ok(bytes.map(|b| b as usize)),
        };
        let key = [LOCAL_DIR, "io.tmp.dirs"]
            .into_iter()
            .find(|key| options.get(key).is_some());
        let local_dir = match key.map(|key| (key, options.get(key).unwrap_or_default())) {
            Some((key, dirs)) => first_folder(key, dirs).map_err(StateError::Backend)?,
            None => std::env::temp_dir(),
        };
        let (per_slot_bytes, total_bytes) = (bytes(PER_SLOT)?, bytes(PER_PROCESS)?);
        Ok(Self {
            local_dir,
            is_told: per_slot_bytes.or(total_bytes).is_some(),
            per_slot_bytes: per_slot_bytes.unwrap_or(DEFAULT_SLOT_BYTES),
            total_bytes: total_bytes.filter(|_| per_slot_bytes.is_none()),
            is_managed: options.boolean(MANAGED).map_err(wrong)?.unwrap_or(true)
                || options.get(PER_SLOT).or(options.get(PER_PROCESS)).is_some(),
        })
    }
}

impl BackendSettings {
    /// The same in slots that have so many bytes for it: these bound it where no option of the job does. Half of them are counted, and of these
    /// half as rows in memory, which take up to three times what they count: places whose rows have gone are given back once they are as many, and
    /// a checkpoint encodes the rows.
    pub fn in_slots_of(mut self, bytes: Option<u64>) -> Self {
        if let (Kind::RocksDb(disk), Some(bytes)) = (&mut self.kind, bytes)
            && !disk.is_told
        {
            disk.per_slot_bytes = (bytes as usize / 2).max(MIN_BYTES);
        }
        self
    }

    /// Whether tables have rows elsewhere than in memory.
    pub fn is_tiered(&self) -> bool {
        self.hot_rows.is_some() || matches!(self.kind, Kind::RocksDb(_))
    }

    /// Memory that a slot's state may take, where the backend bounds it.
    pub fn slot_bytes(&self) -> Option<u64> {
        match &self.kind {
            Kind::RocksDb(disk) => Some(disk.total_bytes.unwrap_or(disk.per_slot_bytes) as u64),
            Kind::HashMap => None,
        }
    }

    /// Memory that the state in so many slots of a process may take, in bytes, where the backend bounds it.
    pub fn process_bytes(&self, slots: usize) -> Option<u64> {
        match &self.kind {
            Kind::RocksDb(disk) => disk.is_managed.then(|| disk.bytes(slots) as u64),
            Kind::HashMap => None,
        }
    }
}

/// Makes the tables of an attempt's operators. Cloning is cheap; the default is `hashmap`.
#[derive(Debug, Clone, Default)]
pub struct StateBackend(Option<Arc<Tiered>>);

#[derive(Debug)]
struct Tiered {
    settings: BackendSettings,
    slots: usize,
    budget: Arc<HotBudget>,
    next_table: AtomicU32,
    /// Opened by the first table.
    store: Mutex<Option<Arc<dyn ColdStore>>>,
}

impl StateBackend {
    /// The backend of an attempt of a job that takes so many slots of this process.
    pub fn new(settings: &BackendSettings, slots: usize) -> Self {
        let slots = slots.max(1);
        let hot_bytes = match &settings.kind {
            Kind::HashMap if settings.hot_rows.is_none() => return Self::default(),
            Kind::HashMap => usize::MAX,
            Kind::RocksDb(disk) => disk.bytes(slots) / 2,
        };
        Self(Some(Arc::new(Tiered {
            settings: settings.clone(),
            slots,
            budget: HotBudget::new(hot_bytes, settings.hot_rows),
            next_table: AtomicU32::new(0),
            store: Mutex::default(),
        })))
    }

    /// One with tiers whose memory is so many bytes and whose store is a map.
    #[cfg(test)]
    pub(crate) fn in_bytes(hot_bytes: usize) -> Self {
        Self(Some(Arc::new(Tiered {
            settings: BackendSettings {
                kind: Kind::HashMap,
                hot_rows: None,
            },
            slots: 1,
            budget: HotBudget::new(hot_bytes, None),
            next_table: AtomicU32::new(0),
            store: Mutex::default(),
        })))
    }

    /// A table whose operator looks its keys up anew with each batch, and calls [`KeyedTable::relieve`] in between, or
    /// [`KeyedTable::relieve_but`] with the slots that it holds: tiered where the backend has tiers.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn table(
        &self,
        descriptor: impl Into<Arc<TableDescriptor>>,
        max_parallelism: usize,
        range: KeyGroupRange,
    ) -> Result<KeyedTable, StateError> {
        self.table_in(RowOrder::KeyGroup, descriptor.into(), max_parallelism, range, |tier| {
            tier
        })
    }

    /// A table of rows that belong to those of another, which it is told to let go ([`KeyedTable::send_away`]): tiered where the backend has
    /// tiers, in the other's share of memory ([`KeyedTable::relieve_beside`]). No key comes that it had before, and rows of one prefix
    /// that [`KeyedTable::for_each_beginning_with`] looks for have gone together.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn table_beside(
        &self,
        descriptor: impl Into<Arc<TableDescriptor>>,
        max_parallelism: usize,
        range: KeyGroupRange,
    ) -> Result<KeyedTable, StateError> {
        let (descriptor, order) = (descriptor.into(), RowOrder::KeyGroup);
        let mut table = self.table_in(order, descriptor, max_parallelism, range, Tier::sharing)?;
        table.expect_new_keys(true);
        Ok(table)
    }

    /// A table whose key ends with a time, a BIGINT that is never NULL behind other fields, for a queue by that time: tiered where the
    /// backend has tiers. It is the queue that says which rows leave memory ([`KeyedTable::rows_beyond_share`]).
    ///
    /// # Errors
    /// If the store cannot be opened, or the key is another.
    pub fn table_by_time(
        &self,
        descriptor: impl Into<Arc<TableDescriptor>>,
        max_parallelism: usize,
        range: KeyGroupRange,
    ) -> Result<KeyedTable, StateError> {
        let descriptor = descriptor.into();
        let is_by_time =
            matches!(&descriptor.key[..], [_, .., last] if last.kind == TypeKind::BigInt && !last.nullable);
        if !is_by_time {
            return Err(StateError::Broken(format!(
                "the key of '{}' does not end with a time",
                descriptor.name
            )));
        }
        self.table_in(RowOrder::Time, descriptor, max_parallelism, range, |tier| tier)
    }

    /// A table that is filled before its operator asks for it, and keeps nothing in memory ([`KeyedTable::take_over`]); `None` where the backend
    /// has no tiers.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub(crate) fn table_to_fill(
        &self,
        descriptor: Arc<TableDescriptor>,
        max_parallelism: usize,
        range: KeyGroupRange,
    ) -> Result<Option<KeyedTable>, StateError> {
        let Some(tiers) = self.shared_tiers(&descriptor.name)? else {
            return Ok(None);
        };
        let tier = tiers.tier_of(&HotBudget::new(0, Some(1)));
        Ok(Some(
            KeyedTable::new(descriptor, max_parallelism, range).with_tier(tier),
        ))
    }

    /// Tiers of the tables named so, that keep to one share; `None` where the backend has none.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub(crate) fn shared_tiers(&self, name: &str) -> Result<Option<SharedTiers>, StateError> {
        let Some(tiered) = &self.0 else { return Ok(None) };
        let store = tiered.store().map_err(|source| StateError::Cold {
            table: name.to_owned(),
            source,
        })?;
        Ok(Some(SharedTiers {
            tiered: Arc::clone(tiered),
            store,
            share: None,
        }))
    }

    fn table_in(
        &self,
        order: RowOrder,
        descriptor: Arc<TableDescriptor>,
        max_parallelism: usize,
        range: KeyGroupRange,
        sharing: impl FnOnce(Tier) -> Tier,
    ) -> Result<KeyedTable, StateError> {
        let Some(tiered) = &self.0 else {
            return Ok(KeyedTable::new(descriptor, max_parallelism, range));
        };
        let store = tiered.store().map_err(|source| StateError::Cold {
            table: descriptor.name.clone(),
            source,
        })?;
        let id = TableId(tiered.next_table.fetch_add(1, Ordering::Relaxed), order);
        let tier = Tier::new(store, id, Arc::clone(&tiered.budget));
        Ok(KeyedTable::new(descriptor, max_parallelism, range).with_tier(sharing(tier)))
    }
}

/// Tiers of tables that have one share of the memory together.
#[derive(Debug)]
pub(crate) struct SharedTiers {
    tiered: Arc<Tiered>,
    store: Arc<dyn ColdStore>,
    share: Option<Share>,
}

impl SharedTiers {
    /// Tiers of one more table.
    pub(crate) fn tier(&self) -> Tier {
        self.tier_of(&self.tiered.budget)
    }

    /// The same with another bound of its memory.
    fn tier_of(&self, budget: &Arc<HotBudget>) -> Tier {
        let number = self.tiered.next_table.fetch_add(1, Ordering::Relaxed);
        let id = TableId(number, RowOrder::KeyGroup);
        Tier::new(Arc::clone(&self.store), id, Arc::clone(budget)).sharing()
    }

    /// Takes the share, if nobody has.
    pub(crate) fn take_share(&mut self) {
        self.share.get_or_insert_with(|| Share::of(&self.tiered.budget));
    }
}

impl Disk {
    /// Memory for so many slots.
    fn bytes(&self, slots: usize) -> usize {
        self.total_bytes
            .unwrap_or_else(|| self.per_slot_bytes.saturating_mul(slots))
    }
}

#[cfg(test)]
impl StateBackend {
    /// Whether the store has no row.
    pub(crate) fn is_store_empty(&self) -> bool {
        let store = self.0.as_ref().unwrap().store().unwrap();
        let mut is_empty = true;
        let mut row = |_: &[u8], _: &[u8]| {
            is_empty = false;
            false
        };
        store.scan(&[], &[u8::MAX; 4], &mut row).unwrap();
        is_empty
    }
}

impl Tiered {
    fn store(&self) -> Result<Arc<dyn ColdStore>, crate::cold::ColdError> {
        // The section sets a whole store or none, so a panic elsewhere does not make it wrong.
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let opened = self.open()?;
        *store = Some(Arc::clone(&opened));
        Ok(opened)
    }

    #[cfg(feature = "rocksdb")]
    fn open(&self) -> Result<Arc<dyn ColdStore>, crate::cold::ColdError> {
        Ok(match &self.settings.kind {
            Kind::HashMap => Arc::new(MemoryStore::default()),
            Kind::RocksDb(disk) => Arc::new(crate::cold::RocksStore::open(&crate::cold::RocksSettings {
                local_dir: disk.local_dir.clone(),
                // The other half is memory's rows.
                memory_bytes: disk.is_managed.then(|| disk.bytes(self.slots) / 2),
                threads: self.slots,
            })?),
        })
    }

    #[cfg(not(feature = "rocksdb"))]
    fn open(&self) -> Result<Arc<dyn ColdStore>, crate::cold::ColdError> {
        match &self.settings.kind {
            Kind::HashMap => Ok(Arc::new(MemoryStore::default())),
            Kind::RocksDb(disk) => Err(crate::cold::ColdError {
                place: disk.local_dir.display().to_string(),
                problem: format!("RocksDB is not built in, and cannot serve {} slots", self.slots),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<BackendSettings, String> {
        let options: Options = options.iter().copied().collect();
        BackendSettings::from_options(&options).map_err(|e| e.to_string())
    }

    #[test]
    fn backends_are_known_by_both_names_and_others_refused() {
        let hashmap = read(&[]).unwrap();
        assert_eq!(read(&[("state.backend", "HashMap")]).unwrap(), hashmap);
        let error = read(&[("state.backend.type", "forst")]).unwrap_err();
        assert_eq!(
            error,
            "'state.backend.type' is 'forst', which is no state backend: known are 'hashmap' and 'rocksdb'"
        );
        let error = read(&[("state.backend", "fs"), ("state.backend.type", "disk")]).unwrap_err();
        assert!(error.starts_with("'state.backend.type' is 'disk'"), "{error}");
    }

    #[cfg(not(feature = "rocksdb"))]
    #[test]
    fn a_program_without_rocksdb_says_how_to_get_it() {
        let error = read(&[("state.backend", "rocksdb")]).unwrap_err();
        assert!(
            error.contains("'state.backend' is 'rocksdb'") && error.contains("--features rocksdb"),
            "{error}"
        );
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn one_number_bounds_the_memory() {
        let disk = |options: &[(&str, &str)]| {
            let rocks = [("state.backend.type", "rocksdb")];
            match read(&[&rocks, options].concat())?.kind {
                Kind::RocksDb(disk) => Ok((disk.bytes(2), disk.is_managed)),
                Kind::HashMap => Err("hashmap".to_owned()),
            }
        };
        assert_eq!(disk(&[]), Ok((2 * DEFAULT_SLOT_BYTES, true)));
        assert_eq!(disk(&[(PER_SLOT, "16 mb"), (MANAGED, "false")]), Ok((32 << 20, true)));
        assert_eq!(disk(&[(PER_PROCESS, "24mb")]), Ok((24 << 20, true)));
        assert_eq!(
            disk(&[(PER_SLOT, "16 mb"), (PER_PROCESS, "24mb")]),
            Ok((32 << 20, true)),
            "what a slot has wins, as in Flink"
        );
        assert_eq!(disk(&[(MANAGED, "false")]), Ok((2 * DEFAULT_SLOT_BYTES, false)));
        let of_process = |options: &[(&str, &str)]| read(options).unwrap().process_bytes(3);
        assert_eq!(of_process(&[(TYPE, "rocksdb")]), Some(3 * DEFAULT_SLOT_BYTES as u64));
        assert_eq!(of_process(&[(TYPE, "rocksdb"), (MANAGED, "false")]), None);
        assert_eq!(of_process(&[]), None);
        let in_slots = |options: &[(&str, &str)]| {
            let settings = read(&[&[(TYPE, "rocksdb")], options].concat()).unwrap();
            settings.in_slots_of(Some(48 << 20)).slot_bytes()
        };
        assert_eq!(in_slots(&[]), Some(24 << 20));
        assert_eq!(in_slots(&[(PER_SLOT, "16 mb")]), Some(16 << 20), "the job's own word");
        let error = disk(&[(PER_SLOT, "1kb")]).unwrap_err();
        assert!(error.contains("needs 4 mb at least"), "{error}");
    }
}
