//! Which state each column of a table is: [`Mapping`], made when the snapshot is known, and all that can be wrong with it.

use super::convert::{Stored, row_of};
use super::options::{KEY_GROUP, SavepointOptions, StateKind, WINDOW_END};
use super::read::{RowChunk, SavedState, is_sliced};
use arrow_array::{Array, ArrayRef, Int32Array, TimestampMillisecondArray};
use flott_checkpoint::{OperatorManifest, TableDescriptor};
use flott_core::hash::hash_columns;
use flott_core::key_group::key_group_of;
use flott_core::{Field, LogicalType, TypeKind, suggest};
use flott_runtime::connector::{ConnectorError, ScanSpec, TableSpec};
use std::sync::Arc;

/// Operators that a message lists at most.
const LISTED: usize = 12;

/// How the rows of an operator's state become those of a table.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Index of the operator in the manifest.
    pub(super) operator: usize,
    /// Its table.
    pub(super) descriptor: TableDescriptor,
    max_parallelism: usize,
    /// Columns of the descriptor that are read.
    pub(super) read: Vec<usize>,
    /// What the scan produces.
    columns: Vec<Column>,
    /// Keys of metadata behind them.
    metadata: Vec<String>,
    table: String,
}

#[derive(Debug)]
struct Column {
    name: String,
    ty: LogicalType,
    part: Part,
}

/// What a column shows.
#[derive(Debug)]
enum Part {
    /// A field of the key.
    Key(usize, Stored),
    /// All fields of the key as a ROW of these (index, type in state).
    WholeKey(Vec<(usize, Stored)>),
    /// One of the columns that are read.
    State(usize, Stored),
}

fn wrong(table: &TableSpec, problem: impl std::fmt::Display) -> ConnectorError {
    ConnectorError::Schema(format!("table '{}': {problem}", table.short_name()))
}

impl Mapping {
    /// The mapping of a scan; all columns of the table are judged, those too that the scan leaves out.
    ///
    /// # Errors
    /// If the snapshot has no such operator or state, or types differ.
    pub(super) fn new(scan: &ScanSpec, options: &SavepointOptions, saved: &SavedState) -> Result<Self, ConnectorError> {
        let table = &scan.table;
        let operators = &saved.manifest().operators;
        let operator = options.operator.find(operators).ok_or_else(|| {
            let problem = format!(
                "{} in {} has no operator of {}",
                job(saved),
                saved.path(),
                options.operator
            );
            wrong(table, format!("{problem}; {}", listed(operators)))
        })?;
        let descriptor = find_table(table, options, &operators[operator])?;
        let mut mapping = Self {
            operator,
            max_parallelism: operators[operator].max_parallelism,
            read: vec![],
            columns: vec![],
            metadata: scan.metadata.iter().map(|m| m.key.clone()).collect(),
            table: table.short_name().to_owned(),
            descriptor: descriptor.clone(),
        };
        for column in &table.columns {
            mapping.check(table, options, column)?;
        }
        for field in &scan.fields {
            let column = mapping.column(table, options, field)?;
            mapping.columns.push(column);
        }
        let wants_window = mapping.metadata.iter().any(|key| key == WINDOW_END);
        if wants_window
            && !is_sliced(&operators[operator], descriptor)
            && !has_no_rows(&operators[operator], descriptor)
        {
            return Err(wrong(
                table,
                format!(
                    "the state '{}' is not kept by window: leave out the metadata '{WINDOW_END}'",
                    descriptor.name
                ),
            ));
        }
        Ok(mapping)
    }

