//! `flott logs`: the JobManager's log or a TaskManager's, or another file beside it.

use super::RemoteArgs;
use crate::output;
use crate::run::runtime;
use anyhow::Result;
use chrono::{DateTime, Local};
use serde_json::{Value, json};

/// Arguments of `flott logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// A file that --list shows, instead of the log.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// List the files beside the log.
    #[arg(short, long, conflicts_with_all = ["name", "stdout"])]
    pub list: bool,
    /// What the process has printed, instead of the log.
    #[arg(long, conflicts_with = "name")]
    pub stdout: bool,
    /// Logs of this TaskManager, by its id, instead of the JobManager's.
    #[arg(short, long, value_name = "ID")]
    pub taskmanager: Option<String>,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `flott logs`
pub fn logs(args: &LogsArgs) -> Result<()> {
    let (manager, runtime) = (args.remote.manager()?, runtime()?);
    let process = match &args.taskmanager {
        Some(id) => format!("/taskmanagers/{}", encoded(id)),
        None => "/jobmanager".to_owned(),
    };
    if args.list {
        let answer = runtime.block_on(manager.get(&format!("{process}/logs")))?;
        match args.remote.json {
            true => output::line(answer),
            false => output::text(table(&answer)),
        }
        return Ok(());
    }
    let path = match &args.name {
        Some(name) => format!("{process}/logs/{}", encoded(name)),
        None if args.stdout => format!("{process}/stdout"),
        None => format!("{process}/log"),
    };
    let text = runtime.block_on(manager.text(&path))?;
    match args.remote.json {
        true => output::line(json!({ "log": text })),
        false => output::text(text),
    }
    Ok(())
}

/// A line a file: its size, when it was changed, its name.
fn table(answer: &Value) -> String {
    let logs = answer["logs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |log: &Value| {
        let changed = DateTime::from_timestamp_millis(log["mtime"].as_i64().unwrap_or(0));
        let changed = changed.map(|at| at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string());
        vec![
            output::size(log["size"].as_u64().unwrap_or(0)),
            changed.unwrap_or_default(),
            log["name"].as_str().unwrap_or_default().to_owned(),
        ]
    };
    match logs.is_empty() {
        true => "No logs.\n".to_owned(),
        false => output::columns(&logs.iter().map(row).collect::<Vec<_>>()),
    }
}

/// A name as one part of a path.
fn encoded(name: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    name.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_the_path() {
        assert_eq!(encoded("flott-jobmanager.log"), "flott-jobmanager.log");
        assert_eq!(encoded("../a b?"), "..%2Fa%20b%3F");
    }

    #[test]
    fn files_are_listed_with_their_size() {
        let answer = json!({ "logs": [{ "name": "jm.log", "size": 2048, "mtime": 0 }] });
        let table = table(&answer);
        assert!(
            table.starts_with("2 KiB  19") && table.ends_with("  jm.log\n"),
            "{table}"
        );
        assert_eq!(super::table(&json!({})), "No logs.\n");
    }
}
