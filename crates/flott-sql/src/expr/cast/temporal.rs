//! Between dates, times and timestamps.

use crate::expr::error::ExprError;
use crate::expr::temporal::{DAY_MS, DAY_S, counts, map_counts, per_second, rescale, timestamps};
use crate::expr::time_zone::{TimeZone, Twice};
use crate::expr::value::mismatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Time32MillisecondType};
use arrow_array::{Array, ArrayRef, Date32Array, Time32MillisecondArray};
use flott_core::TypeKind;
use std::sync::Arc;

/// `array` of kind `from` as kind `to`, both DATE, TIME or a timestamp. A timestamp beyond the years that its unit
/// holds becomes NULL.
///
/// # Errors
/// If the array is not of the kind that it is said to be.
pub fn convert(array: &ArrayRef, from: &TypeKind, to: &TypeKind, zone: &TimeZone) -> Result<ArrayRef, ExprError> {
    use TypeKind as K;
    match (from, to) {
        (K::Date, K::Timestamp(p) | K::TimestampLtz(p)) => {
            let days = array
                .as_primitive_opt::<Date32Type>()
                .ok_or_else(|| mismatch("CAST", array))?;
            let unit = per_second(*p);
            let values = days
                .values()
                .iter()
                .map(|d| i64::from(*d).wrapping_mul(DAY_S * unit))
                .collect();
            let local = timestamps(values, array.nulls().cloned(), *p);
            to_instant(local, to, zone)
        }
        (K::Time(_), K::Timestamp(p) | K::TimestampLtz(p)) => {
            let times = array
                .as_primitive_opt::<Time32MillisecondType>()
                .ok_or_else(|| mismatch("CAST", array))?;
            let scale = per_second(*p) / 1000;
            let values = times.values().iter().map(|t| i64::from(*t) * scale).collect();
            let local = timestamps(values, array.nulls().cloned(), *p);
            to_instant(local, to, zone)
        }
        (K::Time(_), K::Time(p)) => {
            let times = array
                .as_primitive_opt::<Time32MillisecondType>()
                .ok_or_else(|| mismatch("CAST", array))?;
            let step = 10i32.pow(u32::from(3 - (*p).min(3)));
            let cut: Time32MillisecondArray = times.unary(|t| t - t % step);
            Ok(Arc::new(cut))
        }
        (K::Timestamp(p) | K::TimestampLtz(p), K::Date | K::Time(_)) => {
            let unit = per_second(*p);
            let local = to_local(array.clone(), from, zone)?;
            let counts = counts(&local)?;
            let nulls = array.nulls().cloned();
            if let K::Time(digits) = to {
                let step = 10i64.pow(u32::from(3 - (*digits).min(3)));
                let ms = |v: &i64| {
                    let ms = v.div_euclid(unit / 1000).rem_euclid(DAY_MS);
                    (ms - ms % step) as i32
                };
                return Ok(Arc::new(Time32MillisecondArray::new(
                    counts.iter().map(ms).collect(),
                    nulls,
                )));
            }
            let days = counts.iter().map(|v| v.div_euclid(DAY_S * unit) as i32).collect();
            Ok(Arc::new(Date32Array::new(days, nulls)))
        }
        (K::Timestamp(p) | K::TimestampLtz(p), K::Timestamp(q) | K::TimestampLtz(q)) => {
            let scaled = change_precision(array, *p, *q)?;
            match (from, to) {
                (K::Timestamp(_), K::TimestampLtz(_)) => to_instant(scaled, to, zone),
                (K::TimestampLtz(_), K::Timestamp(_)) => to_local(scaled, &K::TimestampLtz(*q), zone),
                _ => Ok(scaled),
            }
        }
        _ => Err(mismatch("CAST", array)),
    }
}

/// The same times with another number of digits, cut rather than rounded.
pub fn change_precision(array: &ArrayRef, from: u8, to: u8) -> Result<ArrayRef, ExprError> {
    if from == to || (to >= from && per_second(from) == per_second(to)) {
        return Ok(array.clone());
    }
    if per_second(to) <= per_second(from) {
        return map_counts(array, to, |v| rescale(v, from, to).unwrap_or(0));
    }
    let nulls = array.nulls();
    let values = counts(array)?;
    let fits: Vec<Option<i64>> = (0..array.len())
        .map(|i| {
            if nulls.is_some_and(|n| n.is_null(i)) {
                None
            } else {
                rescale(values[i], from, to)
            }
        })
        .collect();
    let valid = fits.iter().map(Option::is_some).collect::<Vec<bool>>();
    let values = fits.into_iter().map(Option::unwrap_or_default).collect();
    Ok(timestamps(values, Some(valid.into()), to))
}

/// Wall-clock times of a timestamp column of kind `kind` (a TIMESTAMP is that already).
pub fn to_local(array: ArrayRef, kind: &TypeKind, zone: &TimeZone) -> Result<ArrayRef, ExprError> {
    let TypeKind::TimestampLtz(p) = kind else {
        return Ok(array);
    };
    if zone == &TimeZone::UTC {
        return Ok(array);
    }
    let unit = per_second(*p);
    map_counts(&array, *p, |v| {
        v.wrapping_add(zone.offset_at(v.div_euclid(unit)) * unit)
    })
}

/// Instants of a column of wall-clock times, if `kind` is TIMESTAMP_LTZ.
pub fn to_instant(array: ArrayRef, kind: &TypeKind, zone: &TimeZone) -> Result<ArrayRef, ExprError> {
    let TypeKind::TimestampLtz(p) = kind else {
        return Ok(array);
    };
    if zone == &TimeZone::UTC {
        return Ok(array);
    }
    let unit = per_second(*p);
    map_counts(&array, *p, |v| {
        v.wrapping_sub(zone.offset_of_local(v.div_euclid(unit), Twice::Earlier) * unit)
    })
}