    fn check(&self, table: &TableSpec, options: &SavepointOptions, field: &Field) -> Result<(), ConnectorError> {
        if table.primary_key.contains(&field.name) {
            let (key, stored) = (&table.primary_key, &self.descriptor.key);
            if self.is_by_field(table) {
                let index = key.iter().position(|k| *k == field.name).unwrap_or_default();
                return self.check_type(table, field, "the key", &Stored::Typed(stored[index].clone()));
            }
            let TypeKind::Row(fields) = &field.ty.kind else {
                return Err(wrong(table, self.key_problem(key)));
            };
            if key.len() != 1 || fields.len() != stored.len() {
                return Err(wrong(table, self.key_problem(key)));
            }
            for (field, stored) in fields.iter().zip(stored) {
                self.check_type(table, field, "the key", &Stored::Typed(stored.clone()))?;
            }
            return Ok(());
        }
        let (name, index) = (options.state_of(&field.name), self.state_index(options, field));
        let Some(index) = index else {
            return Ok(());
        };
        let stored = stored(&self.descriptor, index);
        self.check_type(table, field, &format!("the state '{name}'"), &stored)?;
        match (options.kind_of(&field.name), &stored) {
            (Some(StateKind::List), Stored::Typed(ty)) if matches!(ty.kind, TypeKind::Array(_)) => Ok(()),
            (Some(StateKind::Map), Stored::Typed(ty)) if matches!(ty.kind, TypeKind::Map(..)) => Ok(()),
            (None | Some(StateKind::Value), _) => Ok(()),
            (Some(kind), stored) => Err(wrong(
                table,
                format!(
                    "option 'fields.{}.state-type' = '{kind}' is not what the state '{name}' is: it holds {}; leave the option out",
                    field.name,
                    stored.text()
                ),
            )),
        }
    }

    fn check_type(&self, table: &TableSpec, field: &Field, what: &str, stored: &Stored) -> Result<(), ConnectorError> {
        match stored.fits(&field.ty) {
            true => Ok(()),
            false => Err(wrong(
                table,
                format!(
                    "column '{}' is declared as {}, but {what} holds {}; declare it as {}, or as STRING for its text",
                    field.name,
                    field.ty,
                    stored.text(),
                    stored.remedy()
                ),
            )),
        }
    }

    /// Whether columns are fields of the key, one each; one column of a ROW is the whole key.
    fn is_by_field(&self, table: &TableSpec) -> bool {
        let is_row = |name: &String| {
            let column = table.columns.iter().find(|c| c.name == *name);
            column.is_some_and(|c| matches!(c.ty.kind, TypeKind::Row(_)))
        };
        match (&table.primary_key[..], &self.descriptor.key[..]) {
            ([column], [field]) => !is_row(column) || matches!(field.kind, TypeKind::Row(_)),
            (columns, fields) => columns.len() == fields.len(),
        }
    }

    fn key_problem(&self, declared: &[String]) -> String {
        let fields: Vec<String> = self.descriptor.key.iter().map(ToString::to_string).collect();
        let remedy = match fields.len() {
            1 => "name one column in PRIMARY KEY".to_owned(),
            n => format!("name {n} columns in PRIMARY KEY, in this order, or one column of a ROW with {n} fields"),
        };
        format!(
            "PRIMARY KEY ({}) is not the key of the state '{}', which is ({}); {remedy}",
            declared.join(", "),
            self.descriptor.name,
            fields.join(", ")
        )
    }

    fn state_index(&self, options: &SavepointOptions, field: &Field) -> Option<usize> {
        let name = options.state_of(&field.name);
        self.descriptor.columns.iter().position(|c| c.name == name)
    }

    /// What a field of the scan shows; a ROW may have fewer fields than it was declared with.
    fn column(
        &mut self,
        table: &TableSpec,
        options: &SavepointOptions,
        field: &Field,
    ) -> Result<Column, ConnectorError> {
        let key = &self.descriptor.key;
        let part = match table.primary_key.iter().position(|k| *k == field.name) {
            Some(index) if self.is_by_field(table) => Part::Key(index, Stored::Typed(key[index].clone())),
            Some(_) => {
                let declared = table.columns.iter().find(|c| c.name == field.name).map(|c| &c.ty.kind);
                let (Some(TypeKind::Row(all)), TypeKind::Row(wanted)) = (declared, &field.ty.kind) else {
                    return Err(wrong(table, self.key_problem(&table.primary_key)));
                };
                let place = |f: &Field| {
                    let index = all.iter().position(|a| a.name == f.name).unwrap_or_default();
                    (index, Stored::Typed(key[index].clone()))
                };
                Part::WholeKey(wanted.iter().map(place).collect())
            }
            None => {
                let index = self.state_index(options, field);
                let index =
                    index.ok_or_else(|| wrong(table, format!("there is no state for column '{}'", field.name)))?;
                self.read.push(index);
                Part::State(self.read.len() - 1, stored(&self.descriptor, index))
            }
        };
        Ok(Column {
            name: field.name.clone(),
            ty: field.ty.clone(),
            part,
        })
    }

