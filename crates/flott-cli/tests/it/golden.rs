//! The examples give their golden rows: from files, and from and to a broker.

use crate::support::{Cluster, flott, start, text, wait_for};
use std::collections::BTreeMap;

const TRAFFIC: &str = "examples/website-traffic";
const WORDS: &str = "examples/word-count";

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn website_traffic_from_files() {
    let input = format!("INPUT={TRAFFIC}/golden/website-logs.csv");
    let ended = flott(&["run", &format!("{TRAFFIC}/from-files.sql"), "--var", &input, "-p", "1"]).expect(0);
    assert_eq!(ended.sorted(), sorted(&text(&format!("{TRAFFIC}/golden/printed.txt"))));
    assert!(
        ended.err.contains("FINISHED") && ended.err.contains("2 bad row(s)"),
        "{}",
        ended.err
    );
}

#[test]
fn website_traffic_from_files_at_parallelism_3() {
    let input = format!("INPUT={TRAFFIC}/golden/website-logs.csv");
    let ended = flott(&[
        "run",
        &format!("{TRAFFIC}/from-files.sql"),
        "--var",
        &input,
        "-p",
        "3",
        "-q",
    ])
    .expect(0);
    let rows = ended
        .out
        .lines()
        .map(|l| l.split_once("> ").expect("a subtask before the row").1.to_owned());
    assert_eq!(
        sorted(&rows.collect::<Vec<_>>().join("\n")),
        sorted(&text(&format!("{TRAFFIC}/golden/printed.txt")))
    );
    assert_eq!(ended.err, "");
}

#[test]
fn website_traffic_from_broker_to_broker() {
    traffic_from_broker_to_broker("parallelism.default=1");
}

#[test]
fn website_traffic_from_broker_to_broker_with_every_exchange_encoded() {
    traffic_from_broker_to_broker("execution.exchange.encoded=true");
}

#[test]
fn website_traffic_from_broker_to_broker_with_batches_of_1_and_7_rows() {
    traffic_from_broker_to_broker("execution.batch-rows=1");
    traffic_from_broker_to_broker("execution.batch-rows=7");
}

fn traffic_from_broker_to_broker(option: &str) {
    let cluster = Cluster::start(&[("website-logs", 1), ("website-traffic-stats", 2)]);
    for line in text(&format!("{TRAFFIC}/golden/records.txt")).lines() {
        let (timestamp, value) = line.split_once(' ').unwrap();
        cluster.append("website-logs", 0, timestamp.parse().unwrap(), value);
    }
    // The last minute stays open, as the input does not end.
    let want: Vec<String> = text(&format!("{TRAFFIC}/golden/stats.txt"))
        .lines()
        .map(str::to_owned)
        .filter(|l| !l.contains("00:03:00"))
        .collect();
    let mut job = start(&[
        "run",
        &format!("{TRAFFIC}/job.sql"),
        "--var",
        &cluster.variable(),
        "-p",
        "1",
        "-D",
        "table.local-time-zone=UTC",
        "-D",
        option,
    ]);
    wait_for(|| cluster.values("website-traffic-stats").len() >= want.len() || !job.is_running());
    job.terminate();
    let ended = job.ended().expect(0);
    assert_eq!(cluster.values("website-traffic-stats"), want, "{}", ended.err);
    assert_eq!(
        cluster.broker.committed_offset("website-traffic", "website-logs", 0),
        Some(11)
    );
}

#[test]
fn word_count_from_files_prints_the_changelog() {
    let input = format!("INPUT={WORDS}/golden/my-topic.txt");
    let ended = flott(&[
        "run",
        &format!("{WORDS}/from-files.sql"),
        "--var",
        &input,
        "-p",
        "1",
        "-q",
    ])
    .expect(0);
    assert_eq!(ended.out, text(&format!("{WORDS}/golden/changelog.txt")));
}

#[test]
fn word_count_from_broker_to_broker() {
    let cluster = Cluster::start(&[("my-topic", 2), ("word-counts", 2)]);
    for (i, line) in text(&format!("{WORDS}/golden/my-topic.txt")).lines().enumerate() {
        cluster.append("my-topic", i as i32 % 2, 1_000, line);
    }
    let want: BTreeMap<String, String> = text(&format!("{WORDS}/golden/final.txt"))
        .lines()
        .map(|l| {
            l.split_once(',')
                .map(|(word, count)| (word.to_owned(), count.to_owned()))
                .unwrap()
        })
        .collect();
    let counts = |cluster: &Cluster| -> BTreeMap<String, String> {
        let number = |value: &str| {
            value
                .rsplit([',', ':'])
                .next()
                .unwrap_or_default()
                .trim_matches(['}', '"', ' '])
                .to_owned()
        };
        let word = |key: &str| {
            key.rsplit(':')
                .next()
                .unwrap_or_default()
                .trim_matches(['}', '"', ' '])
                .to_owned()
        };
        cluster
            .committed("word-counts")
            .iter()
            .map(|(k, v)| (word(k), number(v)))
            .collect()
    };
    let mut job = start(&[
        "run",
        &format!("{WORDS}/to-kafka.sql"),
        "--var",
        &cluster.variable(),
        "-p",
        "2",
    ]);
    wait_for(|| counts(&cluster) == want || !job.is_running());
    job.terminate();
    let ended = job.ended().expect(0);
    assert_eq!(counts(&cluster), want, "{}", ended.err);
}

