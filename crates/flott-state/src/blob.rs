//! Byte strings per slot, in arenas: [`BlobStore`], which holds keys, and [`BytesColumn`], which holds values.
//!
//! A slot has a 16-byte view (the shape of Arrow's string views): the length, then the string itself if it has at most 12
//! bytes, else its first four bytes, the arena chunk and the place in it.
//!
//! ```text
//! short   | len u32 | up to 12 bytes, zero padded            |
//! long    | len u32 | first 4 bytes | chunk u32 | offset u32 |
//! NULL    | u32::MAX| zeros                                  |
//! ```
//!
//! Two short strings are equal if their views are. Long strings are appended to chunks of 64 KiB (larger ones get a chunk
//! of their own) that captures share; bytes of replaced strings are dead until they pass half of the arena, then the
//! store is compacted.
//!
//! A string that [`BytesColumn::append`] makes longer has room: the next power of two of its length, told by the highest
//! bit of its chunk. So a string that grows by pieces is copied a bounded number of times per byte, and once behind each
//! capture, which shares its chunk.

use crate::chunk::{Captured, Chunked};
use crate::order::Order;
use std::ops::Range;
use std::sync::Arc;

/// Longest string that lies in the view.
const INLINE: usize = 12;
const ARENA_CHUNK_BYTES: usize = 64 * 1024;
/// Below this much dead memory a compaction is not worth its pass.
const COMPACT_FROM_BYTES: usize = 1024 * 1024;

/// In the chunk's number: the string has room up to the next power of two of its length.
const HAS_ROOM: u32 = 1 << 31;

/// Where the string of a slot is; see the module's figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View([u8; 16]);

const NULL_LENGTH: u32 = u32::MAX;
const NULL_VIEW: View = View([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/// Slots are NULL until they are set.
impl Default for View {
    fn default() -> Self {
        NULL_VIEW
    }
}

impl View {
    /// The view of a short string; of a long one, all but the place.
    #[inline]
    fn of(value: &[u8]) -> Self {
        let mut bytes = [0u8; 16];
        bytes[..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
        if value.len() <= INLINE {
            bytes[4..4 + value.len()].copy_from_slice(value);
        } else {
            bytes[4..8].copy_from_slice(&value[..4]);
        }
        Self(bytes)
    }

    #[inline]
    fn at(mut self, chunk: u32, offset: u32) -> Self {
        self.0[8..12].copy_from_slice(&chunk.to_le_bytes());
        self.0[12..].copy_from_slice(&offset.to_le_bytes());
        self
    }

    #[inline]
    fn bits(self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// Length and prefix: what long strings are compared by first.
    #[inline]
    fn head(self) -> u64 {
        self.bits() as u64
    }

    #[inline]
    fn length_field(self) -> u32 {
        self.bits() as u32
    }

    #[inline]
    fn is_null(self) -> bool {
        self.length_field() == NULL_LENGTH
    }

    #[inline]
    fn len(self) -> usize {
        if self.is_null() {
            0
        } else {
            self.length_field() as usize
        }
    }

    #[inline]
    fn is_inline(self) -> bool {
        self.len() <= INLINE
    }

    #[inline]
    fn place(self) -> (usize, usize) {
        let bits = self.bits();
        (((bits >> 64) as u32 & !HAS_ROOM) as usize, (bits >> 96) as u32 as usize)
    }

    /// Bytes of the arena that a long string takes.
    #[inline]
    fn room(self) -> usize {
        match (self.bits() >> 64) as u32 & HAS_ROOM {
            0 => self.len(),
            _ => self.len().next_power_of_two(),
        }
    }
}

/// The string of a view, which lies in it or in a chunk.
#[inline]
fn resolve<'a>(view: &'a View, chunk: impl FnOnce(usize) -> &'a [u8]) -> Option<&'a [u8]> {
    if view.is_null() {
        None
    } else if view.is_inline() {
        Some(&view.0[4..4 + view.len()])
    } else {
        let (index, offset) = view.place();
        Some(&chunk(index)[offset..offset + view.len()])
    }
}

/// A chunk of the arena; full ones are shared with captures and never change.
#[derive(Debug)]
enum ArenaChunk {
    Open(Vec<u8>),
    Sealed(Arc<Vec<u8>>),
}

impl ArenaChunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Open(bytes) => bytes,
            Self::Sealed(bytes) => bytes,
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Open(bytes) => bytes.capacity(),
            Self::Sealed(bytes) => bytes.capacity(),
        }
    }

    /// The bytes to be changed, unless a capture shares them.
    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Open(bytes) => Some(bytes),
            Self::Sealed(bytes) => Arc::get_mut(bytes).map(Vec::as_mut_slice),
        }
    }
}

