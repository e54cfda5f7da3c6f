//! The one error of SQL: what failed, where in the script, why, and what to do.
//!
//! An error is made with the [`Location`] of the words that caused it; the line itself is added by
//! [`SqlError::in_source`] where the text is known. A view's text may stem from another script than the statement
//! that uses it, so the innermost source wins and later calls change nothing.

use sqlparser::tokenizer::{Location, Span};
use std::fmt;

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Filling in `${NAME}`.
    Variable,
    /// Reading the text.
    Syntax,
    /// Finding a table, view or column.
    Name,
    /// Matching types, functions and arguments.
    Type,
    /// Checking a table's definition and options.
    Table,
    /// Matching a query with its sink.
    Sink,
    /// Setting an option.
    Option,
    /// A query that the language allows and this engine (or streaming itself) does not.
    Unsupported,
    /// Making the physical plan; a failure here is a bug of ours.
    Plan,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variable => "variable error",
            Self::Syntax => "syntax error",
            Self::Name => "unknown name",
            Self::Type => "type error",
            Self::Table => "table error",
            Self::Sink => "sink error",
            Self::Option => "option error",
            Self::Unsupported => "not supported",
            Self::Plan => "planning error",
        })
    }
}

/// A place in a script with the text of its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// The line's text; `None` until the source is known.
    pub text: Option<String>,
}

/// An error in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What was being done.
    pub step: Step,
    /// Cause, with the words concerned.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// What the user can do.
    pub remedy: Option<String>,
}

/// Result of everything in this crate that reads SQL.
pub type SqlResult<T> = Result<T, SqlError>;

impl SqlError {
    /// An error without a place.
    pub fn new(step: Step, message: impl Into<String>) -> Self {
        Self {
            step,
            message: message.into(),
            place: None,
            remedy: None,
        }
    }

    /// The same error at `location`, unless it has a place already or the location is unknown (line 0).
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        if self.place.is_none() && location.line > 0 {
            self.place = Some(Place {
                line: location.line,
                column: location.column,
                text: None,
            });
        }
        self
    }

    /// The same error at the start of `span`, unless it has a place already.
    #[must_use]
    pub fn at_span(self, span: Span) -> Self {
        self.at(span.start)
    }

    /// The same error with what the user can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same error with its line of `source`, unless it has one already.
    #[must_use]
    pub fn in_source(mut self, source: &str) -> Self {
        if let Some(place) = &mut self.place
            && place.text.is_none()
            && let Some(line) = usize::try_from(place.line)
                .ok()
                .and_then(|n| source.lines().nth(n.checked_sub(1)?))
        {
            place.text = Some(line.to_owned());
        }
        self
    }
}

impl std::error::Error for SqlError {}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.step)?;
        if let Some(place) = &self.place {
            write!(f, " at line {}, column {}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(Place {
            line,
            column,
            text: Some(text),
        }) = &self.place
        {
            let (shown, caret) = excerpt(text, *column);
            write!(
                f,
                "\n{line:>5} | {shown}\n      | {blank:caret$}^",
                blank = "",
                caret = caret
            )?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\nremedy: {remedy}")?;
        }
        Ok(())
    }
}

/// The part of a line that fits a terminal, and the caret's offset in it. Tabs become blanks, so that the caret fits.
fn excerpt(text: &str, column: u64) -> (String, usize) {
    const BEFORE: usize = 80;
    const WIDTH: usize = 140;
    let chars: Vec<char> = text
        .trim_end()
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .collect();
    let at = usize::try_from(column.saturating_sub(1)).unwrap_or(0).min(chars.len());
    let start = at.saturating_sub(BEFORE);
    let end = (start + WIDTH).min(chars.len());
    let mut shown: String = chars[start..end].iter().collect();
    let mut caret = at - start;
    if start > 0 {
        shown.insert_str(0, "... ");
        caret += 4;
    }
    if end < chars.len() {
        shown.push_str(" ...");
    }
    (shown, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_word() {
        let e = SqlError::new(Step::Syntax, "wrong word")
            .at(Location { line: 2, column: 8 })
            .remedy("write another")
            .in_source("SELECT\n\tabc   def\n");
        assert_eq!(
            e.to_string(),
            "syntax error at line 2, column 8: wrong word\n    2 |  abc   def\n      |        ^\nremedy: write another"
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = "x".repeat(500);
        let text = SqlError::new(Step::Name, "m")
            .at(Location { line: 1, column: 300 })
            .in_source(&line)
            .to_string();
        assert!(text.lines().all(|l| l.len() < 170), "{text}");
    }
}
