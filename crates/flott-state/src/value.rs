//! Rust values in state: [`StateValue`], and the column that keeps them as they are ([`ValuesColumn`]).
//!
//! In memory a slot holds the value itself, so reading and changing it costs what it costs in a `Vec`. In a run it is bytes in the
//! form of [`flott_core::encoding`], one field of the type that the manifest names: so tools read it without the program, and a
//! later program reads it into a type that has changed.

use crate::chunk::{Captured, Chunked};
use crate::order::Order;
use compact_str::CompactString;
use flott_core::encoding::EncodedRows;
use flott_core::{Field, LogicalType, TypeKind};
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// Bytes are no value of the type that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value ends too early or has a byte that no program writes: the bytes are damaged")]
pub struct DamagedValue;

/// What can be kept in state: a value with a described, versioned form.
///
/// Structs derive it. The methods keep one contract: what [`Self::write`] appends is a value of [`Self::state_type`] in the form
/// of [`flott_core::encoding`], without its presence byte; [`Self::read`] reads that, and what an earlier program wrote with another
/// type, if [`Self::check`] accepts it.
pub trait StateValue: Clone + Send + Sync + 'static {
    /// The type in the manifest.
    fn state_type() -> LogicalType;

    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);

    /// Whether values of `stored` can be read; called once, before any [`Self::read`].
    ///
    /// # Errors
    /// What differs, in words for the person who changed the program.
    fn check(stored: &LogicalType) -> Result<(), String>;

    /// Reads a value of `stored` from the front of `bytes`, and moves `bytes` behind it. Whether `stored` may be NULL says nothing here.
    ///
    /// # Errors
    /// If the bytes are damaged.
    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue>;

    /// Appends the value as a field: `1` and the value, or `0` for an absent one.
    fn write_field(&self, out: &mut Vec<u8>) {
        out.push(1);
        self.write(out);
    }

    /// Reads a field. An absent value is damage for all types but `Option`.
    ///
    /// # Errors
    /// If the bytes are damaged.
    fn read_field(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        match take::<1>(bytes)? {
            [1] => Self::read(stored, bytes),
            _ => Err(DamagedValue),
        }
    }

    /// What the value owns beside itself, in bytes.
    fn owned_bytes(&self) -> usize {
        0
    }

    /// Becomes what `other` is, in memory that it has already where it can.
    #[inline]
    fn copy_from(&mut self, other: &Self) {
        self.clone_from(other);
    }

    /// What a field of this type is where state has none, since an earlier program had no such field.
    fn when_absent() -> Option<Self> {
        None
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], DamagedValue> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(DamagedValue)?;
    *bytes = rest;
    Ok(*head)
}

fn take_count(bytes: &mut &[u8]) -> Result<usize, DamagedValue> {
    Ok(u32::from_le_bytes(take(bytes)?) as usize)
}

