//! What has happened to a job, where, and what its subtasks do.

use crate::support::{DEADLINE, ENDLESS, Server};
use flott_cluster::{JobHandle, JobStatus};
use serde_json::{Value, json};

fn events_of(job: &JobHandle) -> String {
    format!("/jobs/{}/events", job.job_id)
}

/// The types of events, without those of checkpoints.
fn types(answer: &Value) -> Vec<&str> {
    let events = answer["events"].as_array().unwrap();
    let types = events.iter().map(|event| event["type"].as_str().unwrap());
    types.filter(|kind| !kind.starts_with("CHECKPOINT_")).collect()
}

fn has(answer: &Value, kind: &str, attempt: u64) -> bool {
    let mut events = answer["events"].as_array().unwrap().iter();
    events.any(|event| event["type"] == kind && event["attempt"] == attempt)
}

fn find<'a>(answer: &'a Value, kind: &str) -> &'a Value {
    let mut events = answer["events"].as_array().unwrap().iter();
    events
        .find(|event| event["type"] == kind)
        .unwrap_or_else(|| panic!("no {kind} in {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_and_what_follows_are_told_in_order() {
    let server = Server::start(&[]).await;
    let options = [
        ("parallelism.default", "2"),
        ("execution.checkpointing.interval", "20 ms"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ];
    let job = server.run(ENDLESS, &options).await;
    let path = events_of(&job);
    // A restart goes back to a checkpoint.
    server
        .until(&path, |answer| {
            let mut events = answer["events"].as_array().unwrap().iter();
            has(answer, "TASKS_RUNNING", 1) && events.any(|event| event["type"] == "CHECKPOINT_COMPLETED")
        })
        .await;
    job.fail_task("Source", 1).await.unwrap();
    let answer = server.until(&path, |answer| has(answer, "TASKS_RUNNING", 2)).await;
    assert_eq!(
        types(&answer),
        [
            "SUBMITTED",
            "STATUS",
            "SLOTS_REQUESTED",
            "TASKS_DEPLOYED",
            "SPLITS_ASSIGNED",
            "STATUS",
            "TASKS_RUNNING",
            "TASK_FAILED",
            "STATUS",
            "TASKS_CANCELLING",
            "RESTARTING",
            "STATUS",
            "SLOTS_REQUESTED",
            "RESTORED",
            "TASKS_DEPLOYED",
            "SPLITS_ASSIGNED",
            "STATUS",
            "TASKS_RUNNING",
        ],
        "{answer}"
    );
    let failed = find(&answer, "TASK_FAILED");
    assert!(failed["task"].as_str().unwrap().ends_with(" (2/2)"), "{failed}");
    assert_eq!(failed["taskManagerId"], "this process");
    assert!(failed["label"].is_string(), "{failed}");
    assert!(failed["message"].as_str().unwrap().contains("told to fail"), "{failed}");
    assert_eq!(find(&answer, "RESTARTING")["delayMs"], 1);
    assert_eq!(
        find(&answer, "TASKS_DEPLOYED")["subtasks"],
        json!({ "this process": 2 })
    );
    let checkpoint = find(&answer, "RESTORED")["checkpoint"].as_u64().unwrap();
    assert!(checkpoint > 0);
    let exceptions = server.get(&format!("/jobs/{}/exceptions", job.job_id)).await;
    let entry = &exceptions["exceptionHistory"]["entries"][0];
    assert_eq!(
        (&entry["taskManagerId"], &entry["endpoint"]),
        (&json!("this process"), &json!("localhost"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_and_their_failures_are_events() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&[]).await;
    let job = server.run(ENDLESS, &[]).await;
    let path = job
        .savepoint(Some(dir.path().display().to_string()), true)
        .await
        .unwrap();
    tokio::time::timeout(DEADLINE, job.ended()).await.unwrap();
    let answer = server.get(&events_of(&job)).await;
    assert_eq!(find(&answer, "SAVEPOINT_COMPLETED")["path"], path);
    let last = answer["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["type"], &last["status"]), (&json!("STATUS"), &json!("FINISHED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn subtasks_have_states_of_their_own() {
    let server = Server::start(&[]).await;
    let options = [("restart-strategy.type", "none"), ("parallelism.default", "2")];
    let job = server.run(ENDLESS, &options).await;
    let vertex = job.plan.nodes[0].operator_id;
    let path = format!("/jobs/{}/vertices/{vertex}", job.job_id);
    let running = server
        .until(&path, |answer| {
            let mut subtasks = answer["subtasks"].as_array().unwrap().iter();
            subtasks.all(|subtask| subtask["status"] == "RUNNING")
        })
        .await;
    assert_eq!(running["subtasks"][1]["taskmanager-id"], "this process");
    assert!(running["subtasks"][0]["start-time"].as_i64().unwrap() > 0, "{running}");
    job.fail_task("Source", 1).await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, job.ended()).await.unwrap();
    assert_eq!(ended, JobStatus::Failed);
    let answer = server.get(&path).await;
    let states = [0, 1].map(|index| answer["subtasks"][index]["status"].clone());
    assert_eq!(states, ["CANCELED", "FAILED"]);
    assert!(answer["subtasks"][1]["end-time"].as_i64().unwrap() > 0, "{answer}");
    let details = server.get(&format!("/jobs/{}", job.job_id)).await;
    let source = &details["vertices"][0];
    assert_eq!(source["status"], "FAILED");
    assert_eq!(
        (&source["tasks"]["FAILED"], &source["tasks"]["CANCELED"]),
        (&json!(1), &json!(1))
    );
    let overview = server.get("/jobs/overview").await;
    let tasks = &overview["jobs"][0]["tasks"];
    assert_eq!((&tasks["total"], &tasks["failed"]), (&json!(2), &json!(1)), "{tasks}");
    let managers = server.get(&format!("{path}/taskmanagers")).await;
    assert_eq!(managers["taskmanagers"].as_array().unwrap().len(), 1);
    assert_eq!(managers["taskmanagers"][0]["status-counts"]["CANCELED"], 1);
}
