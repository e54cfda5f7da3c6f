//! What an expression is: `TYPEOF`.

use super::entry;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use arrow_array::StringArray;
use flott_core::LogicalType;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[entry(
    "TYPEOF",
    "TYPEOF(ANY [, force serializable BOOLEAN])",
    infer,
    build,
)];

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 2)?;
    if args.len() == 2 {
        args.boolean(1)?;
    }
    Ok(LogicalType::string())
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let text = call.args[0].ty().to_string();
    Ok(Box::new(move |_, rows| {
        Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            &text, rows,
        ))))
    }))
}
