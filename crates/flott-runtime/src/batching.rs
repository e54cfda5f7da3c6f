//! How rows are batched and moved: options that change the work and never the result, which is what tests vary; and how many rows a chain
//! that is slow gets at once ([`Pace`]).

use crate::error::TaskError;
use crate::unaligned::Unaligned;
use flott_core::Options;
use std::time::Duration;

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
    /// Whether barriers may overtake rows ([`crate::unaligned`]).
    pub barriers_overtake: bool,
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
            barriers_overtake: Unaligned::of(options).map_err(wrong)?.is_some(),
        })
    }

    /// Most rows of a batch where `own` is a reader's bound.
    pub fn rows_or(&self, own: usize) -> usize {
        self.rows.unwrap_or(own)
    }
}

/// How long a chain works at one piece of a batch, about: for so long it keeps a barrier waiting that could overtake the rest.
const PIECE_TIME: Duration = Duration::from_millis(10);
/// What a chain gets first, when nobody knows how fast it is.
const FIRST_ROWS: usize = 16;
/// Larger batches than these are not made: a chain that is this fast gets what comes.
const MANY_ROWS: usize = 16_384;

/// How many rows a chain gets at once: as many as it works off in [`PIECE_TIME`], by what it needed for those before.
#[derive(Debug)]
pub struct Pace {
    rows: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rows: FIRST_ROWS }
    }
}

impl Pace {
    /// Where a batch of so many rows is cut; no place if it is to be given whole.
    pub fn cuts(&self, rows: usize) -> Vec<usize> {
        (self.rows..rows).step_by(self.rows).collect()
    }

    /// The chain needed `took` for `rows` rows. It gets at most twice as many as before, so that nothing depends on one fast batch.
    pub fn worked(&mut self, rows: usize, took: Duration) {
        let row_ns = (took.as_nanos() / rows.max(1) as u128).max(1);
        let fits = usize::try_from(PIECE_TIME.as_nanos() / row_ns).unwrap_or(MANY_ROWS);
        self.rows = fits.clamp(1, (2 * self.rows).min(MANY_ROWS));
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

    #[test]
    fn a_slow_chain_gets_few_rows_and_a_fast_one_all() {
        let mut pace = Pace::default();
        assert_eq!(pace.cuts(40), [16, 32]);
        for _ in 0..20 {
            pace.worked(1_000, Duration::from_micros(10));
        }
        assert!(pace.cuts(MANY_ROWS).is_empty());
        pace.worked(8_192, Duration::from_secs(82));
        assert_eq!(pace.cuts(3), [1, 2]);
        pace.worked(1, Duration::from_millis(1));
        assert_eq!(pace.cuts(5), [2, 4]);
    }
}