fn take_slice<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], DamagedValue> {
    let count = take_count(bytes)?;
    let (head, rest) = bytes.split_at_checked(count).ok_or(DamagedValue)?;
    *bytes = rest;
    Ok(head)
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    // The form counts to 2^32; a longer list does not fit into the memory of one value.
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

/// Refuses a stored type.
fn other(stored: &LogicalType, now: &LogicalType) -> Result<(), String> {
    Err(format!("it was {stored}, and is now {now}"))
}

/// Moves `bytes` behind a field of `stored` that nobody wants any more.
///
/// # Errors
/// If the bytes are damaged.
pub fn skip_field(stored: &LogicalType, bytes: &mut &[u8]) -> Result<(), DamagedValue> {
    match take::<1>(bytes)? {
        [0] => return Ok(()),
        [1] => {}
        _ => return Err(DamagedValue),
    }
    let fixed = |n: usize, bytes: &mut &[u8]| {
        *bytes = bytes.get(n..).ok_or(DamagedValue)?;
        Ok(())
    };
    match &stored.kind {
        TypeKind::Null => Ok(()),
        TypeKind::Boolean | TypeKind::TinyInt => fixed(1, bytes),
        TypeKind::SmallInt => fixed(2, bytes),
        TypeKind::Int | TypeKind::Float | TypeKind::Date | TypeKind::Time(_) | TypeKind::IntervalYearMonth => {
            fixed(4, bytes)
        }
        TypeKind::BigInt
        | TypeKind::Double
        | TypeKind::Timestamp(_)
        | TypeKind::TimestampLtz(_)
        | TypeKind::IntervalDayTime => fixed(8, bytes),
        TypeKind::Decimal(..) => fixed(16, bytes),
        TypeKind::Char(_) | TypeKind::Varchar(_) | TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            take_slice(bytes).map(drop)
        }
        TypeKind::Array(element) => {
            let count = take_count(bytes)?;
            (0..count).try_for_each(|_| skip_field(element, bytes))
        }
        TypeKind::Map(key, value) => {
            let count = take_count(bytes)?;
            (0..count).try_for_each(|_| skip_field(key, bytes).and_then(|()| skip_field(value, bytes)))
        }
        TypeKind::Multiset(element) => {
            let (count, number) = (take_count(bytes)?, LogicalType::not_null(TypeKind::Int));
            (0..count).try_for_each(|_| skip_field(element, bytes).and_then(|()| skip_field(&number, bytes)))
        }
        TypeKind::Row(fields) => fields.iter().try_for_each(|f| skip_field(&f.ty, bytes)),
    }
}

macro_rules! integers {
    ($($ty:ty => $kind:ident),*) => {
        $(impl StateValue for $ty {
            fn state_type() -> LogicalType {
                LogicalType::not_null(TypeKind::$kind)
            }
            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            /// Integers may have become wider.
            fn check(stored: &LogicalType) -> Result<(), String> {
                match width(&stored.kind) {
                    Some(width) if width <= size_of::<Self>() && !stored.nullable => Ok(()),
                    _ => other(stored, &Self::state_type()),
                }
            }
            #[inline]
            fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
                let value = match stored.kind {
                    TypeKind::TinyInt => i64::from(i8::from_le_bytes(take(bytes)?)),
                    TypeKind::SmallInt => i64::from(i16::from_le_bytes(take(bytes)?)),
                    TypeKind::Int => i64::from(i32::from_le_bytes(take(bytes)?)),
                    _ => i64::from_le_bytes(take(bytes)?),
                };
                Self::try_from(value).map_err(|_| DamagedValue)
            }
        })*
    };
}

integers!(i8 => TinyInt, i16 => SmallInt, i32 => Int, i64 => BigInt);

fn width(kind: &TypeKind) -> Option<usize> {
    match kind {
        TypeKind::TinyInt => Some(1),
        TypeKind::SmallInt => Some(2),
        TypeKind::Int => Some(4),
        TypeKind::BigInt => Some(8),
        _ => None,
    }
}

/// A type that is kept as another one, which holds all its values.
macro_rules! kept_as {
    ($($ty:ty as $kept:ty),*) => {
        $(impl StateValue for $ty {
            fn state_type() -> LogicalType {
                <$kept>::state_type()
            }
            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                <$kept>::from(*self).write(out);
            }
            fn check(stored: &LogicalType) -> Result<(), String> {
                <$kept>::check(stored)
            }
            #[inline]
            fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
                <$kept>::read(stored, bytes)?.try_into().map_err(|_| DamagedValue)
            }
        })*
    };
}

kept_as!(u8 as i16, u16 as i32, u32 as i64);

/// A type of one stored form.
macro_rules! plain {
    ($ty:ty, $kind:expr, $value:ident => $write:expr, $bytes:ident => $read:expr) => {
        impl StateValue for $ty {
            fn state_type() -> LogicalType {
                LogicalType::not_null($kind)
            }
            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                let $value = self;
                out.extend_from_slice(&$write);
            }
            fn check(stored: &LogicalType) -> Result<(), String> {
                match *stored == Self::state_type() {
                    true => Ok(()),
                    false => other(stored, &Self::state_type()),
                }
            }
            #[inline]
            fn read(_stored: &LogicalType, $bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
                $read
            }
        }
    };
}

