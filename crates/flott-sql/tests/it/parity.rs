//! Recorded answers of real Flink (tests/peers): the types of a query's columns, and what is refused.

use crate::connectors::{session, variable};
use crate::snapshot::report;
use flott_sql::{Outcome, Script, SqlError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Where the answers lie.
pub fn peers_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers")
}

/// A script and what Flink answered.
pub struct Answer {
    /// Name of the script.
    pub name: String,
    /// The script.
    pub text: String,
    /// The first line of the answer.
    pub header: Value,
    /// The rows as the print connector writes them.
    pub rows: Vec<String>,
}

/// All answers that were recorded.
pub fn peers() -> Vec<Answer> {
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(peers_folder())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "sql"))
        .collect();
    scripts.sort();
    scripts
        .into_iter()
        .filter_map(|script| {
            let expected = std::fs::read_to_string(script.with_extension("expected")).ok()?;
            let mut lines = expected.lines();
            Some(Answer {
                name: script.file_stem()?.to_string_lossy().into_owned(),
                text: std::fs::read_to_string(&script).unwrap(),
                header: serde_json::from_str(lines.next()?).unwrap(),
                rows: lines.map(str::to_owned).collect(),
            })
        })
        .collect()
}

/// How we differ from Flink on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Flink refuses the script, we run it.
    Taken,
    /// Other rows come out.
    Rows,
    /// Other rows come out, and their columns have other types.
    Types,
    /// Flink takes it, we refuse it or the job fails.
    Fails,
}

/// The scripts that differ on purpose, as tests/peers/DIFFERENCES.md lists them.
pub fn differences() -> BTreeMap<String, How> {
    let text = page("DIFFERENCES.md");
    let scripts = table(&text, "| script |").into_iter().map(|cells| {
        let how = match cells[1].as_str() {
            "taken" => How::Taken,
            "rows" => How::Rows,
            "types" => How::Types,
            "fails" => How::Fails,
            other => panic!("DIFFERENCES.md: {}: what is '{other}'?", cells[0]),
        };
        (cells[0].trim_matches('`').to_owned(), how)
    });
    scripts.collect()
}

fn page(name: &str) -> String {
    std::fs::read_to_string(peers_folder().join(name)).unwrap()
}

/// The rows of the table with this head.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|l| !l.starts_with(head)).skip(2);
    let rows: Vec<Vec<String>> = lines
        .take_while(|l| l.starts_with('|'))
        .map(|l| l.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {head}");
    rows
}

/// Columns of the last statement that yields any.
fn columns(text: &str) -> Result<Vec<(String, String)>, SqlError> {
    let script = Script::parse(text, &variable)?;
    let mut session = session();
    let mut columns = vec![];
    for outcome in session.execute_all(&script)? {
        if let Outcome::Job(job) = outcome {
            let fields = match job.collect {
                Some(fields) => fields,
                None => job.plan.nodes.last().map(|n| n.output.clone()).unwrap_or_default(),
            };
            columns = fields.into_iter().map(|f| (f.name, f.ty.to_string())).collect();
        }
    }
    Ok(columns)
}

/// Flink's text of a type in ours: time attributes are no types here, and an interval's units are not kept.
fn ours(flink: &str) -> String {
    flink
        .replace(" *ROWTIME*", "")
        .replace(" *PROCTIME*", "")
        .replace("INTERVAL SECOND(3)", "INTERVAL DAY TO SECOND(3)")
        .replace("INTERVAL MONTH", "INTERVAL YEAR TO MONTH")
}

#[test]
fn columns_have_flinks_names_and_types() {
    let different = differences();
    let mut differences = vec![];
    let mut compared = 0;
    for Answer { name, text, header, .. } in peers() {
        if matches!(different.get(&name), Some(How::Taken | How::Types | How::Fails)) {
            continue;
        }
        compared += 1;
        let refused = header["error"] == true && header["stage"] == "plan";
        let answer = columns(&text);
        match answer {
            Ok(_) if refused => differences.push(format!("{name}: Flink refuses it: {}", header["message"])),
            Err(e) if !refused => differences.push(format!("{name}: Flink takes it: {e}")),
            Ok(columns) if header["columns"].is_array() => {
                let expected: Vec<(String, String)> = header["columns"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|c| (c[0].as_str().unwrap().into(), ours(c[1].as_str().unwrap())))
                    .collect();
                if columns != expected {
                    let pairs: Vec<String> = columns
                        .iter()
                        .zip(&expected)
                        .filter(|(a, b)| a != b)
                        .map(|(a, b)| format!("{a:?} but Flink {b:?}"))
                        .collect();
                    differences.push(format!(
                        "{name}: {} of {}: {}",
                        columns.len(),
                        expected.len(),
                        pairs.join("; ")
                    ));
                }
            }
            _ => {}
        }
    }
    assert!(compared > 100, "only {compared} scripts were compared");
    report(&differences);
}