/// A byte string, or NULL, per slot.
#[derive(Debug, Default)]
pub struct BlobStore {
    views: Chunked<View>,
    arena: Vec<ArenaChunk>,
    live_bytes: usize,
    dead_bytes: usize,
}

impl BlobStore {
    /// The string of a slot, `None` for NULL.
    ///
    /// # Panics
    /// If there is no such slot; so do all methods that take one.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&[u8]> {
        resolve(self.views.get_ref(slot as usize), |chunk| self.arena[chunk].as_slice())
    }

    /// Whether a slot holds exactly this string.
    #[inline]
    pub(crate) fn is(&self, slot: u32, value: &[u8]) -> bool {
        let Some(view) = self.views.find_ref(slot as usize) else {
            return false;
        };
        let wanted = View::of(value);
        if value.len() <= INLINE {
            return view.bits() == wanted.bits();
        }
        if view.head() != wanted.head() {
            return false;
        }
        let (chunk, offset) = view.place();
        &self.arena[chunk].as_slice()[offset..offset + value.len()] == value
    }

    /// Appends a slot with this string.
    #[inline]
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        let view = self.store(value);
        self.views.push(view);
    }

    /// Sets the string of a slot.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, value: Option<&[u8]>) {
        self.release(slot);
        let view = self.store(value);
        *self.views.get_mut(slot as usize) = view;
        self.compact_if_worth();
    }

    #[inline]
    fn compact_if_worth(&mut self) {
        if self.dead_bytes > COMPACT_FROM_BYTES && self.dead_bytes > self.live_bytes {
            self.compact();
        }
    }

    fn release(&mut self, slot: u32) {
        let view = self.views.get(slot as usize);
        if !view.is_inline() {
            self.dead_bytes += view.room();
            self.live_bytes -= view.room();
        }
    }

    /// Makes the string of a slot longer; NULL counts as empty.
    fn extend(&mut self, slot: u32, tail: &[u8]) {
        let view = self.views.get(slot as usize);
        let (old, new) = (view.len(), view.len() + tail.len());
        if new <= INLINE {
            let mut short = [0; INLINE];
            short[..old].copy_from_slice(self.get(slot).unwrap_or_default());
            short[old..new].copy_from_slice(tail);
            *self.views.get_mut(slot as usize) = View::of(&short[..new]);
            return;
        }
        if !view.is_inline() && new <= view.room() {
            let (chunk, offset) = view.place();
            if let Some(bytes) = self.arena[chunk].as_mut_slice() {
                bytes[offset + old..offset + new].copy_from_slice(tail);
                self.views.get_mut(slot as usize).0[..4].copy_from_slice(&(new as u32).to_le_bytes());
                return;
            }
        }
        let mut longer = Vec::with_capacity(new.next_power_of_two());
        longer.extend_from_slice(self.get(slot).unwrap_or_default());
        longer.extend_from_slice(tail);
        let head = View::of(&longer);
        longer.resize(new.next_power_of_two(), 0);
        self.release(slot);
        self.live_bytes += longer.len();
        let (chunk, offset) = self.append(&longer);
        *self.views.get_mut(slot as usize) = head.at(chunk | HAS_ROOM, offset);
        self.compact_if_worth();
    }

    /// Replaces bytes of the string of a slot from `at` on, which must be there.
    fn overwrite(&mut self, slot: u32, at: usize, bytes: &[u8]) {
        let view = self.views.get(slot as usize);
        let end = at + bytes.len();
        // The first bytes are in the view too.
        if !view.is_inline() && at >= 4 && end <= view.len() {
            let (chunk, offset) = view.place();
            if let Some(arena) = self.arena[chunk].as_mut_slice() {
                arena[offset + at..offset + end].copy_from_slice(bytes);
                return;
            }
        }
        let mut value = self.get(slot).unwrap_or_default().to_vec();
        value[at..end].copy_from_slice(bytes);
        self.set(slot, Some(&value));
    }

    #[inline]
    fn store(&mut self, value: Option<&[u8]>) -> View {
        let Some(value) = value else { return NULL_VIEW };
        let view = View::of(value);
        if value.len() <= INLINE {
            return view;
        }
        self.live_bytes += value.len();
        let (chunk, offset) = self.append(value);
        view.at(chunk, offset)
    }

    fn append(&mut self, value: &[u8]) -> (u32, u32) {
        if let Some(ArenaChunk::Open(bytes)) = self.arena.last_mut()
            && bytes.len() + value.len() <= ARENA_CHUNK_BYTES
        {
            let offset = bytes.len() as u32;
            bytes.extend_from_slice(value);
            return ((self.arena.len() - 1) as u32, offset);
        }
        self.arena.push(ArenaChunk::Open(value.to_vec()));
        ((self.arena.len() - 1) as u32, 0)
    }

    /// Copies what is alive into new chunks.
    fn compact(&mut self) {
        let old = std::mem::take(&mut self.arena);
        self.live_bytes = 0;
        for slot in 0..self.views.len() {
            let view = self.views.get(slot);
            if view.is_inline() {
                continue;
            }
            let (chunk, offset) = view.place();
            let value = &old[chunk].as_slice()[offset..offset + view.len()];
            self.live_bytes += value.len();
            let (chunk, offset) = self.append(value);
            *self.views.get_mut(slot) = View::of(value).at(chunk, offset);
        }
        self.dead_bytes = 0;
    }

    pub(crate) fn grow_to(&mut self, slots: usize) {
        self.views.grow_to(slots);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// About how many bytes a string takes, of `live` in all, with its share of what is free between them.
    pub(crate) fn bytes_a_slot(&self, live: usize) -> usize {
        size_of::<View>() + (self.live_bytes + self.dead_bytes) / live.max(1)
    }

    pub(crate) fn capture(&mut self) -> CapturedBlobs {
        for chunk in &mut self.arena {
            if let ArenaChunk::Open(bytes) = chunk {
                *chunk = ArenaChunk::Sealed(Arc::new(std::mem::take(bytes)));
            }
        }
        let arena = self.arena.iter().filter_map(|c| match c {
            ArenaChunk::Sealed(bytes) => Some(Arc::clone(bytes)),
            ArenaChunk::Open(_) => None,
        });
        CapturedBlobs {
            views: self.views.capture(),
            arena: arena.collect(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.views.bytes() + self.arena.iter().map(ArenaChunk::capacity).sum::<usize>()
    }
}

/// A [`BlobStore`] at the moment of a capture.
#[derive(Debug, Clone)]
pub(crate) struct CapturedBlobs {
    views: Captured<View>,
    arena: Vec<Arc<Vec<u8>>>,
}

impl CapturedBlobs {
    /// The string of a slot, `None` for NULL.
    pub(crate) fn get(&self, slot: u32) -> Option<&[u8]> {
        resolve(self.views.get_ref(slot as usize), |chunk| self.arena[chunk].as_slice())
    }

    pub(crate) fn sorted(&self, order: &Order) -> SortedBlobs {
        SortedBlobs {
            views: order.sort(|slot| self.views.get(slot)),
            arena: self.arena.clone(),
        }
    }
}

/// Byte strings of a capture in the order of a run.
#[derive(Debug)]
pub(crate) struct SortedBlobs {
    views: Vec<View>,
    arena: Vec<Arc<Vec<u8>>>,
}

impl SortedBlobs {
    fn value(&self, row: usize) -> Option<&[u8]> {
        resolve(&self.views[row], |chunk| self.arena[chunk].as_slice())
    }

    /// Bytes that some rows take in a run.
    pub(crate) fn bytes_of(&self, rows: Range<usize>) -> usize {
        rows.map(|row| 4 + self.value(row).map_or(0, <[u8]>::len)).sum()
    }

    /// Writes the lengths of the strings of each block (`u32::MAX` for NULL), then their bytes, from `starts[block]` on, which
    /// is moved behind them.
    pub(crate) fn write(&self, blocks: &[Range<usize>], starts: &mut [usize], out: &mut [u8]) {
        let mut put = |at: &mut usize, bytes: &[u8]| {
            out[*at..*at + bytes.len()].copy_from_slice(bytes);
            *at += bytes.len();
        };
        for (rows, at) in blocks.iter().zip(starts) {
            for row in rows.clone() {
                put(at, &self.views[row].length_field().to_le_bytes());
            }
            for row in rows.clone() {
                put(at, self.value(row).unwrap_or_default());
            }
        }
    }
}

/// A byte string, or NULL, per slot of a table.
#[derive(Debug, Default)]
pub struct BytesColumn(BlobStore);

impl BytesColumn {
    /// The string of a slot, `None` for NULL.
    ///
    /// # Panics
    /// If the table has no such slot; so do all methods that take slots.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&[u8]> {
        self.0.get(slot)
    }

    /// Sets a slot.
    pub fn set(&mut self, slot: u32, value: Option<&[u8]>) {
        self.0.set(slot, value);
    }

    /// Makes the string of a slot longer by `tail`; NULL counts as empty. What is there already is copied seldom.
    pub fn append(&mut self, slot: u32, tail: &[u8]) {
        self.0.extend(slot, tail);
    }

    /// Replaces bytes of the string of a slot from `at` on.
    ///
    /// # Panics
    /// If the string ends before the last of them.
    pub fn overwrite(&mut self, slot: u32, at: usize, bytes: &[u8]) {
        self.0.overwrite(slot, at, bytes);
    }

    /// Keeps the smaller of slot and value in byte order, which is the order of UTF-8 text too.
    pub fn min(&mut self, slot: u32, value: &[u8]) {
        if self.0.get(slot).is_none_or(|held| value < held) {
            self.0.set(slot, Some(value));
        }
    }

    /// Keeps the larger of slot and value in byte order.
    pub fn max(&mut self, slot: u32, value: &[u8]) {
        if self.0.get(slot).is_none_or(|held| value > held) {
            self.0.set(slot, Some(value));
        }
    }

    pub(crate) fn store(&self) -> &BlobStore {
        &self.0
    }

    pub(crate) fn store_mut(&mut self) -> &mut BlobStore {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_long_null_and_replaced_strings_read_back() {
        let mut store = BlobStore::default();
        let values = [&b""[..], b"a", b"twelve bytes", b"thirteen bytes", &[7; 100_000]];
        for v in values {
            store.push(Some(v));
        }
        store.push(None);
        for (slot, v) in values.iter().enumerate() {
            assert!(store.is(slot as u32, v));
            assert!(!store.is(slot as u32, b"thirteen bytez"));
            assert_eq!(store.get(slot as u32), Some(*v));
        }
        assert_eq!(store.get(5), None);
        assert!(!store.is(5, b""));
        let captured = store.capture();
        store.set(3, Some(b"x"));
        store.set(0, Some(b"another long string"));
        assert!(store.is(0, b"another long string") && store.is(3, b"x"));
        let sorted = captured.sorted(&Order::by_group(vec![3], 1, 8, |_| 0));
        let mut out = vec![0; sorted.bytes_of(0..1)];
        sorted.write(std::slice::from_ref(&(0..1)), &mut [0], &mut out);
        assert_eq!(&out[4..], b"thirteen bytes");
    }

    #[test]
    fn dead_bytes_are_compacted() {
        let mut store = BlobStore::default();
        for i in 0..100u8 {
            store.push(Some(&[i; 1000]));
        }
        for round in 0..100u8 {
            for i in 0..100u8 {
                store.set(u32::from(i), Some(&[i ^ round; 1000]));
            }
        }
        assert!(store.bytes() < 4 << 20, "{} bytes", store.bytes());
        assert!((0..100u8).all(|i| store.is(u32::from(i), &[i ^ 99; 1000])));
    }

    #[test]
    fn strings_grow_in_place_and_captures_keep_theirs() {
        let mut column = BytesColumn::default();
        let mut expected = vec![vec![]; 3];
        for _ in 0..3 {
            column.store_mut().push(None);
        }
        for i in 0..5000u32 {
            let (slot, piece) = (i % 3, &i.to_le_bytes()[..1 + i as usize % 4]);
            column.append(slot, piece);
            expected[slot as usize].extend_from_slice(piece);
            assert_eq!(column.get(slot), Some(&expected[slot as usize][..]));
        }
        let captured = column.store_mut().capture();
        let before = expected[1].clone();
        column.append(1, b"more");
        column.overwrite(2, 0, b"HEAD");
        column.overwrite(2, 100, b"middle");
        expected[1].extend_from_slice(b"more");
        expected[2][..4].copy_from_slice(b"HEAD");
        expected[2][100..106].copy_from_slice(b"middle");
        for (slot, value) in expected.iter().enumerate() {
            assert_eq!(column.get(slot as u32), Some(&value[..]));
        }
        assert!(column.store().is(2, &expected[2]));
        let sorted = captured.sorted(&Order::by_group(vec![1], 1, 8, |_| 0));
        let mut out = vec![0; sorted.bytes_of(0..1)];
        sorted.write(std::slice::from_ref(&(0..1)), &mut [0], &mut out);
        assert_eq!(out[4..], before);
    }

    #[test]
    fn growing_copies_little_and_leaves_little_behind() {
        let mut column = BytesColumn::default();
        (0..100).for_each(|_| column.store_mut().push(None));
        for _ in 0..2000 {
            (0..100).for_each(|slot| column.append(slot, b"0123456789"));
        }
        // 2 MB of content, up to as much room, and up to as much dead.
        assert!(column.store().bytes() < 10 << 20, "{} bytes", column.store().bytes());
        assert!((0..100).all(|slot| column.get(slot).is_some_and(|s| s.len() == 20_000)));
    }
}
