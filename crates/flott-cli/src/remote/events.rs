//! `flott events`: what has happened to a job, a line an event.

use super::{RemoteArgs, job_id};
use crate::output;
use crate::run::runtime;
use anyhow::Result;
use chrono::{DateTime, Local};
use serde_json::Value;

/// Arguments of `flott events`.
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// The job's id.
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `flott events`
pub fn events(args: &EventsArgs) -> Result<()> {
    let (manager, job) = (args.remote.manager()?, job_id(&args.job)?);
    let answer = runtime()?.block_on(manager.get(&format!("/jobs/{job}/events")))?;
    if args.remote.json {
        output::line(answer);
        return Ok(());
    }
    let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = events.iter().flat_map(rows).collect();
    output::text(output::columns(&rows));
    if answer["truncated"] == true {
        eprintln!("earlier events are forgotten");
    }
    Ok(())
}

/// An event: its time, its type and its text, which may have more lines.
fn rows(event: &Value) -> Vec<Vec<String>> {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let at = DateTime::from_timestamp_millis(event["timestamp"].as_i64().unwrap_or(0));
    let at = at.map(|at| at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S%.3f").to_string());
    let mut first = [at.unwrap_or_default(), text("type").to_owned()];
    let row = |line: &str| {
        let [at, kind] = std::mem::take(&mut first);
        vec![at, kind, line.to_owned()]
    };
    text("message").lines().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn further_lines_of_a_text_stand_below_the_first() {
        let event = json!({ "timestamp": 0, "type": "TASK_FAILED", "message": "boom\ncaused by: x" });
        let rows = rows(&event);
        assert_eq!(rows[0][1..], ["TASK_FAILED", "boom"]);
        // The hour is that of the machine's time zone.
        assert_eq!(rows[0][0].len(), "1970-01-01 00:00:00.000".len());
        assert_eq!(rows[1], ["", "", "caused by: x"]);
    }
}
