//! The index of a long list: a hash table in front of its entries, in the same byte string ([`Index`]).
//!
//! ```text
//! indexed  80 00 | log2 of the places u8 | 0 | places in use u32 | dead bytes u32 | 0 u32 | places | entries
//! place    first entry u32 | last entry u32     of those with equal items; 0: never used; DEAD: no longer used
//! entry    next entry with an equal item u32 (0: none, DEAD: taken away) | item and what follows it
//! ```
//!
//! Numbers are little endian, entries are told by where they begin. The place of an item is the first free one from its
//! hash on. `80 00` is the length of an empty item written too long, with which no list without index begins. As the index
//! is part of the list, it moves, is captured and is restored with it. It is made anew when its places are full, and when half of the
//! entries are dead, so a change costs a bounded number of steps on average.

use super::{Entries, Entry, PLAIN_BYTES, Shape, plain};
use flott_core::hash::hash_bytes;
use flott_state::BytesColumn;

/// Where there is nothing any more.
pub(super) const DEAD: u32 = u32::MAX;
const MARK: [u8; 2] = [0x80, 0];
/// Places of the header's numbers.
const LOG2: usize = 2;
const USED: usize = 4;
const DEAD_BYTES: usize = 8;
const HEADER_BYTES: usize = 16;
const PLACE_BYTES: usize = 8;
/// In front of each entry.
const NEXT_BYTES: usize = 4;
const MIN_PLACES: usize = 16;

fn number(list: &[u8], at: usize) -> u32 {
    let bytes = list.get(at..at + 4).and_then(|b| b.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

fn places(list: &[u8]) -> usize {
    1 << (list.get(LOG2).copied().unwrap_or(0) & 31)
}

/// Where the entries of a list begin, if it has an index.
pub(super) fn first_entry(list: &[u8]) -> Option<usize> {
    (list.len() >= HEADER_BYTES && list.starts_with(&MARK)).then(|| HEADER_BYTES + places(list) * PLACE_BYTES)
}

/// How many bytes the entries take that are not dead, if the list has an index.
pub(super) fn content_bytes(list: &[u8]) -> Option<usize> {
    let first = first_entry(list)?;
    Some(list.len().saturating_sub(first + number(list, DEAD_BYTES) as usize))
}

/// Where an item is looked for.
enum Place {
    /// Here, with the first and the last entry.
    Held { at: usize, first: u32, last: u32 },
    /// Nowhere; it can be put here.
    Free { at: usize, is_new: bool },
}

/// The entry that begins at a place.
fn entry_at(list: &[u8], at: u32, shape: Shape) -> Option<Entry<'_>> {
    let mut entries = Entries {
        list,
        at: at as usize,
        shape,
        is_indexed: true,
    };
    entries.next()
}

fn look_for(list: &[u8], item: &[u8], shape: Shape) -> Place {
    let places = places(list);
    let mut free = None;
    let mut place = hash_bytes(item) as usize & (places - 1);
    for _ in 0..places {
        let at = HEADER_BYTES + place * PLACE_BYTES;
        match number(list, at) {
            0 => {
                return Place::Free {
                    at: free.unwrap_or(at),
                    is_new: free.is_none(),
                };
            }
            DEAD => drop(free.get_or_insert(at)),
            first if entry_at(list, first, shape).is_some_and(|e| e.item == item) => {
                let last = number(list, at + 4);
                return Place::Held { at, first, last };
            }
            _ => {}
        }
        place = (place + 1) & (places - 1);
    }
    Place::Free {
        at: free.unwrap_or(HEADER_BYTES),
        is_new: false,
    }
}

/// A list with an index of its own.
pub(super) fn indexed(list: &[u8], shape: Shape) -> Vec<u8> {
    let count = Entries::of(Some(list), shape).count();
    let places = (count * 2).next_power_of_two().max(MIN_PLACES);
    let entries = HEADER_BYTES + places * PLACE_BYTES;
    let mut out = Vec::with_capacity(entries + super::content_bytes(list) + count * NEXT_BYTES);
    out.extend_from_slice(&MARK);
    out.push(places.trailing_zeros() as u8);
    out.resize(entries, 0);
    let mut used = 0u32;
    for entry in Entries::of(Some(list), shape) {
        let begin = out.len() as u32;
        out.extend_from_slice(&[0; NEXT_BYTES]);
        out.extend_from_slice(&list[entry.start..entry.end]);
        match look_for(&out, entry.item, shape) {
            Place::Held { at, last, .. } => {
                out[last as usize..][..4].copy_from_slice(&begin.to_le_bytes());
                out[at + 4..][..4].copy_from_slice(&begin.to_le_bytes());
            }
            Place::Free { at, .. } => {
                out[at..][..4].copy_from_slice(&begin.to_le_bytes());
                out[at + 4..][..4].copy_from_slice(&begin.to_le_bytes());
                used += 1;
            }
        }
    }
    out[USED..][..4].copy_from_slice(&used.to_le_bytes());
    out
}

/// The indexed list of a slot.
pub(super) struct Index<'a> {
    column: &'a mut BytesColumn,
    slot: u32,
    shape: Shape,
}

