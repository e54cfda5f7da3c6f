//! What a stream can be keyed by: [`Key`].
//!
//! A key is hashed and kept as the columns of SQL's keys are ([`flott_core::hash`], [`flott_core::encoding`]), so that equal values
//! have one owner and one form in files, wherever they come from.

use crate::operators::made_of_each;
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Int8Array, Int16Array, Int32Array, Int64Array, StringArray, UInt32Array,
};
use compact_str::CompactString;
use flott_core::{Batch, LogicalType, TypeKind};
use flott_runtime::TaskError;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

/// A value by which records are told apart. Floating-point numbers are none: they have no equality that holds for all.
pub trait Key: Clone + PartialEq + Send + Sync + 'static {
    /// Types of its columns.
    fn types() -> Vec<LogicalType>;

    /// Its columns for many keys.
    fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef>
    where
        Self: 'a;

    /// The same of keys that nobody needs any more.
    fn into_columns(keys: Vec<Self>) -> Vec<ArrayRef> {
        Self::columns(keys.iter())
    }

    /// The columns of the keys that `key` finds in `records`; where it panics, `place` tells in which.
    fn columns_of<T>(records: &[T], key: impl Fn(&T) -> Self, place: &Cell<usize>) -> Vec<ArrayRef> {
        let keys = made_of_each(records.len(), place, |keys| keys.extend(records.iter().map(key)));
        Self::into_columns(keys)
    }

    /// The key of a row; takes its columns from the front.
    fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self;
}

/// The next column. There are as many as [`Key::types`] says, by construction of the table they come from.
fn next<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>) -> &'c ArrayRef {
    columns.next().expect("a table gives all columns of its key")
}

macro_rules! integers {
    ($($ty:ty => $kind:ident $array:ty, $primitive:ty, $kept:ty);*) => {
        $(impl Key for $ty {
            fn types() -> Vec<LogicalType> {
                vec![LogicalType::not_null(TypeKind::$kind)]
            }
            fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
                vec![Arc::new(<$array>::from_iter_values(keys.map(|k| <$kept>::from(*k))))]
            }
            fn into_columns(keys: Vec<Self>) -> Vec<ArrayRef> {
                // In the memory of the keys, where they are of one size with what is kept.
                let kept: Vec<$kept> = keys.into_iter().map(<$kept>::from).collect();
                vec![Arc::new(<$array>::from(kept))]
            }
            fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
                // Only what was made of this type is kept, so it fits.
                next(columns).as_primitive::<$primitive>().value(row) as Self
            }
        })*
    };
}

integers!(
    i8 => TinyInt Int8Array, Int8Type, i8;
    i16 => SmallInt Int16Array, Int16Type, i16;
    i32 => Int Int32Array, Int32Type, i32;
    i64 => BigInt Int64Array, Int64Type, i64;
    u8 => SmallInt Int16Array, Int16Type, i16;
    u16 => Int Int32Array, Int32Type, i32;
    u32 => BigInt Int64Array, Int64Type, i64
);

/// Kept as the BIGINT of the same bits.
impl Key for u64 {
    fn types() -> Vec<LogicalType> {
        i64::types()
    }
    fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from_iter_values(keys.map(|k| *k as i64)))]
    }
    fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
        i64::from_columns(columns, row) as Self
    }
}

impl Key for bool {
    fn types() -> Vec<LogicalType> {
        vec![LogicalType::not_null(TypeKind::Boolean)]
    }
    fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        vec![Arc::new(keys.map(|k| Some(*k)).collect::<BooleanArray>())]
    }
    fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
        next(columns).as_boolean().value(row)
    }
}

macro_rules! texts {
    ($($ty:ty),*) => {
        $(impl Key for $ty {
            fn types() -> Vec<LogicalType> {
                vec![LogicalType::string().with_nullable(false)]
            }
            fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
                vec![Arc::new(StringArray::from_iter_values(keys))]
            }
            fn columns_of<T>(records: &[T], key: impl Fn(&T) -> Self, place: &Cell<usize>) -> Vec<ArrayRef> {
                // One by one: the memory of each key is that of the one before.
                let mut texts = StringBuilder::with_capacity(records.len(), records.len() * 16);
                for (index, record) in records.iter().enumerate() {
                    place.set(index);
                    texts.append_value(key(record));
                }
                vec![Arc::new(texts.finish())]
            }
            fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
                next(columns).as_string::<i32>().value(row).into()
            }
        }

        /// `None` is a key of its own, as NULL is in SQL.
        impl Key for Option<$ty> {
            fn types() -> Vec<LogicalType> {
                vec![LogicalType::string()]
            }
            fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
                vec![Arc::new(keys.map(Option::as_deref).collect::<StringArray>())]
            }
            fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
                let texts = next(columns).as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).into())
            }
        })*
    };
}

texts!(String, CompactString);

macro_rules! nullable_integers {
    ($($ty:ty => $kind:ident $array:ty, $primitive:ty, $kept:ty);*) => {
        $(/// `None` is a key of its own, as NULL is in SQL.
        impl Key for Option<$ty> {
            fn types() -> Vec<LogicalType> {
                vec![LogicalType::not_null(TypeKind::$kind).with_nullable(true)]
            }
            fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
                vec![Arc::new(keys.map(|k| k.map(<$kept>::from)).collect::<$array>())]
            }
            fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
                let numbers = next(columns).as_primitive::<$primitive>();
                // Only what was made of this type is kept, so it fits.
                numbers.is_valid(row).then(|| numbers.value(row) as $ty)
            }
        })*
    };
}

