//! Tables and streams in one program: SQL over streams, and streams of what queries give.
//!
//! ```
//! use flott::prelude::*;
//! use flott::table::{Row, StreamTableEnvironment};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let env = StreamExecutionEnvironment::get_execution_environment();
//! let tables = StreamTableEnvironment::create(&env)?;
//! let words = env.from_collection(["to", "be", "or", "not", "to", "be"].map(String::from));
//! tables.create_temporary_view("words", &words)?;
//! let counts = tables.sql_query("SELECT f0 AS word, COUNT(*) AS n FROM words GROUP BY f0")?;
//! let changes = tables.to_changelog_stream::<Row>(&counts)?;
//! let mut last = changes.filter(|row| row.get(0).and_then(|w| w.as_str()) == Some("to")).execute_and_collect("words")?;
//! assert_eq!(last.pop().map(|row| row.to_string()).as_deref(), Some("+U[to, 2]"));
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`StreamTableEnvironment`], [`Table`], [`Schema`], [`Row`], [`TableRecord`]. What a program asks of a session is
//! in `planner.rs`, and how batches of records and of columns become each other in `convert.rs`.

mod convert;
mod environment;
mod planner;
mod record;
mod row;
mod schema;
mod types;
mod watermarks;

pub use environment::{
    ChangelogMode, StatementSet, StreamTableEnvironment, Table, TableError, TableResult, ViewSource,
};
pub use flott_core::RowKind;
pub use record::{ChangeRecord, RecordColumns, Shape, TableRecord};
pub use row::{Change, IntoValues, Row, Value};
pub use schema::Schema;
pub use types::{Bytes, Date, Decimal, Time, Timestamp, TimestampLtz, WrongText};
