//! Wrong scripts: each has its message, kept beside it.

use crate::connectors::run;
use crate::snapshot::{compare, folder, report};

#[test]
fn wrong_scripts_say_where_why_and_what_to_do() {
    let folder = folder("errors");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "sql"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 60, "only {} scripts", scripts.len());
    let mut differences = vec![];
    for script in scripts {
        let text = std::fs::read_to_string(&script).unwrap();
        let actual = match run(&text) {
            Ok(_) => {
                differences.push(format!("{} is not refused", script.display()));
                continue;
            }
            Err(e) => format!("{e}\n"),
        };
        if let Err(difference) = compare(&script.with_extension("txt"), &actual) {
            differences.push(difference);
        }
    }
    report(&differences);
}
