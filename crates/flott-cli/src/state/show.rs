//! `flott state show`: what a checkpoint or savepoint holds, with some keys of each state and their values.
//!
//! Values are shown as JSON, in both forms of the output; key samples come from the first key groups that have some, a key that is asked for from
//! its own key group alone. What cannot be read is said where it would stand, and the rest is shown.

use crate::output;
use anyhow::{Result, bail};
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringArray};
use flott_checkpoint::{
    OperatorDescription, OperatorManifest, SnapshotDescription, StateDescription, TableDescriptor, describe_manifest,
};
use flott_connectors::savepoint::read::{self, RowChunk, SavedState, TableRows};
use flott_connectors::savepoint::text;
use flott_core::hash::hash_columns;
use flott_core::key_group::key_group_of;
use flott_core::{KeyGroupRange, LogicalType, Options, TypeKind};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Keys that are shown of a state where no other number is asked for.
const DEFAULT_LIMIT: usize = 5;
/// Rows that are decoded together.
const CHUNK_ROWS: usize = 1024;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// A checkpoint's or savepoint's folder or address (file://, s3://), or the folder of a job's checkpoints.
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Keys of each state that are shown with their values; 0: none, and no state is read.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub limit: usize,
    /// Show this key only: its text, or for a key of several fields a JSON array, e.g. '["a.com", 3]'.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// An option for the store, e.g. -D s3.endpoint=http://localhost:9000; may be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub defines: Vec<String>,
}

/// Prints what is asked for.
///
/// # Errors
/// If there is no snapshot, no such key, or state that cannot be read.
pub async fn show(args: &ShowArgs, options: &Options) -> Result<()> {
    let saved = SavedState::open(&args.path, options).await?;
    let described = describe_manifest(saved.manifest(), saved.path());
    let wanted = args.key.as_deref().map(key_fields);
    let mut operators = vec![];
    for (operator, described) in saved.manifest().operators.iter().zip(&described.operators) {
        let mut states = vec![];
        for state in &described.states {
            let table = operator.tables.iter().find(|t| t.name == state.name);
            let samples = match table {
                Some(table) if args.limit > 0 => {
                    Some(samples(&saved, operator, table, args.limit, wanted.as_deref()).await)
                }
                _ => None,
            };
            states.push((state, table, samples));
        }
        operators.push((described, states));
    }
    let all = || {
        operators
            .iter()
            .flat_map(|(_, states)| states)
            .filter_map(|(_, _, s)| s.as_ref())
    };
    let unreadable = all().filter(|s| s.is_err()).count();
    let found = all().flatten().map(|s| s.rows.len()).sum::<usize>();
    match args.json {
        true => output::line(json_of(&described, &operators)),
        false => output::text(text_of(&described, &operators, wanted.is_some())),
    }
    if unreadable > 0 {
        bail!("{unreadable} state(s) cannot be read; restore from an older checkpoint");
    }
    match &args.key {
        Some(key) if found == 0 && args.limit > 0 => bail!("no keyed state of {} has the key {key}", described.path),
        _ => Ok(()),
    }
}

/// An operator with its states: what is said of each, its table if it is keyed, and samples if they were asked for.
type ShownOperator<'a> = (&'a OperatorDescription, Vec<ShownState<'a>>);
type ShownState<'a> = (
    &'a StateDescription,
    Option<&'a TableDescriptor>,
    Option<Result<Samples>>,
);

/// Some rows of a state.
#[derive(Debug, Default)]
struct Samples {
    rows: Vec<Sample>,
    /// Whether there are more.
    has_more: bool,
}

/// A key with its values.
#[derive(Debug)]
struct Sample {
    key: Vec<Value>,
    window_end_ms: Option<i64>,
    /// By the names of states.
    values: Vec<(String, Value)>,
    /// Times of the last updates of states with a time to live.
    updated: Vec<(String, Value)>,
}

/// The fields of a key as they were given.
fn key_fields(text: &str) -> Vec<String> {
    let plain = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    match serde_json::from_str(text) {
        Ok(Value::Array(fields)) => fields.into_iter().map(plain).collect(),
        _ => vec![text.to_owned()],
    }
}

async fn samples(
    saved: &SavedState,
    operator: &OperatorManifest,
    table: &TableDescriptor,
    limit: usize,
    wanted: Option<&[String]>,
) -> Result<Samples> {
    let (ranges, wanted) = match wanted {
        None => (read::ranges(operator, table), None),
        Some(fields) => match one_key(operator, table, fields) {
            Some((range, key)) => (vec![range], Some(key)),
            // This table's keys are of another type.
            None => return Ok(Samples::default()),
        },
    };
    let mut samples = Samples::default();
    for range in ranges {
        let mut rows = saved.load(operator, table, range).await?.rows()?;
        if collect(&mut rows, table, limit, wanted.as_deref(), &mut samples)? {
            break;
        }
    }
    Ok(samples)
}

