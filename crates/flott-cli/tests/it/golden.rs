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
