//! Lists in state: a group's values, one behind the other, in one byte string of its row.
//!
//! ```text
//! item     length (LEB128) | bytes
//! list     item item …                       an absent list is NULL, never empty
//! bag      (item, times u32 LE) …            every item once
//! object   (key item, value item) …          every key once
//! ```
//!
//! Appending is cheap ([`flott_state::BytesColumn::append`]). Where items are looked for (to be counted, refused or taken
//! away; of equal ones the first, as Flink does), a list that is longer than [`PLAIN_BYTES`] gets an [`index`], so that each of
//! these costs the same however many items there are. Lists of two partial rows are put together by joining their bytes.

mod index;

use flott_state::BytesColumn;
use index::Index;

/// Longest list in which items are looked for one by one.
const PLAIN_BYTES: usize = 512;

/// What follows the item of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing.
    List,
    /// How many times it is there.
    Bag,
    /// The item that belongs to it.
    Object,
}

/// What is in a list, of a bag, or of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) item: &'a [u8],
    /// Of an object, what belongs to the item.
    pub(crate) value: &'a [u8],
    /// Of a bag, how many times the item is there.
    pub(crate) times: u32,
    /// Where the item begins in the list, and what is behind it ends.
    start: usize,
    end: usize,
}

/// The entries of a list, in order.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a> {
    list: &'a [u8],
    at: usize,
    shape: Shape,
    is_indexed: bool,
}

impl<'a> Entries<'a> {
    /// Those of a list of this shape, which may be absent.
    pub(crate) fn of(list: Option<&'a [u8]>, shape: Shape) -> Self {
        let list = list.unwrap_or_default();
        let first = index::first_entry(list);
        Self {
            list,
            at: first.unwrap_or(0),
            shape,
            is_indexed: first.is_some(),
        }
    }

    fn item(&mut self) -> Option<&'a [u8]> {
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

    fn number(&mut self) -> Option<u32> {
        let bytes = self.list.get(self.at..self.at + 4)?;
        self.at += 4;
        bytes.try_into().ok().map(u32::from_le_bytes)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let is_dead = self.is_indexed && self.number()? == index::DEAD;
            let start = self.at;
            let item = self.item()?;
            let (mut value, mut times) = (&[][..], 1);
            match self.shape {
                Shape::List => {}
                Shape::Bag => times = self.number()?,
                Shape::Object => value = self.item()?,
            }
            if !is_dead {
                let end = self.at;
                return Some(Entry {
                    item,
                    value,
                    times,
                    start,
                    end,
                });
            }
        }
    }
}

/// The items of a list, in order.
pub(crate) fn items(list: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    Entries::of(list, Shape::List).map(|entry| entry.item)
}

/// How many bytes the entries of a list take.
pub(crate) fn content_bytes(list: &[u8]) -> usize {
    index::content_bytes(list).unwrap_or(list.len())
}

/// Whether a list has an index.
pub(crate) fn is_indexed(list: &[u8]) -> bool {
    index::first_entry(list).is_some()
}

/// A list as it is without an index, if it has one.
pub(crate) fn plain(list: &[u8], shape: Shape) -> Option<Vec<u8>> {
    index::first_entry(list)?;
    let mut plain = Vec::with_capacity(content_bytes(list));
    for entry in Entries::of(Some(list), shape) {
        plain.extend_from_slice(&list[entry.start..entry.end]);
    }
    Some(plain)
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
    add(column, slot, Shape::List, item, scratch);
}

/// Appends the items of a list of a partial row, which has no index, to the list of a slot.
pub(crate) fn join(column: &mut BytesColumn, slot: u32, list: &[u8], scratch: &mut Vec<u8>) {
    if !is_indexed(list) && !column.get(slot).is_some_and(is_indexed) {
        return column.append(slot, list);
    }
    for item in items(Some(list)) {
        push(column, slot, item, scratch);
    }
}

