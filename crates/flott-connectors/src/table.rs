//! What the small connectors share: checking the names of options, and plain answers.

use flott_core::suggest;
use flott_runtime::connector::{Boundedness, ChangelogMode, ConnectorError, TableInfo, TableSpec};

/// Options of any table that is read; the planner acts on them.
pub(crate) const WATERMARK_OPTIONS: [&str; 5] = [
    "scan.watermark.emit.strategy",
    "scan.watermark.idle-timeout",
    "scan.watermark.alignment.group",
    "scan.watermark.alignment.max-drift",
    "scan.watermark.alignment.update-interval",
];

/// Refuses options other than `connector`, `known` and, where given, those that `more` accepts.
pub(crate) fn check_options_with(
    table: &TableSpec,
    known: &[&str],
    more: impl Fn(&str) -> bool,
) -> Result<(), ConnectorError> {
    for (key, _) in table.options.iter() {
        if key == "connector" || known.contains(&key) || more(key) {
            continue;
        }
        let hint = suggest::hint(key, known.iter().copied());
        let all = if known.is_empty() {
            "it has none".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        return Err(ConnectorError::Option(format!(
            "table '{}': connector '{}' has no option '{key}'{hint} ({all})",
            table.short_name(),
            table.connector(),
        )));
    }
    Ok(())
}

/// Refuses options other than `connector` and `known`.
pub(crate) fn check_options(table: &TableSpec, known: &[&str]) -> Result<(), ConnectorError> {
    check_options_with(table, known, |_| false)
}

/// An option's error with the table in front.
pub(crate) fn wrong(table: &TableSpec, error: impl std::fmt::Display) -> ConnectorError {
    ConnectorError::Option(format!("table '{}': {error}", table.short_name()))
}

/// The answer about a table without metadata and warnings.
pub(crate) fn plain_info(changelog: ChangelogMode, boundedness: Boundedness) -> TableInfo {
    TableInfo {
        changelog,
        boundedness,
        metadata: vec![],
        splits_may_idle: false,
        warnings: vec![],
    }
}

/// A table of this connector cannot be read.
pub(crate) fn no_source(connector: &str) -> ConnectorError {
    ConnectorError::Option(format!(
        "connector '{connector}' writes only; read from another table, such as 'datagen' or 'kafka'"
    ))
}

/// A table of this connector cannot be written.
pub(crate) fn no_sink(connector: &str) -> ConnectorError {
    ConnectorError::Option(format!(
        "connector '{connector}' reads only; write to another table, such as 'print' or 'blackhole'"
    ))
}

/// Whether `key` is an option of a format, under any format's prefix.
pub(crate) fn is_format_option(key: &str) -> bool {
    flott_formats::FORMATS
        .iter()
        .any(|f| key.strip_prefix(f).is_some_and(|rest| rest.starts_with('.')))
}