plain!(bool, TypeKind::Boolean, v => [u8::from(*v)], bytes => match take::<1>(bytes)? {
    [0] => Ok(false),
    [1] => Ok(true),
    _ => Err(DamagedValue),
});
plain!(f32, TypeKind::Float, v => v.to_bits().to_le_bytes(), bytes => Ok(f32::from_bits(u32::from_le_bytes(take(bytes)?))));
plain!(f64, TypeKind::Double, v => v.to_bits().to_le_bytes(), bytes => Ok(f64::from_bits(u64::from_le_bytes(take(bytes)?))));
// Twenty digits hold every u64.
plain!(u64, TypeKind::Decimal(20, 0), v => i128::from(*v).to_le_bytes(),
    bytes => u64::try_from(i128::from_le_bytes(take(bytes)?)).map_err(|_| DamagedValue));

/// Texts have one form, however they lie in memory.
macro_rules! texts {
    ($($ty:ty, $text:ident => $owned:expr);*) => {
        $(impl StateValue for $ty {
            fn state_type() -> LogicalType {
                LogicalType::string().with_nullable(false)
            }

            fn write(&self, out: &mut Vec<u8>) {
                put_count(self.len(), out);
                out.extend_from_slice(self.as_bytes());
            }

            fn check(stored: &LogicalType) -> Result<(), String> {
                match stored.kind.is_string() && !stored.nullable {
                    true => Ok(()),
                    false => other(stored, &Self::state_type()),
                }
            }

            fn read(_stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
                let text = std::str::from_utf8(take_slice(bytes)?).map_err(|_| DamagedValue)?;
                Ok(text.into())
            }

            fn owned_bytes(&self) -> usize {
                let $text = self;
                $owned
            }
        })*
    };
}

texts!(
    String, text => text.capacity();
    // Short ones lie in the value itself.
    CompactString, text => if text.is_heap_allocated() { text.capacity() } else { 0 }
);

/// `None` is NULL; `Some(None)` is too, and comes back as `None`.
impl<T: StateValue> StateValue for Option<T> {
    fn state_type() -> LogicalType {
        T::state_type().with_nullable(true)
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn check(stored: &LogicalType) -> Result<(), String> {
        T::check(&stored.with_nullable(false))
    }

    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        T::read(stored, bytes).map(Some)
    }

    fn write_field(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write_field(out),
            None => out.push(0),
        }
    }

    fn read_field(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        if bytes.first() == Some(&0) {
            *bytes = &bytes[1..];
            return Ok(None);
        }
        T::read_field(stored, bytes).map(Some)
    }

    fn owned_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::owned_bytes)
    }

    fn when_absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: StateValue> StateValue for Vec<T> {
    fn state_type() -> LogicalType {
        LogicalType::not_null(TypeKind::Array(Box::new(T::state_type())))
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        self.iter().for_each(|element| element.write_field(out));
    }

    fn check(stored: &LogicalType) -> Result<(), String> {
        match &stored.kind {
            TypeKind::Array(element) if !stored.nullable => T::check(element),
            _ => other(stored, &Self::state_type()),
        }
    }

    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        let TypeKind::Array(element) = &stored.kind else {
            return Err(DamagedValue);
        };
        let count = take_count(bytes)?;
        // A damaged count must not reserve memory: an element has a byte at least.
        let mut elements = Vec::with_capacity(count.min(bytes.len()));
        for _ in 0..count {
            elements.push(T::read_field(element, bytes)?);
        }
        Ok(elements)
    }

    fn owned_bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + self.iter().map(T::owned_bytes).sum::<usize>()
    }
}