/// Adds rows until there are enough; `true`: there are.
fn collect(
    rows: &mut TableRows,
    table: &TableDescriptor,
    limit: usize,
    wanted: Option<&[Value]>,
    samples: &mut Samples,
) -> Result<bool> {
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    // Without a key to look for, one row more than is shown is enough.
    let chunk_rows = wanted.map_or(limit.saturating_add(1).min(CHUNK_ROWS), |_| CHUNK_ROWS);
    while let Some(chunk) = rows.next(chunk_rows, &columns)? {
        for row in 0..chunk.rows {
            let key = key_of(table, &chunk, row);
            if wanted.is_some_and(|wanted| !key.starts_with(wanted)) {
                continue;
            }
            if samples.rows.len() == limit {
                samples.has_more = true;
                return Ok(true);
            }
            samples.rows.push(sample(table, key, &chunk, row));
        }
    }
    Ok(false)
}

fn key_of(table: &TableDescriptor, chunk: &RowChunk, row: usize) -> Vec<Value> {
    let fields = chunk.keys.iter().zip(&table.key);
    fields.map(|(column, ty)| text::value(column, ty, row)).collect()
}

fn sample(table: &TableDescriptor, mut key: Vec<Value>, chunk: &RowChunk, row: usize) -> Sample {
    if table.name.ends_with("-timers")
        && let Some(time) = key.last_mut()
    {
        *time = times(time.take());
    }
    let (mut values, mut updated) = (vec![], vec![]);
    for (descriptor, column) in table.columns.iter().zip(&chunk.states) {
        let value = text::value(column, &read::stored_type(descriptor), row);
        match read::stamped_state(table, &descriptor.name) {
            Some(state) => updated.push((state.to_owned(), times(value))),
            None => values.push((descriptor.name.clone(), value)),
        }
    }
    Sample {
        key,
        window_end_ms: chunk.window_end_ms,
        values,
        updated,
    }
}

/// Milliseconds as times, in lists too.
fn times(value: Value) -> Value {
    match value {
        Value::Array(all) => all.into_iter().map(times).collect(),
        Value::Number(ms) => ms.as_i64().map_or(Value::Number(ms), |ms| json!(text::time_of_ms(ms))),
        other => other,
    }
}

/// The key group of a key, and the key's first fields as samples have them; `None` if a key of the table cannot be it.
fn one_key(
    operator: &OperatorManifest,
    table: &TableDescriptor,
    fields: &[String],
) -> Option<(KeyGroupRange, Vec<Value>)> {
    if fields.len() < table.placement_fields || fields.len() > table.key.len() {
        return None;
    }
    let typed = fields.iter().zip(&table.key);
    let columns: Vec<ArrayRef> = typed
        .clone()
        .map(|(field, ty)| parsed(field, ty))
        .collect::<Option<_>>()?;
    let hashes = hash_columns(&columns[..table.placement_fields], 1).ok()?;
    let group = key_group_of(*hashes.first()?, operator.max_parallelism);
    let values = columns.iter().zip(&table.key);
    Some((
        KeyGroupRange {
            start: group,
            end: group,
        },
        values.map(|(column, ty)| text::value(column, ty, 0)).collect(),
    ))
}

/// A field of a key as a column of one row, if it is of a type that people write.
fn parsed(text: &str, ty: &LogicalType) -> Option<ArrayRef> {
    fn number<T: ArrowPrimitiveType>(text: &str) -> Option<ArrayRef>
    where
        T::Native: std::str::FromStr,
    {
        let number: T::Native = text.parse().ok()?;
        Some(Arc::new(PrimitiveArray::<T>::from_value(number, 1)))
    }
    match &ty.kind {
        TypeKind::Char(_) | TypeKind::Varchar(_) => Some(Arc::new(StringArray::from(vec![text]))),
        TypeKind::TinyInt => number::<Int8Type>(text),
        TypeKind::SmallInt => number::<Int16Type>(text),
        TypeKind::Int => number::<Int32Type>(text),
        TypeKind::BigInt => number::<Int64Type>(text),
        TypeKind::Boolean => Some(Arc::new(BooleanArray::from(vec![text.parse::<bool>().ok()?]))),
        _ => None,
    }
}

