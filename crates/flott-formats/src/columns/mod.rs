//! Column builders that decoders write into: sparse, and able to take back an unfinished row.
//!
//! Arrow's own builders grow only. These take each value *at a row*: [`Slot::open`] fills up with NULL the rows that
//! were never written (a missing field or a NULL costs nothing when it is read) and drops a value already written at
//! that row (the last of duplicate keys wins). A row that turns out to be bad is taken back by [`Column::truncate`].
//!
//! Invariant: a column never holds more rows than the row being written plus one, and [`Column::finish`] gives exactly
//! the number of rows asked for. Validity bits exist only once a NULL came.

mod finish;
mod validity;

use crate::text::time::DateCache;
use arrow_schema::TimeUnit;
use flott_core::types::{LogicalType, TypeKind, timestamp_unit};
pub(crate) use validity::Validity;

/// Values of a fixed width.
#[derive(Debug, Default)]
pub(crate) struct Fixed<T> {
    values: Vec<T>,
    validity: Validity,
}

/// Values of variable length.
#[derive(Debug)]
pub(crate) struct Bytes {
    data: Vec<u8>,
    /// End of each value in `data`.
    ends: Vec<i32>,
    validity: Validity,
}

/// Lists; maps too, with two columns of entries.
#[derive(Debug)]
pub(crate) struct Lists<C> {
    /// The entries of all rows.
    pub(crate) entries: C,
    /// End of each row in the entries.
    ends: Vec<i32>,
    validity: Validity,
}

/// The two entry columns of a map.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) keys: Column,
    pub(crate) values: Column,
}

/// Nested rows.
#[derive(Debug)]
pub(crate) struct Rows {
    /// One column per field; a field's row is its parent's row.
    pub(crate) fields: Vec<Column>,
    rows: usize,
    validity: Validity,
}

/// One column.
#[derive(Debug)]
pub(crate) enum Column {
    Null(usize),
    Boolean(Fixed<bool>),
    Int8(Fixed<i8>),
    Int16(Fixed<i16>),
    Int32(Fixed<i32>),
    Int64(Fixed<i64>),
    Float32(Fixed<f32>),
    Float64(Fixed<f64>),
    Decimal {
        values: Fixed<i128>,
        precision: u8,
        scale: u8,
    },
    Text(Bytes),
    Binary(Bytes),
    Date(Fixed<i32>),
    Time {
        values: Fixed<i32>,
        precision: u8,
    },
    Timestamp {
        values: Fixed<i64>,
        unit: TimeUnit,
        zoned: bool,
        dates: DateCache,
    },
    List(Box<Lists<Column>>),
    Map(Box<Lists<Entries>>),
    Row(Rows),
}

impl<T: Copy + Default> Fixed<T> {
    /// Writes the value of row `row`.
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: T) {
        if self.values.len() != row {
            self.seek(row);
        }
        self.values.push(value);
        self.validity.push_valid();
    }

    #[cold]
    #[inline(never)]
    fn seek_back(&mut self, row: usize) {
        self.values.truncate(row);
        self.validity.truncate(row);
    }

    #[inline(never)]
    fn seek(&mut self, row: usize) {
        let have = self.values.len();
        if have > row {
            return self.seek_back(row);
        }
        self.values.resize(row, T::default());
        self.validity.push_nulls(have, row - have);
    }
}

impl Bytes {
    fn new() -> Self {
        Self {
            data: Vec::new(),
            ends: Vec::new(),
            validity: Validity::default(),
        }
    }

    /// Writes the value of row `row`.
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: &[u8]) {
        self.data_at(row).extend_from_slice(value);
        self.close();
    }

    /// The buffer to which the value of row `row` is to be appended; [`Bytes::close`] ends it.
    #[inline]
    pub(crate) fn data_at(&mut self, row: usize) -> &mut Vec<u8> {
        if self.ends.len() != row {
            self.seek(row);
        }
        &mut self.data
    }

    /// Ends the value begun by [`Bytes::data_at`].
    #[inline]
    pub(crate) fn close(&mut self) {
        self.ends.push(self.data.len() as i32);
        self.validity.push_valid();
    }

    /// Takes back what was appended since [`Bytes::data_at`].
    pub(crate) fn abandon(&mut self) {
        self.data.truncate(self.ends.last().map_or(0, |e| *e as usize));
    }

    #[inline(never)]
    fn seek(&mut self, row: usize) {
        let have = self.ends.len();
        let end = |ends: &[i32]| ends.last().copied().unwrap_or(0);
        if have > row {
            self.ends.truncate(row);
            self.data.truncate(end(&self.ends) as usize);
            self.validity.truncate(row);
        } else {
            let last = end(&self.ends);
            self.ends.resize(row, last);
            self.validity.push_nulls(have, row - have);
        }
    }
}

/// What a list's or map's entries can do.
pub(crate) trait Nested {
    fn truncate(&mut self, rows: usize);
}

impl Nested for Column {
    fn truncate(&mut self, rows: usize) {
        Column::truncate(self, rows);
    }
}

impl Nested for Entries {
    fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
        self.values.truncate(rows);
    }
}

impl<C: Nested> Lists<C> {
    fn new(entries: C) -> Self {
        Self {
            entries,
            ends: Vec::new(),
            validity: Validity::default(),
        }
    }

