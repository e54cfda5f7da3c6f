//! Partitions: the folders `key=value/…` below a table's path, and the columns whose values they hold.
//!
//! The rows of a partition do not hold the values of its columns; the folder's name does, escaped as Hive does
//! (`%3A` for `:`). NULL and the empty string are the folder of `partition.default-name`, which reads as NULL. Columns of
//! a partition are strings, booleans, whole numbers or dates; a DATE is written as `yyyy-MM-dd`, which Flink reads too.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
    new_null_array,
};
use chrono::{Days, NaiveDate};
use flott_core::{Field, TypeKind};
use flott_runtime::connector::{ConnectorError, TableSpec};
use flott_runtime::partition_filter::PartitionFilter;
use std::cmp::Ordering;
use std::fmt::Write;
use std::iter::repeat_n;
use std::path::{Component, Path};
use std::sync::Arc;

/// Flink's default of `partition.default-name`.
const DEFAULT_NAME: &str = "__DEFAULT_PARTITION__";

/// The columns of a table's PARTITIONED BY clause.
#[derive(Debug, Clone)]
pub(super) struct Partitioning {
    /// Columns in the order of the folders.
    pub keys: Vec<Field>,
    default_name: String,
    /// Whether a folder's name is the value without the key: the buckets of a program.
    values_alone: bool,
}

impl Partitioning {
    /// Reads the clause and `partition.default-name`.
    ///
    /// # Errors
    /// If a column does not exist, has a type that no folder can name, or none is left for the files.
    pub(super) fn read(table: &TableSpec) -> Result<Self, ConnectorError> {
        let fail = |problem: String| {
            let name = table.short_name();
            Err(ConnectorError::Schema(format!(
                "table '{name}': PARTITIONED BY: {problem}"
            )))
        };
        let mut keys: Vec<Field> = vec![];
        for key in &table.partition_keys {
            let Some(column) = table.columns.iter().find(|c| c.name == *key) else {
                let hint = flott_core::suggest::hint(key, table.columns.iter().map(|c| c.name.as_str()));
                return fail(format!("'{key}' is no physical column of the table{hint}"));
            };
            if keys.iter().any(|k| k.name == *key) {
                return fail(format!("'{key}' is named twice"));
            }
            if !is_supported(&column.ty.kind) {
                return fail(format!(
                    "the column '{key}' is of type {}, which no folder can name; use a STRING, BOOLEAN, whole number or \
                     DATE, such as DATE_FORMAT(ts, 'yyyy-MM-dd')",
                    column.ty
                ));
            }
            keys.push(column.clone());
        }
        if keys.len() == table.columns.len() {
            return fail("all columns are named, so nothing is left to write; leave one out".into());
        }
        let default_name = table.options.get("partition.default-name").unwrap_or(DEFAULT_NAME);
        if default_name.is_empty() || default_name.contains('/') {
            return fail(format!(
                "'partition.default-name' = '{default_name}' is no name of a folder"
            ));
        }
        Ok(Self {
            keys,
            default_name: default_name.to_owned(),
            values_alone: false,
        })
    }

    /// The same, with folders that are named by the values alone; they can be written and not be read.
    pub(super) fn by_values_alone(mut self) -> Self {
        self.values_alone = true;
        self
    }