/// Maps of both kinds have one form.
macro_rules! maps {
    ($map:ident<K, V $(, $hasher:ident)?>, $($bound:tt)*) => {
        impl<K: StateValue + $($bound)*, V: StateValue $(, $hasher: BuildHasher + Default + Clone + Send + Sync + 'static)?>
            StateValue for $map<K, V $(, $hasher)?>
        {
            fn state_type() -> LogicalType {
                LogicalType::not_null(TypeKind::Map(Box::new(K::state_type()), Box::new(V::state_type())))
            }

            fn write(&self, out: &mut Vec<u8>) {
                put_count(self.len(), out);
                for (key, value) in self {
                    key.write_field(out);
                    value.write_field(out);
                }
            }

            fn check(stored: &LogicalType) -> Result<(), String> {
                match &stored.kind {
                    TypeKind::Map(key, value) if !stored.nullable => K::check(key).and_then(|()| V::check(value)),
                    _ => other(stored, &Self::state_type()),
                }
            }

            fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
                let TypeKind::Map(key, value) = &stored.kind else {
                    return Err(DamagedValue);
                };
                let count = take_count(bytes)?;
                let mut entries = Self::default();
                for _ in 0..count {
                    entries.insert(K::read_field(key, bytes)?, V::read_field(value, bytes)?);
                }
                Ok(entries)
            }

            fn owned_bytes(&self) -> usize {
                let entry = |(k, v): (&K, &V)| size_of::<(K, V)>() + k.owned_bytes() + v.owned_bytes();
                self.iter().map(entry).sum()
            }
        }
    };
}

maps!(BTreeMap<K, V>, Ord);
maps!(HashMap<K, V, S>, Eq + Hash);

/// Tuples are rows of the fields `f0`, `f1`, …, as Flink names them.
macro_rules! tuples {
    ($($t:ident $index:tt $name:literal),*) => {
        impl<$($t: StateValue),*> StateValue for ($($t,)*) {
            fn state_type() -> LogicalType {
                LogicalType::not_null(TypeKind::Row(vec![$(Field::new($name, $t::state_type())),*]))
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$index.write_field(out);)*
            }

            fn check(stored: &LogicalType) -> Result<(), String> {
                let now = Self::state_type();
                let (TypeKind::Row(fields), TypeKind::Row(wanted)) = (&stored.kind, &now.kind) else {
                    return other(stored, &now);
                };
                if stored.nullable || fields.len() != wanted.len() {
                    return other(stored, &now);
                }
                $($t::check(&fields[$index].ty).map_err(|e| format!("field {}: {e}", $name))?;)*
                Ok(())
            }

            #[inline]
            fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
                let TypeKind::Row(fields) = &stored.kind else {
                    return Err(DamagedValue);
                };
                Ok(($($t::read_field(&fields[$index].ty, bytes)?,)*))
            }

            #[inline]
            fn copy_from(&mut self, other: &Self) {
                $(self.$index.copy_from(&other.$index);)*
            }

            fn owned_bytes(&self) -> usize {
                0 $(+ self.$index.owned_bytes())*
            }
        }
    };
}

tuples!(A 0 "f0");
tuples!(A 0 "f0", B 1 "f1");
tuples!(A 0 "f0", B 1 "f1", C 2 "f2");
tuples!(A 0 "f0", B 1 "f1", C 2 "f2", D 3 "f3");
tuples!(A 0 "f0", B 1 "f1", C 2 "f2", D 3 "f3", E 4 "f4");
tuples!(A 0 "f0", B 1 "f1", C 2 "f2", D 3 "f3", E 4 "f4", G 5 "f5");

/// A value, or none, per slot of a table.
pub struct ValuesColumn<V> {
    values: Chunked<Option<V>>,
}

impl<V> fmt::Debug for ValuesColumn<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValuesColumn<{}>", std::any::type_name::<V>())
    }
}

