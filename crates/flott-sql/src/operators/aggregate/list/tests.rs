use super::*;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType};
use flott_state::KeyedTable;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn table() -> KeyedTable {
    let descriptor = TableDescriptor::new("t", vec![LogicalType::bigint()]).nullable("list", ColumnType::Bytes);
    let mut table = KeyedTable::new(descriptor, 1, KeyGroupRange::all(1));
    let keys: [arrow_array::ArrayRef; 1] = [Arc::new(arrow_array::Int64Array::from(vec![1]))];
    table
        .slots(&keys, &hash_columns(&keys, 1).unwrap(), &mut vec![])
        .unwrap();
    table
}

#[test]
fn items_of_every_length_come_and_go() {
    let mut table = table();
    let list = table.bytes_column_mut(0);
    let values = [
        vec![],
        vec![1; 5],
        vec![2; 127],
        vec![3; 128],
        vec![4; 20_000],
        vec![1; 5],
    ];
    for value in &values {
        push(list, 0, value, &mut vec![]);
    }
    assert!(items(list.get(0)).eq(values.iter().map(Vec::as_slice)));
    assert!(remove(list, 0, &[1; 5]) && !remove(list, 0, &[1; 6]));
    let left = [&values[0], &values[2], &values[3], &values[4], &values[5]];
    assert!(items(list.get(0)).eq(left.into_iter().map(Vec::as_slice)));
    for value in left {
        assert!(remove(list, 0, value));
    }
    assert_eq!(list.get(0), None, "an empty list is NULL");
}

#[test]
fn bags_count_and_objects_have_a_key_once() {
    let mut table = table();
    let bag = table.bytes_column_mut(0);
    let mut scratch = vec![];
    for item in [&b"a"[..], b"bb", b"a", b"a"] {
        count(bag, 0, item, 1, &mut scratch);
    }
    count(bag, 0, b"a", -1, &mut scratch);
    count(bag, 0, b"bb", -1, &mut scratch);
    count(bag, 0, b"never", -1, &mut scratch);
    let held: Vec<(&[u8], u32)> = Entries::of(bag.get(0), Shape::Bag).map(|e| (e.item, e.times)).collect();
    assert_eq!(held, [(&b"a"[..], 2)]);
    let object = bag;
    object.set(0, None);
    assert!(put(object, 0, b"k", b"1", &mut scratch) && put(object, 0, b"l", b"k", &mut scratch));
    assert!(!put(object, 0, b"k", b"2", &mut scratch), "the key is there");
    take(object, 0, b"k");
    assert!(put(object, 0, b"k", b"3", &mut scratch));
    let pairs: Vec<(&[u8], &[u8])> = Entries::of(object.get(0), Shape::Object)
        .map(|e| (e.item, e.value))
        .collect();
    assert_eq!(pairs, [(&b"l"[..], &b"k"[..]), (b"k", b"3")]);
}

/// Numbers that look random.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 7u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    })
}

#[test]
fn long_lists_hold_what_short_ones_would() {
    for kinds in [3, 400] {
        let mut table = table();
        let list = table.bytes_column_mut(0);
        let (mut expected, mut scratch): (Vec<Vec<u8>>, _) = (vec![], vec![]);
        let mut numbers = numbers();
        for step in 0..6_000 {
            let number = numbers.next().unwrap();
            let item = vec![b'x'; (number % kinds) as usize];
            // It grows, then shrinks to nothing.
            if number >> 20 & 7 < if step < 3_000 { 5 } else { 2 } {
                push(list, 0, &item, &mut scratch);
                expected.push(item);
            } else {
                let place = expected.iter().position(|held| *held == item);
                place.map(|place| expected.remove(place));
                assert_eq!(remove(list, 0, &item), place.is_some());
            }
            if step % 50 == 0 {
                assert!(items(list.get(0)).eq(expected.iter().map(Vec::as_slice)), "step {step}");
            }
        }
        for item in std::mem::take(&mut expected) {
            assert!(remove(list, 0, &item));
        }
        assert_eq!(list.get(0), None);
    }
}

#[test]
fn long_bags_and_objects_hold_what_short_ones_would() {
    let mut tables = (table(), table());
    let (bag, object) = (tables.0.bytes_column_mut(0), tables.1.bytes_column_mut(0));
    let mut expected: HashMap<Vec<u8>, u32> = HashMap::new();
    let (mut order, mut scratch): (Vec<Vec<u8>>, _) = (vec![], vec![]);
    for number in numbers().take(20_000) {
        let item = (number % 700).to_string().into_bytes();
        if number >> 20 & 3 < 2 {
            let times = expected.entry(item.clone()).or_insert(0);
            *times += 1;
            if *times == 1 {
                order.push(item.clone());
            }
            count(bag, 0, &item, 1, &mut scratch);
            assert_eq!(put(object, 0, &item, b"1", &mut scratch), *times == 1);
        } else {
            count(bag, 0, &item, -1, &mut scratch);
            let times = expected.entry(item.clone()).or_insert(0);
            *times = times.saturating_sub(1);
            if *times == 0 {
                order.retain(|held| *held != item);
                take(object, 0, &item);
            }
        }
    }
    let held: Vec<(&[u8], u32)> = Entries::of(bag.get(0), Shape::Bag).map(|e| (e.item, e.times)).collect();
    let wanted: Vec<(&[u8], u32)> = order.iter().map(|item| (item.as_slice(), expected[item])).collect();
    assert!(wanted.len() > 100 && first_is_indexed(bag));
    assert_eq!(held, wanted);
    let keys: Vec<&[u8]> = Entries::of(object.get(0), Shape::Object).map(|e| e.item).collect();
    assert!(keys.into_iter().eq(order.iter().map(Vec::as_slice)));
}

fn first_is_indexed(column: &BytesColumn) -> bool {
    column.get(0).and_then(index::first_entry).is_some()
}

/// Looking one by one through 200,000 items takes minutes, not a second or two.
#[test]
fn many_items_cost_little_each() {
    let started = Instant::now();
    let mut tables = (table(), table(), table());
    let (bag, object, list) = (
        tables.0.bytes_column_mut(0),
        tables.1.bytes_column_mut(0),
        tables.2.bytes_column_mut(0),
    );
    let mut scratch = vec![];
    let item = |i: u32| format!("item {i}").into_bytes();
    for i in 0..200_000 {
        count(bag, 0, &item(i), 1, &mut scratch);
        assert!(put(object, 0, &item(i), b"1", &mut scratch));
        push(list, 0, &item(i), &mut scratch);
    }
    for i in 0..200_000 {
        count(bag, 0, &item(i), -1, &mut scratch);
        take(object, 0, &item(i));
        assert!(remove(list, 0, &item(i / 2 + i % 2 * 100_000)));
    }
    assert_eq!((bag.get(0), object.get(0), list.get(0)), (None, None, None));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
