use super::*;
use crate::run::{RunMode, RunReader};
use arrow_array::{Array, Float64Array, Int64Array, StringArray};
use flott_checkpoint::ColumnType;
use flott_core::hash::hash_columns;
use flott_core::{LogicalType, TypeKind};

fn table(key: Vec<LogicalType>) -> KeyedTable {
    let descriptor = TableDescriptor::new("t", key)
        .column("count", ColumnType::I64)
        .nullable("sum", ColumnType::F64)
        .column("text", ColumnType::Bytes);
    KeyedTable::new(descriptor, 128, KeyGroupRange::all(128))
}

fn slots(table: &mut KeyedTable, keys: &[ArrayRef]) -> Vec<u32> {
    let hashes = hash_columns(keys, keys[0].len()).unwrap();
    let mut out = vec![];
    table.slots(keys, &hashes, &mut out).unwrap();
    let mut found = vec![];
    table.find(keys, &hashes, &mut found).unwrap();
    assert_eq!(out, found);
    out
}

#[test]
fn equal_keys_share_a_slot_in_every_form() {
    let mut t = table(vec![LogicalType::bigint()]);
    let k: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(5), Some(0), None]));
    assert_eq!(slots(&mut t, &[k]), [0, 1, 0, 2, 1]);

    let mut t = table(vec![LogicalType::string()]);
    let k: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a"),
        None,
        Some("a much longer key"),
        Some(""),
        Some("a"),
        None,
    ]));
    assert_eq!(slots(&mut t, std::slice::from_ref(&k)), [0, 1, 2, 3, 0, 1]);
    assert_eq!(&t.keys(&[0, 1, 2, 3]).unwrap()[0], &k.slice(0, 4));

    let mut t = table(vec![LogicalType::bigint(), LogicalType::new(TypeKind::Double)]);
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(1), None, Some(1)]));
    let b: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.0, f64::NAN]));
    // Flink keeps both zeros apart as keys.
    assert_eq!(slots(&mut t, &[a.clone(), b]), [0, 1, 2, 3]);
    assert!(t.keys(&[2, 0]).unwrap()[0].is_null(0));
    assert!(matches!(
        t.slots(&[a], &[0; 4], &mut vec![]),
        Err(StateError::KeyType { .. })
    ));
}

#[test]
fn a_removed_slot_comes_back_empty() {
    let mut t = table(vec![LogicalType::bigint()]);
    let k: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let s = slots(&mut t, &[k]);
    t.column_mut::<i64>(0).add(&s, &[10, 20], None);
    t.column_mut::<f64>(1).add(&s, &[1.5, 2.5], None);
    t.bytes_column_mut(2).set(s[0], Some(b"text"));
    t.remove(&[s[0], s[0]]);
    assert_eq!(t.len(), 1);
    let k: ArrayRef = Arc::new(Int64Array::from(vec![3, 2]));
    assert_eq!(slots(&mut t, &[k]), s);
    assert_eq!((t.column::<i64>(0).get(s[0]), t.column::<i64>(0).get(s[1])), (0, 20));
    assert_eq!(t.column::<f64>(1).value(s[0]), None);
    assert_eq!(t.bytes_column(2).get(s[0]), None);
}

#[test]
fn scans_go_on_where_they_stopped() {
    let mut t = table(vec![LogicalType::bigint()]);
    let k: ArrayRef = Arc::new(Int64Array::from((0..100).collect::<Vec<_>>()));
    slots(&mut t, &[k]);
    t.remove(&[3]);
    let (mut seen, mut from) = (vec![], Some(0));
    while let Some(next) = from {
        from = t.scan(next, 7, &mut seen);
    }
    assert_eq!(seen, (0..100).filter(|s| *s != 3).collect::<Vec<u32>>());
}