    /// Whether the table has no partitions.
    pub(super) fn is_none(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether this column is in the folder's name and not in the files.
    pub(super) fn is_key(&self, column: &str) -> bool {
        self.keys.iter().any(|k| k.name == column)
    }

    /// Those of `fields` that are in the files.
    pub(super) fn in_files(&self, fields: &[Field]) -> Vec<Field> {
        fields.iter().filter(|f| !self.is_key(&f.name)).cloned().collect()
    }

    /// Writes the folder of a row, `dt=2020-01-01/hour=7`, behind `out`. `columns` are those of the keys.
    pub(super) fn write_folder(&self, columns: &[ArrayRef], row: usize, out: &mut String) {
        for (i, (key, column)) in self.keys.iter().zip(columns).enumerate() {
            if i > 0 {
                out.push('/');
            }
            if !self.values_alone {
                escape(&key.name, out);
                out.push('=');
            }
            let start = out.len();
            if !column.is_null(row) {
                write_value(&key.ty.kind, column, row, out);
            }
            if out.len() == start {
                escape(&self.default_name, out);
            }
            // No value may lead out of the table's folder.
            if matches!(&out[start..], "." | "..") {
                let dots = out.split_off(start).len();
                out.push_str(&"%2E".repeat(dots));
            }
        }
    }

    /// The values that a file's path names, in the order of the keys; `None` is NULL.
    ///
    /// # Errors
    /// If the path does not name a key, with the problem.
    pub(super) fn values_of(&self, path: &Path) -> Result<Vec<Option<String>>, String> {
        let values = path
            .parent()
            .map_or(vec![None; self.keys.len()], |folder| self.named_in(folder));
        let named = |(value, key): (Option<Option<String>>, &Field)| {
            value.ok_or_else(|| {
                let path = path.display();
                format!(
                    "the path of '{path}' has no folder '{}=…', by which the table is PARTITIONED",
                    key.name
                )
            })
        };
        values.into_iter().zip(&self.keys).map(named).collect()
    }

    /// For each key the value that a folder's path names, if it names one; NULL is `Some(None)`.
    fn named_in(&self, folder: &Path) -> Vec<Option<Option<String>>> {
        let mut values: Vec<Option<Option<String>>> = vec![None; self.keys.len()];
        for folder in folder.components() {
            let Component::Normal(name) = folder else { continue };
            let Some((key, value)) = name.to_str().and_then(|n| n.split_once('=')) else {
                continue;
            };
            let (key, value) = (unescape(key), unescape(value));
            if let Some(i) = self.keys.iter().position(|k| k.name == key) {
                values[i] = Some((value != self.default_name).then_some(value));
            }
        }
        values
    }

    /// A column of `rows` times the value that a path names for the key `key`.
    ///
    /// # Errors
    /// If the text is no value of the column's type, with the problem.
    pub(super) fn column(key: &Field, value: Option<&str>, rows: usize) -> Result<ArrayRef, String> {
        let Some(text) = value else {
            return Ok(new_null_array(&key.ty.to_arrow(), rows));
        };
        let wrong = || format!("'{text}' in the path is no {} (column '{}')", key.ty, key.name);
        macro_rules! number {
            ($array:ty) => {
                Arc::new(<$array>::from_value(text.parse().map_err(|_| wrong())?, rows))
            };
        }
        Ok(match &key.ty.kind {
            TypeKind::Boolean => {
                let value: bool = text.to_ascii_lowercase().parse().map_err(|_| wrong())?;
                Arc::new(BooleanArray::from(vec![value; rows]))
            }
            TypeKind::TinyInt => number!(Int8Array),
            TypeKind::SmallInt => number!(Int16Array),
            TypeKind::Int => number!(Int32Array),
            TypeKind::BigInt => number!(Int64Array),
            TypeKind::Date => {
                let date: NaiveDate = text.parse().map_err(|_| wrong())?;
                let days = (date - NaiveDate::default()).num_days();
                Arc::new(Date32Array::from_value(i32::try_from(days).map_err(|_| wrong())?, rows))
            }
            _ => Arc::new(StringArray::from_iter_values(repeat_n(text, rows))),
        })
    }
}

impl Partitioning {
    /// Whether rows below a folder may pass a filter, as far as the folder's path tells.
    pub(super) fn may_pass(&self, folder: &Path, filter: &PartitionFilter) -> bool {
        self.may_hold(&self.named_in(folder), filter)
    }

