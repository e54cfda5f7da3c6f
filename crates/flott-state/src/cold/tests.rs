//! What every store must do: the same rules for the one of tests and for RocksDB.

use super::*;

/// All kinds of reading and writing, in every order that matters.
fn check(store: &dyn ColdStore) {
    let key = |n: u8| move |out: &mut Vec<u8>| out.extend_from_slice(&[b'k', n]);
    let value = |n: u8| move |out: &mut Vec<u8>| out.extend_from_slice(&vec![n; usize::from(n)]);
    let mut batch = ColdBatch::default();
    (0..100).for_each(|n| batch.put(key(n), value(n)));
    store.write(&batch).unwrap();
    let before = store.snapshot();
    batch.clear();
    batch.delete(key(3));
    batch.put(key(4), value(9));
    batch.delete_range(b"k\x0a", b"k\x5a");
    batch.put(key(20), value(1));
    assert_eq!((batch.len(), batch.is_empty()), (4, false));
    store.write(&batch).unwrap();

    let wanted = |keys: &[u8]| {
        let mut rows = EncodedRows::default();
        keys.iter().for_each(|n| rows.push_with(key(*n)));
        rows
    };
    let get = |read: &dyn ColdRead, keys: &[u8]| {
        let mut found = vec![];
        read.get(&wanted(keys), &mut |index, value| {
            found.push((keys[index], value.len()))
        })
        .unwrap();
        found
    };
    let keys = [0, 3, 4, 10, 20, 89, 90, 99, 200];
    assert_eq!(get(store, &keys), [(0, 0), (4, 9), (20, 1), (90, 90), (99, 99)]);
    let of_snapshot: Vec<(u8, usize)> = keys[..8].iter().map(|n| (*n, usize::from(*n))).collect();
    assert_eq!(get(before.as_ref(), &keys), of_snapshot);

    let scan = |read: &dyn ColdRead, limit: usize| {
        let mut seen = vec![];
        read.scan(b"k\x02", b"k\x60", &mut |key, _| {
            seen.push(key[1]);
            seen.len() < limit
        })
        .unwrap();
        seen
    };
    let left: Vec<u8> = [2].into_iter().chain(4..10).chain([20]).chain(90..96).collect();
    assert_eq!(scan(store, 1000), left);
    assert_eq!(scan(store, 3), left[..3]);
    assert_eq!(scan(before.as_ref(), 1000), (2..96).collect::<Vec<u8>>());
    assert_eq!(get(store, &[]), []);
}

#[test]
fn the_store_of_tests_keeps_the_rules() {
    let store = MemoryStore::default();
    check(&store);
    assert!(!store.is_empty());
}

#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_keeps_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    for memory_bytes in [None, Some(4 << 20)] {
        let settings = RocksSettings {
            local_dir: dir.path().to_owned(),
            memory_bytes,
            threads: 2,
        };
        check(&RocksStore::open(&settings).unwrap());
    }
}

#[test]
fn rows_of_a_table_lie_in_the_order_of_their_groups() {
    let key = |table: u32, group: KeyGroup, number: i64| {
        let mut out = vec![];
        let id = TableId(table, RowOrder::KeyGroup);
        id.write_row_key(group, |out| row::write_number(number, out), &mut out);
        out
    };
    let keys = [key(1, 0, 5), key(1, 1, 2), key(1, 255, 0), key(1, 256, 0), key(2, 0, 0)];
    assert!(keys.is_sorted());
    let id = TableId(1, RowOrder::KeyGroup);
    let (from, until) = id.rows();
    assert_eq!(keys.iter().filter(|k| from <= **k && **k < until).count(), 4);
    let (markers, behind) = id.markers_since(7);
    let mut marker = vec![];
    id.write_marker_key(7, 300, |out| row::write_number(-1, out), &mut marker);
    assert!(until <= markers && markers <= marker && marker < behind && behind < keys[4]);
    let mut marked = vec![];
    id.write_marked(&marker, &mut marked);
    assert_eq!(marked, key(1, 300, -1));
    assert_eq!(id.group_and_key(&marked), &marker[MARKER_PREFIX_BYTES..]);
    let (group, key) = row::read_key(&marker[MARKER_PREFIX_BYTES..]).unwrap();
    assert_eq!((group, row::number_of(&(-1i64).to_be_bytes())), (300, Some(-1)));
    assert_eq!(key, row::KeyBytes::Some(&(-1i64).to_be_bytes()));
}

#[test]
fn rows_of_a_table_by_time_lie_in_the_order_of_their_times() {
    let id = TableId(1, RowOrder::Time);
    let encoded = |key: i64, time: i64| {
        let fields: Vec<arrow_array::ArrayRef> = [key, time]
            .map(|n| std::sync::Arc::new(arrow_array::Int64Array::from(vec![n])) as arrow_array::ArrayRef)
            .to_vec();
        flott_core::encoding::encode_rows(&fields, 1).unwrap().row(0).to_vec()
    };
    let key = |group: KeyGroup, key: i64, time: i64| {
        let mut out = vec![];
        id.write_row_key(group, |out| row::write_blob(&encoded(key, time), out), &mut out);
        out
    };
    let keys = [
        key(9, 5, i64::MIN),
        key(1, 5, -256),
        key(0, 5, -1),
        key(0, 1, 0),
        key(3, 0, 0),
        key(0, 0, 255),
        key(0, 0, 256),
        key(0, 0, i64::MAX),
    ];
    assert!(keys.is_sorted());
    assert_eq!(id.time_of(&keys[1]), Some(-256));
    assert_eq!(id.time_of(&keys[7]), Some(i64::MAX));
    let (from, until) = id.rows();
    assert!(from < keys[0] && keys[7] < until);
    let (group, stored) = row::read_key(id.group_and_key(&keys[1])).unwrap();
    assert_eq!((group, stored), (1, row::KeyBytes::Some(&encoded(5, -256))));
}
