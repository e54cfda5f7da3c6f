use super::*;
use crate::{KeyedTable, LoadedRun, RestoredState, RunMode, TableCapture, TableDescriptor, WindowTables};
use arrow_array::{ArrayRef, Int64Array, StringArray};
use flott_checkpoint::{RunKind, RunRef};
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType};
use std::collections::BTreeMap;
use std::sync::Arc;

fn descriptor(key: Vec<LogicalType>) -> Arc<TableDescriptor> {
    let descriptor = TableDescriptor::new("t", key)
        .column("count", ColumnType::I64)
        .nullable("sum", ColumnType::F64)
        .nullable("big", ColumnType::I128)
        .column("flag", ColumnType::Bool)
        .column("text", ColumnType::Bytes);
    Arc::new(descriptor)
}

/// Adds to the count of each key, and derives the other columns from key and count.
fn put(table: &mut KeyedTable, keys: &[Option<i64>], as_columns: fn(&[Option<i64>]) -> Vec<ArrayRef>) {
    let columns = as_columns(keys);
    let hashes = hash_columns(&columns, keys.len()).unwrap();
    let mut slots = vec![];
    table.slots(&columns, &hashes, &mut slots).unwrap();
    for (key, &slot) in keys.iter().zip(&slots) {
        let key = key.unwrap_or(-1);
        table.column_mut::<i64>(0).update(&[slot], |_, v| *v += 1);
        let count = table.column::<i64>(0).get(slot);
        table
            .column_mut::<f64>(1)
            .set_value(slot, (key % 3 != 0).then_some(key as f64 / 2.0));
        table
            .column_mut::<i128>(2)
            .set_value(slot, (key % 2 == 0).then_some(i128::from(key) << 70));
        table.column_mut::<bool>(3).set(slot, key % 5 == 0);
        let text = "y".repeat((count as usize * 7 + key.unsigned_abs() as usize) % 40);
        table
            .bytes_column_mut(4)
            .set(slot, (key % 4 != 0).then_some(text.as_bytes()));
    }
}

fn remove(table: &mut KeyedTable, keys: &[Option<i64>], as_columns: fn(&[Option<i64>]) -> Vec<ArrayRef>) {
    let columns = as_columns(keys);
    let hashes = hash_columns(&columns, keys.len()).unwrap();
    let mut slots = vec![];
    table.find(&columns, &hashes, &mut slots).unwrap();
    slots.retain(|s| *s != crate::NO_SLOT);
    table.remove(&slots);
}

fn numbers(keys: &[Option<i64>]) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(keys.to_vec()))]
}

fn texts(keys: &[Option<i64>]) -> Vec<ArrayRef> {
    let texts = keys
        .iter()
        .map(|k| k.map(|k| format!("{}{k}", "k".repeat(k as usize % 20))));
    vec![Arc::new(texts.collect::<StringArray>())]
}

fn pairs(keys: &[Option<i64>]) -> Vec<ArrayRef> {
    [numbers(keys), texts(keys)].concat()
}

type Row = (i64, Option<f64>, Option<i128>, bool, Option<Vec<u8>>);

/// All rows by the text of their key.
fn dump(table: &KeyedTable) -> BTreeMap<String, Row> {
    let slots: Vec<u32> = table.live_slots().collect();
    let keys = table.keys(&slots).unwrap();
    let row = |slot: u32| {
        (
            table.column::<i64>(0).get(slot),
            table.column::<f64>(1).value(slot),
            table.column::<i128>(2).value(slot),
            table.column::<bool>(3).get(slot),
            table.bytes_column(4).get(slot).map(<[u8]>::to_vec),
        )
    };
    let key = |i: usize| format!("{:?}", keys.iter().map(|k| k.slice(i, 1)).collect::<Vec<_>>());
    slots.iter().enumerate().map(|(i, s)| (key(i), row(*s))).collect()
}

