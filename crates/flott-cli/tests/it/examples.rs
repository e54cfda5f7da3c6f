//! The examples that read files give the golden rows that real Flink gave (`bench/record_examples.py files`).

use crate::support::{flott, text};
use std::path::Path;

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The printed rows of an example at this parallelism, sorted, with the table's name if the script gives it, without the subtask.
fn printed(script: &str, variables: &[String], parallelism: &str) -> Vec<String> {
    let script = format!("examples/{script}");
    let mut args = vec!["run", &script, "-p", parallelism, "-q"];
    for variable in variables {
        args.extend(["--var", variable]);
    }
    let ended = flott(&args).expect(0);
    assert_eq!(ended.err, "");
    let row = |line: &str| match line.split_once("> ") {
        None => line.to_owned(),
        Some((before, row)) => match before.split(':').next() {
            Some(name) if name.parse::<u32>().is_err() => format!("{name}> {row}"),
            _ => row.to_owned(),
        },
    };
    let mut rows: Vec<String> = ended.out.lines().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn printed_rows_are_flinks() {
    for (script, input, golden) in [
        ("clicks-per-window/tumble.sql", "clicks.csv", "tumble.txt"),
        ("clicks-per-window/hop.sql", "clicks.csv", "hop.txt"),
        ("clicks-per-window/session.sql", "clicks.csv", "session.txt"),
        ("iot-monitoring/from-files.sql", "readings.csv", "printed.txt"),
        ("sales-trend/job.sql", "events.json", "printed.txt"),
        ("traffic-alarm/job.sql", "requests.csv", "printed.txt"),
    ] {
        let folder = format!("examples/{}/golden", script.split('/').next().unwrap());
        let want = lines(&text(&format!("{folder}/{golden}")));
        for parallelism in ["1", "2"] {
            let input = format!("INPUT={folder}/{input}");
            assert_eq!(
                printed(script, &[input], parallelism),
                want,
                "{script} -p {parallelism}"
            );
        }
    }
}

#[test]
fn times_two_keeps_the_order() {
    let ended = flott(&["run", "examples/times-two/job.sql", "-p", "1", "-q"]).expect(0);
    assert_eq!(ended.out, text("examples/times-two/golden/printed.txt"));
}

#[test]
fn running_clicks_keep_the_order() {
    let input = "INPUT=examples/running-clicks/golden/clicks.csv";
    let script = "examples/running-clicks/from-files.sql";
    let ended = flott(&["run", script, "--var", input, "-p", "1", "-q"]).expect(0);
    assert_eq!(ended.out, text("examples/running-clicks/golden/printed.txt"));
    assert!(ended.out.ends_with("+I[u1, 1, 8]\n"), "{}", ended.out);
}

#[test]
fn planted_anomalies_and_the_silent_device_are_found() {
    let golden = text("examples/iot-monitoring/golden/printed.txt");
    let of = |name: &str| -> Vec<&str> { golden.lines().filter_map(|l| l.strip_prefix(name)).collect() };
    let anomalies = of("anomalies> +I");
    assert_eq!(anomalies.len(), 2, "{anomalies:?}");
    assert!(
        anomalies[0].starts_with("[press-1, 2026-01-01T08:03:25, 58.10, "),
        "{anomalies:?}"
    );
    assert!(
        anomalies[1].starts_with("[pump-1, 2026-01-01T08:02:31, 43.10, "),
        "{anomalies:?}"
    );
    // The others end with the file, at five minutes.
    let silences = of("silences> +I[pump-3, ");
    assert_eq!(silences.len(), 2, "{silences:?}");
    assert!(
        silences.contains(&"2026-01-01T08:01:58, 2026-01-01T08:02:28, 24]"),
        "{silences:?}"
    );
}

/// The lines of all visible files below a folder, each behind the path of its own folder, and the marks of partitions.
fn lines_of(root: &Path, folder: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with('.'), "{} is left", path.display());
        if path.is_dir() {
            lines_of(root, &path, out);
            continue;
        }
        let at = folder.strip_prefix(root).unwrap().to_string_lossy();
        let at = if at.is_empty() { String::new() } else { format!("{at} ") };
        if name == "_SUCCESS" {
            out.push(format!("{at}{name}"));
        }
        let content = std::fs::read_to_string(&path).unwrap();
        out.extend(content.lines().map(|line| format!("{at}{line}")));
    }
}

/// Runs a script that writes files below `output`; gives their lines, sorted.
fn written(script: &str, input: &str, output: &Path, parallelism: &str) -> Vec<String> {
    let output_variable = format!("OUTPUT={}", output.display());
    let script = format!("examples/{script}");
    let input = format!("INPUT={input}");
    let arguments = [
        "run",
        &script,
        "-p",
        parallelism,
        "-q",
        "--var",
        &input,
        "--var",
        &output_variable,
    ];
    flott(&arguments).expect(0);
    let mut found = vec![];
    lines_of(output, output, &mut found);
    found.sort();
    found
}

#[test]
fn written_files_and_marks_are_flinks() {
    for (script, input, golden) in [
        ("upper-case-csv/from-files.sql", "my-topic.json", "my_sink.csv"),
        ("auction-files/job.sql", "bids.json", "files.txt"),
        ("order-pipeline/job.sql", "orders.json", "files.txt"),
    ] {
        let folder = format!("examples/{}/golden", script.split('/').next().unwrap());
        let want = lines(&text(&format!("{folder}/{golden}")));
        for parallelism in ["1", "2"] {
            let output = tempfile::tempdir().unwrap();
            let found = written(script, &format!("{folder}/{input}"), output.path(), parallelism);
            assert_eq!(found, want, "{script} -p {parallelism}");
            if script == "auction-files/job.sql" {
                let input = format!("INPUT={}", output.path().display());
                let want = lines(&text(&format!("{folder}/read.txt")));
                assert_eq!(printed("auction-files/read.sql", &[input], parallelism), want);
            }
        }
    }
}
