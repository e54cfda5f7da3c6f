//! Result types of aggregate functions.

use super::FunctionError;
use flott_core::LogicalType;

/// Type of `name` over arguments of these types (none: `COUNT(*)`).
///
/// # Errors
/// If there is no such aggregate (the nearest name is in the text) or it cannot take these arguments.
pub fn resolve_aggregate(name: &str, args: &[LogicalType], distinct: bool) -> Result<LogicalType, FunctionError> {
    let _ = (args, distinct);
    Err(FunctionError::Unknown {
        name: name.to_owned(),
        hint: String::new(),
    })
}