fn load(runs: &[(RunRef, Vec<u8>)], descriptor: &Arc<TableDescriptor>) -> RestoredState {
    let runs = runs.iter().map(|(reference, bytes)| {
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
    RestoredState::new(runs.collect(), vec![], vec![])
}

fn encoded(capture: &TableCapture, mode: RunMode) -> Option<(RunRef, Vec<u8>)> {
    let run = capture.encode(mode)?;
    let mut reference = run.reference;
    reference.location = flott_checkpoint::Location::File {
        path: "f".to_owned(),
        offset: 0,
        length: run.bytes.len() as u64,
    };
    Some((reference, run.bytes))
}

/// Types of a key, and its columns for some numbers.
type Form = (fn() -> Vec<LogicalType>, fn(&[Option<i64>]) -> Vec<ArrayRef>);

const FORMS: [Form; 3] = [
    (|| vec![LogicalType::bigint()], numbers),
    (|| vec![LogicalType::string()], texts),
    (|| vec![LogicalType::bigint(), LogicalType::string()], pairs),
];

#[test]
fn a_run_restores_at_any_parallelism() {
    for (key, as_columns) in FORMS {
        let descriptor = descriptor(key());
        let mut table = KeyedTable::new(Arc::clone(&descriptor), 128, KeyGroupRange::all(128));
        let keys: Vec<Option<i64>> = (0..1000).map(Some).chain([None]).collect();
        put(&mut table, &keys, as_columns);
        remove(&mut table, &[Some(3), Some(500)], as_columns);
        let capture = table.capture(1);
        put(&mut table, &keys[..10], as_columns);
        let run = encoded(&capture, RunMode::Full).unwrap();
        assert_eq!((run.0.rows, run.0.kind), (999, RunKind::Base));
        for parallelism in [1, 3] {
            let mut all = BTreeMap::new();
            for subtask in 0..parallelism {
                let range = KeyGroupRange::of_subtask(128, parallelism, subtask);
                let mut part = KeyedTable::new(Arc::clone(&descriptor), 128, range);
                load(std::slice::from_ref(&run), &descriptor)
                    .load_table(&mut part)
                    .unwrap();
                assert!(part.len() < 999 || parallelism == 1);
                all.extend(dump(&part));
            }
            let mut expected = KeyedTable::new(Arc::clone(&descriptor), 128, KeyGroupRange::all(128));
            put(&mut expected, &keys, as_columns);
            remove(&mut expected, &[Some(3), Some(500)], as_columns);
            assert_eq!(all, dump(&expected));
        }
    }
}

/// Random changes with checkpoints of which some fail: what the chain of the newest one restores is the table at its capture.
#[test]
fn increments_hold_what_changed_since_the_newest_confirmed_checkpoint() {
    for (key, as_columns) in FORMS {
        let descriptor = descriptor(key());
        let mut table = KeyedTable::new(Arc::clone(&descriptor), 16, KeyGroupRange::all(16));
        table.changes.book.want_increments();
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut random = 99u64;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let mut deltas = 0;
        put(&mut table, &(0..400).map(Some).collect::<Vec<_>>(), as_columns);
        for checkpoint in 1..60u64 {
            for _ in 0..next() % 4 {
                let keys: Vec<Option<i64>> = (0..10)
                    .map(|_| Some((next() % 450) as i64).filter(|k| *k != 449))
                    .collect();
                if next() % 3 == 0 {
                    remove(&mut table, &keys, as_columns);
                } else {
                    put(&mut table, &keys, as_columns);
                }
            }
            if checkpoint == 40 {
                table.clear();
                put(&mut table, &[Some(1), None], as_columns);
            }
            let expected = dump(&table);
            let capture = table.capture(checkpoint);
            put(&mut table, &[Some(5)], as_columns);
            let mut chain: Vec<RunRef> = Vec::new();
            if let (Some(increment), true) = (&capture.increment, capture.is_delta_worth_it()) {
                chain.extend(increment.base.iter().cloned());
            }
            if let Some((mut reference, bytes)) = encoded(&capture, RunMode::Incremental) {
                deltas += usize::from(reference.kind == RunKind::Delta);
                let path = checkpoint.to_string();
                reference.location = flott_checkpoint::Location::File {
                    path: path.clone(),
                    offset: 0,
                    length: bytes.len() as u64,
                };
                files.insert(path, bytes);
                chain.push(reference);
            }
            let runs: Vec<_> = chain
                .iter()
                .map(|r| (r.clone(), files[r.location.path().unwrap()].clone()))
                .collect();
            let mut restored = KeyedTable::new(Arc::clone(&descriptor), 16, KeyGroupRange::all(16));
            load(&runs, &descriptor).load_table(&mut restored).unwrap();
            assert_eq!(
                dump(&restored),
                expected,
                "checkpoint {checkpoint} of {} runs",
                chain.len()
            );
            if next() % 4 != 0 {
                capture.book.record(checkpoint, Arc::new(chain));
                if next() % 4 != 0 {
                    capture.book.confirm(checkpoint);
                }
            }
        }
        assert!(deltas > 15, "{deltas} deltas");
    }
}

/// The key NULL goes twice because a checkpoint between was given up: it is told once, for in the file 0 stands for it.
#[test]
fn null_that_went_twice_takes_no_other_key_along() {
    for (key, as_columns) in FORMS {
        let descriptor = descriptor(key());
        let mut table = KeyedTable::new(Arc::clone(&descriptor), 16, KeyGroupRange::all(16));
        table.changes.book.want_increments();
        put(
            &mut table,
            &(0..400).map(Some).chain([None]).collect::<Vec<_>>(),
            as_columns,
        );
        let base = table.capture(1);
        let base_run = encoded(&base, RunMode::Incremental).unwrap();
        base.book.record(1, Arc::new(vec![base_run.0.clone()]));
        base.book.confirm(1);
        remove(&mut table, &[None], as_columns);
        table.capture(2);
        put(&mut table, &[None], as_columns);
        remove(&mut table, &[None], as_columns);
        let delta = encoded(&table.capture(3), RunMode::Incremental).unwrap();
        assert_eq!(delta.0.kind, RunKind::Delta);
        let mut restored = KeyedTable::new(Arc::clone(&descriptor), 16, KeyGroupRange::all(16));
        load(&[base_run, delta], &descriptor).load_table(&mut restored).unwrap();
        assert_eq!(dump(&restored), dump(&table));
    }
}

#[test]
fn a_closed_slice_is_not_in_the_next_capture() {
    let descriptor = descriptor(vec![LogicalType::bigint()]);
    let mut windows = WindowTables::new(Arc::clone(&descriptor), 128, KeyGroupRange::all(128));
    put(windows.table_mut(2000), &[Some(1), Some(2)], numbers);
    put(windows.table_mut(1000), &[Some(1)], numbers);
    assert_eq!(windows.first(), Some(1000));
    let runs: Vec<_> = windows
        .capture(1)
        .iter()
        .map(|c| encoded(c, RunMode::Full).unwrap())
        .collect();
    windows.remove(1000);
    assert_eq!(windows.capture(2).len(), 1);
    let mut restored = WindowTables::new(Arc::clone(&descriptor), 128, KeyGroupRange::all(128));
    let state = load(&runs, &descriptor);
    assert_eq!(state.unclaimed().len(), 1);
    state.load_windows(&mut restored).unwrap();
    assert!(state.unclaimed().is_empty());
    assert_eq!(restored.slices().collect::<Vec<_>>(), [1000, 2000]);
    assert_eq!(dump(restored.get(2000).unwrap()), dump(windows.get(2000).unwrap()));
}

#[test]
fn a_changed_shape_keeps_what_fits_and_refuses_what_does_not() {
    let old = descriptor(vec![LogicalType::bigint()]);
    let mut table = KeyedTable::new(Arc::clone(&old), 128, KeyGroupRange::all(128));
    put(&mut table, &[Some(2)], numbers);
    let run = encoded(&table.capture(1), RunMode::Full).unwrap();

    let wider = TableDescriptor::new("t", vec![LogicalType::bigint()])
        .column("new", ColumnType::I64)
        .column("count", ColumnType::I64);
    let mut table = KeyedTable::new(wider, 128, KeyGroupRange::all(128));
    load(std::slice::from_ref(&run), &old).load_table(&mut table).unwrap();
    assert_eq!((table.column::<i64>(0).get(0), table.column::<i64>(1).get(0)), (0, 1));

    let other = TableDescriptor::new("t", vec![LogicalType::bigint()]).column("count", ColumnType::F64);
    let mut table = KeyedTable::new(other, 128, KeyGroupRange::all(128));
    let error = load(&[run], &old).load_table(&mut table).unwrap_err();
    assert!(error.to_string().contains("'count' was i64, and is now f64"), "{error}");
}

#[test]
fn every_damaged_byte_is_noticed() {
    let descriptor = descriptor(vec![LogicalType::string()]);
    let mut table = KeyedTable::new(Arc::clone(&descriptor), 4, KeyGroupRange::all(4));
    put(&mut table, &[Some(1), Some(2), None], texts);
    let (reference, bytes) = encoded(&table.capture(1), RunMode::Full).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let mut table = KeyedTable::new(Arc::clone(&descriptor), 4, KeyGroupRange::all(4));
        let result = load(&[(reference.clone(), damaged)], &descriptor).load_table(&mut table);
        assert!(matches!(result, Err(crate::StateError::DamagedRun { .. })), "byte {at}");
    }
}

/// Distinct values of a key: the key is (key, value), placed by the key alone.
#[test]
fn a_set_moves_with_the_key_that_it_belongs_to() {
    let descriptor =
        Arc::new(TableDescriptor::new("set", vec![LogicalType::bigint(), LogicalType::string()]).placed_by(1));
    let mut table = KeyedTable::new(Arc::clone(&descriptor), 128, KeyGroupRange::all(128));
    let keys: Vec<Option<i64>> = (0..100).map(|i| Some(i % 10)).collect();
    let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|i| i.to_string())));
    let columns = vec![numbers(&keys).remove(0), values];
    let whole = hash_columns(&columns, 100).unwrap();
    let placement = hash_columns(&columns[..1], 100).unwrap();
    let mut slots = vec![];
    table
        .slots_with_placement(&columns, &whole, &placement, &mut slots)
        .unwrap();
    assert_eq!(table.len(), 100);
    let run = encoded(&table.capture(1), RunMode::Full).unwrap();
    let mut total = 0;
    for subtask in 0..4 {
        let range = KeyGroupRange::of_subtask(128, 4, subtask);
        let mut part = KeyedTable::new(Arc::clone(&descriptor), 128, range);
        load(std::slice::from_ref(&run), &descriptor)
            .load_table(&mut part)
            .unwrap();
        assert_eq!(part.len() % 10, 0, "whole sets only");
        total += part.len();
    }
    assert_eq!(total, 100);
}

