//! A growing array in chunks that can be captured without copying: [`Chunked`].
//!
//! ```text
//! chunks: [ Owned(Vec) | Shared(Arc) | Shared(Arc) | Owned(Vec) ]      one chunk = 64 KiB of numbers, or 32 values
//!            written       captured, not        ^ a write to a shared chunk copies it first,
//!            since          written since          or takes it back if the capture is gone
//! ```
//!
//! * Every chunk but the last is full.
//! * A capture turns owned chunks into shared ones and clones the `Arc`s: its cost is one pointer per chunk.
//! * An owned chunk is reached without touching a reference count, which is what makes a write as cheap as in a `Vec`.

use std::sync::Arc;

/// Bytes of a full chunk. A copy on write costs about 5 µs at this size, a capture of 8 MiB 128 pointers.
const CHUNK_BYTES: usize = 64 * 1024;

/// Elements of a full chunk where they own memory: a copy of them copies that too, whatever their own size.
const CHUNK_OWNERS: u32 = 32;

/// A growing array with cheap captures.
#[derive(Debug)]
pub struct Chunked<T> {
    chunks: Vec<Chunk<T>>,
    len: usize,
}

#[derive(Debug)]
enum Chunk<T> {
    Owned(Vec<T>),
    Shared(Arc<Vec<T>>),
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Chunked<T> {
    /// Elements of a chunk as a power of two; one at least.
    const SHIFT: u32 = match size_of::<T>() {
        _ if std::mem::needs_drop::<T>() => CHUNK_OWNERS.ilog2(),
        0 => CHUNK_BYTES.ilog2(),
        bytes if bytes > CHUNK_BYTES => 0,
        bytes => (CHUNK_BYTES / bytes).ilog2(),
    };
    const MASK: usize = (1 << Self::SHIFT) - 1;

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at `index`, in its place.
    ///
    /// # Panics
    /// If `index` is not below the length.
    #[inline]
    pub fn get_ref(&self, index: usize) -> &T {
        &self.chunks[index >> Self::SHIFT].as_slice()[index & Self::MASK]
    }

    /// The element at `index`, if there is one.
    #[inline]
    pub fn find_ref(&self, index: usize) -> Option<&T> {
        let chunk = self.chunks.get(index >> Self::SHIFT)?;
        chunk.as_slice().get(index & Self::MASK)
    }

    /// Removes all elements.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }

    /// Memory of the chunks in bytes, shared ones counted in full.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|c| c.capacity() * size_of::<T>()).sum()
    }
}

impl<T: Copy> Chunked<T> {
    /// The element at `index`.
    ///
    /// # Panics
    /// If `index` is not below the length.
    #[inline]
    pub fn get(&self, index: usize) -> T {
        *self.get_ref(index)
    }
}

impl<T: Clone + Default> Chunked<T> {
    /// The element at `index`, to be written; copies its chunk if a capture still holds it.
    ///
    /// # Panics
    /// If `index` is not below the length.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index >> Self::SHIFT].to_mut()[index & Self::MASK]
    }

    /// Appends an element.
    #[inline]
    pub fn push(&mut self, value: T) {
        if self.len & Self::MASK == 0 {
            self.chunks.push(Chunk::Owned(Vec::new()));
        }
        let last = self.len >> Self::SHIFT;
        self.chunks[last].to_mut().push(value);
        self.len += 1;
    }

    /// Appends default elements until there are `len`; never shrinks.
    pub fn grow_to(&mut self, len: usize) {
        while self.len < len {
            if self.len & Self::MASK == 0 {
                self.chunks.push(Chunk::Owned(Vec::new()));
            }
            let room = (1 << Self::SHIFT) - (self.len & Self::MASK);
            let added = room.min(len - self.len);
            let chunk = self.chunks[self.len >> Self::SHIFT].to_mut();
            chunk.resize(chunk.len() + added, T::default());
            self.len += added;
        }
    }

    /// The present content, shared: later writes here do not show there.
    pub fn capture(&mut self) -> Captured<T> {
        let chunks = self.chunks.iter_mut().map(Chunk::share).collect();
        Captured { chunks }
    }
}

impl<T> Chunk<T> {
    #[inline]
    fn as_slice(&self) -> &[T] {
        match self {
            Self::Owned(elements) => elements,
            Self::Shared(elements) => elements,
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Owned(elements) => elements.capacity(),
            Self::Shared(elements) => elements.capacity(),
        }
    }
}

impl<T: Clone> Chunk<T> {
    #[inline]
    fn to_mut(&mut self) -> &mut Vec<T> {
        if matches!(self, Self::Shared(_)) {
            self.own();
        }
        match self {
            Self::Owned(elements) => elements,
            Self::Shared(_) => unreachable!("own() has just made the chunk an owned one"),
        }
    }

    /// Takes a shared chunk back: without a copy where the capture is gone.
    #[cold]
    fn own(&mut self) {
        if let Self::Shared(shared) = self {
            let shared = std::mem::take(shared);
            *self = Self::Owned(Arc::try_unwrap(shared).unwrap_or_else(|held| {
                let mut copy = Vec::with_capacity(held.capacity());
                copy.extend_from_slice(&held);
                copy
            }));
        }
    }

    fn share(&mut self) -> Arc<Vec<T>> {
        if let Self::Owned(elements) = self {
            *self = Self::Shared(Arc::new(std::mem::take(elements)));
        }
        match self {
            Self::Shared(shared) => Arc::clone(shared),
            Self::Owned(_) => unreachable!("the chunk has just been made a shared one"),
        }
    }
}

/// The content of a [`Chunked`] at one moment; cheap to clone and to send.
#[derive(Debug, Clone)]
pub struct Captured<T> {
    chunks: Vec<Arc<Vec<T>>>,
}

impl<T: Copy> Captured<T> {
    /// The element at `index`.
    ///
    /// # Panics
    /// If the captured array was not longer than `index`.
    #[inline]
    pub fn get(&self, index: usize) -> T {
        *self.get_ref(index)
    }
}

impl<T> Captured<T> {
    /// The element at `index`, in its place.
    ///
    /// # Panics
    /// If the captured array was not longer than `index`.
    #[inline]
    pub fn get_ref(&self, index: usize) -> &T {
        &self.chunks[index >> Chunked::<T>::SHIFT][index & Chunked::<T>::MASK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_keeps_what_was_there() {
        let mut array = Chunked::<i64>::default();
        array.grow_to(20_000);
        *array.get_mut(0) = 1;
        *array.get_mut(19_999) = 2;
        let captured = array.capture();
        *array.get_mut(0) = 10;
        array.push(3);
        assert_eq!((captured.get(0), captured.get(19_999)), (1, 2));
        assert_eq!((array.get(0), array.get(19_999), array.get(20_000)), (10, 2, 3));
        assert_eq!(array.len(), 20_001);
    }

    #[test]
    fn a_chunk_whose_capture_is_gone_is_not_copied() {
        let mut array = Chunked::<u8>::default();
        array.push(7);
        let before = array.chunks[0].as_slice().as_ptr();
        drop(array.capture());
        *array.get_mut(0) = 8;
        assert_eq!(array.chunks[0].as_slice().as_ptr(), before);
    }

    #[test]
    fn small_arrays_hold_little_memory() {
        let mut array = Chunked::<i64>::default();
        array.push(1);
        assert!(array.bytes() < 100, "{}", array.bytes());
    }
}
