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