impl<V: StateValue> ValuesColumn<V> {
    pub(crate) fn new() -> Self {
        Self {
            values: Chunked::default(),
        }
    }

    /// The value of a slot.
    ///
    /// # Panics
    /// If the table has no such slot; so do all methods that take slots.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&V> {
        self.values.get_ref(slot as usize).as_ref()
    }

    /// The value of a slot, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> &mut Option<V> {
        self.values.get_mut(slot as usize)
    }

    /// Sets a slot.
    #[inline]
    pub fn set(&mut self, slot: u32, value: Option<V>) {
        *self.get_mut(slot) = value;
    }
}

/// A [`ValuesColumn`] whose type its table does not know.
#[derive(Debug)]
pub struct ErasedValues(pub(crate) Box<dyn AnyValues>);

/// What the table does with any [`ValuesColumn`].
pub(crate) trait AnyValues: fmt::Debug + Send + Any {
    fn grow_to(&mut self, slots: usize);
    fn reset(&mut self, slot: u32);
    fn clear(&mut self);
    /// Those of some slots that have no value.
    fn null_among(&self, slots: &[u32]) -> Vec<u32>;
    fn bytes(&self) -> usize;
    fn capture(&mut self) -> Arc<dyn CapturedValues>;
    /// Whether values of this type in a run can be loaded.
    fn check(&self, stored: &LogicalType) -> Result<(), String>;
    /// Sets a slot to what a run holds.
    fn load(&mut self, slot: u32, stored: &LogicalType, bytes: Option<&[u8]>) -> Result<(), DamagedValue>;
    /// Appends the value of a slot as a field, or nothing if it has none.
    fn write(&self, slot: u32, out: &mut Vec<u8>);
    /// What a value takes in its slot, and how much more those of `slots` own, in bytes.
    fn bytes_of(&self, slots: &[u32]) -> (usize, usize);
}

impl<V: StateValue> AnyValues for ValuesColumn<V> {
    fn grow_to(&mut self, slots: usize) {
        self.values.grow_to(slots);
    }

    fn reset(&mut self, slot: u32) {
        // A blank slot that a capture shares need not be copied.
        if self.get(slot).is_some() {
            self.set(slot, None);
        }
    }

    fn clear(&mut self) {
        self.values.clear();
    }

    fn null_among(&self, slots: &[u32]) -> Vec<u32> {
        let slots = slots.iter().copied();
        slots.filter(|slot| self.get(*slot).is_none()).collect()
    }

    fn bytes(&self) -> usize {
        // What values own is estimated by the first few, since this is asked several times a second.
        const LOOKED_AT: usize = 64;
        let looked_at = self.values.len().min(LOOKED_AT);
        let owned: usize = (0..looked_at)
            .filter_map(|slot| self.get(slot as u32))
            .map(V::owned_bytes)
            .sum();
        self.values.bytes() + owned * self.values.len() / looked_at.max(1)
    }

    fn capture(&mut self) -> Arc<dyn CapturedValues> {
        Arc::new(CapturedColumnOf(self.values.capture()))
    }

    fn check(&self, stored: &LogicalType) -> Result<(), String> {
        V::check(stored)
    }

    fn load(&mut self, slot: u32, stored: &LogicalType, bytes: Option<&[u8]>) -> Result<(), DamagedValue> {
        let value = bytes
            .map(|mut bytes| match V::read_field(stored, &mut bytes) {
                Ok(value) if bytes.is_empty() => Ok(value),
                _ => Err(DamagedValue),
            })
            .transpose()?;
        self.set(slot, value);
        Ok(())
    }

    fn write(&self, slot: u32, out: &mut Vec<u8>) {
        if let Some(value) = self.get(slot) {
            value.write_field(out);
        }
    }

    fn bytes_of(&self, slots: &[u32]) -> (usize, usize) {
        let owned = slots.iter().filter_map(|slot| self.get(*slot)).map(V::owned_bytes);
        (size_of::<Option<V>>(), owned.sum())
    }
}

