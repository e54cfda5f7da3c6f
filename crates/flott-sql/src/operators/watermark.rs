//! Watermarks from an expression (`WATERMARK FOR ts AS ts - INTERVAL '5' SECOND`): [`SqlWatermark`].
//!
//! The runtime's source driver asks for a watermark a row and split; emission, idleness and alignment are its business.

use crate::expr::program::{CompiledExpr, compile};
use crate::nodes::WatermarkExpressionSpec;
use crate::operators::calc::{prepare_error, run_error};
use crate::operators::eval_context;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, Int64Array};
use arrow_schema::{DataType, TimeUnit};
use flott_core::Batch;
use flott_core::clock::SharedClock;
use flott_runtime::TaskError;
use flott_runtime::connector::WatermarkGenerator;

/// The watermark expression of a table, over the columns of its scan.
///
/// A TIMESTAMP counts as milliseconds of its wall-clock time, as in Flink; a TIMESTAMP_LTZ as milliseconds since the epoch.
/// Fractions of a millisecond are cut off downwards. A row whose expression is NULL has no watermark.
pub(crate) struct SqlWatermark {
    expression: CompiledExpr,
}

impl SqlWatermark {
    /// The generator of a spec.
    ///
    /// # Errors
    /// If the expression cannot be prepared.
    pub(crate) fn new(spec: &WatermarkExpressionSpec, clock: &SharedClock) -> Result<Self, TaskError> {
        let context = eval_context(&spec.time_zone, clock)?;
        Ok(Self {
            expression: compile(&spec.expression, &context).map_err(prepare_error)?,
        })
    }
}

impl WatermarkGenerator for SqlWatermark {
    fn watermarks(&mut self, batch: &Batch) -> Result<Int64Array, TaskError> {
        let column = self.expression.evaluate(batch).map_err(run_error)?;
        let nulls = column.nulls().cloned();
        Ok(match column.data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => Int64Array::new(
                column.as_primitive::<TimestampMillisecondType>().values().clone(),
                nulls,
            ),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let values = column.as_primitive::<TimestampMicrosecondType>().values();
                Int64Array::new(values.iter().map(|t| t.div_euclid(1_000)).collect(), nulls)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                let values = column.as_primitive::<TimestampNanosecondType>().values();
                Int64Array::new(values.iter().map(|t| t.div_euclid(1_000_000)).collect(), nulls)
            }
            other => {
                return Err(
                    TaskError::user(format!("a watermark must be a TIMESTAMP or TIMESTAMP_LTZ, not {other}")).fatal(),
                );
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;
    use flott_core::clock::SystemClock;
    use flott_core::{LogicalType, TypeKind};
    use std::sync::Arc;

    #[test]
    fn a_row_gives_milliseconds_cut_downwards_or_nothing() {
        let ts = Expr::input(0, LogicalType::new(TypeKind::Timestamp(6)));
        let spec = WatermarkExpressionSpec {
            expression: ts,
            time_zone: "UTC".into(),
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let mut generator = SqlWatermark::new(&spec, &clock).unwrap();
        let column = arrow_array::TimestampMicrosecondArray::from(vec![Some(1_999), None, Some(-1)]);
        let watermarks = generator.watermarks(&Batch::new(vec![Arc::new(column)], 3)).unwrap();
        assert_eq!(watermarks, Int64Array::from(vec![Some(1), None, Some(-1)]));
    }
}
