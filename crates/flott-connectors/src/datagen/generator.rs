//! Generators of a field's values: columns as functions of seed and row.
//!
//! A value is made from one number, its entropy, which is mixed from the table's seed, the field's place and the row;
//! elements of an array mix on from their array's. Nothing is drawn from a stream, so any row can be made at any time.

use crate::table::wrong;
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, MapArray, NullArray, PrimitiveArray, StructArray,
    make_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, TimeUnit};
use flott_core::{LogicalType, Options, TypeKind, suggest};
use flott_runtime::connector::{ConnectorError, TableSpec};
use std::sync::Arc;

/// What every field's option begins with.
pub(super) const PREFIX: &str = "fields.";

/// Length of a random string or of bytes, where it is not given.
const TEXT_LENGTH: usize = 100;
/// Length of a random collection, where it is not given.
const COLLECTION_LENGTH: usize = 3;

/// Two numbers into one of which every bit depends on every bit of both (the finaliser of SplitMix64).
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a
        .wrapping_add(b.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A field's generator.
#[derive(Debug, Clone)]
pub(super) struct Generator {
    ty: LogicalType,
    /// Sets the fields of a table apart.
    salt: u64,
    null_rate: f64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Start and end, both included.
    Sequence(i64, i64),
    Boolean,
    /// Whole numbers, both ends included; intervals too.
    Integer(i64, i64),
    Float(f64, f64),
    Text(Length),
    Bytes(Length),
    /// Now, in days, milliseconds of the day, or up to so many milliseconds ago.
    Now {
        max_past_ms: i64,
    },
    Array(Length, Box<Generator>),
    Map(Length, Box<Generator>, Box<Generator>),
    Row(Vec<Generator>),
    Null,
}

#[derive(Debug, Clone, Copy)]
struct Length {
    most: usize,
    /// Whether shorter ones come too.
    varies: bool,
}

impl Length {
    fn of(self, entropy: u64) -> usize {
        if self.varies && self.most > 0 {
            1 + (mix(entropy, 11) % self.most as u64) as usize
        } else {
            self.most
        }
    }
}

/// The generators of all columns of a table.
pub(super) fn read_all(table: &TableSpec) -> Result<Vec<Generator>, ConnectorError> {
    let fields: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    for (key, _) in table.options.iter().filter(|(k, _)| k.starts_with(PREFIX)) {
        let rest = &key[PREFIX.len()..];
        if !fields
            .iter()
            .any(|f| rest.strip_prefix(f).is_some_and(|r| r.starts_with('.')))
        {
            let name = rest.split('.').next().unwrap_or(rest);
            let hint = suggest::hint(name, fields.iter().copied());
            return Err(wrong(
                table,
                format!("option '{key}' names no column of the table{hint}"),
            ));
        }
    }
    let mut known = vec![];
    let read = |known: &mut Vec<String>, (i, column): (usize, &flott_core::Field)| {
        let key = format!("{PREFIX}{}", column.name);
        Generator::read(&table.options, &key, &column.ty, mix(0x666C_6F74, i as u64), known)
            .map_err(|e| wrong(table, e))
    };
    let all: Vec<Generator> = table
        .columns
        .iter()
        .enumerate()
        .map(|c| read(&mut known, c))
        .collect::<Result<_, _>>()?;
    if let Some((key, _)) = table
        .options
        .iter()
        .find(|(k, _)| k.starts_with(PREFIX) && !known.iter().any(|n| n == k))
    {
        let hint = suggest::hint(key, known.iter().map(String::as_str));
        return Err(wrong(
            table,
            format!("option '{key}' does not fit the type of its field{hint}"),
        ));
    }
    Ok(all)
}

impl Generator {
    /// Reads the options under `key`; appends to `known` those that exist there.
    fn read(
        options: &Options,
        key: &str,
        ty: &LogicalType,
        salt: u64,
        known: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mut named = |suffix: &str| {
            let name = format!("{key}.{suffix}");
            known.push(name.clone());
            name
        };
        let text = |e: flott_core::options::OptionError| e.to_string();
        let kind_key = named("kind");
        let is_sequence = options.one_of(&kind_key, &["random", "sequence"]).map_err(text)? == Some(1);
        let null_rate = options.float(&named("null-rate")).map_err(text)?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) {
            return Err(format!(
                "option '{key}.null-rate' has the value '{null_rate}', but needs a number from 0 to 1"
            ));
        }
        let kind = if is_sequence {
            if !(ty.kind.is_numeric() || ty.kind.is_string()) {
                return Err(format!(
                    "option '{kind_key}' = 'sequence' needs a numeric or string field, not {ty}"
                ));
            }
            let mut bound = |name: &str| {
                let name = named(name);
                let value = options.integer(&name).map_err(text)?;
                value.ok_or_else(|| format!("option '{kind_key}' = 'sequence' needs the option '{name}'"))
            };
            let (start, end) = (bound("start")?, bound("end")?);
            if start > end {
                return Err(format!(
                    "option '{key}.start' ({start}) lies behind '{key}.end' ({end})"
                ));
            }
            Kind::Sequence(start, end)
        } else {
            Self::read_random(options, key, ty, salt, known)?
        };
        Ok(Self {
            ty: ty.clone(),
            salt,
            null_rate,
            kind,
        })
    }

    fn read_random(
        options: &Options,
        key: &str,
        ty: &LogicalType,
        salt: u64,
        known: &mut Vec<String>,
    ) -> Result<Kind, String> {
        let text = |e: flott_core::options::OptionError| e.to_string();
        let range = |known: &mut Vec<String>, least: i64, most: i64| {
            let bound = |known: &mut Vec<String>, name: &str, default: i64| {
                let name = format!("{key}.{name}");
                let value = options.integer(&name).map_err(text)?.unwrap_or(default);
                known.push(name.clone());
                if value < least || value > most {
                    return Err(format!("option '{name}' has the value '{value}', which is no {ty}"));
                }
                Ok(value)
            };
            let (min, max) = (bound(known, "min", least)?, bound(known, "max", most)?);
            if min > max {
                return Err(format!(
                    "option '{key}.min' ({min}) is greater than '{key}.max' ({max})"
                ));
            }
            Ok(Kind::Integer(min, max))
        };
        let floats = |known: &mut Vec<String>, least: f64, most: f64| {
            let (min_key, max_key) = (format!("{key}.min"), format!("{key}.max"));
            let min = options.float(&min_key).map_err(text)?.unwrap_or(least);
            let max = options.float(&max_key).map_err(text)?.unwrap_or(most);
            known.extend([min_key, max_key]);
            if min > max {
                return Err(format!(
                    "option '{key}.min' ({min}) is greater than '{key}.max' ({max})"
                ));
            }
            Ok(Kind::Float(min, max))
        };
        let length = |known: &mut Vec<String>, default: usize| {
            let (length_key, varies_key) = (format!("{key}.length"), format!("{key}.var-len"));
            let most = options.positive(&length_key).map_err(text)?.unwrap_or(default);
            let varies = options.boolean(&varies_key).map_err(text)?.unwrap_or(false);
            known.extend([length_key, varies_key]);
            Ok::<_, String>(Length { most, varies })
        };
        let child = |known: &mut Vec<String>, name: &str, ty: &LogicalType, number: u64| {
            let read = Self::read(options, &format!("{key}.{name}"), ty, mix(salt, number), known)?;
            Ok::<_, String>(Box::new(read))
        };
        let declared = |n: u32| {
            if n == flott_core::types::MAX_LENGTH {
                TEXT_LENGTH
            } else {
                n as usize
            }
        };
        Ok(match &ty.kind {
            TypeKind::Null => Kind::Null,
            TypeKind::Boolean => Kind::Boolean,
            TypeKind::TinyInt => range(known, i8::MIN.into(), i8::MAX.into())?,
            TypeKind::SmallInt => range(known, i16::MIN.into(), i16::MAX.into())?,
            TypeKind::Int => range(known, i32::MIN.into(), i32::MAX.into())?,
            TypeKind::IntervalYearMonth => range(known, 0, 120_000)?,
            TypeKind::BigInt | TypeKind::IntervalDayTime => range(known, i64::MIN, i64::MAX)?,
            TypeKind::Float => floats(known, f64::from(f32::MIN), f64::from(f32::MAX))?,
            TypeKind::Double => floats(known, f64::MIN, f64::MAX)?,
            TypeKind::Decimal(p, s) => {
                let most = 10f64.powi(i32::from(*p) - i32::from(*s));
                floats(known, -most, most)?
            }
            TypeKind::Char(n) | TypeKind::Varchar(n) => Kind::Text(length(known, declared(*n))?),
            TypeKind::Binary(n) | TypeKind::Varbinary(n) => Kind::Bytes(length(known, declared(*n))?),
            TypeKind::Date | TypeKind::Time(_) => Kind::Now { max_past_ms: 0 },
            TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
                let name = format!("{key}.max-past");
                let max_past_ms = options.duration_ms(&name).map_err(text)?.unwrap_or(0);
                known.push(name);
                Kind::Now { max_past_ms }
            }
            TypeKind::Array(element) => {
                Kind::Array(length(known, COLLECTION_LENGTH)?, child(known, "element", element, 1)?)
            }
            TypeKind::Map(k, v) => Kind::Map(
                length(known, COLLECTION_LENGTH)?,
                child(known, "key", k, 1)?,
                child(known, "value", v, 2)?,
            ),
            TypeKind::Multiset(element) => {
                let count = LogicalType::not_null(TypeKind::Int);
                let count = Self {
                    ty: count,
                    salt: mix(salt, 2),
                    null_rate: 0.0,
                    kind: Kind::Integer(1, 10),
                };
                Kind::Map(
                    length(known, COLLECTION_LENGTH)?,
                    child(known, "element", element, 1)?,
                    Box::new(count),
                )
            }
            TypeKind::Row(fields) => {
                let read = |(i, f): (usize, &flott_core::Field)| Ok(*child(known, &f.name, &f.ty, i as u64 + 1)?);
                Kind::Row(fields.iter().enumerate().map(read).collect::<Result<_, String>>()?)
            }
        })
    }

    /// Rows that a sequence has.
    pub(super) fn sequence_length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Sequence(start, end) => Some(end.abs_diff(*start).saturating_add(1)),
            Kind::Row(fields) => fields.iter().filter_map(Self::sequence_length).min(),
            _ => None,
        }
    }

    /// The generator for `ty`, a ROW type with some of the fields.
    pub(super) fn projected(&self, ty: &LogicalType) -> Self {
        let mut projected = self.clone();
        if let (Kind::Row(children), TypeKind::Row(all), TypeKind::Row(wanted)) = (&self.kind, &self.ty.kind, &ty.kind)
        {
            let child = |f: &flott_core::Field| {
                let at = all.iter().position(|a| a.name == f.name)?;
                Some(children[at].projected(&f.ty))
            };
            projected.kind = Kind::Row(wanted.iter().filter_map(child).collect());
            projected.ty = ty.clone();
        }
        projected
    }

    /// The values of these rows.
    pub(super) fn column(&self, seed: u64, rows: &[u64], now_ms: i64) -> ArrayRef {
        let entropies: Vec<u64> = rows.iter().map(|row| mix(seed, *row)).collect();
        self.values(rows, &entropies, now_ms)
    }

    fn values(&self, rows: &[u64], parents: &[u64], now_ms: i64) -> ArrayRef {
        let entropies: Vec<u64> = parents.iter().map(|e| mix(*e, self.salt)).collect();
        let nulls = (self.null_rate > 0.0).then(|| {
            let share = |e: &u64| (mix(*e, 7) >> 11) as f64 / (1u64 << 53) as f64;
            entropies
                .iter()
                .map(|e| share(e) >= self.null_rate)
                .collect::<NullBuffer>()
        });
        let ty = self.ty.to_arrow();
        match &self.kind {
            Kind::Sequence(start, _) => {
                let numbers = rows.iter().map(|row| start.wrapping_add(*row as i64));
                self.integers(numbers, nulls, &ty)
            }
            Kind::Integer(min, max) => {
                let span = max.abs_diff(*min);
                let draw = |e: &u64| match span.checked_add(1) {
                    Some(count) => min.wrapping_add((e % count) as i64),
                    None => *e as i64,
                };
                self.integers(entropies.iter().map(draw), nulls, &ty)
            }
            Kind::Float(min, max) => {
                let share = |e: &u64| (e >> 11) as f64 / ((1u64 << 53) - 1) as f64;
                // Weighted, as the whole span of DOUBLE is no double.
                let draw = |e: &u64| (min * (1.0 - share(e)) + max * share(e)).clamp(*min, *max);
                self.floats(entropies.iter().map(draw), nulls)
            }
            Kind::Boolean => Arc::new(BooleanArray::new(entropies.iter().map(|e| e & 1 == 1).collect(), nulls)),
            Kind::Text(length) => {
                let mut builder = StringBuilder::new();
                let mut text = String::new();
                for (i, e) in entropies.iter().enumerate() {
                    if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                        builder.append_null();
                        continue;
                    }
                    text.clear();
                    for at in 0..length.of(*e) {
                        let digit = mix(*e, (at / 16) as u64) >> (at % 16 * 4) & 15;
                        text.push(char::from(b"0123456789abcdef"[digit as usize]));
                    }
                    builder.append_value(&text);
                }
                Arc::new(builder.finish())
            }
            Kind::Bytes(length) => {
                let mut builder = BinaryBuilder::new();
                for (i, e) in entropies.iter().enumerate() {
                    if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                        builder.append_null();
                        continue;
                    }
                    let bytes: Vec<u8> = (0..length.of(*e)).map(|at| mix(*e, at as u64) as u8).collect();
                    builder.append_value(bytes);
                }
                Arc::new(builder.finish())
            }
            Kind::Now { max_past_ms } => {
                let past = |e: &u64| {
                    if *max_past_ms > 0 {
                        (e % (*max_past_ms as u64 + 1)) as i64
                    } else {
                        0
                    }
                };
                let times = entropies.iter().map(|e| now_ms - past(e));
                match &ty {
                    DataType::Date32 => primitive::<Date32Type>(times.map(|t| t.div_euclid(86_400_000) as i32), nulls),
                    DataType::Time32(_) => {
                        primitive::<Time32MillisecondType>(times.map(|t| t.rem_euclid(86_400_000) as i32), nulls)
                    }
                    DataType::Timestamp(unit, _) => {
                        let factor = match unit {
                            TimeUnit::Microsecond => 1_000,
                            TimeUnit::Nanosecond => 1_000_000,
                            _ => 1,
                        };
                        let values: Vec<i64> = times.map(|t| t * factor).collect();
                        retyped(PrimitiveArray::<Int64Type>::new(values.into(), nulls).into_data(), &ty)
                    }
                    _ => Arc::new(NullArray::new(rows.len())),
                }
            }
            Kind::Array(length, element) => {
                let (offsets, children) = spread(&entropies, *length);
                let values = element.values(&children, &children, now_ms);
                let DataType::List(field) = ty else {
                    return Arc::new(NullArray::new(rows.len()));
                };
                Arc::new(ListArray::new(field, offsets, values, nulls))
            }
            Kind::Map(length, key, value) => {
                let (offsets, children) = spread(&entropies, *length);
                let DataType::Map(field, sorted) = ty else {
                    return Arc::new(NullArray::new(rows.len()));
                };
                let DataType::Struct(fields) = field.data_type() else {
                    return Arc::new(NullArray::new(rows.len()));
                };
                let entries = vec![
                    key.values(&children, &children, now_ms),
                    value.values(&children, &children, now_ms),
                ];
                let entries = StructArray::new(fields.clone(), entries, None);
                Arc::new(MapArray::new(field, offsets, entries, nulls, sorted))
            }
            Kind::Row(generators) => {
                let DataType::Struct(fields) = ty else {
                    return Arc::new(NullArray::new(rows.len()));
                };
                let columns = generators
                    .iter()
                    .map(|g| g.values(rows, &entropies, now_ms))
                    .collect::<Vec<_>>();
                if columns.is_empty() {
                    return Arc::new(StructArray::new_empty_fields(rows.len(), nulls));
                }
                Arc::new(StructArray::new(fields, columns, nulls))
            }
            Kind::Null => Arc::new(NullArray::new(rows.len())),
        }
    }

    /// Whole numbers as values of the field's type.
    fn integers(&self, numbers: impl Iterator<Item = i64>, nulls: Option<NullBuffer>, ty: &DataType) -> ArrayRef {
        match &self.ty.kind {
            TypeKind::TinyInt => primitive::<Int8Type>(numbers.map(|n| n as i8), nulls),
            TypeKind::SmallInt => primitive::<Int16Type>(numbers.map(|n| n as i16), nulls),
            TypeKind::Int | TypeKind::IntervalYearMonth => primitive::<Int32Type>(numbers.map(|n| n as i32), nulls),
            TypeKind::BigInt | TypeKind::IntervalDayTime => primitive::<Int64Type>(numbers, nulls),
            TypeKind::Float => primitive::<Float32Type>(numbers.map(|n| n as f32), nulls),
            TypeKind::Double => primitive::<Float64Type>(numbers.map(|n| n as f64), nulls),
            TypeKind::Decimal(_, scale) => {
                let unit = 10i128.pow(u32::from(*scale));
                decimal(numbers.map(|n| i128::from(n) * unit), nulls, ty)
            }
            _ => {
                let mut builder = StringBuilder::new();
                for (i, n) in numbers.enumerate() {
                    if nulls.as_ref().is_some_and(|nulls| nulls.is_null(i)) {
                        builder.append_null();
                    } else {
                        builder.append_value(n.to_string());
                    }
                }
                Arc::new(builder.finish())
            }
        }
    }

    fn floats(&self, numbers: impl Iterator<Item = f64>, nulls: Option<NullBuffer>) -> ArrayRef {
        match &self.ty.kind {
            TypeKind::Float => primitive::<Float32Type>(numbers.map(|n| n as f32), nulls),
            TypeKind::Decimal(precision, scale) => {
                let unit = 10f64.powi(i32::from(*scale));
                let most = 10i128.pow(u32::from(*precision)) - 1;
                let values = numbers.map(|n| ((n * unit).round() as i128).clamp(-most, most));
                decimal(values, nulls, &self.ty.to_arrow())
            }
            _ => primitive::<Float64Type>(numbers, nulls),
        }
    }
}

