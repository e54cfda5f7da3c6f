//! Operators as tables of text: rows with kinds and watermarks in, rows with kinds out.
//!
//! A line of input is a row (`+I 1 x`, `-D 2 NULL`) or a call: `watermark 5`, `timer 5` (which sets the clock), `clock 5`,
//! `barrier`, `end`, `batch` (ends a batch, which a call does too). Lists are `[a,b]`, maps `{a=1,b=2}`.

use arrow_array::builder::{ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::DataType;
use flott_core::clock::ManualClock;
use flott_core::{Batch, JobId, KeyGroupRange, OperatorId, Options, RowKind};
use flott_runtime::context::TaskInfo;
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Element, Flow, Operator, OperatorContext, Output, TaskError, Waker};
use flott_state::{BackendSettings, LoadedRun, OperatorSnapshot, RestoredState, StateBackend};
use std::sync::Arc;

/// Calls return at most so many rows; twice that where every row may yield two.
const MAX_ROWS_A_CALL: usize = 2 * super::MAX_EMITTED_ROWS;

/// One subtask of an operator.
pub(crate) struct Harness {
    operator: Box<dyn Operator>,
    types: Vec<DataType>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) metrics: Arc<OperatorMetrics>,
    /// Rows that one call emitted at most.
    pub(crate) largest_call: usize,
    /// Bytes that one call emitted at most.
    pub(crate) largest_bytes: usize,
}

/// `a BIGINT, s STRING` as Arrow types.
pub(crate) fn types_of(schema: &str) -> Vec<DataType> {
    schema
        .split(", ")
        .map(|c| type_of(c.split_once(' ').unwrap().1))
        .collect()
}

fn type_of(name: &str) -> DataType {
    use flott_core::TypeKind as T;
    let string = flott_core::LogicalType::string();
    let kind = match name {
        "BIGINT" => T::BigInt,
        "INT" => T::Int,
        "TINYINT" => T::TinyInt,
        "FLOAT" => T::Float,
        "DOUBLE" => T::Double,
        "BOOLEAN" => T::Boolean,
        "STRING" => string.kind,
        "DATE" => T::Date,
        "TIMESTAMP(3)" => T::Timestamp(3),
        "DECIMAL(4,2)" => T::Decimal(4, 2),
        "DECIMAL(38,0)" => T::Decimal(38, 0),
        "ARRAY<STRING>" => T::Array(Box::new(string)),
        "MAP<STRING,BIGINT>" => T::Map(
            Box::new(string.with_nullable(false)),
            Box::new(flott_core::LogicalType::bigint()),
        ),
        other => panic!("the harness has no type {other}"),
    };
    kind.to_arrow()
}

impl Harness {
    /// The only subtask, opened without state.
    pub(crate) fn new(operator: Box<dyn Operator>, schema: &str) -> Self {
        Self::with_backend(operator, schema, StateBackend::default())
    }

    /// The same over a state backend.
    pub(crate) fn with_backend(operator: Box<dyn Operator>, schema: &str, backend: StateBackend) -> Self {
        Self::open(operator, schema, (0, 1), None, backend)
    }

    /// Subtask `index` of `parallelism`, opened with the state of `snapshots`.
    pub(crate) fn restored(
        operator: Box<dyn Operator>,
        schema: &str,
        subtask: (usize, usize),
        snapshots: Vec<OperatorSnapshot>,
    ) -> Self {
        Self::open(
            operator,
            schema,
            subtask,
            Some(restore(snapshots)),
            StateBackend::default(),
        )
    }

    /// The only subtask over a state backend, opened with the state of a snapshot.
    pub(crate) fn restored_with_backend(
        operator: Box<dyn Operator>,
        schema: &str,
        backend: StateBackend,
        snapshot: OperatorSnapshot,
    ) -> Self {
        Self::open(operator, schema, (0, 1), Some(restore(vec![snapshot])), backend)
    }

    fn open(
        mut operator: Box<dyn Operator>,
        schema: &str,
        (subtask, parallelism): (usize, usize),
        restored: Option<RestoredState>,
        backend: StateBackend,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (clock, metrics) = (ManualClock::at(0), Arc::new(OperatorMetrics::default()));
        let task = TaskInfo {
            job_id: JobId::of("test"),
            job_name: "test".into(),
            task_name: "test".into(),
            subtask,
            parallelism,
            max_parallelism: 128,
            attempt: 0,
            generation: 1,
            options: Arc::new(Options::new()),
        };
        let mut context = OperatorContext {
            task: Arc::new(task),
            operator_id: OperatorId::of("test"),
            operator_name: "test".into(),
            waker: Waker::new(),
            clock: clock.clone(),
            runtime: runtime.handle().clone(),
            metrics: metrics.clone(),
            restored,
            backend,
        };
        operator.open(&mut context).unwrap();
        Self {
            operator,
            types: types_of(schema),
            clock,
            metrics,
            largest_call: 0,
            largest_bytes: 0,
        }
    }

    /// Runs a script and returns what was emitted, a line a row.
    pub(crate) fn run(&mut self, script: &str) -> String {
        self.try_run(script)
            .unwrap_or_else(|e| format!("error: {}", e.full_text()))
    }