/// Random insertions and removals of keys of all forms against a `HashMap`.
#[test]
fn behaves_as_a_map() {
    use std::collections::HashMap;
    for form in 0..3 {
        let key_type = match form {
            0 => vec![LogicalType::bigint()],
            1 => vec![LogicalType::string()],
            _ => vec![LogicalType::bigint(), LogicalType::bigint()],
        };
        let mut t = table(key_type);
        let mut model: HashMap<i64, i64> = HashMap::new();
        let mut random = 7u64;
        for _ in 0..200 {
            let mut keys = vec![];
            for _ in 0..50 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                keys.push((random >> 40) as i64 % 300);
            }
            let columns: Vec<ArrayRef> = match form {
                0 => vec![Arc::new(Int64Array::from(keys.clone()))],
                1 => vec![Arc::new(StringArray::from_iter_values(
                    keys.iter().map(|k| format!("{}{k}", "x".repeat(*k as usize % 20))),
                ))],
                _ => vec![
                    Arc::new(Int64Array::from(keys.clone())),
                    Arc::new(Int64Array::from(keys.clone())),
                ],
            };
            let s = slots(&mut t, &columns);
            t.column_mut::<i64>(0).add(&s, &keys, None);
            for k in &keys {
                *model.entry(*k).or_default() += k;
            }
            let gone: Vec<u32> = keys
                .iter()
                .zip(&s)
                .filter(|(k, _)| *k % 7 == 0)
                .map(|(_, s)| *s)
                .collect();
            t.remove(&gone);
            model.retain(|k, _| k % 7 != 0);
            assert_eq!(t.len(), model.len());
        }
        let live: Vec<u32> = t.live_slots().collect();
        let total: i64 = t.column::<i64>(0).gather(&live).0.iter().sum();
        assert_eq!(total, model.values().sum::<i64>());
    }
}

/// Values survive a capture that the table has changed since, a run, and a change of their type.
#[test]
fn values_are_kept_as_they_are_and_restored_into_a_later_type() {
    type Old = (String, i32);
    type New = (Option<String>, i64);
    let describe = |ty| TableDescriptor::new("state", vec![LogicalType::bigint()]).values("v", ty);
    let mut table = KeyedTable::new(describe(Old::state_type()), 128, KeyGroupRange::all(128));
    table.keep_values::<Old>(0);
    let keys: Vec<i64> = (0..1000).collect();
    let column: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
    let slots_of = |table: &mut KeyedTable| slots(table, std::slice::from_ref(&column));
    let slots = slots_of(&mut table);
    for (key, slot) in keys.iter().zip(&slots).skip(1) {
        table
            .values_mut::<Old>(0)
            .set(*slot, Some((format!("name {key}"), *key as i32)));
    }
    assert_eq!(table.blank_among(&slots), [slots[0]]);
    let capture = table.capture(1);
    table.values_mut::<Old>(0).set(slots[7], None);
    let run = capture.encode(RunMode::Full).unwrap();
    let descriptor = table.descriptor().clone();
    let reader = RunReader::new(
        &run.reference,
        &descriptor,
        &run.bytes[..run.reference.header_bytes as usize],
    )
    .unwrap();

    let mut later = KeyedTable::new(describe(New::state_type()), 128, KeyGroupRange::all(128));
    later.keep_values::<New>(0);
    reader.apply(&run.bytes, 0, &mut later).unwrap();
    let slots = slots_of(&mut later);
    assert_eq!(
        later.values::<New>(0).get(slots[7]),
        Some(&(Some("name 7".to_owned()), 7))
    );
    assert_eq!(later.values::<New>(0).get(slots[0]), None);

    let mut other = KeyedTable::new(describe(i64::state_type()), 128, KeyGroupRange::all(128));
    other.keep_values::<i64>(0);
    let error = reader.apply(&run.bytes, 0, &mut other).unwrap_err().to_string();
    assert!(
        error.contains("column 'v': it was ROW<") && error.contains("and is now BIGINT NOT NULL"),
        "{error}"
    );
}
