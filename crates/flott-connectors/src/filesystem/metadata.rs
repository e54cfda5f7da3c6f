//! Metadata columns of a file: path, name, size, time of the last change.

use super::enumerator::FileSplit;
use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use flott_core::{LogicalType, TypeKind};
use flott_runtime::connector::{ConnectorError, MetadataKey};
use std::iter::repeat_n;
use std::sync::Arc;

/// The keys, with their types.
pub(super) fn keys() -> Vec<MetadataKey> {
    let key = |key: &str, ty: LogicalType| MetadataKey {
        key: key.to_owned(),
        ty: ty.with_nullable(false),
        writable: false,
    };
    vec![
        key("file.path", LogicalType::string()),
        key("file.name", LogicalType::string()),
        key("file.size", LogicalType::bigint()),
        key("file.modification-time", LogicalType::new(TypeKind::TimestampLtz(3))),
    ]
}

/// Refuses keys that files do not have.
pub(super) fn check(wanted: &[MetadataKey]) -> Result<(), ConnectorError> {
    let all = keys();
    match wanted.iter().find(|w| !all.iter().any(|k| k.key == w.key)) {
        None => Ok(()),
        Some(unknown) => {
            let names: Vec<&str> = all.iter().map(|k| k.key.as_str()).collect();
            let hint = flott_core::suggest::hint(&unknown.key, names.iter().copied());
            Err(ConnectorError::Schema(format!(
                "connector 'filesystem' has no metadata '{}'{hint} (known: {})",
                unknown.key,
                names.join(", ")
            )))
        }
    }
}

/// The columns of these keys for `rows` rows of a file.
pub(super) fn columns(wanted: &[MetadataKey], split: &FileSplit, rows: usize) -> Vec<ArrayRef> {
    let column = |key: &MetadataKey| -> ArrayRef {
        match key.key.as_str() {
            "file.path" => Arc::new(StringArray::from_iter_values(repeat_n(
                split.path.to_string_lossy(),
                rows,
            ))),
            "file.name" => {
                let name = split.path.file_name().unwrap_or_default().to_string_lossy();
                Arc::new(StringArray::from_iter_values(repeat_n(name, rows)))
            }
            "file.size" => Arc::new(Int64Array::from_value(split.size_bytes as i64, rows)),
            _ => Arc::new(TimestampMillisecondArray::from_value(split.modified_ms, rows)),
        }
    };
    wanted.iter().map(column).collect()
}
