//! From an aggregate's state to its value: [`finish`], the last step of every aggregate, a column at a time.

use super::collect::too_long;
use super::fold::{DECIMAL_OVERFLOW, has_room, text_of, too_many};
use super::list::{Entries, Entry, Shape, items};
use crate::expr::functions::json::write_text;
use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array,
    PrimitiveArray, new_null_array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use flott_core::LogicalType;
use flott_core::encoding::decode_rows;
use flott_runtime::TaskError;
use std::sync::Arc;

const DECIMAL_LIMIT: i128 = 10i128.pow(38);
/// Longest text that is made of a list: two of them, before and after a change, must fit in a batch.
const MAX_TEXT_BYTES: usize = 512 * 1024 * 1024;

/// What is left to do when a group's value is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The first state column is the value: COUNT, MIN, MAX, SUM of integers and floating-point numbers.
    Plain,
    /// The first state column is an unscaled sum of this scale.
    DecimalSum,
    /// Sum of integers and count: the quotient, cut to a whole number.
    IntegerAverage,
    /// Sum and count of floating-point numbers.
    FloatAverage,
    /// Unscaled sum of this scale, and count: the quotient, rounded half up.
    DecimalAverage { scale: u8 },
    /// The first state column holds fields in the row encoding: FIRST_VALUE and LAST_VALUE of a ROW or a collection.
    Field,
    /// A list of texts: LISTAGG. NULL where there is none.
    Joined { separator: Arc<str> },
    /// A list of fields: ARRAY_AGG. NULL where there is none.
    Array,
    /// A bag of fields: COLLECT. Empty where there is none.
    Multiset,
    /// A list of JSON texts. `[]` where there is none.
    JsonArray,
    /// Keys and JSON texts, in the order in which they came. `{}` where there is none.
    JsonObject,
}

/// Presence byte of a field that is not NULL, in the row encoding.
const PRESENT: u8 = 1;
const ABSENT: u8 = 0;

/// The values of a column of groups, from their state columns in storage form, as `ty`.
///
/// # Errors
/// If a text becomes too long, or all of them together.
pub(crate) fn finish(finish: &Finish, state: &[ArrayRef], ty: &LogicalType) -> Result<ArrayRef, TaskError> {
    Ok(match finish {
        Finish::Field => {
            let fields = state[0].as_binary::<i32>();
            decoded(fields, ty, |field, out| match field {
                Some(field) => out.extend_from_slice(field),
                None => out.push(ABSENT),
            })
        }
        Finish::Array => decoded(state[0].as_binary(), ty, |list, out| {
            if list.is_none() {
                return out.push(ABSENT);
            }
            out.push(PRESENT);
            repeated(out, |out| {
                items(list)
                    .map(|item| out.extend_from_slice(item))
                    .fold(0, |n, ()| n + 1)
            });
        }),
        Finish::Multiset => decoded(state[0].as_binary(), ty, |bag, out| {
            out.push(PRESENT);
            repeated(out, |out| {
                let mut count = 0;
                for entry in Entries::of(bag, Shape::Bag) {
                    out.extend_from_slice(entry.item);
                    out.push(PRESENT);
                    out.extend_from_slice(&entry.times.to_le_bytes());
                    count += 1;
                }
                count
            });
        }),
        Finish::Joined { separator } => texts(state[0].as_binary(), |list, out| {
            list.is_some() && {
                joined(out, items(list), separator.as_bytes());
                true
            }
        })?,
        Finish::JsonArray => texts(state[0].as_binary(), |list, out| {
            out.push(b'[');
            joined(out, items(list), b",");
            out.push(b']');
            true
        })?,
        Finish::JsonObject => texts(state[0].as_binary(), |list, out| {
            let mut key_text = String::new();
            out.push(b'{');
            let start = out.len();
            for Entry { item: key, value, .. } in Entries::of(list, Shape::Object) {
                if out.len() > start {
                    out.push(b',');
                }
                key_text.clear();
                write_text(&String::from_utf8_lossy(key), &mut key_text);
                out.extend_from_slice(key_text.as_bytes());
                out.push(b':');
                out.extend_from_slice(value);
            }
            out.push(b'}');
            true
        })?,
        Finish::Plain => cast_storage(&state[0], &ty.to_arrow()),
        Finish::DecimalSum => {
            let sums = state[0].as_primitive::<Decimal128Type>();
            decimals(sums, ty, |row| Some(sums.value(row)).filter(|v| *v != DECIMAL_OVERFLOW))
        }
        Finish::IntegerAverage => {
            let (sums, counts) = (state[0].as_primitive::<Int64Type>(), counts(state));
            let values: Vec<i64> = sums
                .values()
                .iter()
                .zip(counts.values())
                .map(|(s, n)| if *n == 0 { 0 } else { s.wrapping_div(*n) })
                .collect();
            let averages = PrimitiveArray::<Int64Type>::new(values.into(), none_where_zero(sums, counts));
            cast_storage(&(Arc::new(averages) as ArrayRef), &ty.to_arrow())
        }
        Finish::FloatAverage => {
            let (sums, counts) = (state[0].as_primitive::<Float64Type>(), counts(state));
            let values: Vec<f64> = sums
                .values()
                .iter()
                .zip(counts.values())
                .map(|(s, n)| s / *n as f64)
                .collect();
            let averages = PrimitiveArray::<Float64Type>::new(values.into(), none_where_zero(sums, counts));
            cast_storage(&(Arc::new(averages) as ArrayRef), &ty.to_arrow())
        }
        Finish::DecimalAverage { scale } => {
            let (sums, counts) = (state[0].as_primitive::<Decimal128Type>(), counts(state));
            let DataType::Decimal128(_, result_scale) = ty.to_arrow() else {
                return Ok(cast_storage(&state[0], &ty.to_arrow()));
            };
            let shift = u32::try_from(i32::from(result_scale) - i32::from(*scale)).unwrap_or(0);
            decimals(sums, ty, |row| {
                let (sum, count) = (sums.value(row), i128::from(counts.value(row)));
                if sum == DECIMAL_OVERFLOW || count == 0 {
                    return None;
                }
                // Whole part and remainder apart, so that the scaled sum need not fit into 128 bits.
                let factor = 10i128.pow(shift);
                let whole = (sum / count).checked_mul(factor)?;
                let rest = (sum % count).checked_mul(factor)?;
                let (quotient, left) = (rest / count, rest % count);
                let round = if left.unsigned_abs() * 2 >= count.unsigned_abs() {
                    sum.signum() * count.signum()
                } else {
                    0
                };
                whole
                    .checked_add(quotient + round)
                    .filter(|v| v.unsigned_abs() < DECIMAL_LIMIT.unsigned_abs())
            })
        }
    })
}

