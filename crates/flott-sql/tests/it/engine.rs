//! Recorded answers of real Flink, row by row: every script of tests/peers runs in this process.

use crate::parity::{Answer, DIFFERENT, OTHER_ROWS, peers, peers_folder};
use crate::snapshot::report;
use flott_cluster::{JobStatus, Restore, Submission, submit};
use flott_core::clock::SystemClock;
use flott_core::{Batch, Options};
use flott_formats::RowPrinter;
use flott_runtime::connector::{Boundedness, ChangelogMode, ConnectorError, ScanSpec, SinkSpec, TableInfo, TableSpec};
use flott_runtime::{Flow, OperatorContext, Registry, Sink, SinkWriter, Source, TableConnector, TaskError};
use flott_sql::script::COLLECT;
use flott_sql::{Job, Outcome, Script, Session};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest time that a script may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Rows as the print connector writes them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

/// A sink that keeps its rows, under the name of another connector.
struct Capture {
    name: &'static str,
    lines: Lines,
}

impl TableConnector for Capture {
    fn identifier(&self) -> &'static str {
        self.name
    }

    fn check_source(&self, _table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option("it is only written to".into()))
    }

    fn check_sink(&self, _table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        Ok(TableInfo {
            changelog: ChangelogMode::Retract,
            boundedness: Boundedness::Unbounded,
            metadata: vec![],
            splits_may_idle: false,
            warnings: vec![],
        })
    }

    fn source(&self, _scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::Option("it is only written to".into()))
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(CaptureSink {
            spec: sink.clone(),
            lines: self.lines.clone(),
        }))
    }
}

struct CaptureSink {
    spec: SinkSpec,
    lines: Lines,
}

impl Sink for CaptureSink {
    fn writer(&self, _ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(CaptureWriter {
            printer: RowPrinter::new(self.spec.fields.clone()),
            lines: self.lines.clone(),
        }))
    }
}

struct CaptureWriter {
    printer: RowPrinter,
    lines: Lines,
}

impl SinkWriter for CaptureWriter {
    fn write(&mut self, batch: &Batch) -> Result<Flow, TaskError> {
        let cells = self
            .printer
            .cells(batch)
            .map_err(|e| TaskError::user(e.to_string()).fatal())?;
        let rows = cells
            .iter()
            .enumerate()
            .map(|(row, cells)| format!("{}[{}]", batch.kind(row).short(), cells.join(", ")));
        self.lines.0.lock().unwrap().extend(rows);
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }
}

/// Rows that are left when a changelog has been applied.
fn final_rows<'a>(lines: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut bag: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let (kind, row) = line.split_at(2);
        *bag.entry(row.to_owned()).or_default() += if matches!(kind, "+I" | "+U") { 1 } else { -1 };
    }
    bag.into_iter()
        .flat_map(|(row, count)| std::iter::repeat_n(row, usize::try_from(count).unwrap_or(0)))
        .collect()
}

/// Runs a job to its end; the text is why it failed.
fn run(runtime: &tokio::runtime::Runtime, registry: &Arc<Registry>, job: Job) -> Result<JobStatus, String> {
    let submission = Submission {
        plan: job.plan,
        restore: Restore::Fresh,
        allow_non_restored_state: false,
    };
    runtime.block_on(async {
        let handle = submit(registry.clone(), Arc::new(SystemClock), submission)
            .await
            .map_err(|e| e.to_string())?;
        match tokio::time::timeout(DEADLINE, handle.ended()).await {
            Ok(JobStatus::Finished) => Ok(JobStatus::Finished),
            Ok(status) => Err(format!("{status}: {}", handle.stats.failure().unwrap_or_default())),
            Err(_) => {
                handle.cancel();
                Err("not done in time".into())
            }
        }
    })
}

/// The rows of a script, and why it failed.
fn rows(runtime: &tokio::runtime::Runtime, text: &str) -> (Vec<String>, Option<String>) {
    let lines = Lines::default();
    let mut registry = flott::registry();
    for name in [COLLECT, "print"] {
        registry.connector(Capture {
            name,
            lines: lines.clone(),
        });
    }
    let registry = Arc::new(registry);
    let options: Options = [
        ("table.local-time-zone", "UTC"),
        ("parallelism.default", "1"),
        ("restart-strategy.type", "none"),
    ]
    .into_iter()
    .collect();
    let data = peers_folder().join("data").display().to_string();
    let variables = |name: &str| (name == "DATA").then(|| data.clone());
    let failure = Script::parse(text, &variables)
        .map_err(|e| e.to_string())
        .and_then(|script| {
            let mut session = Session::new(registry.clone(), options);
            for statement in script.statements() {
                if let Outcome::Job(job) = session.execute(&script, statement).map_err(|e| e.to_string())? {
                    run(runtime, &registry, *job)?;
                }
            }
            Ok(())
        })
        .err();
    let rows = lines.0.lock().unwrap().clone();
    (rows, failure)
}

fn difference(answer: &Answer, rows: &[String], failure: Option<&str>) -> Option<String> {
    let name = &answer.name;
    if answer.header["error"] == true {
        return failure
            .is_none()
            .then(|| format!("{name}: Flink fails: {}", answer.header["message"]));
    }
    if let Some(failure) = failure {
        return Some(format!("{name}: {failure}"));
    }
    let in_order = answer.header["deterministic_changelog"] == true;
    let same = match in_order {
        true => rows == answer.rows,
        false => final_rows(rows.iter()) == final_rows(answer.rows.iter()),
    };
    (!same).then(|| {
        let missing: Vec<&String> = answer.rows.iter().filter(|r| !rows.contains(r)).collect();
        let extra: Vec<&String> = rows.iter().filter(|r| !answer.rows.contains(r)).collect();
        format!(
            "{name}: {} rows, Flink {}\n  only Flink: {missing:#?}\n  only here: {extra:#?}",
            rows.len(),
            answer.rows.len()
        )
    })
}

#[test]
fn rows_are_those_of_flink() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut differences = vec![];
    let mut compared = 0;
    for answer in peers() {
        let is_table_of_its_own = answer.text.contains("\n-- print: ") || answer.text.starts_with("-- print: ");
        let is_different = DIFFERENT.iter().chain(OTHER_ROWS).any(|(n, _)| *n == answer.name);
        let is_file = answer.header["file"].is_string();
        let wrong = answer.header["flink_is_wrong"].is_string();
        if is_table_of_its_own || is_different || is_file || wrong {
            continue;
        }
        compared += 1;
        let (rows, failure) = rows(&runtime, &answer.text);
        differences.extend(difference(&answer, &rows, failure.as_deref()));
    }
    assert!(compared > 100, "only {compared} scripts were compared");
    report(&differences);
}
