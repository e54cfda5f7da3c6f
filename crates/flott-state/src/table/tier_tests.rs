//! Tables that do not fit into memory, against a plain map.

use crate::cold::{ColdParts, MemoryStore, RowOrder, TableId};
use crate::run::EncodedRun;
use crate::table::{HotBudget, KeyedTable, TableCursor, Tier};
use crate::{ColumnType, LoadedRun, NO_SLOT, RestoredState, RunMode, StateValue, TableCapture, TableDescriptor};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use flott_checkpoint::{Location, RunKind, RunRef};
use flott_core::hash::hash_columns;
use flott_core::{CheckpointId, KeyGroupRange, LogicalType, TypeKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const GROUPS: usize = 16;
/// Rows that a table may hold in memory.
const HOT_ROWS: usize = 24;
/// Keys are numbers below this, or NULL: several times what memory holds.
const KEYS: u64 = 160;

type Key = Option<i64>;
/// Count, optional sum, optional text, list of values.
type Row = (i64, Option<f64>, Option<Vec<u8>>, Option<Vec<i64>>);
type Form = (
    fn() -> TableDescriptor,
    fn(&[Key]) -> Vec<ArrayRef>,
    fn(&[ArrayRef], usize) -> Key,
);

const FORMS: [Form; 4] = [
    (
        || TableDescriptor::new("t", vec![LogicalType::bigint()]),
        |keys| vec![Arc::new(Int64Array::from(keys.to_vec()))],
        number,
    ),
    (
        || TableDescriptor::new("t", vec![LogicalType::string()]),
        |keys| vec![texts(keys)],
        |columns, row| {
            let texts = columns[0].as_string::<i32>();
            let digits = |t: &str| t.trim_start_matches('k').parse().unwrap();
            texts.is_valid(row).then(|| digits(texts.value(row)))
        },
    ),
    // As a set of distinct values: placed by a part of the key.
    (
        || TableDescriptor::new("t", vec![LogicalType::bigint(), LogicalType::string()]).placed_by(1),
        |keys| vec![Arc::new(Int64Array::from(keys.to_vec())), texts(keys)],
        number,
    ),
    // As a queue of timers: a few keys have one time.
    (
        || TableDescriptor::new("t", vec![LogicalType::bigint(), time()]).placed_by(1),
        |keys| {
            let times = keys.iter().map(|k| k.unwrap_or_default() * 37 % 50 - 25);
            vec![
                Arc::new(Int64Array::from(keys.to_vec())),
                Arc::new(times.collect::<Int64Array>()),
            ]
        },
        number,
    ),
];

/// Of the key of a table by time; no other is never NULL here.
fn time() -> LogicalType {
    LogicalType::not_null(TypeKind::BigInt)
}

fn number(columns: &[ArrayRef], row: usize) -> Key {
    let numbers = columns[0].as_primitive::<Int64Type>();
    numbers.is_valid(row).then(|| numbers.value(row))
}

fn texts(keys: &[Key]) -> ArrayRef {
    let text = |k: i64| format!("{}{k}", "k".repeat(k as usize % 20));
    Arc::new(keys.iter().map(|k| k.map(text)).collect::<StringArray>())
}

/// Numbers that look random and come again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn keys(&mut self, most: u64) -> Vec<Key> {
        let count = self.roll(most) + 1;
        let key = |n: u64| n.checked_sub(1).map(|n| n as i64);
        (0..count).map(|_| key(self.roll(KEYS))).collect()
    }
}

struct Subject {
    form: Form,
    descriptor: Arc<TableDescriptor>,
    table: KeyedTable,
    model: BTreeMap<Key, Row>,
}

