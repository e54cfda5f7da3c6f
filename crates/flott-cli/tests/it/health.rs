//! `/livez` and `/readyz` of a cluster's processes: a control loop that hangs is told, a busy one is not.

use crate::cluster::{Processes, behind, get};
use crate::support::{Running, flott, wait_for};
use serde_json::Value;

/// Soon enough for a test, and longer than any machine takes for a message.
const TIMEOUT: &str = "liveness.timeout=12 s";

/// Takes checkpoints as fast as it can, and so keeps all loops busy.
const BUSY: &str = "SET 'execution.checkpointing.interval' = '20 ms';
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT n FROM numbers;";

fn run(cluster: &Processes) {
    flott(&["run", "-d", "-m", &cluster.rest, "-p", "1", "-e", BUSY]).expect(0);
}

/// Where a process shows its metrics.
pub fn metrics_of(process: &Running) -> String {
    let mut place = None;
    let is_told = wait_for(|| {
        let said = process.err();
        // The line may be half written yet.
        let url = behind(&said, "metrics at http://");
        place = url
            .and_then(|url| url.split_once('/'))
            .map(|(place, _)| place.to_owned());
        place.is_some()
    });
    assert!(is_told, "{}", process.err());
    place.unwrap()
}

fn says(place: &str, path: &str, words: &str) -> bool {
    get(place, path).is_some_and(|said| said.contains(words))
}

#[test]
fn a_job_master_that_hangs_is_told_by_its_process() {
    let options = [TIMEOUT.to_owned()];
    let mut cluster = Processes::manager(&options, "checkpoint-trigger=hang@20");
    cluster.add_task_manager("");
    cluster.await_slots(1);
    let metrics = metrics_of(cluster.job_manager.as_ref().unwrap());
    for place in [&cluster.rest, &metrics] {
        assert_eq!(get(place, "/livez").as_deref(), Some("ok\n"), "{place}");
        assert_eq!(get(place, "/readyz").as_deref(), Some("ok\n"), "{place}");
    }
    run(&cluster);
    let hangs = "the master of job ";
    assert!(
        wait_for(|| says(&metrics, "/livez", hangs)),
        "{:?}",
        get(&metrics, "/livez")
    );
    // All it did before was no reason to call it hung.
    let said = cluster.job_manager.as_ref().unwrap().err();
    assert!(said.contains("Completed checkpoint 20 for job"), "{said}");
}

#[test]
fn a_task_manager_that_hangs_is_told_and_one_alone_is_not_ready() {
    let options = [TIMEOUT.to_owned(), "env.log.format=JSON".to_owned()];
    let mut cluster = Processes::manager(&options, "");
    cluster.add_task_manager("taskmanager-order=hang@60");
    cluster.await_slots(1);
    let metrics = metrics_of(&cluster.task_managers[0]);
    assert_eq!(get(&metrics, "/livez").as_deref(), Some("ok\n"));
    assert!(
        wait_for(|| says(&metrics, "/readyz", "ok")),
        "{:?}",
        get(&metrics, "/readyz")
    );
    run(&cluster);
    let hangs = "the loop that obeys the JobManager has been at one message";
    assert!(
        wait_for(|| says(&metrics, "/livez", hangs)),
        "{:?}",
        get(&metrics, "/livez")
    );

    // Its log is an object a line.
    let said = cluster.task_managers[0].err();
    let is_received = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("Received "))
    };
    let mut objects = said.lines().filter_map(|line| serde_json::from_str(line).ok());
    let line = objects.find(is_received).unwrap_or_else(|| panic!("{said}"));
    assert_eq!(
        (&line["level"], &line["attempt"]),
        (&Value::from("INFO"), &Value::from(1)),
        "{line}"
    );
    assert_eq!(line["job"].as_str().map(str::len), Some(32), "{line}");

    cluster.job_manager.take().unwrap().kill();
    cluster.add_task_manager("");
    let alone = metrics_of(&cluster.task_managers[1]);
    assert!(
        wait_for(|| says(&alone, "/readyz", "not registered")),
        "{:?}",
        get(&alone, "/readyz")
    );
    assert_eq!(get(&alone, "/livez").as_deref(), Some("ok\n"));
}
