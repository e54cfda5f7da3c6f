//! The table of functions: one entry has a function's name, its signatures, its type rule and its kernel.
//!
//! To add a function, add an entry to the table of its module ([`super::functions`]). `AND`, `OR`, `CASE`, `IF`,
//! `IFNULL` and `COALESCE` have entries for their types only: which of their arguments run on which rows is decided in
//! [`super::program`].

use super::Expr;
use super::error::{ExprError, FunctionError};
use super::functions;
use super::program::EvalContext;
use super::resolve::{Arguments, Refusal};
use super::value::Value;
use arrow_array::ArrayRef;
use flott_core::LogicalType;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Computes a column (or one value, where all arguments are single values and the number of rows is 1).
pub type Kernel = Box<dyn Fn(&[Value], usize) -> Result<ArrayRef, ExprError> + Send + Sync>;

/// A call while its kernel is chosen.
pub struct Call<'a> {
    /// Name of the function.
    pub name: &'a str,
    /// Its typed arguments.
    pub args: &'a [Expr],
    /// Type of the result.
    pub ty: &'a LogicalType,
    /// Zone and clock of the job.
    pub context: &'a EvalContext,
}

impl Call<'_> {
    /// The error for arguments that no kernel takes.
    pub fn not_executable(&self) -> ExprError {
        let given: Vec<String> = self.args.iter().map(|a| a.ty().to_string()).collect();
        ExprError::NotExecutable {
            function: self.name.to_owned(),
            given: given.join(", "),
        }
    }
}

/// Whether a call can fail on a row's values, so that rows which do not need it must not run it.
#[derive(Clone, Copy)]
pub enum Fails {
    /// It gives a value for every row.
    Never,
    /// Depends on the arguments.
    When(fn(&[Expr], &LogicalType) -> bool),
}

/// One entry.
pub struct Function {
    /// Flink's SQL name, upper case.
    pub name: &'static str,
    /// Its signatures, for messages.
    pub signatures: &'static str,
    /// Derives the result's type; may put casts into the arguments.
    pub infer: fn(&mut Arguments) -> Result<LogicalType, Refusal>,
    /// Chooses the kernel.
    pub build: fn(&Call<'_>) -> Result<Kernel, ExprError>,
    /// Whether it can fail on a row.
    pub fails: Fails,
    /// Whether its value changes without its arguments changing.
    pub dynamic: bool,
}

static TABLE: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
    functions::tables()
        .into_iter()
        .flat_map(|table| table.iter().map(|f| (f.name, f)))
        .collect()
});

/// The entry of `name` (upper case).
pub fn lookup(name: &str) -> Option<&'static Function> {
    TABLE.get(name).copied()
}

/// Whether a function's value changes without its arguments changing (clock).
pub fn is_dynamic(function: &str) -> bool {
    lookup(function).is_some_and(|f| f.dynamic)
}

/// The functions that scripts can call: the planner's own ones begin with `$`.
fn public() -> impl Iterator<Item = &'static Function> {
    TABLE.values().copied().filter(|f| !f.name.starts_with('$'))
}

/// Names of all scalar functions and operators, sorted.
pub fn function_names() -> Vec<&'static str> {
    let aliases = super::resolve::ALIASES.iter().map(|(alias, _)| *alias);
    let mut names: Vec<&'static str> = public().map(|f| f.name).chain(aliases).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Name, signatures and a line of text of every function, aggregates among them.
pub fn listing() -> Vec<[String; 3]> {
    let scalar = public().map(|f| {
        let text = functions::descriptions::description(f.name);
        [f.name.to_owned(), f.signatures.to_owned(), text.to_owned()]
    });
    let aliases = super::resolve::ALIASES.iter().map(|(alias, function)| {
        let text = format!("another form of {function}");
        [(*alias).to_owned(), format!("{alias}(...)"), text]
    });
    scalar.chain(aliases).chain(super::aggregate_listing()).collect()
}

/// The error for an unknown name, with the nearest known one.
pub fn unknown(name: &str) -> FunctionError {
    let hint = match name {
        "PARSE_JSON" | "TRY_PARSE_JSON" => "; it makes a VARIANT, out of which Flink 2.2 cannot take anything: \
            keep the text, and take values out of it with JSON_VALUE or JSON_QUERY"
            .to_owned(),
        _ => flott_core::suggest::hint(name, function_names().into_iter().chain(super::aggregate_names())),
    };
    FunctionError::Unknown {
        name: name.to_owned(),
        hint,
    }
}
