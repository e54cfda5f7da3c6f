//! The functions, a module for each of Flink's groups; each module ends in a table for the registry.

use super::Expr;
use super::error::ExprError;
use super::registry::{Call, Fails, Function, Kernel};
use super::resolve::{Arguments, Refusal};
use flott_core::LogicalType;

pub mod about;
pub mod arithmetic;
pub mod arrays;
pub mod bytes;
pub mod clock;
pub mod collection;
pub mod compare;
pub mod date_format;
pub mod decimal;
pub mod descriptions;
pub mod difference;
pub mod digest;
pub mod equality;
pub mod fields;
pub mod from_values;
pub mod hash_code;
pub mod java_pattern;
pub mod json;
pub mod like;
pub mod logic;
pub mod maps;
pub mod math;
pub mod printf;
pub mod random;
pub mod regexp;
pub mod text;
pub mod text_edit;
pub mod text_search;
pub mod time_units;
pub mod to_time;
pub mod url;

/// All tables.
pub fn tables() -> [&'static [Function]; 28] {
    [
        about::FUNCTIONS,
        arithmetic::FUNCTIONS,
        arrays::FUNCTIONS,
        bytes::FUNCTIONS,
        clock::FUNCTIONS,
        collection::FUNCTIONS,
        compare::FUNCTIONS,
        date_format::FUNCTIONS,
        difference::FUNCTIONS,
        digest::FUNCTIONS,
        fields::FUNCTIONS,
        from_values::FUNCTIONS,
        hash_code::FUNCTIONS,
        json::FUNCTIONS,
        json::construct::FUNCTIONS,
        like::FUNCTIONS,
        logic::FUNCTIONS,
        maps::FUNCTIONS,
        math::FUNCTIONS,
        printf::FUNCTIONS,
        random::FUNCTIONS,
        regexp::FUNCTIONS,
        text::FUNCTIONS,
        text_edit::FUNCTIONS,
        text_search::FUNCTIONS,
        time_units::FUNCTIONS,
        to_time::FUNCTIONS,
        url::FUNCTIONS,
    ]
}

/// An entry that never fails on a row.
pub(crate) const fn entry(
    name: &'static str,
    signatures: &'static str,
    infer: fn(&mut Arguments) -> Result<LogicalType, Refusal>,
    build: fn(&Call<'_>) -> Result<Kernel, ExprError>,
) -> Function {
    Function {
        name,
        signatures,
        infer,
        build,
        fails: Fails::Never,
        dynamic: false,
    }
}

impl Function {
    /// The same entry, failing on rows where `test` says so.
    pub(crate) const fn failing(mut self, test: fn(&[Expr], &LogicalType) -> bool) -> Self {
        self.fails = Fails::When(test);
        self
    }

    /// The same entry, whose value changes by itself.
    pub(crate) const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }
}

/// `failing` of a function that can always fail.
pub(crate) fn always(_: &[Expr], _: &LogicalType) -> bool {
    true
}
