//! Plans of the sample jobs and benchmark queries, as EXPLAIN prints them.

use crate::connectors::jobs;
use crate::snapshot::{compare, folder, report};

#[test]
fn plans_stay_as_they_are() {
    let folder = folder("plans");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "sql"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 5);
    let mut differences = vec![];
    for script in scripts {
        let text = std::fs::read_to_string(&script).unwrap();
        let mut actual = String::new();
        for job in jobs(&text) {
            actual.push_str(&format!("job {}\n{}\n", job.plan.name, job.explanation));
            for warning in &job.warnings {
                actual.push_str(&format!("warning: {warning}\n"));
            }
        }
        if let Err(difference) = compare(&script.with_extension("txt"), &actual) {
            differences.push(difference);
        }
    }
    report(&differences);
}

/// Group, drift and interval of watermark alignment are in the plan, where the source finds them.
#[test]
fn watermark_alignment_is_planned() {
    let alignment = |options: &str| {
        let script = format!(
            "CREATE TABLE clicks (userId STRING, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'kafka', 'topic' = 'clicks', \
             'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json' {options});
             CREATE TABLE out (userId STRING, at TIMESTAMP(3)) WITH ('connector' = 'print');
             INSERT INTO out SELECT userId, at FROM clicks;"
        );
        jobs(&script)[0].plan.nodes[0].spec["watermark"]["alignment"].clone()
    };
    assert_eq!(alignment(""), serde_json::Value::Null);
    let both = ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '20 s'";
    assert_eq!(alignment(both), serde_json::json!(["g", 20_000, 1_000]));
    let all = format!("{both}, 'scan.watermark.alignment.update-interval' = '250 ms'");
    assert_eq!(alignment(&all), serde_json::json!(["g", 20_000, 250]));
}