    fn may_hold(&self, values: &[Option<Option<String>>], filter: &PartitionFilter) -> bool {
        // A column that the path does not name (yet) may have any value.
        let of = |column: &str| -> Option<(&Field, &Option<String>)> {
            let i = self.keys.iter().position(|k| k.name == column)?;
            Some((&self.keys[i], values[i].as_ref()?))
        };
        match filter {
            PartitionFilter::All(filters) => filters.iter().all(|f| self.may_hold(values, f)),
            PartitionFilter::Any(filters) => filters.iter().any(|f| self.may_hold(values, f)),
            PartitionFilter::Null { column, negated } => of(column).is_none_or(|(_, v)| v.is_none() != *negated),
            PartitionFilter::Compare {
                column,
                operator,
                value,
            } => match of(column) {
                None => true,
                Some((_, None)) => false,
                // What is no value of the type is told when it is read.
                Some((key, Some(found))) => order(&key.ty.kind, found, value).is_none_or(|o| operator.holds(o)),
            },
        }
    }
}

/// How two texts stand to each other as values of a type; `None` if one is none.
fn order(kind: &TypeKind, left: &str, right: &str) -> Option<Ordering> {
    fn parsed<T: Ord + std::str::FromStr>(left: &str, right: &str) -> Option<Ordering> {
        Some(left.parse::<T>().ok()?.cmp(&right.parse::<T>().ok()?))
    }
    match kind {
        TypeKind::Boolean => parsed::<bool>(&left.to_ascii_lowercase(), right),
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt => parsed::<i64>(left, right),
        TypeKind::Date => parsed::<NaiveDate>(left, right),
        _ => Some(left.cmp(right)),
    }
}

fn is_supported(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Char(_)
            | TypeKind::Varchar(_)
            | TypeKind::Boolean
            | TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Date
    )
}

fn write_value(kind: &TypeKind, column: &ArrayRef, row: usize, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match kind {
        TypeKind::Boolean => write!(out, "{}", column.as_boolean().value(row)),
        TypeKind::TinyInt => write!(out, "{}", column.as_primitive::<Int8Type>().value(row)),
        TypeKind::SmallInt => write!(out, "{}", column.as_primitive::<Int16Type>().value(row)),
        TypeKind::Int => write!(out, "{}", column.as_primitive::<Int32Type>().value(row)),
        TypeKind::BigInt => write!(out, "{}", column.as_primitive::<Int64Type>().value(row)),
        TypeKind::Date => {
            let days = column.as_primitive::<Date32Type>().value(row);
            let epoch = NaiveDate::default();
            let distance = Days::new(u64::from(days.unsigned_abs()));
            let date = if days < 0 {
                epoch.checked_sub_days(distance)
            } else {
                epoch.checked_add_days(distance)
            };
            date.map_or(Ok(()), |date| write!(out, "{date}"))
        }
        _ => {
            escape(column.as_string::<i32>().value(row), out);
            Ok(())
        }
    };
}