impl<'a> Index<'a> {
    /// The list of a slot, which has an index.
    pub(super) fn new(column: &'a mut BytesColumn, slot: u32, shape: Shape) -> Self {
        Self { column, slot, shape }
    }

    fn list(&self) -> &[u8] {
        self.column.get(self.slot).unwrap_or_default()
    }

    fn set_number(&mut self, at: usize, number: u32) {
        self.column.overwrite(self.slot, at, &number.to_le_bytes());
    }

    fn add_number(&mut self, at: usize, more: u32) {
        let sum = number(self.list(), at).saturating_add(more);
        self.set_number(at, sum);
    }

    /// The first entry with an item.
    pub(super) fn find(&self, item: &[u8]) -> Option<Entry<'_>> {
        match look_for(self.list(), item, self.shape) {
            Place::Held { first, .. } => entry_at(self.list(), first, self.shape),
            Place::Free { .. } => None,
        }
    }

    /// Appends an entry with an item; `bytes` are those of the entry.
    pub(super) fn add(mut self, item: &[u8], bytes: &[u8]) {
        let list = self.list();
        if number(list, USED) as usize * 4 >= places(list) * 3 {
            let wider = indexed(list, self.shape);
            self.column.set(self.slot, Some(&wider));
        }
        let place = look_for(self.list(), item, self.shape);
        let begin = self.list().len() as u32;
        self.column.append(self.slot, &[0; NEXT_BYTES]);
        self.column.append(self.slot, bytes);
        match place {
            Place::Held { at, last, .. } => {
                self.set_number(last as usize, begin);
                self.set_number(at + 4, begin);
            }
            Place::Free { at, is_new } => {
                self.set_number(at, begin);
                self.set_number(at + 4, begin);
                self.add_number(USED, u32::from(is_new));
            }
        }
    }

    /// Takes the first entry with an item away; whether it was there.
    pub(super) fn remove(mut self, item: &[u8]) -> bool {
        let Place::Held { at, first, .. } = look_for(self.list(), item, self.shape) else {
            return false;
        };
        let Some(entry) = entry_at(self.list(), first, self.shape) else {
            return false;
        };
        let bytes = (NEXT_BYTES + entry.end - entry.start) as u32;
        match number(self.list(), first as usize) {
            0 => self.set_number(at, DEAD),
            next => self.set_number(at, next),
        }
        self.set_number(first as usize, DEAD);
        self.add_number(DEAD_BYTES, bytes);
        self.clean();
        true
    }

    /// Drops dead entries if they are half of all, and the index too if the list is short by then.
    fn clean(self) {
        let list = self.list();
        let dead = number(list, DEAD_BYTES) as usize;
        let live = content_bytes(list).unwrap_or(0);
        if dead < live {
            return;
        }
        let cleaned = match live <= PLAIN_BYTES / 2 {
            true => plain(list, self.shape).unwrap_or_default(),
            false => indexed(list, self.shape),
        };
        self.column.set(self.slot, (!cleaned.is_empty()).then_some(&cleaned));
    }
}
