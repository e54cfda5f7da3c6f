//! Word count: how often each word has come so far, at each word.
//!
//! Flink's `keyBy(0).sum(1)` names fields by their numbers; here closures do, and the compiler checks them. A stream is keyed by a value that
//! is taken out of the record, so a word is cloned.

use flott::prelude::*;

/// Splits lines into words. A class that implements `FlatMapFunction` in Flink; with a closure it would be `flat_map(|line, out| …)`.
#[derive(Debug, Clone, Copy)]
pub struct Tokenizer;

impl FlatMapFunction<String> for Tokenizer {
    type Out = (String, i64);

    fn flat_map(&mut self, line: String, out: &mut Collector<(String, i64)>) -> Result<(), BoxError> {
        // What Java's split("\\W+") takes for a word: letters, digits and underscores of ASCII.
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let line = line.to_lowercase();
        for word in line.split(|c| !is_word(c)).filter(|word| !word.is_empty()) {
            out.collect((word.to_owned(), 1));
        }
        Ok(())
    }
}

/// Counts words.
pub fn word_count(lines: &DataStream<String>) -> DataStream<(String, i64)> {
    lines
        .flat_map_with(Tokenizer)
        .key_by(|count| count.0.clone())
        .sum(|count| &mut count.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_java() {
        let env = StreamExecutionEnvironment::get_execution_environment();
        let words = env
            .from_collection(["To be, or NOT", "", "café 你好 foo_bar"].map(String::from))
            .flat_map_with(Tokenizer)
            .map(|count| count.0);
        let expected = ["to", "be", "or", "not", "caf", "foo_bar"];
        assert_eq!(words.execute_and_collect("words").expect("the job ends well"), expected);
    }
}