fn new_table(descriptor: &Arc<TableDescriptor>, range: KeyGroupRange, store: Option<&Arc<MemoryStore>>) -> KeyedTable {
    let mut table = KeyedTable::new(Arc::clone(descriptor), GROUPS, range);
    if let Some(store) = store {
        let budget = HotBudget::new(usize::MAX, Some(HOT_ROWS));
        let order = match descriptor.key.last() {
            Some(last) if *last == time() => RowOrder::Time,
            _ => RowOrder::KeyGroup,
        };
        table = table.with_tier(Tier::new(Arc::<MemoryStore>::clone(store), TableId(7, order), budget));
    }
    table.keep_values::<Vec<i64>>(3);
    table
}

impl Subject {
    fn new(form: Form) -> Self {
        let descriptor = (form.0)()
            .column("count", ColumnType::I64)
            .nullable("sum", ColumnType::F64)
            .column("text", ColumnType::Bytes)
            .values("list", Vec::<i64>::state_type());
        let descriptor = Arc::new(descriptor);
        Self {
            form,
            table: new_table(&descriptor, KeyGroupRange::all(GROUPS), Some(&Arc::default())),
            descriptor,
            model: BTreeMap::new(),
        }
    }

    fn columns(&self, keys: &[Key]) -> (Vec<ArrayRef>, Vec<u64>, Vec<u64>) {
        let columns = (self.form.1)(keys);
        let placed_by = self.descriptor.placement_fields;
        let hashes = hash_columns(&columns, keys.len()).unwrap();
        let placement = hash_columns(&columns[..placed_by], keys.len()).unwrap();
        (columns, hashes, placement)
    }

    /// Adds to the rows of keys, made where they are missing, as an operator does with a batch.
    fn add(&mut self, keys: &[Key]) {
        let (columns, hashes, placement) = self.columns(keys);
        let before = self.table.len();
        let mut slots = vec![];
        self.table
            .slots_with_placement(&columns, &hashes, &placement, &mut slots)
            .unwrap();
        for (key, slot) in keys.iter().zip(&slots) {
            let is_new = !self.model.contains_key(key);
            assert_eq!(self.table.is_new(*slot, before), is_new, "{key:?}");
        }
        for (key, &slot) in keys.iter().zip(&slots) {
            let row = self.model.entry(*key).or_default();
            assert_eq!(read(&self.table, slot), *row, "{key:?}");
            row.0 += 1;
            row.1 = (row.0 % 3 != 0).then_some(row.0 as f64 / 2.0);
            row.2 = (row.0 % 4 != 0).then(|| vec![b'x'; row.0 as usize % 30]);
            row.3.get_or_insert_default().push(row.0);
            self.table.column_mut::<i64>(0).set(slot, row.0);
            self.table.column_mut::<f64>(1).set_value(slot, row.1);
            self.table.bytes_column_mut(2).set(slot, row.2.as_deref());
            self.table.values_mut::<Vec<i64>>(3).set(slot, row.3.clone());
        }
    }

    fn find(&mut self, keys: &[Key]) -> Vec<u32> {
        let (columns, hashes, _) = self.columns(keys);
        let mut slots = vec![];
        self.table.find(&columns, &hashes, &mut slots).unwrap();
        for (key, &slot) in keys.iter().zip(&slots) {
            let held = (slot != NO_SLOT).then(|| read(&self.table, slot));
            assert_eq!(held.as_ref(), self.model.get(key), "{key:?}");
        }
        slots
    }

    fn remove(&mut self, keys: &[Key]) {
        let mut slots = self.find(keys);
        slots.retain(|s| *s != NO_SLOT);
        self.table.remove(&slots);
        keys.iter().for_each(|key| drop(self.model.remove(key)));
    }

    /// Looks at all rows in pages; keys for which `goes` is true are removed on the way, as by a sweep.
    fn walk(&mut self, goes: impl Fn(i64) -> bool) {
        let (mut cursor, mut seen) = (TableCursor::default(), BTreeSet::new());
        loop {
            let mut slots = vec![];
            let more = self.table.next_page(&mut cursor, 10, &mut slots).unwrap();
            let keys = self.table.keys(&slots).unwrap();
            let mut gone = vec![];
            for (row, &slot) in slots.iter().enumerate() {
                let key = (self.form.2)(&keys, row);
                assert!(seen.insert(key), "{key:?} came twice");
                assert_eq!(Some(&read(&self.table, slot)), self.model.get(&key), "{key:?}");
                if goes(key.unwrap_or_default()) {
                    gone.push(slot);
                }
            }
            self.table.remove(&gone);
            self.table.relieve().unwrap();
            if !more {
                break;
            }
        }
        assert_eq!(seen.len(), self.model.len());
        self.model.retain(|key, _| !goes(key.unwrap_or_default()));
    }
}

