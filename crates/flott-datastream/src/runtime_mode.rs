//! Whether results are told on the way or once, at the end: [`RuntimeMode`].
//!
//! A job in batch mode is the same plan, with four differences: sources and operators make no watermarks, so time stays at its beginning until
//! the end of the input and then comes to its end at once; rolling aggregations emit what they hold of a key at the end; timers of processing
//! time fire at the end, too; and no checkpoints are taken on the way. What cannot be told once is refused before the start.

use flott_core::Options;

/// The option by which a plan says its mode: `STREAMING` or `BATCH`.
pub(crate) const OPTION: &str = "execution.runtime-mode";

/// How a job works on input that ends: [`crate::StreamExecutionEnvironment::set_runtime_mode`].
///
/// In `Batch`, as in Flink: every source must end; there are no watermarks before the end, so nothing is late; [`crate::KeyedStream::reduce`], `sum` and the
/// like give one record a key; timers, those of processing time among them, fire at the end, and what their calls register is ignored; no
/// checkpoints are taken on the way, and a job that fails begins anew. Functions beside a broadcast stream are refused, because they need all
/// of that stream first. Unlike Flink, records of a key are not sorted by their times, and keys are not worked on one after the other.
///
/// ```
/// use flott::prelude::*;
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// env.set_runtime_mode(RuntimeMode::Batch);
/// let words = env.from_collection(["to", "be", "or", "not", "to", "be"].map(|word| (word.to_owned(), 1i64)));
/// let counts = words.key_by(|word| word.0.clone()).sum(|word| &mut word.1);
/// let mut counts = counts.execute_and_collect("word count")?;
/// counts.sort();
/// assert_eq!(counts, [("be", 2), ("not", 1), ("or", 1), ("to", 2)].map(|(word, n)| (word.to_owned(), n)));
/// # Ok::<(), ExecuteError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeMode {
    /// Results follow their input, and are corrected by later ones.
    #[default]
    Streaming,
    /// Results are told once, at the end of the input.
    Batch,
    /// `Batch` if every source ends, else `Streaming`; `Streaming`, too, with what cannot be told once: SQL, and functions beside a broadcast
    /// stream.
    Automatic,
}

/// Names of the modes, in the order of [`MODES`].
pub(crate) const NAMES: [&str; 3] = ["STREAMING", "BATCH", "AUTOMATIC"];
pub(crate) const MODES: [RuntimeMode; 3] = [RuntimeMode::Streaming, RuntimeMode::Batch, RuntimeMode::Automatic];

impl RuntimeMode {
    /// Its name, as the option `execution.runtime-mode` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Streaming => NAMES[0],
            Self::Batch => NAMES[1],
            Self::Automatic => NAMES[2],
        }
    }
}

/// Whether a planned job tells its results once.
pub(crate) fn is_batch(options: &Options) -> bool {
    options.get(OPTION) == Some(RuntimeMode::Batch.name())
}
