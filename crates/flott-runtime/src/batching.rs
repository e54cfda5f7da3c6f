//! How rows are batched and moved: options that change the work and never the result, which is what tests vary.

use crate::error::TaskError;
use flott_core::Options;

/// Option: most rows of a batch, from a reader and in front of every operator. Without it readers and operators have their own
/// bounds.
pub const BATCH_ROWS: &str = "execution.batch-rows";

/// Option: whether everything that crosses an exchange is encoded and decoded, as it is between processes.
pub const ENCODED_EXCHANGES: &str = "execution.exchange.encoded";

/// The options of this module, read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batching {
    /// [`BATCH_ROWS`]
    pub rows: Option<usize>,
    /// [`ENCODED_EXCHANGES`]
    pub encoded_exchanges: bool,
}

impl Batching {
    /// Reads the options of a job.
    ///
    /// # Errors
    /// If a value is wrong; trying again cannot help.
    pub fn of(options: &Options) -> Result<Self, TaskError> {
        let wrong = |e: flott_core::options::OptionError| TaskError::user(e.to_string()).fatal();
        Ok(Self {
            rows: options.positive(BATCH_ROWS).map_err(wrong)?,
            encoded_exchanges: options.boolean(ENCODED_EXCHANGES).map_err(wrong)?.unwrap_or(false),
        })
    }

    /// Most rows of a batch where `own` is a reader's bound.
    pub fn rows_or(&self, own: usize) -> usize {
        self.rows.unwrap_or(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        let options: Options = [(BATCH_ROWS, "7"), (ENCODED_EXCHANGES, "true")].into_iter().collect();
        let batching = Batching::of(&options).unwrap();
        assert_eq!((batching.rows_or(8), batching.encoded_exchanges), (7, true));
        assert_eq!(Batching::of(&Options::new()).unwrap().rows_or(8), 8);
        let options: Options = [(BATCH_ROWS, "0")].into_iter().collect();
        assert!(Batching::of(&options).unwrap_err().to_string().contains(BATCH_ROWS));
    }
}
