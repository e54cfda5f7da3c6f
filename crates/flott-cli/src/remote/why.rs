//! `flott why`: what a job waits on, in plain words; what matters most first.

use super::{RemoteArgs, job_id};
use crate::output;
use crate::progress::thousands;
use crate::run::runtime;
use anyhow::Result;
use serde_json::Value;

/// Arguments of `flott why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// The job's id.
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `flott why`
pub fn why(args: &WhyArgs) -> Result<()> {
    let (manager, job) = (args.remote.manager()?, job_id(&args.job)?);
    let answer = runtime()?.block_on(manager.get(&format!("/jobs/{job}/why")))?;
    match args.remote.json {
        true => output::line(answer),
        false => output::text(told(&answer)),
    }
    Ok(())
}

fn list<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The answer as people read it.
fn told(answer: &Value) -> String {
    let (name, status) = (text(answer, "name"), text(answer, "status"));
    let findings = list(answer, "findings");
    let of = |severity: &str| findings.iter().filter(|f| f["severity"] == severity).count();
    let head = match (answer["healthy"] == true, of("PROBLEM")) {
        (true, _) => format!("'{name}' is {status} and healthy: {}\n", rates(answer)),
        (false, 0) => format!("'{name}' is {status}\n"),
        (false, 1) => format!("'{name}' is {status} and has a problem:\n"),
        (false, count) => format!("'{name}' is {status} and has {count} problems, the first matters most:\n"),
    };
    let findings: String = findings.iter().map(finding).collect();
    format!("{head}{findings}{}", flow(answer))
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

fn rate(of: &Value, field: &str) -> String {
    thousands(of[field].as_f64().unwrap_or(0.0).round() as u64)
}

/// What sources read.
fn rates(answer: &Value) -> String {
    let sources = list(answer, "flow")
        .iter()
        .filter(|vertex| text(vertex, "name").starts_with("Source: "));
    let read: f64 = sources.filter_map(|vertex| vertex["recordsInPerSecond"].as_f64()).sum();
    let seconds = answer["measuredSeconds"].as_f64().unwrap_or(0.0);
    let read = thousands(read.round() as u64);
    format!("{read} records/s are read (over the last {seconds:.0} s)")
}

fn finding(finding: &Value) -> String {
    let mark = match text(finding, "severity") {
        "PROBLEM" => "problem",
        _ => "note",
    };
    let mut told = format!("\n  {mark} {}: {}\n", text(finding, "kind"), text(finding, "summary"));
    if !text(finding, "remedy").is_empty() {
        told += &format!("  remedy: {}\n", text(finding, "remedy"));
    }
    told
}

/// A table of the vertices: what runs through them.
fn flow(answer: &Value) -> String {
    let vertices = list(answer, "flow");
    if answer["measuredSeconds"].as_f64().unwrap_or(0.0) == 0.0 || vertices.is_empty() {
        return String::new();
    }
    let title = [
        "in/s",
        "out/s",
        "busy",
        "back-pressured",
        "idle",
        "running",
        "operators",
    ]
    .map(str::to_owned);
    let share = |vertex: &Value, field: &str| format!("{:.0} %", vertex[field].as_f64().unwrap_or(0.0) * 100.0);
    let row = |vertex: &Value| {
        vec![
            rate(vertex, "recordsInPerSecond"),
            rate(vertex, "recordsOutPerSecond"),
            share(vertex, "busy"),
            share(vertex, "backPressured"),
            share(vertex, "idle"),
            format!("{}/{}", vertex["running"], vertex["parallelism"]),
            text(vertex, "name").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(title.to_vec())
        .chain(vertices.iter().map(row))
        .collect();
    format!("\n{}", output::columns(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(healthy: bool, findings: &Value) -> Value {
        json!({
            "name": "clicks", "status": "RUNNING", "healthy": healthy, "measuredSeconds": 10.0, "findings": findings,
            "flow": [{
                "name": "Source: clicks", "parallelism": 2, "running": 2, "recordsInPerSecond": 1999.7, "recordsOutPerSecond": 5.0,
                "busy": 0.25, "backPressured": 0.5, "idle": 0.25,
            }],
        })
    }

    #[test]
    fn a_healthy_job_is_one_line_and_its_rates() {
        let told = told(&answer(true, &json!([])));
        assert_eq!(
            told,
            "'clicks' is RUNNING and healthy: 2,000 records/s are read (over the last 10 s)\n\n\
             in/s   out/s  busy  back-pressured  idle  running  operators\n\
             2,000  5      25 %  50 %            25 %  2/2      Source: clicks\n"
        );
    }

    #[test]
    fn findings_stand_with_their_remedies() {
        let findings = json!([
            { "kind": "SLOW_SINK", "severity": "PROBLEM", "summary": "the sink is slow", "remedy": "look at it" },
            { "kind": "NO_INPUT", "severity": "NOTE", "summary": "nothing comes", "remedy": "" },
        ]);
        let told = told(&answer(false, &findings));
        let expected = "'clicks' is RUNNING and has a problem:\n\n  problem SLOW_SINK: the sink is slow\n  remedy: look at it\n\n  note NO_INPUT: nothing comes\n";
        assert!(told.starts_with(expected), "{told}");
    }
}
