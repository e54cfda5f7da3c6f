//! From text to statements.
//!
//! ```text
//! text ─ vars::substitute ─▶ text ─ tokens::split ─▶ tokens per statement ─ statement::parse ─▶ ast::Statement
//! ```
//! sqlparser reads queries and expressions ([`dialect`]); everything that Flink has and it has not (table definitions,
//! statement sets, types, hints) is read here.

pub mod ast;
mod ddl;
pub mod dialect;
pub mod difference;
pub mod json;
pub(crate) mod limits;
mod statement;
mod tokens;
pub mod types;
pub mod vars;

use crate::error::SqlResult;
use crate::stack::with_room;
pub(crate) use statement::parse_expr;
pub use tokens::Hints;

/// A script's text after variables were filled in, with its hints: what places in its statements refer to.
#[derive(Debug, Default)]
pub struct Source {
    /// The text.
    pub text: String,
    /// The hints in it.
    pub hints: Hints,
}

/// Reads a script.
///
/// # Errors
/// At the first variable without a value, and at the first word that no statement can have there.
pub fn parse(text: &str, variables: &dyn Fn(&str) -> Option<String>) -> SqlResult<(Source, Vec<ast::Statement>)> {
    // Some editors mark UTF-8 with a byte order mark.
    let text = vars::substitute(text.strip_prefix('\u{feff}').unwrap_or(text), variables)?;
    let read = |text: &str| -> SqlResult<_> {
        let (statements, hints) = tokens::split(text)?;
        let mut places = statement::Places::new(text);
        let statements = statements
            .into_iter()
            .map(|tokens| {
                limits::check(&tokens)?;
                statement::parse(&mut places, tokens)
            })
            .collect::<SqlResult<Vec<_>>>()?;
        Ok((hints, statements))
    };
    let (hints, statements) = with_room(|| read(&text)).map_err(|e| e.in_source(&text))?;
    Ok((Source { text, hints }, statements))
}

/// Whether `text` ends with a whole statement and its semicolon, so that a shell need not ask for more lines. Text with an
/// error that more lines cannot mend counts as whole.
pub fn is_complete(text: &str) -> bool {
    match tokens::is_complete(text) {
        Ok(complete) => complete,
        Err(open) => !open,
    }
}
