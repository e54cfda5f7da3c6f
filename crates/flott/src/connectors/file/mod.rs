//! Files: [`FileSource`] and [`FileSink`], on local disk or in a bucket.
//!
//! ```no_run
//! use flott::prelude::*;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), ExecuteError> {
//! let env = StreamExecutionEnvironment::get_execution_environment();
//! env.enable_checkpointing(Duration::from_secs(10));
//! let lines = FileSource::for_lines("/var/log/shop").monitor_continuously(Duration::from_secs(5)).build()?;
//! let errors = FileSink::for_row_format("/data/errors", SimpleStringSchema)
//!     .with_bucket_assigner(DateTimeBucketAssigner)
//!     .with_rolling_policy(DefaultRollingPolicy::builder().with_max_part_size(64 << 20).build())
//!     .build()?;
//! env.from_source(lines, WatermarkStrategy::no_watermarks(), "logs")
//!     .filter(|line: &String| line.contains("ERROR"))
//!     .sink_to(errors);
//! env.execute("errors")?;
//! # Ok(())
//! # }
//! ```
//!
//! Both are the `filesystem` connector of tables: a path is a file, a directory or a pattern; compressed files are known by their
//! endings (`.gz`, `.deflate`, `.bz2`, `.xz`, `.zst`); large files are read in ranges by several subtasks; a part is seen once the
//! checkpoint that it belongs to is complete, and then once.

mod sink;
mod source;

pub use sink::{
    BucketAssigner, DateTimeBucketAssigner, DefaultRollingPolicy, DefaultRollingPolicyBuilder, FileSink,
    FileSinkBuilder,
};
pub use source::{FileSource, FileSourceBuilder};

use flott_core::{Field, LogicalType, Options, TypeKind};
use flott_runtime::connector::TableSpec;

/// The table of lines as bytes that stands for a program's files.
fn table(name: &str, path: &str, options: Options) -> TableSpec {
    let mut all: Options = [("connector", "filesystem"), ("path", path), ("format", "raw")]
        .into_iter()
        .collect();
    all.merge(&options);
    let bytes = LogicalType::new(TypeKind::Varbinary(flott_core::types::MAX_LENGTH));
    TableSpec {
        name: name.to_owned(),
        options: all,
        columns: vec![Field::new("line", bytes)],
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    }
}