/// The column of type `ty` whose fields `write` makes of each row's bytes, in the row encoding.
fn decoded(bytes: &BinaryArray, ty: &LogicalType, mut write: impl FnMut(Option<&[u8]>, &mut Vec<u8>)) -> ArrayRef {
    let (mut fields, mut ends) = (vec![], Vec::with_capacity(bytes.len()));
    for row in bytes {
        write(row, &mut fields);
        ends.push(fields.len());
    }
    let starts = std::iter::once(&0).chain(&ends);
    let rows = starts.zip(&ends).map(|(&start, &end)| &fields[start..end]);
    let decoded = decode_rows(std::slice::from_ref(ty), rows).ok();
    // Only bytes that were made of such values come here; if memory was damaged, NULLs are better than a crash.
    let decoded = decoded.and_then(|mut columns| columns.pop());
    decoded.unwrap_or_else(|| new_null_array(&ty.to_arrow(), bytes.len()))
}

/// Writes how many elements `write` has written, then those.
fn repeated(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> u32) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let count = write(out);
    out[at..at + 4].copy_from_slice(&count.to_le_bytes());
}

fn joined<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a [u8]>, separator: &[u8]) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(item);
    }
}

/// The texts that `write` makes of each row's bytes; NULL where it says that there is none.
fn texts(
    bytes: &BinaryArray,
    mut write: impl FnMut(Option<&[u8]>, &mut Vec<u8>) -> bool,
) -> Result<ArrayRef, TaskError> {
    let mut builder = BinaryBuilder::new();
    let mut text = vec![];
    for row in bytes {
        text.clear();
        let is_there = write(row, &mut text);
        if text.len() > MAX_TEXT_BYTES {
            return Err(too_long());
        }
        if !has_room(builder.values_slice().len(), text.len()) {
            return Err(too_many());
        }
        builder.append_option(is_there.then_some(&text));
    }
    let bytes: ArrayRef = Arc::new(builder.finish());
    Ok(text_of(&bytes))
}

fn counts(state: &[ArrayRef]) -> &PrimitiveArray<Int64Type> {
    state[1].as_primitive::<Int64Type>()
}

fn none_where_zero(sums: &dyn Array, counts: &PrimitiveArray<Int64Type>) -> Option<NullBuffer> {
    let counted: NullBuffer = counts.values().iter().map(|n| *n != 0).collect::<Vec<_>>().into();
    NullBuffer::union(sums.nulls(), Some(&counted)).filter(|n| n.null_count() > 0)
}

