//! Lists in state: a group's values, one behind the other, in one byte string of its row ([`Items`]).
//!
//! ```text
//! item     length (LEB128) | bytes
//! list     item item …                       an absent list is NULL, never empty
//! bag      (item, times u32 LE) …            every item once
//! object   (key item, value item) …          every key once
//! ```
//!
//! Appending is cheap ([`flott_state::BytesColumn::append`]); taking a value away looks for its first occurrence, as
//! Flink does, and moves what is behind it. Lists of two partial rows are put together by joining their bytes.

use flott_state::BytesColumn;

/// The items of a list, in order.
#[derive(Debug, Clone)]
pub(crate) struct Items<'a> {
    list: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    pub(crate) fn of(list: Option<&'a [u8]>) -> Self {
        Self {
            list: list.unwrap_or_default(),
            at: 0,
        }
    }

    /// Where the next item begins.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The number behind the item that was read last, of a bag.
    pub(crate) fn times(&mut self) -> u32 {
        let end = self.at + 4;
        let times = self.list.get(self.at..end).and_then(|b| b.try_into().ok());
        self.at = end;
        times.map_or(0, u32::from_le_bytes)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (mut length, mut shift) = (0usize, 0u32);
        loop {
            let byte = *self.list.get(self.at)?;
            self.at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        let item = self.list.get(self.at..self.at + length)?;
        self.at += length;
        Some(item)
    }
}

/// Appends an item to bytes.
pub(crate) fn put_item(item: &[u8], out: &mut Vec<u8>) {
    let mut length = item.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(item);
}

/// Appends an item to the list of a slot.
pub(crate) fn push(column: &mut BytesColumn, slot: u32, item: &[u8], scratch: &mut Vec<u8>) {
    scratch.clear();
    put_item(item, scratch);
    column.append(slot, scratch);
}

/// Takes the first occurrence of an item out of the list of a slot; whether it was there.
pub(crate) fn remove(column: &mut BytesColumn, slot: u32, item: &[u8]) -> bool {
    let mut items = Items::of(column.get(slot));
    let mut start = 0;
    while let Some(held) = items.next() {
        if held == item {
            let end = items.position();
            cut(column, slot, start, end);
            return true;
        }
        start = items.position();
    }
    false
}

/// Takes the first item out of the list of a slot.
pub(crate) fn remove_first(column: &mut BytesColumn, slot: u32) {
    let mut items = Items::of(column.get(slot));
    if items.next().is_some() {
        let end = items.position();
        cut(column, slot, 0, end);
    }
}

/// Counts an item of the bag of a slot in or out.
pub(crate) fn count(column: &mut BytesColumn, slot: u32, item: &[u8], times: i64, scratch: &mut Vec<u8>) {
    let mut items = Items::of(column.get(slot));
    let mut start = 0;
    while let Some(held) = items.next() {
        let is_same = held == item;
        let at = items.position();
        let held = i64::from(items.times());
        if is_same {
            let left = held.saturating_add(times).min(i64::from(u32::MAX));
            let end = items.position();
            match u32::try_from(left) {
                Ok(left) if left > 0 => column.overwrite(slot, at, &left.to_le_bytes()),
                _ => cut(column, slot, start, end),
            }
            return;
        }
        start = items.position();
    }
    if let Ok(times) = u32::try_from(times) {
        scratch.clear();
        put_item(item, scratch);
        scratch.extend_from_slice(&times.to_le_bytes());
        column.append(slot, scratch);
    }
}

/// Puts a pair into the object of a slot; whether the key is new.
pub(crate) fn put(column: &mut BytesColumn, slot: u32, key: &[u8], value: &[u8], scratch: &mut Vec<u8>) -> bool {
    if find(column, slot, key).is_some() {
        return false;
    }
    scratch.clear();
    put_item(key, scratch);
    put_item(value, scratch);
    column.append(slot, scratch);
    true
}

/// Takes a key out of the object of a slot.
pub(crate) fn take(column: &mut BytesColumn, slot: u32, key: &[u8]) {
    if let Some((start, end)) = find(column, slot, key) {
        cut(column, slot, start, end);
    }
}

/// Where the pair of a key begins and ends.
fn find(column: &BytesColumn, slot: u32, key: &[u8]) -> Option<(usize, usize)> {
    let mut items = Items::of(column.get(slot));
    let mut start = 0;
    while let Some(held) = items.next() {
        let is_same = held == key;
        items.next();
        if is_same {
            return Some((start, items.position()));
        }
        start = items.position();
    }
    None
}

fn cut(column: &mut BytesColumn, slot: u32, start: usize, end: usize) {
    let list = column.get(slot).unwrap_or_default();
    let rest = [&list[..start], &list[end..]].concat();
    column.set(slot, (!rest.is_empty()).then_some(&rest));
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_checkpoint::{ColumnType, TableDescriptor};
    use flott_core::hash::hash_columns;
    use flott_core::{KeyGroupRange, LogicalType};
    use flott_state::KeyedTable;
    use std::sync::Arc;

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
        assert!(Items::of(list.get(0)).eq(values.iter().map(Vec::as_slice)));
        assert!(remove(list, 0, &[1; 5]) && !remove(list, 0, &[1; 6]));
        let left = [&values[0], &values[2], &values[3], &values[4], &values[5]];
        assert!(Items::of(list.get(0)).eq(left.into_iter().map(Vec::as_slice)));
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
        let mut items = Items::of(bag.get(0));
        assert_eq!((items.next(), items.times(), items.next()), (Some(&b"a"[..]), 2, None));
        let object = bag;
        object.set(0, None);
        assert!(put(object, 0, b"k", b"1", &mut scratch) && put(object, 0, b"l", b"k", &mut scratch));
        assert!(!put(object, 0, b"k", b"2", &mut scratch), "the key is there");
        take(object, 0, b"k");
        assert!(put(object, 0, b"k", b"3", &mut scratch));
        let items: Vec<&[u8]> = Items::of(object.get(0)).collect();
        assert_eq!(items, [b"l", b"k", b"k", b"3"]);
    }
}
