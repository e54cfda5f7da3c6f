//! Files of columns, and what the paths of files say.
//!
//! Rules: columns that were read are whole; what a path says is written as a path that says the same, which stays below the table's.

use crate::schema::{self, check_columns};
use bytes::Bytes;
use flott_connectors::filesystem::tools::{Partitions, read_parquet};
use flott_core::{Field, LogicalType};
use flott_runtime::connector::TableSpec;
use std::ops::ControlFlow;
use std::path::{Component, Path};

/// Rows of one file beyond which nothing new is found: runs of one value are short as bytes.
const MAX_ROWS: usize = 1 << 20;

/// A parquet file: the first line has the table's columns and options, the file follows.
pub(crate) fn parquet(data: &[u8]) {
    let Some(input) = schema::read(data, "parquet.") else {
        return;
    };
    let mut rows = 0;
    let file = Bytes::copy_from_slice(input.body);
    let _ = read_parquet(&input.options, input.columns, file, |columns, count| {
        check_columns(&columns, count);
        rows += count;
        match rows > MAX_ROWS {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
}

/// A path: the first line has the partition columns and, as options, those of the table (`partition.default-name=x`); the path follows.
pub(crate) fn partition_path(data: &[u8]) {
    let Some(input) = schema::read(data, "") else { return };
    let Ok(text) = std::str::from_utf8(input.body) else {
        return;
    };
    let partition_keys = input.columns.iter().map(|f| f.name.clone()).collect();
    let mut columns = input.columns;
    // A table has a column beside those of its partitions.
    columns.push(Field::new("of the files", LogicalType::bigint()));
    let table = TableSpec {
        name: "t".to_owned(),
        options: input.options,
        columns,
        metadata: vec![],
        primary_key: vec![],
        partition_keys,
    };
    let Ok(partitions) = Partitions::of(&table) else { return };
    let path = Path::new(text);
    let _ = partitions.time_ms(&table.options, path);
    let Ok(columns) = partitions.columns(path) else { return };
    check_columns(&columns, 1);
    let folder = partitions.folder(&columns, 0);
    let is_below = |part: Component<'_>| matches!(part, Component::Normal(_));
    let parts: Vec<Component<'_>> = Path::new(&folder).components().collect();
    assert!(
        parts.len() == columns.len() && parts.into_iter().all(is_below),
        "'{folder}' is not one folder a column"
    );
    let again = partitions
        .columns(&Path::new(&folder).join("part"))
        .expect("a path that we wrote");
    for (again, first) in again.iter().zip(&columns) {
        // The empty text is written as NULL is, as in Flink.
        let is_blank = first
            .to_data()
            .buffers()
            .iter()
            .all(|b| b.iter().all(|byte| *byte == 0));
        assert!(
            again == first || is_blank,
            "'{folder}' says something else than '{text}'"
        );
    }
}