fn text_of(snapshot: &SnapshotDescription, operators: &[ShownOperator<'_>], is_one_key: bool) -> String {
    let mut out = heading(snapshot);
    for (operator, states) in operators {
        out.push_str(&operator.heading());
        for (state, _, samples) in states {
            out.push_str(&state.to_string());
            match samples {
                None => {}
                Some(Err(error)) => out.push_str(&format!("    cannot be read: {error}\n")),
                Some(Ok(samples)) => {
                    samples.rows.iter().for_each(|s| out.push_str(&sample_text(s)));
                    if samples.has_more {
                        let remedy = if is_one_key { "--limit" } else { "--limit or --key" };
                        out.push_str(&format!("    … there are more: {remedy}\n"));
                    }
                }
            }
        }
    }
    out
}

/// What is said of the snapshot, with the day and time of its trigger.
fn heading(snapshot: &SnapshotDescription) -> String {
    let at = chrono::DateTime::from_timestamp_millis(snapshot.timestamp_ms);
    let day = at.map(|at| at.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string());
    snapshot.heading(day.as_deref())
}

/// `    "a.com" in the window to …: count 3, last {"id":1} (updated count 2026-…)`
fn sample_text(sample: &Sample) -> String {
    let list = |values: &[(String, Value)]| {
        let all: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
        all.join(", ")
    };
    let key = match &sample.key[..] {
        [one] => one.to_string(),
        fields => {
            let fields: Vec<String> = fields.iter().map(Value::to_string).collect();
            format!("({})", fields.join(", "))
        }
    };
    let mut text = format!("    {key}");
    if let Some(end_ms) = sample.window_end_ms {
        text.push_str(&format!(" in the window to {}", text::time_of_ms(end_ms)));
    }
    if !sample.values.is_empty() {
        text.push_str(&format!(": {}", list(&sample.values)));
    }
    if !sample.updated.is_empty() {
        text.push_str(&format!(" (updated {})", list(&sample.updated)));
    }
    text.push('\n');
    text
}

fn json_of(snapshot: &SnapshotDescription, operators: &[ShownOperator<'_>]) -> Value {
    json!({
        "path": snapshot.path,
        "kind": snapshot.kind.to_string(),
        "job-name": snapshot.job_name,
        "job-id": snapshot.job_id,
        "checkpoint-id": snapshot.checkpoint_id,
        "generation": snapshot.generation,
        "timestamp": snapshot.timestamp_ms,
        "state-size-in-bytes": snapshot.state_bytes,
        "operators": operators.iter().map(operator_json).collect::<Vec<_>>(),
    })
}

fn operator_json((operator, states): &ShownOperator<'_>) -> Value {
    json!({
        "name": operator.name,
        "kind": operator.kind,
        "uid": operator.uid,
        "uid-hash": operator.id,
        "parallelism": operator.parallelism,
        "max-parallelism": operator.max_parallelism,
        "prepared-commits": operator.committables,
        "states": states.iter().map(state_json).collect::<Vec<_>>(),
    })
}

fn state_json((state, table, samples): &ShownState<'_>) -> Value {
    let mut json = json!({
        "name": state.name,
        "rows": state.rows,
        "size-in-bytes": state.bytes,
        "windows": state.slices,
        "files": state.files,
    });
    match table {
        Some(table) => {
            let column = |c: &flott_checkpoint::ColumnDescriptor| {
                let ty = read::stored_type(c).to_string();
                json!({ "name": c.name, "type": ty, "storage": c.ty.to_string() })
            };
            json["key"] = table.key.iter().map(ToString::to_string).collect();
            json["columns"] = table.columns.iter().map(column).collect();
        }
        None => json["distribution"] = json!(state.types),
    }
    match samples {
        None => {}
        Some(Err(error)) => json["error"] = json!(error.to_string()),
        Some(Ok(samples)) => {
            json["samples"] = samples.rows.iter().map(sample_json).collect();
            json["has-more"] = json!(samples.has_more);
        }
    }
    json
}

fn sample_json(sample: &Sample) -> Value {
    let object = |values: &[(String, Value)]| Value::Object(values.iter().cloned().collect::<Map<_, _>>());
    let mut json = json!({ "key": sample.key, "values": object(&sample.values) });
    if let Some(end_ms) = sample.window_end_ms {
        json["window-end"] = json!(text::time_of_ms(end_ms));
    }
    if !sample.updated.is_empty() {
        json["updated"] = object(&sample.updated);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        assert_eq!(key_fields("a.com"), ["a.com"]);
        assert_eq!(key_fields("7"), ["7"]);
        assert_eq!(key_fields("[\"a, b\", 7, true]"), ["a, b", "7", "true"]);
        let int = LogicalType::not_null(TypeKind::Int);
        assert!(parsed("7", &int).is_some() && parsed("x", &int).is_none());
        assert!(parsed("1.5", &LogicalType::new(TypeKind::Double)).is_none());
    }

    #[test]
    fn a_sample_is_one_line() {
        let sample = Sample {
            key: vec![json!("a"), json!(7)],
            window_end_ms: Some(60_000),
            values: vec![("count".to_owned(), json!(3)), ("last".to_owned(), json!({"id": 1}))],
            updated: vec![("count".to_owned(), times(json!([0, 1])))],
        };
        assert_eq!(
            sample_text(&sample),
            "    (\"a\", 7) in the window to 1970-01-01 00:01:00.000Z: count 3, last {\"id\":1} \
             (updated count [\"1970-01-01 00:00:00.000Z\",\"1970-01-01 00:00:00.001Z\"])\n"
        );
    }
}
