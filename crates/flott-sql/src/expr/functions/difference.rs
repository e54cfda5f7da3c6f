//! What lies between two moments, as an interval: `(a - b) MONTH`, `(a - b) DAY TO SECOND`. The parser makes these two
//! calls of it; which unit stands there decides only whether months or milliseconds are counted, as in Flink.

use super::arithmetic::binary;
use super::entry;
use super::time_units::{as_ms, months_between};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::mismatch;
use crate::parser::difference::{MONTHS_BETWEEN, TIME_BETWEEN};
use arrow_array::Int32Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        MONTHS_BETWEEN,
        "(TIMESTAMP - TIMESTAMP) MONTH, (DATE - DATE) MONTH",
        infer,
        build,
    ),
    entry(
        TIME_BETWEEN,
        "(TIMESTAMP - TIMESTAMP) DAY TO SECOND, (DATE - DATE) DAY TO SECOND",
        infer,
        build,
    ),
];

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    for (i, j) in [(0, 1), (1, 0)] {
        if args.kind(i) == &TypeKind::Null {
            let other = args.kind(j).clone();
            args.cast(i, &other)?;
        }
    }
    match (args.kind(0), args.kind(1)) {
        (TypeKind::Date, TypeKind::Date)
        | (TypeKind::Timestamp(_), TypeKind::Timestamp(_))
        | (TypeKind::TimestampLtz(_), TypeKind::TimestampLtz(_)) => {}
        _ => return Err(Refusal::Arguments),
    }
    let kind = match args.name == MONTHS_BETWEEN {
        true => TypeKind::IntervalYearMonth,
        false => TypeKind::IntervalDayTime,
    };
    Ok(args.result(kind))
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let kinds = [call.args[0].ty().kind.clone(), call.args[1].ty().kind.clone()];
    let by_months = call.name == MONTHS_BETWEEN;
    Ok(Box::new(move |args, _| {
        let (to, from) = (as_ms(&args[0], &kinds[0])?, as_ms(&args[1], &kinds[1])?);
        if !by_months {
            return binary::<Int64Type>(&to, &from, i64::wrapping_sub);
        }
        let months = binary::<Int64Type>(&to, &from, |to, from| months_between(from, to))?;
        let wide = months
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| mismatch(MONTHS_BETWEEN, &months))?;
        let narrow: Int32Array = wide.unary(|months| months as i32);
        Ok(Arc::new(narrow))
    }))
}