#[test]
fn a_run_can_be_read_in_pieces() {
    let descriptor = descriptor(vec![LogicalType::string()]);
    let all = KeyGroupRange::all(128);
    let mut table = KeyedTable::new(Arc::clone(&descriptor), 128, all);
    put(&mut table, &(0..1000).map(Some).collect::<Vec<_>>(), texts);
    let (reference, bytes) = encoded(&table.capture(1), RunMode::Full).unwrap();
    let reader = RunReader::new(&reference, &descriptor, &bytes[..reference.header_bytes as usize]).unwrap();
    for most_bytes in [1, 3_000, u64::MAX] {
        let mut whole = BTreeMap::new();
        for subtask in 0..3 {
            let range = KeyGroupRange::of_subtask(128, 3, subtask);
            let pieces = reader.pieces_of(range, most_bytes);
            let wanted = reader.bytes_of(range).unwrap();
            assert_eq!(
                (pieces[0].start, pieces[pieces.len() - 1].end),
                (wanted.start, wanted.end)
            );
            assert!(pieces.windows(2).all(|p| p[0].end == p[1].start));
            assert_eq!(pieces.len() == 1, most_bytes == u64::MAX);
            let mut part = KeyedTable::new(Arc::clone(&descriptor), 128, range);
            for piece in pieces {
                let mut bytes = bytes[piece.start as usize..piece.end as usize].to_vec();
                reader.verify_piece(&bytes, piece.clone(), range).unwrap();
                reader.apply_piece(&bytes, piece.clone(), &mut part).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                assert!(reader.verify_piece(&bytes, piece, range).is_err());
            }
            whole.extend(dump(&part));
        }
        assert_eq!(whole, dump(&table));
    }
}