/// A [`ValuesColumn`] at the moment of a capture.
pub(crate) trait CapturedValues: fmt::Debug + Send + Sync {
    /// The values in the order of a run as fields; an absent one has no bytes.
    fn encode(&self, order: &Order) -> EncodedRows;
}

struct CapturedColumnOf<V>(Captured<Option<V>>);

impl<V> fmt::Debug for CapturedColumnOf<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "captured values of {}", std::any::type_name::<V>())
    }
}

impl<V: StateValue> CapturedValues for CapturedColumnOf<V> {
    fn encode(&self, order: &Order) -> EncodedRows {
        let mut encoded = EncodedRows::default();
        for slot in order.sort(|slot| slot as u32) {
            encoded.push_with(|out| {
                if let Some(value) = self.0.get_ref(slot as usize) {
                    value.write_field(out);
                }
            });
        }
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back<V: StateValue + PartialEq + fmt::Debug>(value: V) {
        let mut bytes = vec![];
        value.write_field(&mut bytes);
        let ty = V::state_type();
        V::check(&ty).unwrap();
        let mut rest = &bytes[..];
        assert_eq!(V::read_field(&ty, &mut rest).unwrap(), value);
        assert!(rest.is_empty());
        let mut rest = &bytes[..];
        skip_field(&ty, &mut rest).unwrap();
        assert!(rest.is_empty(), "{ty}");
        for cut in 0..bytes.len() {
            assert!(V::read_field(&ty, &mut &bytes[..cut]).is_err(), "{ty} cut at {cut}");
            assert!(skip_field(&ty, &mut &bytes[..cut]).is_err(), "{ty} cut at {cut}");
        }
    }

    #[test]
    fn values_come_back_and_can_be_skipped() {
        back(-5i8);
        back(300i16);
        back(i32::MIN);
        back(i64::MAX);
        back((255u8, u16::MAX, u32::MAX, u64::MAX));
        back((true, -0.0f32, f64::INFINITY));
        back(("zoë".to_owned(), Some(1i64), None::<String>));
        back((CompactString::from("zoë"), CompactString::from("x").repeat(30)));
        back(vec![Some(1i32), None]);
        back(BTreeMap::from([("a".to_owned(), vec![1i64]), ("b".to_owned(), vec![])]));
        back(HashMap::<i64, (String, bool)>::from([(1, ("x".to_owned(), true))]));
    }

    #[test]
    fn values_have_the_form_of_columns() {
        use arrow_array::{ArrayRef, Int64Array, StringArray, StructArray};
        let text: ArrayRef = Arc::new(StringArray::from(vec!["ab"]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        let row: ArrayRef = Arc::new(StructArray::try_from(vec![("f0", text), ("f1", number)]).unwrap());
        let encoded = flott_core::encoding::encode_rows(&[row], 1).unwrap();
        let mut bytes = vec![];
        ("ab".to_owned(), None::<i64>).write_field(&mut bytes);
        assert_eq!(encoded.row(0), bytes);
    }

    #[test]
    fn numbers_may_grow_and_types_may_not_change() {
        let mut bytes = vec![];
        7i32.write_field(&mut bytes);
        let int = i32::state_type();
        i64::check(&int).unwrap();
        assert_eq!(i64::read_field(&int, &mut &bytes[..]).unwrap(), 7);
        assert_eq!(Option::<i64>::read_field(&int, &mut &bytes[..]).unwrap(), Some(7));
        assert_eq!(
            i32::check(&i64::state_type()).unwrap_err(),
            "it was BIGINT NOT NULL, and is now INT NOT NULL"
        );
        assert!(String::check(&int).is_err());
        assert!(i64::check(&Option::<i64>::state_type()).is_err(), "NULL has no place");
        assert!(
            <(i64, String)>::check(&<(i64, i64)>::state_type())
                .unwrap_err()
                .starts_with("field f1: ")
        );
    }
}