    fn try_run(&mut self, script: &str) -> Result<String, TaskError> {
        let mut out = Output::new();
        let mut rows: Vec<&str> = vec![];
        let mut text = vec![];
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            if is_row(line) {
                rows.push(line);
                continue;
            }
            let pending = std::mem::take(&mut rows);
            if !pending.is_empty() {
                let batch = self.batch(&pending);
                let flow = self.operator.process(0, batch, &mut out)?;
                self.drain(flow, &mut out, &mut text)?;
            }
            let (call, argument) = line.split_once(' ').unwrap_or((line, ""));
            let number = || argument.parse::<i64>().unwrap();
            let flow = match call {
                "watermark" => self.operator.on_watermark(number(), &mut out)?,
                "timer" => {
                    self.clock.set(number());
                    match self.operator.next_timer().filter(|t| *t <= number()) {
                        Some(_) => self.operator.on_timer(number(), &mut out)?,
                        None => Flow::Done,
                    }
                }
                "clock" => {
                    self.clock.set(number());
                    Flow::Done
                }
                "barrier" => self.operator.before_barrier(1, &mut out)?,
                "end" => self.operator.finish(&mut out)?,
                "batch" => Flow::Done,
                other => panic!("the harness has no call {other}"),
            };
            self.drain(flow, &mut out, &mut text)?;
        }
        if !rows.is_empty() {
            let batch = self.batch(&rows);
            let flow = self.operator.process(0, batch, &mut out)?;
            self.drain(flow, &mut out, &mut text)?;
        }
        Ok(text.join("\n"))
    }

    /// Hands a batch in and returns what was emitted.
    pub(crate) fn process(&mut self, batch: Batch) -> Vec<Batch> {
        let mut out = Output::new();
        let flow = self.operator.process(0, batch, &mut out).unwrap();
        self.batches(flow, &mut out).unwrap()
    }

    /// Lets event time come to `watermark` and returns what was emitted.
    pub(crate) fn watermark(&mut self, watermark: i64) -> Vec<Batch> {
        let mut out = Output::new();
        let flow = self.operator.on_watermark(watermark, &mut out).unwrap();
        self.batches(flow, &mut out).unwrap()
    }

    /// Lets a barrier come and returns what was emitted.
    pub(crate) fn flush(&mut self) -> Vec<Batch> {
        let mut out = Output::new();
        let flow = self.operator.before_barrier(1, &mut out).unwrap();
        self.batches(flow, &mut out).unwrap()
    }

    /// Drains and captures the operator.
    pub(crate) fn snapshot(&mut self) -> OperatorSnapshot {
        let mut out = Output::new();
        let flow = self.operator.before_barrier(1, &mut out).unwrap();
        assert!(
            self.batches(flow, &mut out).unwrap().is_empty(),
            "drain with 'barrier' before a snapshot"
        );
        self.operator.snapshot(1).unwrap()
    }

    /// Memory that its state takes, in bytes.
    pub(crate) fn state_bytes(&self) -> usize {
        self.operator.state_bytes()
    }

    /// When the operator wants to be called.
    pub(crate) fn next_timer(&self) -> Option<i64> {
        self.operator.next_timer()
    }

    fn drain(&mut self, flow: Flow, out: &mut Output, text: &mut Vec<String>) -> Result<(), TaskError> {
        for batch in self.batches(flow, out)? {
            text.extend(lines(&batch));
        }
        Ok(())
    }

    fn batches(&mut self, mut flow: Flow, out: &mut Output) -> Result<Vec<Batch>, TaskError> {
        let mut all = vec![];
        loop {
            let before = all.len();
            all.extend(out.drain().filter_map(|e| match e {
                Element::Data(batch) => Some(batch),
                _ => None,
            }));
            let rows: usize = all[before..].iter().map(Batch::num_rows).sum();
            assert!(rows <= MAX_ROWS_A_CALL, "one call emitted {rows} rows");
            self.largest_call = self.largest_call.max(rows);
            let columns = all[before..].iter().flat_map(Batch::columns);
            let bytes = columns.map(|c| c.to_data().get_slice_memory_size().unwrap()).sum();
            self.largest_bytes = self.largest_bytes.max(bytes);
            if flow == Flow::Done {
                return Ok(all);
            }
            flow = self.operator.resume(out)?;
        }
    }

    /// A batch of rows of text.
    pub(crate) fn batch(&self, rows: &[&str]) -> Batch {
        let cells: Vec<Vec<&str>> = rows.iter().map(|r| r.split_whitespace().skip(1).collect()).collect();
        for (row, cells) in rows.iter().zip(&cells) {
            assert_eq!(
                cells.len(),
                self.types.len(),
                "row '{row}' has another number of fields than the schema"
            );
        }
        let column = |i: usize| {
            column(
                &self.types[i],
                cells.iter().map(|c| Some(c[i]).filter(|v| *v != "NULL")),
            )
        };
        let columns = (0..self.types.len()).map(column).collect();
        let kinds: Vec<u8> = rows.iter().map(|r| kind_of(r).unwrap() as u8).collect();
        let kinds = kinds.iter().any(|k| *k != 0).then(|| kinds.into());
        Batch::new(columns, rows.len()).with_kinds(kinds)
    }
}

