//! What can go wrong: [`FormatError`] when a decoder or encoder is made or a batch cannot be written, [`RowError`]
//! when one message cannot be read.

use flott_core::options::OptionError;
use std::fmt;
use thiserror::Error;

/// A format cannot be set up for a table, or cannot write a value.
#[derive(Debug, Clone, Error)]
pub enum FormatError {
    /// No format has this name.
    #[error("there is no format '{name}'; formats are csv, debezium-json, json and raw, and for files parquet{hint}")]
    UnknownFormat {
        /// The name that was asked for.
        name: String,
        /// The nearest name, as a phrase.
        hint: String,
    },
    /// An option under the format's prefix that the format does not have.
    #[error("format '{format}' has no option '{option}'; its options are {known}{hint}")]
    UnknownOption {
        /// The format.
        format: &'static str,
        /// The option as written.
        option: String,
        /// All options of the format.
        known: String,
        /// The nearest name, as a phrase.
        hint: String,
    },
    /// A metadata column that the format does not have.
    #[error("format '{format}' has no metadata '{name}'{hint}")]
    UnknownMetadata {
        /// The format.
        format: &'static str,
        /// The name that was asked for.
        name: String,
        /// The nearest name, as a phrase.
        hint: String,
    },
    /// An option with a value that it does not accept.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Options that exclude each other.
    #[error("format '{format}': {reason}")]
    Conflict {
        /// The format.
        format: &'static str,
        /// Which options, and which one to drop.
        reason: String,
    },
    /// A column of a type that the format cannot carry.
    #[error("format '{format}' cannot carry column '{column}' of type {ty}: {reason}")]
    UnsupportedType {
        /// The format.
        format: &'static str,
        /// The column, with the path of nested fields.
        column: String,
        /// Its type.
        ty: String,
        /// What the format carries instead.
        reason: String,
    },
    /// A batch whose columns are not those that the encoder was made for.
    #[error("the encoder of format '{format}' was made for other columns: {reason}")]
    Columns {
        /// The format.
        format: &'static str,
        /// What differs.
        reason: String,
    },
    /// A value that the format cannot write.
    #[error("format '{format}' cannot write row {row}: {reason}")]
    Value {
        /// The format.
        format: &'static str,
        /// Index of the row in its batch.
        row: usize,
        /// Column, value and remedy.
        reason: String,
    },
}

/// Why a message could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowErrorKind {
    /// The message is not of the format.
    Syntax,
    /// A field's text is no value of its type.
    Value,
    /// A field is missing although `fail-on-missing-field` is set.
    MissingField,
    /// A line has too few or too many columns.
    ColumnCount,
    /// The message is not UTF-8, or not of the `raw.charset`.
    Encoding,
    /// The message, together with the rows not yet taken, is too large for one batch.
    TooLarge,
}

/// A message that could not be read. It left no trace in the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// What kind of fault.
    pub kind: RowErrorKind,
    /// The format that refused the message.
    pub format: &'static str,
    /// The column, with the path of nested fields, where one is at fault.
    pub field: Option<String>,
    /// Byte offset of the fault within the message.
    pub position: usize,
    /// What was expected or wrong there.
    pub reason: String,
    /// At most [`EXCERPT_BYTES`] bytes of the message from near the fault, as text.
    pub excerpt: String,
}

/// Longest excerpt of a message in a [`RowError`].
pub const EXCERPT_BYTES: usize = 80;

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {} at byte {}", self.format, self.position)?;
        if let Some(field) = &self.field {
            write!(f, ", field '{field}'")?;
        }
        write!(f, ": {}: {}", self.reason, self.excerpt)
    }
}

impl std::error::Error for RowError {}

/// The text around `position`, at most [`EXCERPT_BYTES`] long, with control characters and broken UTF-8 made visible.
pub(crate) fn excerpt(message: &[u8], position: usize) -> String {
    let start = position.min(message.len()).saturating_sub(EXCERPT_BYTES / 2);
    let mut window = &message[start..];
    let mut text = String::with_capacity(EXCERPT_BYTES);
    while let Some(chunk) = window.utf8_chunks().next() {
        for c in chunk.valid().chars() {
            let shown = if c.is_control() { ' ' } else { c };
            if text.len() + shown.len_utf8() > EXCERPT_BYTES {
                return text;
            }
            text.push(shown);
        }
        if !chunk.invalid().is_empty() {
            // Starting inside a character is the window's doing, not the message's.
            let cut = start > 0 && text.is_empty();
            if !cut {
                if text.len() + '\u{fffd}'.len_utf8() > EXCERPT_BYTES {
                    return text;
                }
                text.push('\u{fffd}');
            }
        }
        window = &window[chunk.valid().len() + chunk.invalid().len()..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_printable() {
        let long = "é".repeat(100);
        let e = excerpt(long.as_bytes(), 101);
        assert!(e.len() <= EXCERPT_BYTES && e.chars().all(|c| c == 'é'), "{e}");
        assert_eq!(excerpt(b"a\nb\xffc", 0), "a b\u{fffd}c");
        assert_eq!(excerpt(b"", 9), "");
    }
}