    /// The rows of a chunk as those of the table.
    ///
    /// # Errors
    /// If a value is not of its declared type; in words.
    pub(super) fn columns(&self, chunk: &RowChunk) -> Result<Vec<ArrayRef>, String> {
        let mut columns = Vec::with_capacity(self.columns.len() + self.metadata.len());
        for column in &self.columns {
            let converted = match &column.part {
                Part::Key(index, _) if chunk.keys[*index].null_count() > 0 => Err(format!(
                    "some keys are NULL, which a column of PRIMARY KEY cannot be; declare it as ROW<`{}` {}>",
                    column.name,
                    column.ty.with_nullable(true)
                )),
                Part::Key(index, stored) => stored.convert(&chunk.keys[*index], &column.ty),
                Part::State(index, stored) => stored.convert(&chunk.states[*index], &column.ty),
                Part::WholeKey(parts) => whole_key(parts, chunk, &column.ty),
            };
            let at = |e: String| format!("table '{}': column '{}': {e}", self.table, column.name);
            columns.push(converted.map_err(at)?);
        }
        for key in &self.metadata {
            columns.push(match key.as_str() {
                KEY_GROUP => self.key_groups(chunk)?,
                _ => Arc::new(TimestampMillisecondArray::from(vec![chunk.window_end_ms; chunk.rows])),
            });
        }
        Ok(columns)
    }

    fn key_groups(&self, chunk: &RowChunk) -> Result<ArrayRef, String> {
        let placed_by = self.descriptor.placement_fields.min(chunk.keys.len());
        let hashes = hash_columns(&chunk.keys[..placed_by], chunk.rows).map_err(|e| e.to_string())?;
        let groups = hashes.iter().map(|h| i32::from(key_group_of(*h, self.max_parallelism)));
        Ok(Arc::new(groups.collect::<Int32Array>()))
    }
}

fn whole_key(parts: &[(usize, Stored)], chunk: &RowChunk, ty: &LogicalType) -> Result<ArrayRef, String> {
    let TypeKind::Row(fields) = &ty.kind else {
        return Err(format!("{ty} is no ROW"));
    };
    let columns = parts.iter().zip(fields);
    let columns = columns.map(|((index, stored), field)| stored.convert(&chunk.keys[*index], &field.ty));
    row_of(fields, columns.collect::<Result<_, _>>()?, None, chunk.rows).map_err(|e| e.to_string())
}

fn stored(descriptor: &TableDescriptor, index: usize) -> Stored {
    let column = &descriptor.columns[index];
    match &column.value {
        Some(value) => Stored::Typed(value.clone()),
        None => Stored::Storage(column.ty),
    }
}

fn job(saved: &SavedState) -> String {
    format!("job '{}'", saved.manifest().job_name)
}

/// Whether there are no rows at all, so that nothing tells whether they would be kept by window.
fn has_no_rows(operator: &OperatorManifest, descriptor: &TableDescriptor) -> bool {
    !operator
        .subtasks
        .iter()
        .flat_map(|s| &s.runs)
        .any(|r| r.table == descriptor.name)
}