/// State from snapshots, through the bytes of checkpoint files.
fn restore(snapshots: Vec<OperatorSnapshot>) -> RestoredState {
    let (mut runs, mut entries) = (vec![], vec![]);
    for snapshot in snapshots {
        for capture in snapshot.keyed {
            for run in capture.encode_whole().unwrap() {
                let bytes = bytes::Bytes::from(run.bytes);
                let header = bytes.slice(..run.reference.header_bytes as usize);
                runs.push(LoadedRun {
                    descriptor: capture.descriptor().clone(),
                    blocks_from: u64::from(run.reference.header_bytes),
                    later: None,
                    blocks: bytes.slice(run.reference.header_bytes as usize..),
                    reference: run.reference,
                    header,
                });
            }
        }
        entries.extend(snapshot.operator_state);
    }
    RestoredState::new(runs, entries, vec![])
}

fn is_row(line: &str) -> bool {
    kind_of(line).is_some()
}

fn kind_of(line: &str) -> Option<RowKind> {
    [
        RowKind::Insert,
        RowKind::UpdateBefore,
        RowKind::UpdateAfter,
        RowKind::Delete,
    ]
    .into_iter()
    .find(|k| line.starts_with(k.short()))
}

fn column<'a>(ty: &DataType, cells: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    macro_rules! parsed {
        ($ty:ty) => {
            Arc::new(PrimitiveArray::<$ty>::from_iter(cells.map(|c| {
                c.map(|c| c.parse::<<$ty as ArrowPrimitiveType>::Native>().unwrap())
            })))
        };
    }
    match ty {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(cells.map(|c| c.map(|c| c == "true")))),
        DataType::Int8 => parsed!(Int8Type),
        DataType::Int32 => parsed!(Int32Type),
        DataType::Int64 => parsed!(Int64Type),
        DataType::Float32 => parsed!(Float32Type),
        DataType::Float64 => parsed!(Float64Type),
        DataType::Date32 => parsed!(Date32Type),
        DataType::Timestamp(..) => parsed!(TimestampMillisecondType),
        DataType::Utf8 => Arc::new(StringArray::from_iter(cells)),
        DataType::Decimal128(p, s) => {
            let unscaled = |c: &str| {
                let (whole, fraction) = c.split_once('.').unwrap_or((c, ""));
                format!("{whole}{fraction:0<width$}", width = *s as usize)
                    .parse::<i128>()
                    .unwrap()
            };
            let values = Decimal128Array::from_iter(cells.map(|c| c.map(unscaled)));
            Arc::new(values.with_precision_and_scale(*p, *s).unwrap())
        }
        DataType::List(field) => {
            let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field.clone());
            for cell in cells {
                if let Some(cell) = cell {
                    elements(cell).for_each(|e| builder.values().append_option(Some(e).filter(|e| *e != "NULL")));
                }
                builder.append(cell.is_some());
            }
            Arc::new(builder.finish())
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else {
                panic!("a map's entries are a struct")
            };
            let mut builder = MapBuilder::new(None, StringBuilder::new(), builder::Int64Builder::new())
                .with_keys_field(fields[0].clone())
                .with_values_field(fields[1].clone());
            for cell in cells {
                for entry in cell.iter().flat_map(|c| elements(c)) {
                    let (key, value) = entry.split_once('=').unwrap();
                    builder.keys().append_value(key);
                    builder.values().append_option(value.parse().ok());
                }
                builder.append(cell.is_some()).unwrap();
            }
            Arc::new(builder.finish())
        }
        other => panic!("the harness reads no {other}"),
    }
}

fn elements(cell: &str) -> impl Iterator<Item = &str> {
    cell[1..cell.len() - 1].split(',').filter(|e| !e.is_empty())
}

/// A state backend with so many rows in memory, the others in a map.
pub(crate) fn in_tiers(rows: &str) -> StateBackend {
    let options = [("state.backend.hot-rows", rows)].into_iter().collect();
    StateBackend::new(&BackendSettings::from_options(&options).unwrap(), 1)
}

/// A line per row: kind and values.
pub(crate) fn lines(batch: &Batch) -> Vec<String> {
    let line = |row: usize| {
        let cells = batch.columns().iter().map(|c| cell(c, row));
        std::iter::once(batch.kind(row).short().to_owned())
            .chain(cells)
            .collect::<Vec<_>>()
            .join(" ")
    };
    (0..batch.num_rows()).map(line).collect()
}

fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".into();
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMillisecondType>().value(row).to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(row),
        other => panic!("the harness writes no {other}"),
    }
}

/// Which of `parallelism` subtasks has a BIGINT key.
pub(crate) fn owner(key: i64, parallelism: usize) -> usize {
    let group = flott_core::key_group::key_group_of(flott_core::hash::hash_i64(key), 128);
    (0..parallelism)
        .find(|i| KeyGroupRange::of_subtask(128, parallelism, *i).contains(group))
        .unwrap()
}
