//! The specs of ORDER BY and LIMIT.

use super::{OverOrder, SpecError, check_columns};
use flott_core::Field;
use serde::{Deserialize, Serialize};

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// Its position.
    pub column: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS LAST.
    pub nulls_last: bool,
}

/// ORDER BY with LIMIT, or LIMIT alone: some rows of the input, kept up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// The order; rows that it does not tell apart go by arrival. Empty: by arrival alone.
    pub order: Vec<SortKey>,
    /// So many rows of the order are left out.
    pub offset: u64,
    /// So many rows behind them are told.
    pub fetch: u64,
    /// Whether the input may take rows back, so that those behind the limit must be kept.
    pub input_retracts: bool,
    /// Columns that tell the rows apart, if the input only brings new content of rows (without the former), and that never
    /// stands behind the former: then nothing behind the limit is kept.
    #[serde(default)]
    pub upsert_key: Option<Vec<usize>>,
    /// `table.exec.state.ttl` in ms; 0: kept for ever.
    #[serde(default)]
    pub ttl_ms: u64,
}

impl LimitSpec {
    /// Checks the columns.
    ///
    /// # Errors
    /// If one does not exist.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_columns(
            "limit's key",
            self.upsert_key.as_deref().unwrap_or_default(),
            &self.input,
        )?;
        check_keys(&self.order, &self.input)
    }
}

/// ORDER BY a time attribute: rows are told when time has passed them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporalSortSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// The time attribute.
    pub time: OverOrder,
    /// The order of rows of one time.
    pub order: Vec<SortKey>,
}

impl TemporalSortSpec {
    /// Checks the columns.
    ///
    /// # Errors
    /// If one does not exist.
    pub fn validate(&self) -> Result<(), SpecError> {
        if let OverOrder::EventTime { column } = self.time {
            check_columns("ORDER BY's time", &[column], &self.input)?;
        }
        check_keys(&self.order, &self.input)
    }
}

fn check_keys(order: &[SortKey], input: &[Field]) -> Result<(), SpecError> {
    let columns: Vec<usize> = order.iter().map(|k| k.column).collect();
    check_columns("ORDER BY", &columns, input)
}