fn read(table: &KeyedTable, slot: u32) -> Row {
    (
        table.column::<i64>(0).get(slot),
        table.column::<f64>(1).value(slot),
        table.bytes_column(2).get(slot).map(<[u8]>::to_vec),
        table.values::<Vec<i64>>(3).get(slot).cloned(),
    )
}

type Runs = Vec<(RunRef, Vec<u8>)>;

/// The runs that a checkpoint writes, in parts of a few rows.
fn runs_of(capture: &TableCapture, mode: RunMode, part_bytes: usize) -> Runs {
    let is_delta = mode == RunMode::Incremental && capture.is_delta_worth_it();
    let mut runs = vec![];
    if let Some(parts) = ColdParts::of(capture, is_delta).unwrap() {
        let mut parts = parts.of_bytes(part_bytes);
        while let Some(run) = parts.next().unwrap() {
            runs.push(run);
        }
        assert!(parts.is_done());
    }
    runs.extend(capture.encode(mode));
    let located = |run: EncodedRun| {
        let mut reference = run.reference;
        reference.location = Location::File {
            path: "f".to_owned(),
            offset: 0,
            length: run.bytes.len() as u64,
        };
        (reference, run.bytes)
    };
    runs.into_iter().map(located).collect()
}

fn restore(descriptor: &Arc<TableDescriptor>, runs: &Runs, into: &mut KeyedTable) {
    restore_as(descriptor, runs, into, None);
}

/// Fills a table from runs, which are those of a checkpoint that the next one may continue.
fn restore_as(descriptor: &Arc<TableDescriptor>, runs: &Runs, into: &mut KeyedTable, continued: Option<CheckpointId>) {
    let loaded = runs.iter().map(|(reference, bytes)| {
        let header = reference.header_bytes as usize;
        LoadedRun {
            descriptor: Arc::clone(descriptor),
            reference: reference.clone(),
            header: bytes[..header].to_vec().into(),
            blocks: bytes[header..].to_vec().into(),
            blocks_from: header as u64,
            later: None,
        }
    });
    let mut state = RestoredState::new(loaded.collect(), vec![], vec![]);
    continued
        .into_iter()
        .for_each(|checkpoint| state.continue_from(checkpoint));
    state.load_table(into).unwrap();
}

/// All rows of a table, wherever they are.
fn dump(form: Form, table: &mut KeyedTable) -> BTreeMap<Key, Row> {
    let (mut cursor, mut rows) = (TableCursor::default(), BTreeMap::new());
    loop {
        let mut slots = vec![];
        let more = table.next_page(&mut cursor, 7, &mut slots).unwrap();
        let keys = table.keys(&slots).unwrap();
        for (row, &slot) in slots.iter().enumerate() {
            let key = (form.2)(&keys, row);
            assert!(rows.insert(key, read(table, slot)).is_none());
        }
        table.relieve().unwrap();
        if !more {
            assert_eq!(table.len(), rows.len());
            return rows;
        }
    }
}

/// Restores runs in memory, in tiers, and by two subtasks of each.
fn check_restores(subject: &Subject, runs: &Runs, expected: &BTreeMap<Key, Row>) {
    for is_tiered in [false, true] {
        for parallelism in [1, 2] {
            let mut all = BTreeMap::new();
            for subtask in 0..parallelism {
                let range = KeyGroupRange::of_subtask(GROUPS, parallelism, subtask);
                let store = Arc::default();
                let mut table = new_table(&subject.descriptor, range, is_tiered.then_some(&store));
                restore(&subject.descriptor, runs, &mut table);
                assert!(!is_tiered || table.len_in_memory() <= HOT_ROWS);
                all.extend(dump(subject.form, &mut table));
            }
            assert_eq!(&all, expected, "tiered: {is_tiered}, parallelism {parallelism}");
        }
    }
}

