//! Value columns of fixed width, addressed by slot: [`Column`] and its batch kernels.
//!
//! A kernel takes parallel slices: `slots[i]` is changed by `values[i]`, in order, so a slot that comes twice is changed
//! twice. In a nullable column a new slot is NULL; kernels treat NULL as "nothing yet", as SQL's aggregates do.

use crate::chunk::{Captured, Chunked};
use crate::order::Order;
use crate::pack::Packing;
use crate::value::DamagedValue;
use arrow_buffer::NullBuffer;

/// A type that a [`Column`] can hold.
pub trait Fixed: Copy + Default + PartialOrd + Send + Sync + std::fmt::Debug + 'static {
    /// How a run holds these values.
    fn packing(values: impl Iterator<Item = Self>) -> Packing;
    /// The lowest bytes of the distance from `base`, little endian.
    fn pack<const N: usize>(self, base: i128) -> [u8; N];
    /// The inverse of [`Self::pack`]; `bytes` are at most as wide as the type.
    fn unpack(bytes: &[u8], base: i128) -> Self;
    /// Addition as SQL does it in this storage: integers wrap.
    fn plus(self, other: Self) -> Self;
    /// The inverse of [`Self::plus`].
    fn minus(self, other: Self) -> Self;
}

macro_rules! integer {
    ($ty:ty, $unsigned:ty) => {
        impl Fixed for $ty {
            fn packing(mut values: impl Iterator<Item = Self>) -> Packing {
                let first = values.next().unwrap_or_default();
                let (min, max) = values.fold((first, first), |(min, max), v| (min.min(v), max.max(v)));
                Packing::above(min.into(), (max.wrapping_sub(min) as $unsigned).into())
            }
            #[inline]
            fn pack<const N: usize>(self, base: i128) -> [u8; N] {
                let mut low = [0; N];
                low.copy_from_slice(&self.wrapping_sub(base as $ty).to_le_bytes()[..N]);
                low
            }
            #[inline]
            fn unpack(bytes: &[u8], base: i128) -> Self {
                let mut le = [0; size_of::<$ty>()];
                le[..bytes.len()].copy_from_slice(bytes);
                Self::from_le_bytes(le).wrapping_add(base as $ty)
            }
            #[inline]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    };
}

integer!(i64, u64);
integer!(i128, u128);

impl Fixed for f64 {
    fn packing(_: impl Iterator<Item = Self>) -> Packing {
        Packing::plain(size_of::<Self>())
    }
    #[inline]
    fn pack<const N: usize>(self, base: i128) -> [u8; N] {
        (self.to_bits() as i64).pack(base)
    }
    #[inline]
    fn unpack(bytes: &[u8], base: i128) -> Self {
        Self::from_bits(i64::unpack(bytes, base) as u64)
    }
    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline]
    fn minus(self, other: Self) -> Self {
        self - other
    }
}

impl Fixed for bool {
    fn packing(_: impl Iterator<Item = Self>) -> Packing {
        Packing::plain(size_of::<Self>())
    }
    #[inline]
    fn pack<const N: usize>(self, base: i128) -> [u8; N] {
        i64::from(self).pack(base)
    }
    #[inline]
    fn unpack(bytes: &[u8], base: i128) -> Self {
        i64::unpack(bytes, base) != 0
    }
    #[inline]
    fn plus(self, other: Self) -> Self {
        self | other
    }
    #[inline]
    fn minus(self, other: Self) -> Self {
        self & !other
    }
}

/// A value per slot.
#[derive(Debug)]
pub struct Column<T> {
    values: Chunked<T>,
    /// Whether a slot holds a value; `None` in a column that is not nullable. A slot without one holds `T::default()`.
    valid: Option<Chunked<bool>>,
}

impl<T: Fixed> Column<T> {
    pub(crate) fn new(nullable: bool) -> Self {
        Self {
            values: Chunked::default(),
            valid: nullable.then(Chunked::default),
        }
    }

    /// Whether slots can hold NULL.
    pub fn is_nullable(&self) -> bool {
        self.valid.is_some()
    }

    /// The value of a slot; `T::default()` where it is NULL.
    ///
    /// # Panics
    /// If the table has no such slot; so do all methods that take slots.
    #[inline]
    pub fn get(&self, slot: u32) -> T {
        self.values.get(slot as usize)
    }

    /// Whether a slot holds NULL.
    #[inline]
    pub fn is_null(&self, slot: u32) -> bool {
        self.valid.as_ref().is_some_and(|v| !v.get(slot as usize))
    }

    /// The value of a slot, `None` for NULL.
    #[inline]
    pub fn value(&self, slot: u32) -> Option<T> {
        (!self.is_null(slot)).then(|| self.get(slot))
    }

    /// Sets a slot.
    #[inline]
    pub fn set(&mut self, slot: u32, value: T) {
        *self.values.get_mut(slot as usize) = value;
        if let Some(valid) = &mut self.valid {
            *valid.get_mut(slot as usize) = true;
        }
    }

    /// Sets a slot, to NULL for `None`; in a column that is not nullable `None` means zero.
    #[inline]
    pub fn set_value(&mut self, slot: u32, value: Option<T>) {
        *self.values.get_mut(slot as usize) = value.unwrap_or_default();
        if let Some(valid) = &mut self.valid {
            *valid.get_mut(slot as usize) = value.is_some();
        }
    }

    /// Changes the value of each slot by `change(row, value)`; slots that were NULL hold a value afterwards.
    #[inline]
    pub fn update(&mut self, slots: &[u32], mut change: impl FnMut(usize, &mut T)) {
        for (row, &slot) in slots.iter().enumerate() {
            change(row, self.values.get_mut(slot as usize));
        }
        if let Some(valid) = &mut self.valid {
            for &slot in slots {
                *valid.get_mut(slot as usize) = true;
            }
        }
    }

    /// Adds `values[i]` to `slots[i]`; rows that are NULL by `nulls` are left out. The first value of a NULL slot is its sum.
    pub fn add(&mut self, slots: &[u32], values: &[T], nulls: Option<&NullBuffer>) {
        self.combine(slots, values, nulls, T::plus, |v| v);
    }

    /// Subtracts `values[i]` from `slots[i]`: the retraction of [`Self::add`].
    pub fn subtract(&mut self, slots: &[u32], values: &[T], nulls: Option<&NullBuffer>) {
        self.combine(slots, values, nulls, T::minus, |v| T::default().minus(v));
    }

    /// Keeps the smaller of slot and value. In a column that is not nullable, new slots hold zero, so use a nullable one.
    pub fn min(&mut self, slots: &[u32], values: &[T], nulls: Option<&NullBuffer>) {
        self.combine(slots, values, nulls, |a, b| if b < a { b } else { a }, |v| v);
    }

    /// Keeps the larger of slot and value; see [`Self::min`].
    pub fn max(&mut self, slots: &[u32], values: &[T], nulls: Option<&NullBuffer>) {
        self.combine(slots, values, nulls, |a, b| if b > a { b } else { a }, |v| v);
    }

    /// Sets each slot to its value; the last row of a slot wins, NULL rows set NULL.
    pub fn assign(&mut self, slots: &[u32], values: &[T], nulls: Option<&NullBuffer>) {
        for (row, &slot) in slots.iter().enumerate() {
            let is_null = nulls.is_some_and(|n| n.is_null(row));
            self.set_value(slot, (!is_null).then(|| values[row]));
        }
    }

    #[inline]
    fn combine(
        &mut self,
        slots: &[u32],
        values: &[T],
        nulls: Option<&NullBuffer>,
        merge: impl Fn(T, T) -> T,
        first: impl Fn(T) -> T,
    ) {
        debug_assert_eq!(slots.len(), values.len());
        let nulls = nulls.filter(|n| n.null_count() > 0);
        match (&mut self.valid, nulls) {
            (None, None) => {
                for (&slot, &value) in slots.iter().zip(values) {
                    let held = self.values.get_mut(slot as usize);
                    *held = merge(*held, value);
                }
            }
            (valid, nulls) => {
                for (row, (&slot, &value)) in slots.iter().zip(values).enumerate() {
                    if nulls.is_some_and(|n| n.is_null(row)) {
                        continue;
                    }
                    let held = self.values.get_mut(slot as usize);
                    let is_first = match valid {
                        Some(valid) if !valid.get(slot as usize) => {
                            *valid.get_mut(slot as usize) = true;
                            true
                        }
                        _ => false,
                    };
                    *held = if is_first { first(value) } else { merge(*held, value) };
                }
            }
        }
    }

    /// The values of `slots` as Arrow keeps them: numbers (zero where NULL) and which are NULL.
    pub fn gather(&self, slots: &[u32]) -> (Vec<T>, Option<NullBuffer>) {
        let values = slots.iter().map(|&s| self.get(s)).collect();
        let nulls = self.valid.as_ref().and_then(|valid| {
            let buffer: NullBuffer = slots.iter().map(|&s| valid.get(s as usize)).collect::<Vec<_>>().into();
            (buffer.null_count() > 0).then_some(buffer)
        });
        (values, nulls)
    }

    pub(crate) fn grow_to(&mut self, slots: usize) {
        self.values.grow_to(slots);
        if let Some(valid) = &mut self.valid {
            valid.grow_to(slots);
        }
    }

    /// Sets `slots` from validity bytes (if the writer's column was nullable) and packed values, as they are in runs.
    pub(crate) fn load(&mut self, slots: &[u32], valid: Option<&[u8]>, packing: Packing, values: &[u8]) {
        let width = usize::from(packing.width);
        for (row, &slot) in slots.iter().enumerate() {
            let is_valid = valid.is_none_or(|v| v[row] != 0);
            let bytes = &values[row * width..(row + 1) * width];
            self.set_value(slot, is_valid.then(|| T::unpack(bytes, packing.base)));
        }
    }

    /// Appends the value of a slot, in `N` bytes, behind whether it is one where it may be NULL.
    pub(crate) fn write_slot<const N: usize>(&self, slot: u32, out: &mut Vec<u8>) {
        if self.is_nullable() {
            out.push(u8::from(!self.is_null(slot)));
        }
        out.extend_from_slice(&self.get(slot).pack::<N>(0));
    }

    /// The inverse of [`Self::write_slot`], from the front of `bytes`.
    pub(crate) fn read_slot<const N: usize>(&mut self, slot: u32, bytes: &mut &[u8]) -> Result<(), DamagedValue> {
        let mut is_valid = true;
        if self.is_nullable() {
            let (valid, rest) = bytes.split_first().ok_or(DamagedValue)?;
            (is_valid, *bytes) = (*valid != 0, rest);
        }
        let (value, rest) = bytes.split_at_checked(N).ok_or(DamagedValue)?;
        *bytes = rest;
        self.set_value(slot, is_valid.then(|| T::unpack(value, 0)));
        Ok(())
    }

    pub(crate) fn reset(&mut self, slot: u32) {
        *self.values.get_mut(slot as usize) = T::default();
        if let Some(valid) = &mut self.valid {
            *valid.get_mut(slot as usize) = false;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        if let Some(valid) = &mut self.valid {
            valid.clear();
        }
    }

    pub(crate) fn capture(&mut self) -> CapturedColumn<T> {
        CapturedColumn {
            values: self.values.capture(),
            valid: self.valid.as_mut().map(Chunked::capture),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.values.bytes() + self.valid.as_ref().map_or(0, Chunked::bytes)
    }
}

/// A [`Column`] at the moment of a capture.
#[derive(Debug, Clone)]
pub(crate) struct CapturedColumn<T> {
    values: Captured<T>,
    valid: Option<Captured<bool>>,
}

impl<T: Fixed> CapturedColumn<T> {
    /// How the values in `order` fit into a run.
    pub(crate) fn packing(&self, order: &Order) -> Packing {
        T::packing(order.slots().map(|slot| self.values.get(slot)))
    }

    /// Whether there are validity bytes.
    pub(crate) fn is_nullable(&self) -> bool {
        self.valid.is_some()
    }

    /// Writes the values, and validity bytes before them, to where each block of a run has them; `starts` says where in `out`
    /// the column begins in each block.
    pub(crate) fn write(&self, order: &Order, packing: Packing, starts: &mut [usize], out: &mut [u8]) {
        if let Some(valid) = &self.valid {
            order.write(Packing::plain(1), starts, out, |slot| valid.get(slot));
        }
        order.write(packing, starts, out, |slot| self.values.get(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(nullable: bool, slots: usize) -> Column<i64> {
        let mut c = Column::new(nullable);
        c.grow_to(slots);
        c
    }

    #[test]
    fn sums_leave_nulls_out_and_start_at_the_first_value() {
        let mut c = column(true, 3);
        let nulls = NullBuffer::from(vec![true, false, true, false]);
        c.add(&[0, 0, 0, 1], &[5, 100, 2, 7], Some(&nulls));
        assert_eq!((c.value(0), c.value(1), c.value(2)), (Some(7), None, None));
        c.subtract(&[0, 2], &[7, 3], None);
        assert_eq!((c.value(0), c.value(2)), (Some(0), Some(-3)));
        assert_eq!(c.gather(&[2, 1]).1.map(|n| n.null_count()), Some(1));
    }

    #[test]
    fn extremes_take_the_first_value_even_above_zero() {
        let mut c = column(true, 2);
        c.min(&[0, 0], &[9, 4], None);
        c.max(&[1, 1], &[-9, -4], None);
        assert_eq!((c.get(0), c.get(1)), (4, -4));
    }

    #[test]
    fn counts_need_no_null() {
        let mut c = column(false, 2);
        c.update(&[1, 1, 0], |_, v| *v += 1);
        assert_eq!(c.gather(&[0, 1]), (vec![1, 2], None));
    }
}
