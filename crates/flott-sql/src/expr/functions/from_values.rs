//! What aggregates make of the values that they have kept, where it takes all of them: `$PERCENTILE` of the multiset that
//! COLLECT gives, `$SINGLE_VALUE` of the array that ARRAY_AGG gives. The binder puts them behind those; scripts cannot
//! write them.

use super::arrays::{Lists, element_field};
use super::{always, entry};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Primitives, Value, kernel_error, mismatch};
use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, MapArray, UInt32Array};
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "$PERCENTILE",
        "$PERCENTILE(MULTISET<DOUBLE> | MULTISET<ROW<DOUBLE, BIGINT>>, DOUBLE | ARRAY<DOUBLE>)",
        infer_percentile,
        build_percentile,
    )
    .failing(always),
    entry("$SINGLE_VALUE", "$SINGLE_VALUE(ARRAY)", infer_single, build_single).failing(always),
];

fn infer_percentile(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    let double = TypeKind::Double;
    Ok(LogicalType::new(match args.kind(1) {
        TypeKind::Array(_) => {
            let array = TypeKind::Array(Box::new(LogicalType::new(double)));
            args.cast(1, &array)?;
            array
        }
        _ => {
            args.cast(1, &double)?;
            double
        }
    }))
}

/// The values of a multiset, and how often each one counts.
struct Weighted<'a> {
    map: &'a MapArray,
    times: &'a Int32Array,
    values: &'a Float64Array,
    /// How often the value itself says that it counts.
    frequencies: Option<&'a Int64Array>,
}

impl<'a> Weighted<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self, ExprError> {
        let wrong = || mismatch("$PERCENTILE", array);
        let map = array.as_map_opt().ok_or_else(wrong)?;
        let times = map.values().as_primitive_opt::<Int32Type>().ok_or_else(wrong)?;
        let (values, frequencies) = match map.keys().as_struct_opt() {
            Some(pairs) => {
                let [values, frequencies] = pairs.columns() else {
                    return Err(wrong());
                };
                let frequencies = frequencies.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
                (values, Some(frequencies))
            }
            None => (map.keys(), None),
        };
        let values = values.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
        Ok(Self {
            map,
            times,
            values,
            frequencies,
        })
    }

    /// The values of a row in order, each with the number of values up to and with it.
    fn sorted(&self, row: usize, out: &mut Vec<(f64, u64)>) {
        out.clear();
        if self.map.is_null(row) {
            return;
        }
        let offsets = self.map.value_offsets();
        for entry in offsets[row] as usize..offsets[row + 1] as usize {
            let frequency = match self.frequencies {
                Some(f) if f.is_null(entry) => 0,
                Some(f) => u64::try_from(f.value(entry)).unwrap_or(0),
                None => 1,
            };
            let times = u64::try_from(self.times.value(entry)).unwrap_or(0);
            let count = times.saturating_mul(frequency);
            if count > 0 && self.values.is_valid(entry) {
                out.push((self.values.value(entry), count));
            }
        }
        out.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut sum = 0u64;
        for (_, count) in out {
            sum = sum.saturating_add(*count);
            *count = sum;
        }
    }
}

/// The value below which this share of `sorted` lies, put between the two that are nearest in proportion. Places are
/// counted from 1 before the fraction is taken, which decides its last digits.
fn percentile(sorted: &[(f64, u64)], percentage: f64) -> Option<f64> {
    let total = sorted.last()?.1;
    let place = (total - 1) as f64 * percentage + 1.0;
    let (lower, upper) = (place.floor(), place.ceil());
    let at = |place: f64| {
        let index = sorted.partition_point(|(_, end)| (*end as f64) < place);
        sorted.get(index).or(sorted.last()).map(|(value, _)| *value)
    };
    let (below, above) = (at(lower)?, at(upper)?);
    Some(match lower == upper || below == above {
        true => below,
        false => (upper - place) * below + (place - lower) * above,
    })
}