fn primitive<P: ArrowPrimitiveType>(values: impl Iterator<Item = P::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    let values: Vec<P::Native> = values.collect();
    Arc::new(PrimitiveArray::<P>::new(values.into(), nulls))
}

fn decimal(values: impl Iterator<Item = i128>, nulls: Option<NullBuffer>, ty: &DataType) -> ArrayRef {
    let values: Vec<i128> = values.collect();
    Arc::new(PrimitiveArray::<Decimal128Type>::new(values.into(), nulls).with_data_type(ty.clone()))
}

/// The same buffers under another type of the same width.
fn retyped(data: ArrayData, ty: &DataType) -> ArrayRef {
    match data.into_builder().data_type(ty.clone()).build() {
        Ok(data) => make_array(data),
        Err(_) => make_array(ArrayData::new_empty(ty)),
    }
}

/// Offsets of collections of these entropies, and the entropy of each element.
fn spread(entropies: &[u64], length: Length) -> (OffsetBuffer<i32>, Vec<u64>) {
    let mut offsets = vec![0i32];
    let mut children = vec![];
    for e in entropies {
        children.extend((0..length.of(*e)).map(|i| mix(*e, 100 + i as u64)));
        offsets.push(children.len() as i32);
    }
    (OffsetBuffer::new(Buffer::from_vec(offsets).into()), children)
}
