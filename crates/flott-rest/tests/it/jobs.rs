//! Jobs from their submission to their end.

use crate::support::{DEADLINE, ENDLESS, Server, plan};
use flott_cluster::JobStatus;
use serde_json::json;

const BOUNDED: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '100');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT n FROM numbers;";

#[tokio::test(flavor = "multi_thread")]
async fn a_submitted_plan_runs_to_its_end() {
    let server = Server::start(&[("parallelism.default", "1")]).await;
    let body = json!({ "plan": plan(BOUNDED, &[]), "savepointPath": null, "allowNonRestoredState": false });
    let (status, answer) = server.ask("POST", "/v1/jobs", Some(&body.to_string())).await;
    assert_eq!(status, 202, "{answer}");
    let id = answer["jobid"].as_str().unwrap();
    assert_eq!(answer["jobUrl"], json!(format!("/jobs/{id}")));
    let path = format!("/jobs/{id}");
    let ended = server.until(&path, |answer| answer["state"] == "FINISHED").await;
    let source = &ended["vertices"][0];
    assert!(source["name"].as_str().unwrap().starts_with("Source: "), "{source}");
    assert_eq!(source["metrics"]["read-records"], 100);
    assert!(ended["end-time"].as_i64() >= ended["timestamps"]["RUNNING"].as_i64());
    assert!(ended["timestamps"]["FINISHED"].as_i64().unwrap() > 0);
    let overview = server.get("/overview").await;
    assert_eq!(
        (&overview["jobs-finished"], &overview["jobs-running"]),
        (&json!(1), &json!(0))
    );
    let (status, answer) = server.ask("PATCH", &format!("{path}?mode=cancel"), Some("{}")).await;
    assert_eq!(status, 409, "{answer}");
    let checkpoints = server.get(&format!("{path}/checkpoints")).await;
    assert_eq!(checkpoints["counts"]["completed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_state_is_not_there_is_the_clients_mistake() {
    let server = Server::start(&[]).await;
    let body = json!({ "plan": plan(BOUNDED, &[]), "savepointPath": "/no/such/savepoint" });
    let (status, answer) = server.ask("POST", "/jobs", Some(&body.to_string())).await;
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["errors"][0].as_str().unwrap().contains("/no/such/savepoint"),
        "{answer}"
    );
    assert!(server.dispatcher.jobs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_mode_is_an_option_of_the_plan() {
    let server = Server::start(&[]).await;
    for (mode, part) in [("LEGACY", "NO_CLAIM"), ("CLAIM", "execution.checkpointing.dir")] {
        let body = json!({ "plan": plan(BOUNDED, &[]), "savepointPath": "/no/such/savepoint", "claimMode": mode });
        let (status, answer) = server.ask("POST", "/jobs", Some(&body.to_string())).await;
        assert_eq!(status, 400, "{answer}");
        let error = answer["errors"][0].as_str().unwrap();
        let is_told = ["execution.state-recovery.claim-mode", mode, part]
            .iter()
            .all(|part| error.contains(part));
        assert!(is_told, "{error}");
    }
    assert!(server.dispatcher.jobs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_cancelled_in_both_of_flinks_ways() {
    let server = Server::start(&[]).await;
    for (method, way) in [("PATCH", "?mode=cancel"), ("PATCH", ""), ("GET", "/yarn-cancel")] {
        let job = server.run(ENDLESS, &[]).await;
        let path = format!("/jobs/{}", job.job_id);
        let (status, answer) = server.ask(method, &format!("{path}{way}"), Some("{}")).await;
        assert_eq!((status, answer), (202, json!({})));
        server
            .until(&format!("{path}/status"), |answer| answer["status"] == "CANCELED")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_tells_which_task_failed_and_why() {
    let server = Server::start(&[]).await;
    let job = server
        .run(
            ENDLESS,
            &[("restart-strategy.type", "none"), ("parallelism.default", "2")],
        )
        .await;
    job.fail_task("Source", 1).await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, job.ended()).await.unwrap();
    assert_eq!(ended, JobStatus::Failed);
    let answer = server.get(&format!("/jobs/{}/exceptions", job.job_id)).await;
    let entry = &answer["exceptionHistory"]["entries"][0];
    assert!(
        entry["stacktrace"].as_str().unwrap().contains("told to fail"),
        "{answer}"
    );
    assert!(
        entry["taskName"].as_str().unwrap().ends_with(" - subtask 2"),
        "{answer}"
    );
    assert!(entry["failureLabels"]["TYPE"].is_string(), "{answer}");
    assert_eq!(answer["root-exception"], entry["stacktrace"]);
    let none = server
        .get(&format!("/jobs/{}/exceptions?maxExceptions=0", job.job_id))
        .await;
    assert_eq!(none["exceptionHistory"], json!({ "entries": [], "truncated": true }));
    let details = server.get(&format!("/jobs/{}", job.job_id)).await;
    assert_eq!(
        details["status-counts"]["FAILED"],
        details["vertices"].as_array().unwrap().len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_of_a_source_are_told_as_the_autoscaler_asks() {
    let server = Server::start(&[]).await;
    let job = server.run(ENDLESS, &[("parallelism.default", "2")]).await;
    let vertex = job.plan.nodes[0].operator_id;
    let path = format!("/jobs/{}/vertices/{vertex}/subtasks/metrics", job.job_id);
    let names = server.get(&path).await;
    let of_source = |name: &str| name.starts_with("Source__") && name.ends_with(".numRecordsOutPerSecond");
    let mut names = names
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|metric| metric["id"].as_str());
    let name = names.find(|name| of_source(name)).unwrap();
    let asked = format!("{path}?get={name},numRecordsInPerSecond&agg=min,sum");
    let answer = server
        .until(&asked, |answer| {
            (0..2).all(|i| answer[i]["min"].as_f64().is_some_and(|rate| rate > 0.0))
        })
        .await;
    assert!(answer[0]["sum"].as_f64() > answer[0]["min"].as_f64(), "{answer}");
    assert!(answer[0]["max"].is_null(), "{answer}");
    let one = server.get(&format!("{path}?get=numRecordsIn&subtasks=1")).await;
    assert_eq!(one[0]["min"], one[0]["sum"]);
}
