//! `flott why` against processes: what it says of a job that is well, of a partition without records, and of slots that are missing.

use crate::cluster::Processes;
use crate::support::{Cluster, flott, wait_for};
use serde_json::Value;

const CLICKS: &str = "SET 'pipeline.name' = 'clicks';
    CREATE TABLE clicks (ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'format' = 'csv',
        'properties.bootstrap.servers' = '${BOOTSTRAP}', 'scan.startup.mode' = 'earliest-offset');
    CREATE TABLE nothing (ends TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
        GROUP BY window_start, window_end;";

/// Submits the job and gives its id.
fn submit(cluster: &Processes, broker: &Cluster, parallelism: &str) -> String {
    let (variable, rest) = (broker.variable(), cluster.rest.as_str());
    let args = [
        "run",
        "-d",
        "-m",
        rest,
        "-p",
        parallelism,
        "--var",
        &variable,
        "-e",
        CLICKS,
    ];
    let submitted = flott(&args).expect(0).out;
    let (_, id) = submitted.split_once("JobID ").unwrap_or_else(|| panic!("{submitted}"));
    id.trim().to_owned()
}

/// What is said of a job, as people read it and as programs do, once `done` says so of the latter.
fn why(cluster: &Processes, job: &str, mut done: impl FnMut(&Value) -> bool) -> (String, Value) {
    let args = ["why", job, "-m", &cluster.rest];
    let mut answer = Value::Null;
    let is_done = wait_for(|| {
        let json = flott(&[&args[..], &["--json"]].concat()).expect(0).out;
        answer = serde_json::from_str(&json).unwrap();
        done(&answer)
    });
    assert!(is_done, "{answer:#}");
    (flott(&args).expect(0).out, answer)
}

fn first(answer: &Value) -> &Value {
    &answer["findings"][0]
}

#[test]
fn a_partition_without_records_is_named_over_processes() {
    let broker = Cluster::start(&[("clicks", 2)]);
    let cluster = Processes::start(2, "");
    let job = submit(&cluster, &broker, "2");
    let mut minute = 0;
    let mut write = |partitions: std::ops::Range<i32>| {
        minute += 1;
        let time = format!("2024-01-01 {:02}:{:02}:00", minute / 60 % 24, minute % 60);
        partitions.for_each(|partition| broker.append("clicks", partition, 0, &time));
    };
    let (told, answer) = why(&cluster, &job, |answer| {
        write(0..2);
        answer["healthy"] == true && answer["flow"][0]["recordsInPerSecond"].as_f64() > Some(0.0)
    });
    assert_eq!(answer["findings"], serde_json::json!([]), "{answer:#}");
    assert!(told.starts_with("'clicks' is RUNNING and healthy: "), "{told}");
    assert!(
        told.contains("records/s are read") && told.contains("Source: clicks"),
        "{told}"
    );
    let (told, answer) = why(&cluster, &job, |answer| {
        write(0..1);
        first(answer)["kind"] == "IDLE_PARTITION"
    });
    assert!(told.contains("'clicks' is RUNNING and has a problem"), "{told}");
    assert!(
        told.contains("problem IDLE_PARTITION: 1 of 2 partitions of Source: clicks"),
        "{told}"
    );
    assert!(
        told.contains("clicks-1 (no record for ") && told.contains("scan.watermark.idle-timeout"),
        "{told}"
    );
    let place = &first(&answer)["places"][0];
    assert!(
        place["taskManagerId"].is_string() && place["endpoint"].as_str().unwrap().contains(':'),
        "{answer:#}"
    );
    flott(&["cancel", &job, "-m", &cluster.rest]).expect(0);
}

#[test]
fn missing_slots_are_told_by_the_command() {
    let broker = Cluster::start(&[("clicks", 1)]);
    let cluster = Processes::start(1, "");
    let job = submit(&cluster, &broker, "3");
    let (told, _) = why(&cluster, &job, |answer| first(answer)["kind"] == "WAITING_FOR_SLOTS");
    assert!(
        told.contains("it needs 3; 1 of the 1 slots of 1 TaskManager(s) are free: 2 missing"),
        "{told}"
    );
    assert!(told.contains("taskmanager.numberOfTaskSlots"), "{told}");
    flott(&["cancel", &job, "-m", &cluster.rest]).expect(0);
    let wrong = flott(&["why", "ff", "-m", &cluster.rest]).expect(1).err;
    assert!(wrong.contains("flott list"), "{wrong}");
}