#[test]
fn a_table_that_overflows_is_a_map() {
    for form in FORMS {
        for seed in 1..=12 {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
            let mut subject = Subject::new(form);
            for step in 0..250 {
                match dice.roll(12) {
                    0..=5 => subject.add(&dice.keys(40)),
                    6..=7 => drop(subject.find(&dice.keys(40))),
                    8..=9 => subject.remove(&dice.keys(12)),
                    10 if step % 5 == 0 => subject.walk(|key| key % 7 == step % 7),
                    10 => subject.walk(|_| false),
                    _ if dice.roll(20) == 0 => {
                        subject.table.clear();
                        subject.model.clear();
                    }
                    _ => {}
                }
                if dice.roll(3) > 0 {
                    subject.table.relieve().unwrap();
                    assert!(subject.table.len_in_memory() <= HOT_ROWS);
                }
                assert_eq!(subject.table.len(), subject.model.len());
                assert_eq!(subject.table.is_empty(), subject.model.is_empty());
            }
            let model = subject.model.clone();
            assert_eq!(dump(form, &mut subject.table), model, "seed {seed}");
        }
    }
}

#[test]
fn captures_of_a_table_that_overflows_restore_anywhere() {
    for form in FORMS {
        let (mut deltas, mut parts, mut continued) = (0, 0, 0);
        for seed in 1..=8 {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
            let mut subject = Subject::new(form);
            let mut is_restarted = false;
            for checkpoint in 1..=20 {
                for _ in 0..=dice.roll(4) {
                    match dice.roll(8) {
                        0..=4 => subject.add(&dice.keys(20)),
                        5..=6 => subject.remove(&dice.keys(6)),
                        _ => subject.walk(|key| key % 11 == checkpoint % 11),
                    }
                    subject.table.relieve().unwrap();
                }
                let capture = subject.table.capture(checkpoint as u64);
                let expected = subject.model.clone();
                // What comes behind a capture does not show in it, though it is encoded later.
                subject.add(&dice.keys(30));
                subject.remove(&dice.keys(10));
                subject.table.relieve().unwrap();
                assert_eq!(capture.len(), expected.len());

                let part_bytes = 1 + dice.roll(4000) as usize;
                let savepoint = runs_of(&capture, RunMode::Full, part_bytes);
                assert!(savepoint.iter().all(|(r, _)| r.kind == RunKind::Base));
                check_restores(&subject, &savepoint, &expected);
                parts = parts.max(savepoint.len());

                capture.book.want_increments();
                let mut chain: Runs = match &capture.increment {
                    Some(increment) if capture.is_delta_worth_it() => {
                        deltas += 1;
                        continued += usize::from(is_restarted);
                        let runs = increment
                            .base
                            .iter()
                            .map(|r| (r.clone(), BYTES.with(|b| b.borrow()[&key_of(r)].clone())));
                        runs.collect()
                    }
                    _ => vec![],
                };
                chain.extend(runs_of(&capture, RunMode::Incremental, part_bytes));
                number_runs(&mut chain);
                check_restores(&subject, &chain, &expected);
                if dice.roll(4) > 0 && capture.is_tracked {
                    let references = chain.iter().map(|(reference, _)| reference.clone());
                    capture.book.record(checkpoint as u64, Arc::new(references.collect()));
                    if dice.roll(4) > 0 {
                        capture.book.confirm(checkpoint as u64);
                    }
                }
                // Another process goes on from here; what came behind the capture never was.
                is_restarted = dice.roll(4) == 0;
                if is_restarted {
                    subject.table = new_table(
                        &subject.descriptor,
                        subject.table.key_group_range(),
                        Some(&Arc::default()),
                    );
                    restore_as(&subject.descriptor, &chain, &mut subject.table, Some(checkpoint as u64));
                    subject.model = expected;
                }
            }
        }
        assert!(
            deltas > 20 && parts > 5 && continued > 5,
            "{deltas} deltas, {parts} parts, {continued} behind a restart"
        );
    }
}