    /// Opens row `row`; gives the index of its first entry.
    pub(crate) fn open(&mut self, row: usize) -> usize {
        let have = self.ends.len();
        if have != row {
            self.seek(row);
        }
        let first = self.ends.last().map_or(0, |e| *e as usize);
        self.entries.truncate(first);
        first
    }

    /// Closes the opened row, whose entries end before index `end`.
    pub(crate) fn close(&mut self, end: usize) {
        self.ends.push(end as i32);
        self.validity.push_valid();
    }

    fn seek(&mut self, row: usize) {
        let have = self.ends.len();
        if have > row {
            self.ends.truncate(row);
            self.validity.truncate(row);
            let end = self.ends.last().map_or(0, |e| *e as usize);
            self.entries.truncate(end);
        } else {
            let last = self.ends.last().copied().unwrap_or(0);
            self.ends.resize(row, last);
            self.validity.push_nulls(have, row - have);
        }
    }
}

impl Rows {
    fn new(fields: Vec<Column>) -> Self {
        Self {
            fields,
            rows: 0,
            validity: Validity::default(),
        }
    }

    /// Opens row `row`: its fields are NULL until they are set.
    #[inline]
    pub(crate) fn open(&mut self, row: usize) {
        if self.rows != row {
            self.seek(row);
        }
        self.rows = row + 1;
        self.validity.push_valid();
    }

    fn seek(&mut self, row: usize) {
        if self.rows > row {
            self.validity.truncate(row);
            for field in &mut self.fields {
                field.truncate(row);
            }
        } else {
            self.validity.push_nulls(self.rows, row - self.rows);
        }
        self.rows = row;
    }
}

impl Column {
    /// An empty column of this type.
    pub(crate) fn new(ty: &LogicalType) -> Self {
        match &ty.kind {
            TypeKind::Null => Self::Null(0),
            TypeKind::Boolean => Self::Boolean(Fixed::default()),
            TypeKind::TinyInt => Self::Int8(Fixed::default()),
            TypeKind::SmallInt => Self::Int16(Fixed::default()),
            TypeKind::Int | TypeKind::IntervalYearMonth => Self::Int32(Fixed::default()),
            TypeKind::BigInt | TypeKind::IntervalDayTime => Self::Int64(Fixed::default()),
            TypeKind::Float => Self::Float32(Fixed::default()),
            TypeKind::Double => Self::Float64(Fixed::default()),
            TypeKind::Decimal(p, s) => Self::Decimal {
                values: Fixed::default(),
                precision: *p,
                scale: *s,
            },
            TypeKind::Char(_) | TypeKind::Varchar(_) => Self::Text(Bytes::new()),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Self::Binary(Bytes::new()),
            TypeKind::Date => Self::Date(Fixed::default()),
            TypeKind::Time(p) => Self::Time {
                values: Fixed::default(),
                precision: *p,
            },
            TypeKind::Timestamp(p) => Self::timestamp(*p, false),
            TypeKind::TimestampLtz(p) => Self::timestamp(*p, true),
            TypeKind::Array(element) => Self::List(Box::new(Lists::new(Self::new(element)))),
            TypeKind::Map(key, value) => Self::map(key, value),
            TypeKind::Multiset(element) => Self::map(element, &LogicalType::not_null(TypeKind::Int)),
            TypeKind::Row(fields) => Self::Row(Rows::new(fields.iter().map(|f| Self::new(&f.ty)).collect())),
        }
    }

    fn timestamp(precision: u8, zoned: bool) -> Self {
        Self::Timestamp {
            values: Fixed::default(),
            unit: timestamp_unit(precision),
            zoned,
            dates: DateCache::default(),
        }
    }

    fn map(key: &LogicalType, value: &LogicalType) -> Self {
        let entries = Entries {
            keys: Self::new(key),
            values: Self::new(value),
        };
        Self::Map(Box::new(Lists::new(entries)))
    }

    /// Takes back every value from row `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        fn fixed<T: Copy + Default>(c: &mut Fixed<T>, rows: usize) {
            if c.values.len() > rows {
                c.seek_back(rows);
            }
        }
        fn bytes(c: &mut Bytes, rows: usize) {
            if c.ends.len() > rows {
                c.seek(rows);
            }
            c.abandon();
        }
        fn lists<C: Nested>(c: &mut Lists<C>, rows: usize) {
            if c.ends.len() > rows {
                c.seek(rows);
            }
            let end = c.ends.last().map_or(0, |e| *e as usize);
            c.entries.truncate(end);
        }
        match self {
            Self::Null(n) => *n = (*n).min(rows),
            Self::Boolean(c) => fixed(c, rows),
            Self::Int8(c) => fixed(c, rows),
            Self::Int16(c) => fixed(c, rows),
            Self::Int32(c) | Self::Date(c) => fixed(c, rows),
            Self::Int64(c) => fixed(c, rows),
            Self::Float32(c) => fixed(c, rows),
            Self::Float64(c) => fixed(c, rows),
            Self::Decimal { values, .. } => fixed(values, rows),
            Self::Time { values, .. } => fixed(values, rows),
            Self::Timestamp { values, .. } => fixed(values, rows),
            Self::Text(c) | Self::Binary(c) => bytes(c, rows),
            Self::List(c) => lists(c, rows),
            Self::Map(c) => lists(c, rows),
            Self::Row(c) => {
                if c.rows > rows {
                    c.seek(rows);
                }
            }
        }
    }
}