fn checked(percentage: Option<f64>) -> Result<f64, ExprError> {
    percentage
        .filter(|p| (0.0..=1.0).contains(p))
        .ok_or_else(|| ExprError::Value {
            function: "PERCENTILE",
            problem: format!(
                "a percentage goes from 0.0 to 1.0, and is not {}",
                percentage.map_or_else(|| "NULL".to_owned(), |p| p.to_string())
            ),
        })
}

fn build_percentile(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let is_list = matches!(call.ty.kind, TypeKind::Array(_));
    let field = element_field(call.ty);
    Ok(Box::new(move |args, rows| {
        let weighted = Weighted::of(args[0].array())?;
        let step = usize::from(!args[0].is_scalar());
        let mut sorted = vec![];
        if !is_list {
            let percentages = Primitives::<Float64Type>::new(&args[1])?;
            let mut out = Float64Builder::with_capacity(rows);
            for row in 0..rows {
                weighted.sorted(row * step, &mut sorted);
                out.append_option(match sorted.is_empty() {
                    true => None,
                    false => percentile(&sorted, checked(percentages.get(row))?),
                });
            }
            return Ok(Arc::new(out.finish()));
        }
        let lists = Lists::new(&args[1])?;
        let percentages = Value::Column(lists.values().clone());
        let percentages = Primitives::<Float64Type>::new(&percentages)?;
        let mut out = ListBuilder::new(Float64Builder::new());
        if let Some(field) = &field {
            out = out.with_field(field.clone());
        }
        for row in 0..rows {
            weighted.sorted(row * step, &mut sorted);
            if sorted.is_empty() {
                out.append_null();
                continue;
            }
            let range = lists.range(row).map_or_else(|| checked(None).map(|_| 0..0), Ok)?;
            for place in range {
                let percentage = checked(percentages.get(place))?;
                out.values().append_option(percentile(&sorted, percentage));
            }
            out.append(true);
        }
        Ok(Arc::new(out.finish()))
    }))
}

fn infer_single(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    match args.kind(0) {
        TypeKind::Array(element) => Ok(element.with_nullable(true)),
        _ => Err(Refusal::Arguments),
    }
}

fn build_single(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let lists = Lists::new(&args[0])?;
        let mut places = Vec::with_capacity(rows);
        for row in 0..rows {
            let range = lists.range(row).unwrap_or_default();
            if range.len() > 1 {
                return Err(ExprError::Value {
                    function: "SINGLE_VALUE",
                    problem: format!(
                        "{} rows where there may be one; group by more, or take MIN, MAX or FIRST_VALUE",
                        range.len()
                    ),
                });
            }
            places.push((!range.is_empty()).then_some(range.start as u32));
        }
        let places = UInt32Array::from(places);
        arrow_select::take::take(lists.values(), &places, None).map_err(|e| kernel_error("SINGLE_VALUE", &e))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_between_the_nearest_values() {
        let counted = |values: &[(f64, u64)]| {
            let mut sum = 0;
            let add = |(value, count): &(f64, u64)| {
                sum += count;
                (*value, sum)
            };
            values.iter().map(add).collect::<Vec<_>>()
        };
        let values = counted(&[(1.0, 3), (7.0, 2), (10.0, 1)]);
        for (percentage, expected) in [(0.0, 1.0), (0.25, 1.0), (0.5, 4.0), (0.75, 7.0), (1.0, 10.0)] {
            assert_eq!(percentile(&values, percentage), Some(expected), "{percentage}");
        }
        // the last digits are Flink's
        let values = counted(&[(-1.0, 1), (2.0, 1)]);
        assert_eq!(percentile(&values, 0.333), Some(-0.001000000000000112));
        assert_eq!(percentile(&[], 0.5), None);
        let infinite = counted(&[(1.0, 1), (f64::INFINITY, 2)]);
        assert_eq!(percentile(&infinite, 0.9), Some(f64::INFINITY));
        assert!(checked(Some(1.5)).is_err() && checked(Some(f64::NAN)).is_err() && checked(None).is_err());
    }
}