thread_local! {
    /// Bytes of runs by the name of their file.
    static BYTES: std::cell::RefCell<BTreeMap<String, Vec<u8>>> = const { std::cell::RefCell::new(BTreeMap::new()) };
}

fn key_of(run: &RunRef) -> String {
    run.location.path().unwrap_or_default().to_owned()
}

/// Gives new runs files of their own, and keeps their bytes.
fn number_runs(runs: &mut Runs) {
    BYTES.with(|files| {
        let mut files = files.borrow_mut();
        for (reference, bytes) in runs {
            let Location::File { path, .. } = &mut reference.location else {
                continue;
            };
            if path == "f" {
                *path = format!("run-{}", files.len());
                files.insert(path.clone(), bytes.clone());
            }
        }
    });
}

#[test]
fn a_store_that_fails_is_told_and_fails_the_checkpoint() {
    #[derive(Debug, Default)]
    struct Full(MemoryStore);
    impl crate::cold::ColdRead for Full {
        fn place(&self) -> String {
            self.0.place()
        }
        fn get(
            &self,
            keys: &flott_core::encoding::EncodedRows,
            found: &mut dyn FnMut(usize, &[u8]),
        ) -> Result<(), crate::cold::ColdError> {
            self.0.get(keys, found)
        }
        fn scan(
            &self,
            from: &[u8],
            until: &[u8],
            row: &mut dyn FnMut(&[u8], &[u8]) -> bool,
        ) -> Result<(), crate::cold::ColdError> {
            self.0.scan(from, until, row)
        }
    }
    impl crate::cold::ColdStore for Full {
        fn write(&self, _batch: &crate::cold::ColdBatch) -> Result<(), crate::cold::ColdError> {
            Err(crate::cold::ColdError {
                place: "/disk".to_owned(),
                problem: "no space left".to_owned(),
            })
        }
        fn snapshot(&self) -> Arc<dyn crate::cold::ColdRead> {
            crate::cold::ColdStore::snapshot(&self.0)
        }
    }
    let mut subject = Subject::new(FORMS[0]);
    let budget = HotBudget::new(usize::MAX, Some(HOT_ROWS));
    let tier = Tier::new(Arc::<Full>::default(), TableId(1, RowOrder::KeyGroup), budget);
    subject.table = new_table(&subject.descriptor, KeyGroupRange::all(GROUPS), None);
    subject.table = subject.table.with_tier(tier);
    let keys: Vec<Key> = (1..100).map(Some).collect();
    subject.add(&keys);
    let error = subject.table.relieve().unwrap_err().to_string();
    assert!(
        error.contains("'t'") && error.contains("no space left, in /disk"),
        "{error}"
    );
    assert_eq!(subject.table.len(), 99, "nothing has gone");
    assert!(ColdParts::of(&subject.table.capture(1), false).is_err());
    let (columns, hashes, _) = subject.columns(&keys);
    assert!(subject.table.slots(&columns, &hashes, &mut vec![]).is_err());
}

#[test]
fn a_row_that_comes_and_goes_is_one_change() {
    let mut subject = Subject::new(FORMS[0]);
    let keys: Vec<Key> = (0..40).map(Some).collect();
    subject.add(&keys);
    subject.table.changes.book.want_increments();
    for checkpoint in 1..4 {
        let capture = subject.table.capture(checkpoint);
        let markers = capture.cold.unwrap().unwrap().markers;
        assert_eq!(
            markers,
            if checkpoint == 1 { 0 } else { 2 },
            "at checkpoint {checkpoint}"
        );
        subject.table.changes.book.record(checkpoint, Arc::default());
        subject.table.changes.book.confirm(checkpoint);
        for _ in 0..10 {
            subject.add(&[Some(7), Some(9)]);
            let held = subject.table.len_in_memory();
            subject.table.send_some_away(held).unwrap();
        }
    }
}

