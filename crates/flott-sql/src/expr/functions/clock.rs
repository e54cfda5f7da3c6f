//! What the clock says, and how far event time is. All rows of a batch get the same answer.

use super::entry;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::temporal::DAY_MS;
use arrow_array::{ArrayRef, Date32Array, Time32MillisecondArray, TimestampMillisecondArray};
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP", infer, build).dynamic(),
    entry("NOW", "NOW()", infer, build).dynamic(),
    entry("CURRENT_ROW_TIMESTAMP", "CURRENT_ROW_TIMESTAMP()", infer, build).dynamic(),
    entry("PROCTIME", "PROCTIME()", infer, build).dynamic(),
    entry("LOCALTIMESTAMP", "LOCALTIMESTAMP", infer, build).dynamic(),
    entry("LOCALTIME", "LOCALTIME", infer, build).dynamic(),
    entry("CURRENT_TIME", "CURRENT_TIME", infer, build).dynamic(),
    entry("CURRENT_DATE", "CURRENT_DATE", infer, build).dynamic(),
    entry(
        "CURRENT_WATERMARK",
        "CURRENT_WATERMARK(rowtime TIMESTAMP(3)|TIMESTAMP_LTZ(3))",
        infer_watermark,
        build_watermark,
    )
    .dynamic(),
];

/// That the argument is a time attribute is for the binder to check.
fn infer_watermark(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    match args.kind(0) {
        TypeKind::TimestampLtz(_) => Ok(LogicalType::new(TypeKind::TimestampLtz(3))),
        TypeKind::Timestamp(_) => Ok(LogicalType::new(TypeKind::Timestamp(3))),
        _ => Err(Refusal::Arguments),
    }
}

fn build_watermark(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let watermark = call.context.watermark.clone();
    Ok(Box::new(move |_, rows| {
        let now = watermark.get();
        Ok(Arc::new(TimestampMillisecondArray::from(vec![now; rows])))
    }))
}

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(0, 0)?;
    Ok(LogicalType::not_null(match args.name.as_str() {
        "LOCALTIMESTAMP" => TypeKind::Timestamp(3),
        "LOCALTIME" | "CURRENT_TIME" => TypeKind::Time(0),
        "CURRENT_DATE" => TypeKind::Date,
        _ => TypeKind::TimestampLtz(3),
    }))
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (zone, clock, kind) = (call.context.time_zone, call.context.clock.clone(), call.ty.kind.clone());
    Ok(Box::new(move |_, rows| {
        let now = clock.now_ms();
        let local = now + zone.offset_at(now.div_euclid(1000)) * 1000;
        let array: ArrayRef = match kind {
            TypeKind::Date => Arc::new(Date32Array::from(vec![local.div_euclid(DAY_MS) as i32; rows])),
            TypeKind::Time(_) => {
                let ms = local.rem_euclid(DAY_MS);
                Arc::new(Time32MillisecondArray::from(vec![(ms - ms % 1000) as i32; rows]))
            }
            TypeKind::Timestamp(_) => Arc::new(TimestampMillisecondArray::from(vec![local; rows])),
            _ => Arc::new(TimestampMillisecondArray::from(vec![now; rows])),
        };
        Ok(array)
    }))
}