/// An example's script for Kafka with further options in front.
fn script_of(example: &str, folder: &std::path::Path, interval: &str) -> String {
    let text = text(&format!("examples/{example}/job.sql"));
    let end = text.find("'execution.checkpointing.interval' = '").unwrap();
    let value = text[end..].split('\'').nth(3).unwrap().to_owned();
    let path = folder.join("job.sql");
    let text = text.replace(
        &format!("'execution.checkpointing.interval' = '{value}'"),
        &format!("'execution.checkpointing.interval' = '{interval}'"),
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn running_clicks_go_on_after_a_kill() {
    let cluster = Cluster::start(&[("clicks", 1), ("running-clicks", 1)]);
    let folder = tempfile::tempdir().unwrap();
    let script = script_of("running-clicks", folder.path(), "100 ms");
    let checkpoints = format!(
        "execution.checkpointing.dir={}",
        folder.path().join("checkpoints").display()
    );
    let (variable, events) = (cluster.variable(), text("examples/running-clicks/golden/clicks.csv"));
    let events: Vec<&str> = events.lines().collect();
    let arguments = ["run", &script, "--var", &variable, "-p", "1", "-D", &checkpoints];
    let mut job = start(&arguments);
    for event in &events[..3] {
        cluster.append("clicks", 0, 1_000, event);
    }
    // A row that can be read is in a checkpoint that is complete.
    wait_for(|| cluster.committed("running-clicks").len() == 3 || !job.is_running());
    assert!(job.is_running(), "{}", job.err());
    job.kill();
    cluster.append("clicks", 0, 1_000, events[3]);
    let restored = [&arguments[..], &["--restore", "latest"]].concat();
    let mut job = start(&restored);
    wait_for(|| cluster.committed("running-clicks").len() >= 4 || !job.is_running());
    job.terminate();
    let ended = job.ended().expect(0);
    let rows: Vec<String> = cluster
        .committed("running-clicks")
        .into_iter()
        .map(|(_, v)| v)
        .collect();
    assert_eq!(rows, ["u1,2,2", "u2,3,3", "u1,5,7", "u1,1,8"], "{}", ended.err);
}

/// The lines of the files that a reader of this folder sees.
fn visible_lines(folder: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|f| f.unwrap().path());
    let visible = files.filter(|f| !f.file_name().unwrap().to_string_lossy().starts_with(['.', '_']));
    let mut lines: Vec<String> = vec![];
    for file in visible.filter(|f| f.is_file()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n'), "{} is half written: {text:?}", file.display());
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort();
    lines
}

#[test]
fn upper_case_from_broker_to_files() {
    let cluster = Cluster::start(&[("my-topic", 1)]);
    let folder = tempfile::tempdir().unwrap();
    let (sink, script) = (
        folder.path().join("my_sink"),
        script_of("upper-case-csv", folder.path(), "200 ms"),
    );
    let output = format!("OUTPUT={}", sink.display());
    let checkpoints = format!(
        "execution.checkpointing.dir={}",
        folder.path().join("checkpoints").display()
    );
    let variable = cluster.variable();
    let mut job = start(&[
        "run",
        &script,
        "--var",
        &variable,
        "--var",
        &output,
        "-p",
        "1",
        "-D",
        &checkpoints,
    ]);
    let golden = "examples/upper-case-csv/golden";
    let (given, want) = (
        text(&format!("{golden}/my-topic.json")),
        text(&format!("{golden}/my_sink.csv")),
    );
    let want = sorted(&want);
    let mut sent = 0;
    for record in given.lines() {
        cluster.append("my-topic", 0, 1_000, record);
        sent += 1;
        // Each row appears while the job runs, with a checkpoint.
        wait_for(|| visible_lines(&sink).len() == sent || !job.is_running());
        assert!(job.is_running(), "{}", job.err());
        assert_eq!(visible_lines(&sink).len(), sent);
    }
    job.terminate();
    let ended = job.ended().expect(0);
    assert_eq!(visible_lines(&sink), want, "{}", ended.err);
}

#[test]
fn only_the_silent_device_is_reported_while_the_others_send() {
    let topics = [("readings", 2), ("statistics", 1), ("anomalies", 1), ("silences", 1)];
    let cluster = Cluster::start(&topics);
    let folder = tempfile::tempdir().unwrap();
    let script = script_of("iot-monitoring", folder.path(), "200 ms");
    let checkpoints = format!(
        "execution.checkpointing.dir={}",
        folder.path().join("checkpoints").display()
    );
    let golden = "examples/iot-monitoring/golden";
    for (i, line) in text(&format!("{golden}/readings.csv")).lines().enumerate() {
        cluster.append("readings", i as i32 % 2, 1_000, line);
    }
    let mut job = start(&[
        "run",
        &script,
        "--var",
        &cluster.variable(),
        "-p",
        "1",
        "-D",
        &checkpoints,
    ]);
    wait_for(|| {
        cluster.values("statistics").len() >= 14 && cluster.values("anomalies").len() >= 2 || !job.is_running()
    });
    job.terminate();
    let ended = job.ended().expect(0);
    let silences = cluster.values("silences");
    assert_eq!(
        silences,
        [
            r#"{"device":"pump-3","last_reading":"2026-01-01 08:01:58","reported_at":"2026-01-01 08:02:28","readings":24}"#
        ],
        "{}",
        ended.err
    );
    let anomalies = cluster.values("anomalies");
    let devices = ["press-1", "pump-1"].map(|d| format!(r#"{{"device":"{d}","#));
    assert_eq!(anomalies.len(), 2, "{anomalies:?}");
    assert!(
        anomalies.iter().zip(devices).all(|(a, d)| a.starts_with(&d)),
        "{anomalies:?}"
    );
}
