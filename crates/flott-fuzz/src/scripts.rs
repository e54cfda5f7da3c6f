//! SQL: whole scripts up to the physical plan, and expressions up to their values.

use crate::schema::check_columns;
use arrow_array::ArrayRef;
use flott_core::{Batch, Field, LogicalType, Options, TypeKind};
use flott_sql::expr::program::EvalContext;
use flott_sql::expr::{Expr, compile};
use flott_sql::nodes::{CalcSpec, kind};
use flott_sql::{Job, Outcome, Script, Session};
use std::sync::Arc;

/// Tables that scripts and expressions may use.
const TABLES: &str = "
CREATE TABLE t (b BOOLEAN, i1 TINYINT, i2 SMALLINT, i INT, l BIGINT, f FLOAT, d DOUBLE, c DECIMAL(20, 4), s STRING, v CHAR(5),
  y BYTES, dt DATE, tm TIME(0), ts TIMESTAMP(3), t9 TIMESTAMP(9), lt TIMESTAMP_LTZ(3), a ARRAY<INT>, sa ARRAY<STRING>,
  m MAP<STRING, INT>, r ROW<x INT, y STRING>) WITH ('connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'json');
CREATE TABLE e (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND, p AS PROCTIME())
  WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'h:1', 'format' = 'json');
CREATE TABLE u (k STRING, v BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'u',
  'properties.bootstrap.servers' = 'h:1', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE o (k STRING, v BIGINT) WITH ('connector' = 'print');
";

/// Rows that expressions are computed over.
const ROWS: usize = 4;

thread_local! {
    static SESSION: Session = {
        let mut session = Session::new(Arc::new(flott::registry()), Options::new());
        let tables = Script::parse(TABLES, &|_| None).expect("the tables are well written");
        session.execute_all(&tables).expect("the tables are right");
        session
    };
}

/// Runs a script's statements in a session with [`TABLES`] until one is wrong, and gives its jobs.
fn jobs(text: &str) -> Vec<Job> {
    let mut jobs = vec![];
    // Variables are folders in the recorded scripts.
    let script = match Script::parse(text, &|_| Some("/nowhere".to_owned())) {
        Ok(script) => script,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return jobs;
        }
    };
    let mut session = SESSION.with(Session::clone);
    for statement in script.statements() {
        match session.execute(&script, statement) {
            Ok(Outcome::Job(job)) => jobs.push(*job),
            Ok(_) => {}
            Err(e) => {
                assert!(!e.to_string().is_empty());
                break;
            }
        }
    }
    jobs
}

/// A script: its plans can be written, and are what the graph's rules allow.
pub(crate) fn script(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    Script::is_complete(text);
    for job in jobs(text) {
        job.plan.validate().expect("a plan of ours is valid");
        job.plan.to_json().expect("a plan can be written");
    }
}

/// An expression over the columns of `t`, or a query: what its Calcs compute has the type that was derived.
pub(crate) fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let is_query = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("SELECT "));
    let query = match is_query {
        true => text.to_owned(),
        false => format!("SELECT {text} FROM t"),
    };
    for job in jobs(&query) {
        let plan = &job.plan;
        for node in plan.nodes.iter().filter(|n| n.kind == kind::CALC) {
            let spec: CalcSpec = serde_json::from_value(node.spec.clone()).expect("a spec that we wrote");
            let input = plan.inputs(node.id).next().expect("a calc has an input");
            let Some(batch) = sample(&plan.nodes[input.from].output) else {
                continue;
            };
            let context = EvalContext {
                time_zone: spec.time_zone.parse().expect("a time zone that was checked"),
                ..EvalContext::default()
            };
            for expr in spec.projection.iter().chain(&spec.condition) {
                evaluate(expr, &batch, &context);
            }
        }
    }
}

fn evaluate(expr: &Expr, batch: &Batch, context: &EvalContext) {
    let result = compile(expr, context).and_then(|compiled| compiled.evaluate(batch));
    match result {
        Ok(column) => {
            assert_eq!(*column.data_type(), expr.ty().to_arrow(), "the type of {expr}");
            check_columns(&[column], batch.num_rows());
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}

/// Rows with usual, extreme and missing values; `None` for columns that JSON cannot carry.
fn sample(fields: &[Field]) -> Option<Batch> {
    let mut decoder = flott_formats::decoder("json", &Options::new(), fields, fields).ok()?;
    for row in 0..ROWS {
        let members: Vec<String> = fields
            .iter()
            .map(|f| Some(format!("{}:{}", serde_json::to_string(&f.name).ok()?, text(&f.ty, row))))
            .collect::<Option<_>>()?;
        decoder.decode(format!("{{{}}}", members.join(",")).as_bytes()).ok()?;
    }
    let columns: Vec<ArrayRef> = decoder.finish();
    Some(Batch::new(columns, ROWS))
}

/// Value `row` of a type, as JSON.
fn text(ty: &LogicalType, row: usize) -> String {
    let one_of = |texts: [&str; 3]| texts[row % 3].to_owned();
    if row == 3 && ty.nullable {
        return "null".to_owned();
    }
    match &ty.kind {
        TypeKind::Null => "null".to_owned(),
        TypeKind::Boolean => one_of(["true", "false", "true"]),
        TypeKind::TinyInt => one_of(["1", "-128", "127"]),
        TypeKind::SmallInt => one_of(["1", "-32768", "32767"]),
        TypeKind::Int => one_of(["2", "-2147483648", "2147483647"]),
        TypeKind::BigInt => one_of(["3", "-9223372036854775808", "9223372036854775807"]),
        TypeKind::Float => one_of(["1.5", "-3e38", "0"]),
        TypeKind::Double => one_of(["2.5", "-1e308", "1e-300"]),
        TypeKind::Decimal(..) => one_of(["1", "0", "-1"]),
        TypeKind::Char(_) | TypeKind::Varchar(_) => one_of(["\"2024-02-29 12:34:56\"", "\"\"", "\"é😀 a,b=1\""]),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => one_of(["\"AAEC\"", "\"\"", "\"/w==\""]),
        TypeKind::Date => one_of(["\"2024-02-29\"", "\"0001-01-01\"", "\"9999-12-31\""]),
        TypeKind::Time(_) => one_of(["\"12:34:56\"", "\"00:00:00\"", "\"23:59:59\""]),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let time = match p {
                0..=6 => one_of([
                    "2024-02-29 12:34:56.789",
                    "0001-01-01 00:00:00",
                    "9999-12-31 23:59:59.999",
                ]),
                _ => one_of([
                    "2024-02-29 12:34:56.789",
                    "1678-01-01 00:00:00",
                    "2262-01-01 23:59:59.999",
                ]),
            };
            let zone = if matches!(ty.kind, TypeKind::TimestampLtz(_)) {
                "Z"
            } else {
                ""
            };
            format!("\"{time}{zone}\"")
        }
        TypeKind::Array(element) if row == 1 => format!("[{}]", text(element, 0)),
        TypeKind::Array(element) => format!("[{},{}]", text(element, row), text(element, 3)),
        TypeKind::Map(_, value) => format!("{{\"k\":{},\"\":{}}}", text(value, row), text(value, 3)),
        TypeKind::Multiset(_) => "{\"k\":2}".to_owned(),
        TypeKind::Row(fields) => {
            let members = fields
                .iter()
                .map(|f| format!("{}:{}", serde_json::Value::from(f.name.as_str()), text(&f.ty, row)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime => "0".to_owned(),
    }
}
