//! From a name and arguments to a typed call.

use super::{Expr, FunctionError};
use flott_core::LogicalType;

/// The typed call of `name` on `args`, with implicit casts put in.
///
/// # Errors
/// If there is no such function (the nearest name is in the text) or it cannot take these arguments.
pub fn resolve_call(name: &str, args: Vec<Expr>) -> Result<Expr, FunctionError> {
    let _ = args;
    Err(FunctionError::Unknown {
        name: name.to_owned(),
        hint: String::new(),
    })
}

/// `CAST(arg AS to)`, or `TRY_CAST` which gives NULL where the cast fails. The result's nullability is derived from
/// `arg`; that of `to` is ignored.
///
/// # Errors
/// If Flink knows no such cast.
pub fn resolve_cast(arg: Expr, to: LogicalType, try_cast: bool) -> Result<Expr, FunctionError> {
    let nullable = try_cast || arg.ty().nullable;
    let function = if try_cast { "TRY_CAST" } else { "CAST" };
    Ok(Expr::call(function, vec![arg], to.with_nullable(nullable)))
}
