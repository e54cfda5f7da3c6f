//! RocksDB as a [`ColdStore`]: [`RocksStore`].
//!
//! * One database holds all tables of an attempt; it keeps no log, since what it holds dies with the attempt.
//! * Block cache and write buffers take their memory from one cache of fixed size; index and filter blocks lie in it too.
//! * The database has a folder of its own below the local directory, which goes with the process ([`LocalFolder`]).

use super::{ColdBatch, ColdError, ColdRead, ColdStore, ColdWrite};
use flott_checkpoint::LocalFolder;
use flott_core::encoding::EncodedRows;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DEFAULT_COLUMN_FAMILY_NAME, Options, ReadOptions, Snapshot, WriteBatch, WriteBufferManager,
};
use std::path::PathBuf;
use std::sync::Arc;

/// Names of folders and of their lock files begin so.
const NAME: &str = "flott-rocksdb-";
/// Bits of the filter for each key: one look-up of a missing key in a hundred reads a block.
const FILTER_BITS: f64 = 10.0;
/// As RocksDB's own default: a look-up of one row reads and checks a block.
const BLOCK_BYTES: usize = 4 * 1024;
const MAX_WRITE_BUFFER_BYTES: usize = 64 << 20;
/// Below what systems give a process, with room for its sockets.
const MAX_OPEN_FILES: i32 = 512;
/// Keys of one call into the database.
const KEYS_AT_ONCE: usize = 128;

/// How a database is opened.
#[derive(Debug, Clone)]
pub(crate) struct RocksSettings {
    /// Folder of its folder.
    pub(crate) local_dir: PathBuf,
    /// Bound of its memory; `None`: as RocksDB pleases.
    pub(crate) memory_bytes: Option<usize>,
    /// Threads that use it.
    pub(crate) threads: usize,
}

/// A database that is gone with this value.
#[derive(Debug)]
pub(crate) struct RocksStore(Arc<Database>);

#[derive(Debug)]
struct Database {
    /// Closed before its folder goes.
    db: Option<DB>,
    folder: LocalFolder,
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.db.take());
    }
}

impl RocksStore {
    /// Opens an empty database.
    ///
    /// # Errors
    /// If its folder cannot be made, or written.
    pub(crate) fn open(settings: &RocksSettings) -> Result<Self, ColdError> {
        let failed = |problem: String| ColdError {
            place: settings.local_dir.display().to_string(),
            problem,
        };
        let folder = LocalFolder::make(&settings.local_dir, NAME).map_err(|e| failed(e.to_string()))?;
        let options = options(settings);
        let family = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, options.clone());
        let db = DB::open_cf_descriptors(&options, folder.path(), [family]).map_err(|e| failed(e.into_string()))?;
        Ok(Self(Arc::new(Database { db: Some(db), folder })))
    }
}

fn options(settings: &RocksSettings) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_background_jobs(settings.threads.clamp(2, 4) as i32);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_keep_log_file_num(1);
    options.set_max_open_files(MAX_OPEN_FILES);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(FILTER_BITS, false);
    blocks.set_block_size(BLOCK_BYTES);
    if let Some(bytes) = settings.memory_bytes {
        let cache = Cache::new_lru_cache(bytes);
        blocks.set_block_cache(&cache);
        // Where state is much larger than the cache, an index and a filter of a whole file, megabytes both, would be read again for each look-up.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(BLOCK_BYTES);
        blocks.set_pin_top_level_index_and_filter(true);
        // Write buffers are charged to the cache, so one number bounds both.
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(bytes / 2, false, cache);
        options.set_write_buffer_manager(&buffers);
        options.set_write_buffer_size((bytes / 4).min(MAX_WRITE_BUFFER_BYTES));
        options.set_max_write_buffer_number(3);
    }
    options.set_block_based_table_factory(&blocks);
    options
}

impl Database {
    fn db(&self) -> Result<&DB, ColdError> {
        self.db.as_ref().ok_or_else(|| self.failed("it is closed".to_owned()))
    }

    fn failed(&self, problem: String) -> ColdError {
        ColdError {
            place: self.folder.path().display().to_string(),
            problem,
        }
    }

    fn get(
        &self,
        options: &ReadOptions,
        keys: &EncodedRows,
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), ColdError> {
        let db = self.db()?;
        let family = db
            .cf_handle(DEFAULT_COLUMN_FAMILY_NAME)
            .ok_or_else(|| self.failed("it has no rows".to_owned()))?;
        for start in (0..keys.len()).step_by(KEYS_AT_ONCE) {
            let end = keys.len().min(start + KEYS_AT_ONCE);
            let wanted = (start..end).map(|index| keys.row(index));
            let values = db.batched_multi_get_cf_opt(family, wanted, true, options);
            for (index, value) in (start..end).zip(values) {
                if let Some(value) = value.map_err(|e| self.failed(e.into_string()))? {
                    found(index, &value);
                }
            }
        }
        Ok(())
    }

    fn walk(
        &self,
        mut rows: DBRawIterator<'_>,
        from: &[u8],
        row: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ColdError> {
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !row(key, value) {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|e| self.failed(e.into_string()))
    }
}

fn until_only(until: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(until);
    options
}

impl ColdRead for RocksStore {
    fn place(&self) -> String {
        self.0.folder.path().display().to_string()
    }

    fn get(&self, keys: &EncodedRows, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), ColdError> {
        self.0.get(&ReadOptions::default(), keys, found)
    }

