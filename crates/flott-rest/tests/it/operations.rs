//! Savepoints, stops and disposals: triggered, asked for, ended.

use crate::support::{DEADLINE, ENDLESS, Server};
use flott_cluster::{JobHandle, JobStatus};
use serde_json::{Value, json};
use std::path::Path;

const TRIGGER: &str = "000000000000000000000000000000aa";

async fn trigger(server: &Server, job: &JobHandle, what: &str, body: &Value) -> Value {
    let path = format!("/v1/jobs/{}/{what}", job.job_id);
    let (status, answer) = server.ask("POST", &path, Some(&body.to_string())).await;
    assert_eq!(status, 202, "{answer}");
    answer["request-id"].clone()
}

fn savepoints(job: &JobHandle) -> String {
    format!("/jobs/{}/savepoints", job.job_id)
}

async fn ended(job: &JobHandle) -> JobStatus {
    tokio::time::timeout(DEADLINE, job.ended())
        .await
        .expect("the job does not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_is_taken_once_for_a_trigger_and_disposed_of() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&[]).await;
    let job = server.run(ENDLESS, &[]).await;
    let body =
        json!({ "target-directory": dir.path(), "cancel-job": false, "formatType": "CANONICAL", "triggerId": TRIGGER });
    for _ in 0..2 {
        assert_eq!(trigger(&server, &job, "savepoints", &body).await, TRIGGER);
    }
    let result = server.operation(&savepoints(&job), &json!(TRIGGER)).await;
    let path = result["location"].as_str().unwrap().to_owned();
    assert!(Path::new(&path).join("_metadata").is_file(), "{path}");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "a repeated trigger takes no second one"
    );
    let answer = server.get(&format!("/jobs/{}/checkpoints", job.job_id)).await;
    let savepoint = &answer["latest"]["savepoint"];
    assert_eq!(
        (&savepoint["checkpoint_type"], &savepoint["is_savepoint"]),
        (&json!("SAVEPOINT"), &json!(true))
    );

    // A file that is not the savepoint's stays.
    let other = Path::new(&path).join("notes.txt");
    std::fs::write(&other, "mine").unwrap();
    let body = json!({ "savepoint-path": path }).to_string();
    let (status, answer) = server.ask("POST", "/savepoint-disposal", Some(&body)).await;
    assert_eq!(status, 200);
    let result = server.operation("/savepoint-disposal", &answer["request-id"]).await;
    assert_eq!(result, json!({}));
    assert!(!Path::new(&path).join("_metadata").exists() && other.exists());
    let (_, answer) = server.ask("POST", "/savepoint-disposal", Some(&body)).await;
    let result = server.operation("/savepoint-disposal", &answer["request-id"]).await;
    assert!(
        result["failure-cause"]["stack-trace"].as_str().unwrap().contains(&path),
        "{result}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_and_drains_end_the_job_behind_a_savepoint() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&[]).await;
    for drain in [false, true] {
        let job = server.run(ENDLESS, &[]).await;
        let body = json!({ "targetDirectory": dir.path(), "drain": drain });
        let request = trigger(&server, &job, "stop", &body).await;
        let result = server.operation(&savepoints(&job), &request).await;
        assert!(result["location"].is_string(), "{result}");
        assert_eq!(ended(&job).await, JobStatus::Finished);
        let answer = server.get(&format!("/jobs/{}/checkpoints", job.job_id)).await;
        assert_eq!(answer["latest"]["savepoint"]["checkpoint_type"], "SYNC_SAVEPOINT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_with_cancel_ends_the_job_canceled() {
    let dir = tempfile::tempdir().unwrap();
    let options = [("execution.checkpointing.savepoint-dir", dir.path().to_str().unwrap())];
    let server = Server::start(&options).await;
    let job = server.run(ENDLESS, &[]).await;
    let request = trigger(&server, &job, "savepoints", &json!({ "cancel-job": true })).await;
    let result = server.operation(&savepoints(&job), &request).await;
    assert!(
        result["location"]
            .as_str()
            .unwrap()
            .starts_with(dir.path().to_str().unwrap()),
        "{result}"
    );
    assert_eq!(ended(&job).await, JobStatus::Canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_savepoint_tells_its_cause_in_javas_form_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&[]).await;
    let job = server.run(ENDLESS, &[]).await;
    job.cancel();
    ended(&job).await;
    let request = trigger(&server, &job, "savepoints", &json!({ "target-directory": dir.path() })).await;
    let result = server.operation(&savepoints(&job), &request).await;
    let cause = &result["failure-cause"];
    assert!(cause["stack-trace"].as_str().unwrap().contains("CANCELED"), "{result}");
    assert!(cause["class"].is_string());
    // Magic number and version of Java's streams in base64.
    assert!(
        cause["serialized-throwable"].as_str().unwrap().starts_with("rO0ABXNy"),
        "{result}"
    );
    assert!(result["location"].is_null());
}