/// Takes the first occurrence of an item out of the list of a slot; whether it was there.
pub(crate) fn remove(column: &mut BytesColumn, slot: u32, item: &[u8]) -> bool {
    take_away(column, slot, Shape::List, item)
}

/// Takes the first item out of the list of a slot.
pub(crate) fn remove_first(column: &mut BytesColumn, slot: u32) {
    let first = items(column.get(slot)).next().map(<[u8]>::to_vec);
    if let Some(first) = first {
        remove(column, slot, &first);
    }
}

/// Counts an item of the bag of a slot in or out.
pub(crate) fn count(column: &mut BytesColumn, slot: u32, item: &[u8], times: i64, scratch: &mut Vec<u8>) {
    let Some((end, held)) = find(column, slot, Shape::Bag, item) else {
        if let Ok(times) = u32::try_from(times) {
            scratch.clear();
            put_item(item, scratch);
            scratch.extend_from_slice(&times.to_le_bytes());
            add(column, slot, Shape::Bag, item, scratch);
        }
        return;
    };
    let left = i64::from(held).saturating_add(times).min(i64::from(u32::MAX));
    match u32::try_from(left) {
        Ok(left) if left > 0 => column.overwrite(slot, end - 4, &left.to_le_bytes()),
        _ => drop(take_away(column, slot, Shape::Bag, item)),
    }
}

/// Puts a pair into the object of a slot; whether the key is new.
pub(crate) fn put(column: &mut BytesColumn, slot: u32, key: &[u8], value: &[u8], scratch: &mut Vec<u8>) -> bool {
    if find(column, slot, Shape::Object, key).is_some() {
        return false;
    }
    scratch.clear();
    put_item(key, scratch);
    put_item(value, scratch);
    add(column, slot, Shape::Object, key, scratch);
    true
}

/// Takes a key out of the object of a slot.
pub(crate) fn take(column: &mut BytesColumn, slot: u32, key: &[u8]) {
    take_away(column, slot, Shape::Object, key);
}

/// The index of the list of a slot, which is made if the list is long.
fn index_of(column: &mut BytesColumn, slot: u32, shape: Shape) -> Option<Index<'_>> {
    let list = column.get(slot)?;
    if !is_indexed(list) {
        if list.len() <= PLAIN_BYTES {
            return None;
        }
        let indexed = index::indexed(list, shape);
        column.set(slot, Some(&indexed));
    }
    Some(Index::new(column, slot, shape))
}

/// Where the first entry with an item ends, and how many times the item is there.
fn find(column: &mut BytesColumn, slot: u32, shape: Shape, item: &[u8]) -> Option<(usize, u32)> {
    if let Some(index) = index_of(column, slot, shape) {
        return index.find(item).map(|entry| (entry.end, entry.times));
    }
    let found = Entries::of(column.get(slot), shape).find(|entry| entry.item == item)?;
    Some((found.end, found.times))
}

/// Appends an entry with an item; `bytes` are those of the entry.
fn add(column: &mut BytesColumn, slot: u32, shape: Shape, item: &[u8], bytes: &[u8]) {
    match column.get(slot).is_some_and(is_indexed) {
        true => Index::new(column, slot, shape).add(item, bytes),
        false => column.append(slot, bytes),
    }
}

/// Takes the first entry with an item away; whether it was there.
fn take_away(column: &mut BytesColumn, slot: u32, shape: Shape, item: &[u8]) -> bool {
    if let Some(index) = index_of(column, slot, shape) {
        return index.remove(item);
    }
    let list = column.get(slot).unwrap_or_default();
    let Some(entry) = Entries::of(Some(list), shape).find(|entry| entry.item == item) else {
        return false;
    };
    let rest = [&list[..entry.start], &list[entry.end..]].concat();
    column.set(slot, (!rest.is_empty()).then_some(&rest));
    true
}

#[cfg(test)]
mod tests;