/// Whether a name of a folder must not hold this character as it is.
fn is_escaped(c: char) -> bool {
    matches!(
        c,
        '\u{1}'
            ..='\u{1F}'
                | '\u{7F}'
                | '"'
                | '#'
                | '%'
                | '\''
                | '*'
                | '/'
                | ':'
                | '='
                | '?'
                | '\\'
                | '{'
                | '['
                | ']'
                | '^'
    )
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if is_escaped(c) {
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(u8::is_ascii);
        match code {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::{LogicalType, Options};

    fn table(columns: &[(&str, LogicalType)], keys: &[&str]) -> TableSpec {
        TableSpec {
            name: "t".into(),
            options: Options::new(),
            columns: columns.iter().map(|(n, t)| Field::new(*n, t.clone())).collect(),
            metadata: vec![],
            primary_key: vec![],
            partition_keys: keys.iter().map(|k| (*k).to_owned()).collect(),
        }
    }

    #[test]
    fn folders_name_values_and_are_read_back() {
        let date = LogicalType::new(TypeKind::Date);
        let spec = [
            ("v", LogicalType::bigint()),
            ("s", LogicalType::string()),
            ("d", date),
            ("n", LogicalType::bigint()),
        ];
        let partitioning = Partitioning::read(&table(&spec, &["s", "d", "n"])).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("a:b/ü %"), Some(""), None])),
            Arc::new(Date32Array::from(vec![Some(-1), Some(18_262), None])),
            Arc::new(Int64Array::from(vec![Some(-7), None, Some(i64::MAX)])),
        ];
        let folders: Vec<String> = (0..3)
            .map(|row| {
                let mut out = String::new();
                partitioning.write_folder(&columns, row, &mut out);
                out
            })
            .collect();
        assert_eq!(
            folders,
            [
                "s=a%3Ab%2Fü %25/d=1969-12-31/n=-7",
                "s=__DEFAULT_PARTITION__/d=2020-01-01/n=__DEFAULT_PARTITION__",
                "s=__DEFAULT_PARTITION__/d=__DEFAULT_PARTITION__/n=9223372036854775807",
            ]
        );
        for (row, folder) in folders.iter().enumerate() {
            let values = partitioning
                .values_of(&Path::new("/x/t").join(folder).join("part-0"))
                .unwrap();
            for ((key, value), column) in partitioning.keys.iter().zip(&values).zip(&columns) {
                let read = Partitioning::column(key, value.as_deref(), 1).unwrap();
                let written = column.slice(row, 1);
                // The empty string comes back as NULL, as in Flink.
                if !(key.name == "s" && row == 1) {
                    assert_eq!(&read, &written, "{folder} {}", key.name);
                }
            }
        }
        let missing = partitioning.values_of(Path::new("/x/t/s=1/part-0")).unwrap_err();
        assert!(missing.contains("no folder 'd=…'"), "{missing}");
        let wrong = Partitioning::column(&partitioning.keys[2], Some("7x"), 1).unwrap_err();
        assert!(wrong.contains("'7x' in the path is no BIGINT (column 'n')"), "{wrong}");
    }

    #[test]
    fn folders_that_a_filter_leaves_out_are_known() {
        use flott_runtime::partition_filter::Comparison;
        let spec = [
            ("v", LogicalType::bigint()),
            ("day", LogicalType::new(TypeKind::Date)),
            ("n", LogicalType::bigint()),
        ];
        let partitioning = Partitioning::read(&table(&spec, &["day", "n"])).unwrap();
        let compare = |column: &str, operator: &str, value: &str| PartitionFilter::Compare {
            column: column.into(),
            operator: Comparison::of(operator).unwrap(),
            value: value.into(),
        };
        let passes = |folder: &str, filter: &PartitionFilter| partitioning.may_pass(Path::new(folder), filter);
        let later = compare("day", ">=", "2020-01-02");
        // Numbers and dates are no texts, and what is not named yet may be anything.
        assert!(!passes("/t/day=2020-01-01", &later) && passes("/t/day=2020-01-10", &later) && passes("/t", &later));
        assert!(passes("/t/day=x/n=9", &compare("n", "<", "10")) && !passes("/t/n=10", &compare("n", "<", "10")));
        let both = PartitionFilter::All(vec![later.clone(), compare("n", "=", "7")]);
        assert!(passes("/t/day=2020-02-01", &both) && passes("/t/day=2020-02-01/n=07", &both));
        assert!(!passes("/t/day=2020-02-01/n=8", &both) && !passes("/t/day=2019-02-01/n=7", &both));
        let either = PartitionFilter::Any(vec![later, compare("n", "=", "7")]);
        assert!(passes("/t/day=2019-02-01/n=7", &either) && !passes("/t/day=2019-02-01/n=8", &either));
        let null = |negated| PartitionFilter::Null {
            column: "n".into(),
            negated,
        };
        let default = "/t/day=2020-01-01/n=__DEFAULT_PARTITION__";
        assert!(passes(default, &null(false)) && !passes(default, &null(true)));
        assert!(!passes(default, &compare("n", "<>", "7")), "NULL is not compared");
        // What is no value is told when it is read.
        assert!(passes("/t/n=seven", &compare("n", "=", "7")));
        assert_eq!(either.to_string(), "or(>=(day, '2020-01-02'), =(n, '7'))");
    }

    #[test]
    fn wrong_clauses_are_refused_with_the_remedy() {
        let spec = [
            ("v", LogicalType::bigint()),
            ("ts", LogicalType::new(TypeKind::Timestamp(3))),
        ];
        let refused = |keys: &[&str]| Partitioning::read(&table(&spec, keys)).unwrap_err().to_string();
        assert!(refused(&["w"]).contains("'w' is no physical column"));
        assert!(refused(&["ts"]).contains("DATE_FORMAT"));
        assert!(refused(&["v", "v"]).contains("named twice"));
        assert!(
            Partitioning::read(&table(&spec[..1], &["v"]))
                .unwrap_err()
                .to_string()
                .contains("leave one out")
        );
    }
}
