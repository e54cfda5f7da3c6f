//! Typed rows: what a batch holds in a program whose records are Rust values.
//!
//! A [`crate::Batch`] holds columns or [`Rows`]. Operators that work on a type know it; everything between them (chains,
//! exchanges, gates) moves, spreads, joins and encodes rows through this trait, whose functions are made where the type is
//! known. Rows are moved wherever they have one owner, and cloned only where a stream is read twice.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Typed rows could not be joined, written or read.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// Two ends of a stream disagree about its type.
    #[error("records of type {expected} are expected here, and {found} came")]
    OtherType {
        /// The type of the reader.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// A record has no encoded form.
    #[error("a record of type {type_name} cannot leave the process: {reason}")]
    Encode {
        /// The record's type.
        type_name: &'static str,
        /// What its serialiser says.
        reason: String,
    },
    /// The bytes are no records of the type.
    #[error("bytes from another task are no records of type {type_name}: {reason}")]
    Decode {
        /// The type asked for.
        type_name: &'static str,
        /// What its deserialiser says.
        reason: String,
    },
}

/// Rows of one Rust type. The methods mirror those of a batch of columns.
pub trait Rows: fmt::Debug + Send + Sync + 'static {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the rows hold, in bytes; an estimate where records own more than themselves.
    fn bytes(&self) -> usize;

    /// Copies of the rows at `indices`, in that order.
    fn take(&self, indices: &[u32]) -> Arc<dyn Rows>;

    /// Spreads the rows: row `i` goes to part `targets[i]`, in order. `counts[t]` is how many go to part `t`.
    fn scatter(self: Arc<Self>, targets: &[u32], counts: &[usize]) -> Vec<Arc<dyn Rows>>;

    /// These rows and then those of `more`.
    ///
    /// # Errors
    /// If they are of another type.
    fn append(self: Arc<Self>, more: Vec<Arc<dyn Rows>>) -> Result<Arc<dyn Rows>, RowsError>;

    /// Appends the rows as bytes, which the type's [`DecodeRows`] reads.
    ///
    /// # Errors
    /// If a record has no encoded form.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), RowsError>;

    /// Name of the type, for messages.
    fn type_name(&self) -> &'static str;

    /// The rows as what they are.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Reads what [`Rows::encode`] wrote; damaged bytes are an error.
pub type DecodeRows = fn(&[u8]) -> Result<Arc<dyn Rows>, RowsError>;
