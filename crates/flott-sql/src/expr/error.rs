//! What can go wrong with an expression: while it is typed ([`FunctionError`]), while it is prepared or while it
//! runs ([`ExprError`]).

use thiserror::Error;

/// An expression that has no type, found while planning.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FunctionError {
    /// No function of this name.
    #[error("unknown function '{name}'{hint}")]
    Unknown {
        /// The name as written.
        name: String,
        /// `; did you mean …?` or nothing.
        hint: String,
    },
    /// The function exists but not for these arguments.
    #[error("function {name} cannot take ({given}); expected {expected}")]
    Arguments {
        /// The function.
        name: String,
        /// Types of the arguments.
        given: String,
        /// Its signatures.
        expected: String,
    },
    /// A cast that has no meaning.
    #[error("cannot cast {from} to {to}{remedy}")]
    Cast {
        /// Type of the operand.
        from: String,
        /// Target type.
        to: String,
        /// What to do instead, or nothing.
        remedy: String,
    },
    /// Branches or elements without a type in common.
    #[error("{name}: no common type for {given}; cast them to one type")]
    NoCommonType {
        /// The function.
        name: String,
        /// The types.
        given: String,
    },
    /// A constant argument that the function cannot use (pattern, time unit, regular expression).
    #[error("{name}: {problem}")]
    Constant {
        /// The function.
        name: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// An expression that cannot be prepared or that fails on a row.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExprError {
    /// A call in a plan that this version does not know.
    #[error("function {function} cannot run on ({given}); plan and program differ in version?")]
    NotExecutable {
        /// The function.
        function: String,
        /// Types of the arguments.
        given: String,
    },
    /// Integer or decimal division by zero.
    #[error("/ by zero in {function} (dividend {dividend}); guard it with NULLIF(divisor, 0)")]
    DivisionByZero {
        /// `/`, `%` or `MOD`.
        function: &'static str,
        /// The dividend of the row.
        dividend: String,
    },
    /// A value that the target type cannot take.
    #[error("cannot cast '{value}' to {to}: {reason}; TRY_CAST gives NULL instead")]
    Cast {
        /// The value as text, shortened.
        value: String,
        /// Target type.
        to: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A function refused a row's value.
    #[error("{function}: {problem}")]
    Value {
        /// The function.
        function: &'static str,
        /// The value and what is wrong with it.
        problem: String,
    },
    /// A result too large for Arrow (2 GiB of text in one batch).
    #[error("evaluating {function}: {problem}")]
    Kernel {
        /// The function.
        function: String,
        /// Arrow's text.
        problem: String,
    },
}