/// The operators with keyed state, for messages.
fn listed(operators: &[OperatorManifest]) -> String {
    let keyed: Vec<&OperatorManifest> = operators.iter().filter(|o| !o.tables.is_empty()).collect();
    let name = |o: &&OperatorManifest| match &o.uid {
        Some(uid) => format!("'{uid}' ({})", o.name),
        None => format!("hash '{}' ({})", o.id, o.name),
    };
    let names: Vec<String> = keyed.iter().take(LISTED).map(name).collect();
    match keyed.len() {
        0 => "no operator there has keyed state".to_owned(),
        n if n > LISTED => format!(
            "with keyed state there are {} and {} more",
            names.join(", "),
            n - LISTED
        ),
        _ => format!("with keyed state there are {}", names.join(", ")),
    }
}

/// The states of an operator, for messages.
fn listed_states(tables: &[&TableDescriptor]) -> String {
    let text = |t: &&TableDescriptor| {
        let key: Vec<String> = t.key.iter().map(ToString::to_string).collect();
        let columns: Vec<String> = t.columns.iter().map(|c| format!("'{}'", c.name)).collect();
        format!(
            "'{}' by ({}): {}",
            t.name,
            key.join(", "),
            if columns.is_empty() {
                "no values".to_owned()
            } else {
                columns.join(", ")
            }
        )
    };
    tables.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// The one table of the operator that has all states that the columns name.
fn find_table<'a>(
    table: &TableSpec,
    options: &SavepointOptions,
    operator: &'a OperatorManifest,
) -> Result<&'a TableDescriptor, ConnectorError> {
    let all: Vec<&TableDescriptor> = operator.tables.iter().collect();
    if all.is_empty() {
        return Err(wrong(
            table,
            format!(
                "operator '{}' has no keyed state; see savepoint_metadata('…') for those that have",
                operator.name
            ),
        ));
    }
    let named = match &options.state_table {
        None => all.clone(),
        Some(name) => {
            let found: Vec<&TableDescriptor> = all.iter().copied().filter(|t| t.name == *name).collect();
            if found.is_empty() {
                let hint = suggest::hint(name, all.iter().map(|t| t.name.as_str()));
                return Err(wrong(
                    table,
                    format!(
                        "operator '{}' has no table 'state.table' = '{name}'{hint}; it has {}",
                        operator.name,
                        listed_states(&all)
                    ),
                ));
            }
            found
        }
    };
    let values: Vec<&Field> = table
        .columns
        .iter()
        .filter(|c| !table.primary_key.contains(&c.name))
        .collect();
    for column in &values {
        let name = options.state_of(&column.name);
        if !named.iter().any(|t| t.columns.iter().any(|c| c.name == name)) {
            let known = named.iter().flat_map(|t| &t.columns).map(|c| c.name.as_str());
            let hint = suggest::hint(name, known);
            return Err(wrong(
                table,
                format!(
                    "operator '{}' has no state '{name}' for column '{}'{hint}; it has {}; name the state with 'fields.{}.state-name'",
                    operator.name,
                    column.name,
                    listed_states(&named),
                    column.name
                ),
            ));
        }
    }
    let has_all = |t: &&&TableDescriptor| {
        let has = |name: &str| t.columns.iter().any(|c| c.name == name);
        values.iter().all(|c| has(options.state_of(&c.name)))
    };
    let mut fitting: Vec<&TableDescriptor> = named.iter().filter(has_all).copied().collect();
    if fitting.len() > 1 {
        // Timers and sets of distinct values have longer keys.
        let by_key: Vec<&TableDescriptor> = fitting
            .iter()
            .copied()
            .filter(|t| t.key.len() == table.primary_key.len())
            .collect();
        if !by_key.is_empty() {
            fitting = by_key;
        }
    }
    match fitting[..] {
        [one] => Ok(one),
        [] => Err(wrong(
            table,
            format!(
                "its columns are states of different tables of operator '{}': {}; make a table for each",
                operator.name,
                listed_states(&named)
            ),
        )),
        _ => Err(wrong(
            table,
            format!(
                "operator '{}' has several tables with such states: {}; choose one with 'state.table'",
                operator.name,
                listed_states(&fitting)
            ),
        )),
    }
}
