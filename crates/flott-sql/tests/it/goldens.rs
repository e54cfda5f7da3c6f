//! Everything whose answer is known: the recorded scripts of tests/peers, the benchmark queries over a thousand events, the examples.

use crate::parity::{Answer, How, differences, peers, peers_folder};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A script and its answer.
#[derive(Clone)]
pub struct Golden {
    /// Its name, for messages.
    pub name: String,
    /// The script.
    pub text: String,
    /// Values of its variables.
    pub variables: Vec<(&'static str, String)>,
    /// Options of the filesystem table that its rows are written to; `None`: they are collected.
    pub file: Option<Vec<(String, String)>>,
    /// Whether the job fails; rows do not count then.
    pub fails: bool,
    /// The rows; `None`: ours differ from Flink's on purpose, or there is no answer of Flink.
    pub rows: Option<Vec<String>>,
    /// Whether the order of the changelog is the same on every run.
    pub in_order: bool,
    /// Whether rows are compared in the form of the benchmark's answers.
    pub is_benchmark: bool,
}

impl Golden {
    /// A script whose answer is not known.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            variables: vec![],
            file: None,
            fails: false,
            rows: None,
            in_order: false,
            is_benchmark: false,
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The scripts of tests/peers.
pub fn recorded() -> Vec<Golden> {
    let different = differences();
    peers().into_iter().map(|a| of_answer(a, &different)).collect()
}

/// The scripts of tests/peers that differ on purpose, with Flink's answers.
pub fn differing() -> Vec<Golden> {
    let different = differences();
    let listed = peers().into_iter().filter(|a| different.contains_key(&a.name));
    listed.map(|a| of_answer(a, &BTreeMap::new())).collect()
}

fn of_answer(answer: Answer, different: &BTreeMap<String, How>) -> Golden {
    let is_other = different.contains_key(&answer.name);
    let is_error = answer.header["error"] == true;
    let file = answer.header["file"].as_str().map(pairs);
    let line = |line: &String| match &file {
        Some(_) => format!("+I{line}"),
        // The print connector's identifier is tested with the connector.
        None => line.strip_prefix("out> ").unwrap_or(line).to_owned(),
    };
    Golden {
        variables: vec![("DATA", peers_folder().join("data").display().to_string())],
        fails: is_error && !is_other,
        rows: (!is_other && !is_error).then(|| answer.rows.iter().map(line).collect()),
        in_order: answer.header["deterministic_changelog"] == true,
        file,
        ..Golden::new(answer.name, answer.text)
    }
}

/// The pairs of a WITH clause.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut texts = vec![];
    let mut rest = text;
    while let Some(start) = rest.find('\'') {
        let mut value = String::new();
        let mut chars = rest[start + 1..].char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            if c != '\'' {
                value.push(c);
            } else if rest[start + 1 + at + 1..].starts_with('\'') {
                value.push(c);
                chars.next();
            } else {
                end = start + 1 + at + 1;
                break;
            }
        }
        texts.push(value);
        rest = &rest[end..];
    }
    texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

const BENCHMARK_QUERIES: &[&str] = &["q0", "q1", "q2", "q14", "q17", "q5w", "q7w"];

/// The benchmark queries over the events at `data`.
pub fn benchmark(data: &str) -> Vec<Golden> {
    let tables = ["source-file", "views"]
        .map(|f| read(&format!("bench/sql/nexmark/{f}.sql")))
        .join("\n");
    let golden = |query: &&str| {
        let text = read(&format!("bench/sql/nexmark/{query}.sql"));
        Golden {
            variables: vec![("DATA", data.to_owned())],
            is_benchmark: true,
            ..Golden::new(*query, format!("{tables}\n{text};"))
        }
    };
    BENCHMARK_QUERIES.iter().map(golden).collect()
}

/// Queries whose answer by Flink holds no more than what one of the two files gives: it read one after the other, and behind
/// the first all rows of the second were late. Here both are read at once, and no row is.
const ONE_FILE_WAS_LATE: &[&str] = &["q5w", "q7w"];

/// The benchmark queries over a thousand events, with Flink's answers.
pub fn events() -> Vec<Golden> {
    let mut queries = benchmark(&peers_folder().join("nexmark/data").display().to_string());
    let is_comparable = |g: &&mut Golden| !ONE_FILE_WAS_LATE.contains(&g.name.as_str());
    for query in queries.iter_mut().filter(is_comparable) {
        let answer = read(&format!("tests/peers/nexmark/{}.txt", query.name));
        query.rows = Some(answer.lines().map(|l| format!("+I{l}")).collect());
    }
    queries
}

/// The thousand events so many times over, in the order of their time, so that none is late whenever watermarks come.
pub fn many_events(times: usize) -> String {
    let parts = ["part-0.json", "part-1.json"].map(|part| read(&format!("tests/peers/nexmark/data/{part}")));
    let mut events: Vec<&str> = parts.iter().flat_map(|p| p.lines()).collect();
    events.sort_by_key(|event| {
        let time = event.split("\"dateTime\":").nth(1).expect("every event has a time");
        time[..25].to_owned()
    });
    let lines = events.into_iter().flat_map(|e| std::iter::repeat_n(e, times));
    lines.flat_map(|l| [l, "\n"]).collect()
}

/// The examples over their files.
pub fn examples() -> Vec<Golden> {
    let example = |folder: &str, input: &str, rows: &str, in_order: bool| Golden {
        variables: vec![(
            "INPUT",
            root()
                .join(format!("examples/{folder}/golden/{input}"))
                .display()
                .to_string(),
        )],
        rows: Some(
            read(&format!("examples/{folder}/golden/{rows}"))
                .lines()
                .map(str::to_owned)
                .collect(),
        ),
        in_order,
        ..Golden::new(folder, read(&format!("examples/{folder}/from-files.sql")))
    };
    vec![
        example("website-traffic", "website-logs.csv", "printed.txt", false),
        example("word-count", "my-topic.txt", "changelog.txt", true),
    ]
}

/// A row as the benchmark's answers have it: cells separated by `|`, timestamps with three digits.
pub fn benchmark_line(line: &str) -> String {
    let (kind, row) = line.split_at(2);
    let row = row.trim_start_matches('[').trim_end_matches(']');
    let cells: Vec<String> = row.split(", ").map(benchmark_cell).collect();
    format!("{kind}{}", cells.join("|"))
}

fn benchmark_cell(cell: &str) -> String {
    if cell == "null" {
        return "\\N".to_owned();
    }
    let Some((date, time)) = cell
        .split_once('T')
        .filter(|(d, _)| d.len() == 10 && d.as_bytes()[4] == b'-')
    else {
        return cell.to_owned();
    };
    let time = if time.len() == 5 {
        format!("{time}:00")
    } else {
        time.to_owned()
    };
    let (seconds, fraction) = time.split_once('.').unwrap_or((&time, ""));
    format!("{date} {seconds}.{fraction:0<3}")
}