    fn scan(&self, from: &[u8], until: &[u8], row: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ColdError> {
        self.0.walk(self.0.db()?.raw_iterator_opt(until_only(until)), from, row)
    }
}

impl ColdStore for RocksStore {
    fn write(&self, batch: &ColdBatch) -> Result<(), ColdError> {
        let mut writes = WriteBatch::default();
        for write in batch.iter() {
            match write {
                ColdWrite::Put(key, value) => writes.put(key, value),
                ColdWrite::Delete(key) => writes.delete(key),
                ColdWrite::DeleteRange(from, until) => writes.delete_range(from, until),
            }
        }
        let written = self.0.db()?.write_without_wal(writes);
        written.map_err(|e| self.0.failed(e.into_string()))
    }

    fn snapshot(&self) -> Arc<dyn ColdRead> {
        Arc::new(RocksSnapshot::of(&self.0))
    }
}

/// A moment of a database, which stays open and keeps its folder as long as this lives.
struct RocksSnapshot {
    /// Goes before the database it belongs to: fields are dropped in this order.
    snapshot: Option<Snapshot<'static>>,
    database: Arc<Database>,
}

impl std::fmt::Debug for RocksSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RocksSnapshot").field(&self.database).finish()
    }
}

impl RocksSnapshot {
    fn of(database: &Arc<Database>) -> Self {
        let snapshot = database.db.as_ref().map(|db| {
            // SAFETY: the snapshot borrows the `DB` inside of the `Database` behind the `Arc`: it does not move, is taken out
            // only when the last `Arc` goes, and this value holds one and drops the snapshot before it.
            unsafe { std::mem::transmute::<Snapshot<'_>, Snapshot<'static>>(db.snapshot()) }
        });
        Self {
            snapshot,
            database: Arc::clone(database),
        }
    }

    fn snapshot(&self) -> Result<&Snapshot<'static>, ColdError> {
        let closed = || self.database.failed("it is closed".to_owned());
        self.snapshot.as_ref().ok_or_else(closed)
    }
}

impl ColdRead for RocksSnapshot {
    fn place(&self) -> String {
        self.database.folder.path().display().to_string()
    }

    fn get(&self, keys: &EncodedRows, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), ColdError> {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.snapshot()?);
        self.database.get(&options, keys, found)
    }

    fn scan(&self, from: &[u8], until: &[u8], row: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ColdError> {
        let mut options = until_only(until);
        // A checkpoint reads each row once: it must not push out what look-ups use.
        options.fill_cache(false);
        let rows = self.snapshot()?.raw_iterator_opt(options);
        self.database.walk(rows, from, row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    #[test]
    fn folders_go_with_their_store_and_those_of_the_dead_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let settings = RocksSettings {
            local_dir: dir.path().to_owned(),
            memory_bytes: Some(4 << 20),
            threads: 1,
        };
        let names = || {
            let mut names: Vec<String> = fs::read_dir(dir.path())
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        // What a killed process leaves: a folder, and a file that nobody holds.
        fs::create_dir(dir.path().join("flott-rocksdb-1-dead")).unwrap();
        fs::write(dir.path().join("flott-rocksdb-1-dead.lock"), "").unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        let first = RocksStore::open(&settings).unwrap();
        let second = RocksStore::open(&settings).unwrap();
        assert_eq!(
            names().len(),
            5,
            "two folders, two locks and what is not ours: {:?}",
            names()
        );
        let snapshot = first.snapshot();
        drop((first, second));
        assert_eq!(names().len(), 3, "a snapshot keeps its store: {:?}", names());
        drop(snapshot);
        assert_eq!(names(), ["other"]);
    }

    #[test]
    fn files_that_were_spoilt_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let settings = RocksSettings {
            local_dir: dir.path().to_owned(),
            memory_bytes: Some(4 << 20),
            threads: 1,
        };
        let store = RocksStore::open(&settings).unwrap();
        let mut batch = ColdBatch::default();
        // Several times what memory takes, and nothing that lz4 makes small.
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for row in 0..200_000u32 {
            batch.put(
                |out| out.extend_from_slice(&row.to_be_bytes()),
                |out| {
                    for _ in 0..8 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        out.extend_from_slice(&(random >> 8).to_le_bytes());
                    }
                },
            );
            if batch.len() == 1000 {
                store.write(&batch).unwrap();
                batch.clear();
            }
        }
        let mut rows = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            rows += 1;
            true
        };
        store.scan(&[0], &[255], &mut count).unwrap();
        assert_eq!(rows, 200_000);
        // So that no file goes or comes while they are spoilt.
        store.0.db().unwrap().compact_range(None::<&[u8]>, None::<&[u8]>);
        let files: Vec<PathBuf> = fs::read_dir(store.0.folder.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "sst"))
            .collect();
        assert!(!files.is_empty());
        // In place: the files are open.
        for file in files {
            let mut bytes = fs::read(&file).unwrap();
            let rows = bytes.len() * 9 / 10;
            bytes[..rows].iter_mut().step_by(1000).for_each(|b| *b ^= 0xff);
            let open = File::options().write(true).open(&file).unwrap();
            open.write_all_at(&bytes, 0).unwrap();
        }
        let error = store.scan(&[0], &[255], &mut |_, _| true).unwrap_err();
        assert!(error.problem.contains("Corruption"), "{error}");
        assert!(error.place.contains(NAME), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = RocksSettings {
            local_dir: file.path().join("below"),
            memory_bytes: None,
            threads: 1,
        };
        let error = RocksStore::open(&settings).unwrap_err().to_string();
        assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
    }
}