fn decimals(sums: &Decimal128Array, ty: &LogicalType, value: impl Fn(usize) -> Option<i128>) -> ArrayRef {
    let values: Decimal128Array = (0..sums.len())
        .map(|row| if sums.is_null(row) { None } else { value(row) })
        .collect();
    typed_decimals(values, &ty.to_arrow())
}

fn typed_decimals(values: Decimal128Array, ty: &DataType) -> ArrayRef {
    match ty {
        DataType::Decimal128(precision, scale) => match values.clone().with_precision_and_scale(*precision, *scale) {
            Ok(typed) => Arc::new(typed),
            Err(_) => Arc::new(values),
        },
        _ => Arc::new(values),
    }
}

/// A column in storage form as a column of an Arrow type whose values it holds; integers wrap.
pub(crate) fn cast_storage(column: &ArrayRef, ty: &DataType) -> ArrayRef {
    if column.data_type() == ty {
        return column.clone();
    }
    match column.data_type() {
        DataType::Int64 => cast_integers(column.as_primitive(), ty),
        DataType::Float64 => {
            let a = column.as_primitive::<Float64Type>();
            match ty {
                DataType::Float32 => Arc::new(Float32Array::new(
                    a.values().iter().map(|v| *v as f32).collect::<Vec<_>>().into(),
                    a.nulls().cloned(),
                )),
                _ => Arc::new(Float64Array::new(a.values().clone(), a.nulls().cloned())),
            }
        }
        DataType::Decimal128(..) => typed_decimals(column.as_primitive::<Decimal128Type>().clone(), ty),
        DataType::Binary if *ty == DataType::Utf8 => text_of(column),
        _ => column.clone(),
    }
}

fn cast_integers(a: &PrimitiveArray<Int64Type>, ty: &DataType) -> ArrayRef {
    fn narrow<T: ArrowPrimitiveType>(a: &PrimitiveArray<Int64Type>, f: impl Fn(i64) -> T::Native) -> ArrayRef {
        let values: Vec<T::Native> = a.values().iter().map(|v| f(*v)).collect();
        Arc::new(PrimitiveArray::<T>::new(values.into(), a.nulls().cloned()))
    }
    fn same<T: ArrowPrimitiveType<Native = i64>>(a: &PrimitiveArray<Int64Type>) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(a.values().clone(), a.nulls().cloned()))
    }
    match ty {
        DataType::Boolean => Arc::new(BooleanArray::new(
            a.values().iter().map(|v| *v != 0).collect::<Vec<_>>().into(),
            a.nulls().cloned(),
        )),
        DataType::Int8 => narrow::<Int8Type>(a, |v| v as i8),
        DataType::Int16 => narrow::<Int16Type>(a, |v| v as i16),
        DataType::Int32 => narrow::<Int32Type>(a, |v| v as i32),
        DataType::Date32 => narrow::<Date32Type>(a, |v| v as i32),
        DataType::Time32(_) => narrow::<Time32MillisecondType>(a, |v| v as i32),
        DataType::Timestamp(TimeUnit::Millisecond, _) => same::<TimestampMillisecondType>(a),
        DataType::Timestamp(TimeUnit::Microsecond, _) => same::<TimestampMicrosecondType>(a),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => same::<TimestampNanosecondType>(a),
        _ => same::<Int64Type>(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use flott_core::TypeKind;

    fn average(sums: Vec<i128>, counts: Vec<i64>, scale: u8, result: TypeKind) -> Vec<Option<i128>> {
        let state: [ArrayRef; 2] = [
            Arc::new(Decimal128Array::from(sums)),
            Arc::new(Int64Array::from(counts)),
        ];
        let column = finish(&Finish::DecimalAverage { scale }, &state, &LogicalType::new(result)).unwrap();
        column.as_primitive::<Decimal128Type>().iter().collect()
    }

    #[test]
    fn decimal_averages_round_half_up_away_from_zero() {
        // 1.00 / 3, 2.00 / 3, -2.00 / 3, 0.01 / 2 at scale 6, nothing / 0
        assert_eq!(
            average(
                vec![100, 200, -200, 1, 0],
                vec![3, 3, 3, 2, 0],
                2,
                TypeKind::Decimal(38, 6)
            ),
            [Some(333_333), Some(666_667), Some(-666_667), Some(5_000), None]
        );
    }

    #[test]
    fn integer_averages_are_cut() {
        let state: [ArrayRef; 2] = [
            Arc::new(Int64Array::from(vec![Some(7), Some(-7), None])),
            Arc::new(Int64Array::from(vec![2, 2, 0])),
        ];
        let column = finish(&Finish::IntegerAverage, &state, &LogicalType::int()).unwrap();
        assert_eq!(
            column.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(),
            [Some(3), Some(-3), None]
        );
    }
}