nullable_integers!(
    i8 => TinyInt Int8Array, Int8Type, i8;
    i16 => SmallInt Int16Array, Int16Type, i16;
    i32 => Int Int32Array, Int32Type, i32;
    i64 => BigInt Int64Array, Int64Type, i64;
    u8 => SmallInt Int16Array, Int16Type, i16;
    u16 => Int Int32Array, Int32Type, i32;
    u32 => BigInt Int64Array, Int64Type, i64
);

/// `None` is a key of its own, as NULL is in SQL.
impl Key for Option<bool> {
    fn types() -> Vec<LogicalType> {
        vec![LogicalType::not_null(TypeKind::Boolean).with_nullable(true)]
    }
    fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        vec![Arc::new(keys.copied().collect::<BooleanArray>())]
    }
    fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
        let values = next(columns).as_boolean();
        values.is_valid(row).then(|| values.value(row))
    }
}

/// Kept as a text of one character.
impl Key for char {
    fn types() -> Vec<LogicalType> {
        String::types()
    }
    fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        let texts = keys.map(|k| Some(k.to_string()));
        vec![Arc::new(texts.collect::<StringArray>())]
    }
    fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
        let text = next(columns).as_string::<i32>().value(row);
        text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

macro_rules! tuples {
    ($($t:ident $index:tt),*) => {
        impl<$($t: Key),*> Key for ($($t,)*) {
            fn types() -> Vec<LogicalType> {
                let mut types = vec![];
                $(types.extend($t::types());)*
                types
            }
            fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef>
            where
                Self: 'a,
            {
                let mut columns = vec![];
                $(columns.extend($t::columns(keys.clone().map(|k| &k.$index)));)*
                columns
            }
            fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
                ($($t::from_columns(columns, row),)*)
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

/// The keys of a batch: columns, and values once one is asked for, as few functions do.
pub(crate) struct Keys<K> {
    columns: Vec<ArrayRef>,
    rows: usize,
    values: OnceCell<Vec<K>>,
}

impl<K: Key> Keys<K> {
    /// The keys of `rows` records in columns of [`Key::types`].
    pub(crate) fn in_columns(columns: Vec<ArrayRef>, rows: usize) -> Self {
        Self {
            columns,
            rows,
            values: OnceCell::new(),
        }
    }

    pub(crate) fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    pub(crate) fn into_columns(self) -> Vec<ArrayRef> {
        self.columns
    }

    /// The columns of some records, by their places.
    pub(crate) fn take(&self, rows: &[u32]) -> Result<Vec<ArrayRef>, TaskError> {
        let rows = UInt32Array::from_iter_values(rows.iter().copied());
        let taken = Batch::new(self.columns.clone(), self.rows).take(&rows);
        Ok(taken
            .map_err(|e| TaskError::internal(e.to_string()))?
            .columns()
            .to_vec())
    }

    /// The keys one after the other.
    pub(crate) fn values(&self) -> &[K] {
        let key = |row| K::from_columns(&mut self.columns.iter(), row);
        self.values.get_or_init(|| (0..self.rows).map(key).collect())
    }

    /// The key of record `row`.
    pub(crate) fn at(&self, row: usize) -> KeyAt<'_, K> {
        KeyAt { keys: self, row }
    }
}

/// One of [`Keys`].
pub(crate) struct KeyAt<'a, K> {
    keys: &'a Keys<K>,
    row: usize,
}

impl<K> Clone for KeyAt<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for KeyAt<'_, K> {}

impl<'a, K: Key> KeyAt<'a, K> {
    /// The key.
    pub(crate) fn get(self) -> &'a K {
        &self.keys.values()[self.row]
    }

    /// Its columns, of one row.
    pub(crate) fn columns(self) -> Vec<ArrayRef> {
        self.keys
            .columns
            .iter()
            .map(|column| column.slice(self.row, 1))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back<K: Key + std::fmt::Debug>(keys: Vec<K>) {
        let columns = K::columns(keys.iter());
        let types: Vec<_> = K::types().iter().map(LogicalType::to_arrow).collect();
        assert_eq!(columns.iter().map(|c| c.data_type().clone()).collect::<Vec<_>>(), types);
        for (row, key) in keys.iter().enumerate() {
            assert_eq!(K::from_columns(&mut columns.iter(), row), *key);
        }
        assert_eq!(&K::into_columns(keys.clone()), &columns);
        assert_eq!(&K::columns_of(&keys, K::clone, &Cell::new(0)), &columns);
        let kept = Keys::<K>::in_columns(columns, keys.len());
        assert_eq!(kept.values(), keys);
        assert_eq!(
            K::from_columns(&mut kept.at(keys.len() - 1).columns().iter(), 0),
            keys[keys.len() - 1]
        );
    }

    #[test]
    fn keys_come_back_from_their_columns() {
        back(vec![-1i8, 1]);
        back(vec![i16::MIN]);
        back(vec![i32::MAX]);
        back(vec![i64::MIN]);
        back(vec![u8::MAX]);
        back(vec![u16::MAX]);
        back(vec![u32::MAX]);
        back(vec![u64::MAX, 0]);
        back(vec![true, false]);
        back(vec![String::new(), "zoë".to_owned()]);
        back(vec!["zoë".into(), CompactString::from("x").repeat(30)]);
        back(vec![None, Some(CompactString::from("zoë"))]);
        back(vec![None, Some("a".to_owned())]);
        back(vec![(Some(1i64), "a".to_owned(), false), (None, "b".to_owned(), true)]);
        back(vec![((1i32, 2i64), 3u8)]);
        back(vec!['a', 'ë', '\0']);
        back(vec![None, Some(i8::MIN)]);
        back(vec![Some(u32::MAX), None]);
        back(vec![Some(true), None, Some(false)]);
        back(vec![(1i8, 2i16, 3i32, 4i64, 'c', true, None::<bool>, "t".to_owned())]);
    }
}