#[test]
fn slots_that_are_held_stay() {
    let mut subject = Subject::new(FORMS[0]);
    subject.add(&(0..90).map(Some).collect::<Vec<Key>>());
    let held = subject.find(&(0..60).map(Some).collect::<Vec<Key>>());
    subject
        .table
        .relieve_but(held.len(), |slot| held.contains(&slot))
        .unwrap();
    assert_eq!(subject.table.len_in_memory(), 60, "all others are on disk");
    for (key, &slot) in (0..).zip(&held) {
        assert_eq!(read(&subject.table, slot), subject.model[&Some(key)]);
        subject.table.column_mut::<i64>(0).set(slot, 1000 + key);
        subject.model.get_mut(&Some(key)).unwrap().0 = 1000 + key;
    }
    subject.table.mark_changed(&held);
    let (few, others) = held.split_at(10);
    subject
        .table
        .relieve_but(few.len(), |slot| few.contains(&slot))
        .unwrap();
    assert!(subject.table.len_in_memory() <= HOT_ROWS);
    assert!(
        few.iter().all(|slot| read(&subject.table, *slot).0 >= 1000),
        "of {} others",
        others.len()
    );
    subject.find(&(0..90).map(Some).collect::<Vec<Key>>());
    // Looking for the last few among many that are held is not worth it.
    let all: Vec<u32> = subject.table.live_slots().collect();
    subject.table.relieve_but(all.len() - 1, |slot| slot != all[0]).unwrap();
    assert_eq!(subject.table.len_in_memory(), 90);
}

#[test]
fn what_comes_and_goes_is_told() {
    const TIME: usize = 4;
    let mut descriptor = TableDescriptor::new("t", vec![LogicalType::bigint()]);
    for (name, ty) in [
        ("count", ColumnType::I64),
        ("sum", ColumnType::F64),
        ("text", ColumnType::Bytes),
    ] {
        descriptor = descriptor.column(name, ty);
    }
    descriptor = descriptor
        .values("list", Vec::<i64>::state_type())
        .column("time", ColumnType::I64);
    let mut table = new_table(&Arc::new(descriptor), KeyGroupRange::all(GROUPS), Some(&Arc::default()));
    let look_up = |table: &mut KeyedTable, range: std::ops::Range<i64>| {
        let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(range.clone()))];
        let mut slots = vec![];
        let hashes = hash_columns(&keys, keys[0].len()).unwrap();
        table.slots(&keys, &hashes, &mut slots).unwrap();
        for (slot, key) in slots.iter().zip(range) {
            table.column_mut::<i64>(TIME).set(*slot, key % 10);
        }
        slots
    };
    let first = look_up(&mut table, 0..10);
    table.track_moves();
    assert_eq!(table.take_moves().came, first, "what is there has come");
    look_up(&mut table, 10..200);
    let moves = table.take_moves();
    assert!(
        moves.came.is_empty() && moves.left.is_empty(),
        "what is new has not come from anywhere"
    );
    table.relieve().unwrap();
    let left = table.take_moves().left;
    assert_eq!(left.len(), 200 - table.len_in_memory());
    assert!(left.len() > 100);
    let again = BTreeSet::from_iter(look_up(&mut table, 0..200));
    let came = BTreeSet::from_iter(table.take_moves().came);
    assert_eq!(came.len(), left.len());
    assert!(came.is_subset(&again));

    // A look for old rows brings these only.
    table.relieve().unwrap();
    let (mut cursor, mut old, in_memory) = (TableCursor::default(), BTreeSet::<i64>::new(), table.len_in_memory());
    loop {
        let mut slots = vec![];
        let is_more = table.next_page_until(&mut cursor, 7, 2, &mut slots).unwrap();
        let keys = table.keys(&slots).unwrap();
        old.extend(
            keys[0]
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .filter(|k| *k % 10 <= 2),
        );
        if !is_more {
            break;
        }
    }
    assert_eq!(old.len(), 60);
    assert!(table.len_in_memory() <= in_memory + 60);
}

