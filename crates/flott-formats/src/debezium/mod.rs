//! `debezium-json`: changes as Debezium's JSON events, `{"before": …, "after": …, "op": "c" | "r" | "u" | "d", …}`.
//!
//! # Reading
//! [`DebeziumDecoder`] finds the event's `before`, `after` and `op` by walking over its text once, and reads the rows with
//! the decoder of `json`, straight into columns. `c` (created) and `r` (read by a snapshot) insert `after`; `u` takes
//! `before` back and puts `after` in its place, as two rows; `d` deletes `before`. An update or a deletion without `before`
//! is an error that names the remedy (a Postgres table needs REPLICA IDENTITY FULL). With
//! `debezium-json.schema-include` the event is the `payload` of the message. Empty messages are no rows. What events tell of
//! themselves (`ts_ms`, `source`, the message's `schema`) are metadata columns.
//!
//! # Writing
//! [`DebeziumEncoder`] writes +I and +U as `c`, -U and -D as `d`, as Flink does, so that readers need no key.

mod decode;
mod encode;
mod metadata;

pub(crate) use decode::DebeziumDecoder;
pub(crate) use encode::DebeziumEncoder;
pub(crate) use metadata::columns as metadata_columns;

use crate::error::FormatError;
use crate::options::check_names;
use flott_core::Options;

/// The format's name.
pub(crate) const NAME: &str = "debezium-json";

const OPTIONS: [&str; 7] = [
    "debezium-json.schema-include",
    "debezium-json.ignore-parse-errors",
    "debezium-json.timestamp-format.standard",
    "debezium-json.map-null-key.mode",
    "debezium-json.map-null-key.literal",
    "debezium-json.encode.decimal-as-plain-number",
    "debezium-json.encode.ignore-null-fields",
];

/// The format's own options, and those of the rows within for `json`.
struct DebeziumOptions {
    schema_include: bool,
    ignore_parse_errors: bool,
    omit_nulls: bool,
    rows: Options,
}

impl DebeziumOptions {
    fn read(options: &Options) -> Result<Self, FormatError> {
        check_names(NAME, &OPTIONS, options)?;
        let flag = |key: &str| options.boolean(key).map(|set| set.unwrap_or(false));
        let rows = options.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(NAME)?.strip_prefix('.')?;
            (name != "schema-include").then(|| (format!("json.{name}"), value.to_owned()))
        });
        // Checked under the names that the user gave.
        options.one_of("debezium-json.timestamp-format.standard", &["SQL", "ISO-8601"])?;
        options.one_of("debezium-json.map-null-key.mode", &["FAIL", "DROP", "LITERAL"])?;
        flag("debezium-json.encode.decimal-as-plain-number")?;
        Ok(Self {
            schema_include: flag("debezium-json.schema-include")?,
            ignore_parse_errors: flag("debezium-json.ignore-parse-errors")?,
            omit_nulls: flag("debezium-json.encode.ignore-null-fields")?,
            rows: rows.collect(),
        })
    }
}

#[cfg(test)]
mod tests;