#[test]
fn every_feature_has_its_scripts() {
    let names: Vec<String> = peers().into_iter().map(|p| p.name).collect();
    let mut wrong = vec![];
    let mut named = BTreeSet::new();
    for cells in table(&page("README.md"), "| feature |") {
        for pattern in cells[1].split_whitespace() {
            let pattern = pattern.trim_matches([',', '`']);
            let fits = |name: &&String| match pattern.split_once('*') {
                Some((start, end)) => name.starts_with(start) && name.ends_with(end),
                None => *name == pattern,
            };
            let mut fitting = names.iter().filter(fits).peekable();
            if fitting.peek().is_none() {
                wrong.push(format!("{}: no script {pattern}", cells[0]));
            }
            named.extend(fitting);
        }
    }
    report(&wrong);
    assert!(
        names.len() >= 120 && named.len() >= 120,
        "{} scripts, {} in the table",
        names.len(),
        named.len()
    );
}

/// A recorded row or expression: its text, how many rows, and whether NULL is among them.
struct Shown {
    text: String,
    rows: usize,
    has_null: bool,
}

/// Everything that real Flink has evaluated for us: the tables of expressions, and the scripts.
fn shown() -> Vec<Shown> {
    let tables = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/expr/tests");
    let tables = std::fs::read_dir(tables).unwrap().map(|entry| entry.unwrap().path());
    let mut shown = vec![];
    for path in tables.filter(|p| p.extension().is_some_and(|e| e == "tsv")) {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|l| l.split('\t').collect::<Vec<_>>());
        shown.extend(lines.filter_map(|cells| match cells[..] {
            [text, ty, value] if ty != "refused" => Some(Shown {
                text: text.to_owned(),
                rows: 1,
                has_null: text.contains("NULL") || value == "NULL",
            }),
            _ => None,
        }));
    }
    let answered = peers().into_iter().filter(|a| a.header["error"] != true);
    shown.extend(answered.map(|answer| Shown {
        text: answer.text.lines().filter(|l| !l.starts_with("--")).collect(),
        rows: answer.rows.len(),
        has_null: answer.text.contains("NULL") || answer.rows.iter().any(|r| r.contains("null")),
    }));
    shown
}

/// What the use of a function looks like.
fn use_of(function: &str) -> regex::Regex {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ' ';
    let pattern = match function {
        "DOT" => r"[a-z)]\.[a-z]".to_owned(),
        "ITEM" => r"[a-z\])]\[".to_owned(),
        "UNARY -" => r"(^|[(,=] ?)-[A-Z(a-z]".to_owned(),
        "UNARY +" => r"(^|[(,=] ?)\+[A-Z(0-9]".to_owned(),
        name if name.chars().all(is_word) => format!(r"(?i)(^|[^\w$]){}($|\W)", name.replace(' ', r"\s+")),
        symbol => format!(r"(^|[^<>=!|]){}($|[^<>=|])", regex::escape(symbol)),
    };
    regex::Regex::new(&pattern).unwrap()
}

#[test]
fn every_function_has_five_recorded_rows_with_null_among_them() {
    // Flink has no such function; its values are tested with it.
    const OURS: &[&str] = &["NORMAL_PDF"];
    // They have no arguments, and are never NULL.
    const NEVER_NULL: &[&str] = &["CURRENT_DATABASE", "PI"];
    let script = Script::parse("SHOW FUNCTIONS;", &variable).unwrap();
    let outcomes = session().execute_all(&script).unwrap();
    let [Outcome::Rows { rows: functions, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    let shown = shown();
    let mut wrong = vec![];
    for function in functions
        .iter()
        .map(|row| row[0].as_str())
        .filter(|f| !OURS.contains(f))
    {
        let usage = use_of(function);
        let uses = || shown.iter().filter(|s| usage.is_match(&s.text));
        let rows: usize = uses().map(|s| s.rows).sum();
        if rows < 5 {
            wrong.push(format!("{function}: {rows} recorded rows"));
        }
        if !NEVER_NULL.contains(&function) && !uses().any(|s| s.has_null) {
            wrong.push(format!("{function}: no NULL among its recorded rows"));
        }
    }
    assert!(functions.len() > 200, "{} functions", functions.len());
    report(&wrong);
}