#[test]
fn keys_are_removed_by_their_first_fields() {
    let key = vec![LogicalType::string(), LogicalType::bigint()];
    let mut descriptor = TableDescriptor::new("t", key).placed_by(1);
    for (name, ty) in [
        ("count", ColumnType::I64),
        ("sum", ColumnType::F64),
        ("text", ColumnType::Bytes),
    ] {
        descriptor = descriptor.column(name, ty);
    }
    let descriptor = Arc::new(descriptor.values("list", Vec::<i64>::state_type()));
    let mut table = new_table(&descriptor, KeyGroupRange::all(GROUPS), Some(&Arc::default()));
    // One name begins with another; NULL is one, too.
    let names = [None, Some(""), Some("a"), Some("ab"), Some("b")];
    let name = |n: i64| names[n as usize % names.len()];
    for from in (0..300).step_by(20) {
        let texts: ArrayRef = Arc::new((from..from + 20).map(name).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 20));
        let placement = hash_columns(std::slice::from_ref(&texts), 20).unwrap();
        let keys = [texts, numbers];
        let hashes = hash_columns(&keys, 20).unwrap();
        table
            .slots_with_placement(&keys, &hashes, &placement, &mut vec![])
            .unwrap();
        table.relieve().unwrap();
    }
    assert_eq!(table.len(), 300);
    let mut remove = |gone: &[Option<&str>]| {
        let prefixes: [ArrayRef; 1] = [Arc::new(StringArray::from(gone.to_vec()))];
        let hashes = hash_columns(&prefixes, gone.len()).unwrap();
        table.remove_beginning_with(&prefixes, &hashes).unwrap();
        let (mut cursor, mut left) = (TableCursor::default(), vec![]);
        loop {
            let mut slots = vec![];
            let more = table.next_page(&mut cursor, 50, &mut slots).unwrap();
            let keys = table.keys(&slots).unwrap();
            let texts = keys[0].as_string::<i32>();
            left.extend((0..slots.len()).map(|row| texts.is_valid(row).then(|| texts.value(row).to_owned())));
            table.relieve().unwrap();
            if !more {
                break;
            }
        }
        assert_eq!(left.len(), table.len());
        (left.len(), BTreeSet::from_iter(left))
    };
    let texts = |of: &[Option<&str>]| of.iter().map(|t| t.map(str::to_owned)).collect::<BTreeSet<_>>();
    assert_eq!(
        remove(&[Some("a")]),
        (240, texts(&[None, Some(""), Some("ab"), Some("b")]))
    );
    assert_eq!(
        remove(&[Some("b"), None, Some("c")]),
        (120, texts(&[Some(""), Some("ab")]))
    );
    assert_eq!(remove(&[Some("ab"), Some("")]), (0, texts(&[])));
}

#[test]
fn what_is_newer_than_the_store_reaches_it_and_no_increment() {
    let mut subject = Subject::new(FORMS[0]);
    subject.add(&[Some(1), Some(2)]);
    subject.table.changes.book.want_increments();
    subject.table.send_some_away(2).unwrap();
    drop(subject.table.capture(1));
    subject.table.changes.book.record(1, Arc::default());
    subject.table.changes.book.confirm(1);
    let slots = subject.find(&[Some(1)]);
    subject.table.column_mut::<i64>(0).set(slots[0], 77);
    subject.table.mark_newer_than_store(&slots);
    subject.table.send_some_away(1).unwrap();
    let capture = subject.table.capture(2);
    assert_eq!(capture.cold.unwrap().unwrap().markers, 0);
    subject.model.get_mut(&Some(1)).unwrap().0 = 77;
    subject.find(&[Some(1), Some(2)]);
}
