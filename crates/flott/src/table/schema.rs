//! [`Schema`]: what a table declares about a stream, in the words of CREATE TABLE.

use flott_core::Field;
use flott_sql::catalog::{backquoted, quoted};
use std::fmt::Write;

/// A column as it is declared.
#[derive(Debug, Clone)]
enum Declared {
    Physical {
        name: String,
        ty: String,
    },
    Computed {
        name: String,
        expression: String,
    },
    Metadata {
        name: String,
        ty: String,
        key: Option<String>,
    },
}

/// The columns of a table over a stream, its time and its key.
///
/// Without [`Self::column`] all columns of the records' own type come first; computed and metadata columns are added to them. Types and
/// expressions are SQL's.
///
/// ```
/// use flott::table::Schema;
/// let schema = Schema::new()
///     .column_by_expression("at", "TO_TIMESTAMP_LTZ(time_ms, 3)")
///     .watermark("at", "at - INTERVAL '5' SECOND");
/// # let _ = schema;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a schema is given to the call that makes the table"]
pub struct Schema {
    columns: Vec<Declared>,
    watermark: Option<(String, String)>,
    primary_key: Vec<String>,
}

impl Schema {
    /// A schema that declares nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A column of the records, found by its name; `ty` is a type of SQL, such as `BIGINT NOT NULL`.
    pub fn column(mut self, name: &str, ty: &str) -> Self {
        self.columns.push(Declared::Physical {
            name: name.to_owned(),
            ty: ty.to_owned(),
        });
        self
    }

    /// A column that is computed from the others.
    pub fn column_by_expression(mut self, name: &str, expression: &str) -> Self {
        self.columns.push(Declared::Computed {
            name: name.to_owned(),
            expression: expression.to_owned(),
        });
        self
    }

    /// A column of what is known about a record; `rowtime`, its event time, is a `TIMESTAMP_LTZ(3)`.
    pub fn column_by_metadata(mut self, name: &str, ty: &str) -> Self {
        self.columns.push(Declared::Metadata {
            name: name.to_owned(),
            ty: ty.to_owned(),
            key: None,
        });
        self
    }

    /// The same under another name than the metadata's own: `column_by_metadata_key("at", "TIMESTAMP_LTZ(3)", "rowtime")`.
    pub fn column_by_metadata_key(mut self, name: &str, ty: &str, key: &str) -> Self {
        self.columns.push(Declared::Metadata {
            name: name.to_owned(),
            ty: ty.to_owned(),
            key: Some(key.to_owned()),
        });
        self
    }

    /// Makes a column the event time of the table. `expression` is the watermark of a row; `SOURCE_WATERMARK()` takes over those of the stream.
    pub fn watermark(mut self, column: &str, expression: &str) -> Self {
        self.watermark = Some((column.to_owned(), expression.to_owned()));
        self
    }

    /// The columns by which rows are told apart; nothing checks it.
    pub fn primary_key<'a>(mut self, columns: impl IntoIterator<Item = &'a str>) -> Self {
        self.primary_key = columns.into_iter().map(str::to_owned).collect();
        self
    }

    pub(super) fn has_physical(&self) -> bool {
        self.columns.iter().any(|c| matches!(c, Declared::Physical { .. }))
    }

    pub(super) fn computed(&self) -> Option<&str> {
        self.columns.iter().find_map(|c| match c {
            Declared::Computed { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    pub(super) fn has_metadata(&self, column: &str) -> bool {
        let is_it = |c: &Declared| matches!(c, Declared::Metadata { name, .. } if name == column);
        self.columns.iter().any(is_it)
    }

    pub(super) fn watermark_column(&self) -> Option<&str> {
        self.watermark.as_ref().map(|(column, _)| column.as_str())
    }

    /// CREATE TABLE; `own` are the columns that the records' type has.
    pub(super) fn create_table(&self, path: &str, own: &[Field], options: &[(&str, String)]) -> String {
        let mut lines = vec![];
        if !self.has_physical() {
            lines.extend(
                own.iter()
                    .map(|field| format!("{} {}", backquoted(&field.name), field.ty)),
            );
        }
        for column in &self.columns {
            lines.push(match column {
                Declared::Physical { name, ty } => format!("{} {ty}", backquoted(name)),
                Declared::Computed { name, expression } => format!("{} AS {expression}", backquoted(name)),
                Declared::Metadata { name, ty, key } => {
                    let key = key
                        .as_ref()
                        .map_or(String::new(), |key| format!(" FROM {}", quoted(key)));
                    format!("{} {ty} METADATA{key} VIRTUAL", backquoted(name))
                }
            });
        }
        if let Some((column, expression)) = &self.watermark {
            lines.push(format!("WATERMARK FOR {} AS {expression}", backquoted(column)));
        }
        if !self.primary_key.is_empty() {
            let columns: Vec<String> = self.primary_key.iter().map(|c| backquoted(c)).collect();
            lines.push(format!("PRIMARY KEY ({}) NOT ENFORCED", columns.join(", ")));
        }
        let mut statement = format!("CREATE TEMPORARY TABLE {path} (\n  {}\n) WITH (", lines.join(",\n  "));
        for (i, (key, value)) in options.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let _ = write!(statement, "{comma}{} = {}", quoted(key), quoted(value));
        }
        statement.push(')');
        statement
    }
}
