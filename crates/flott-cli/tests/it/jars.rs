//! A cluster of processes: a script is uploaded to the JobManager and run there, and a TaskManager's log is read through it.

use crate::cluster::{Processes, get};
use crate::support::{flott, wait_for};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

const SCRIPT: &str = "SET 'pipeline.name' = '${NAME}';
    CREATE TABLE few (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1000');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT n FROM few;";

/// What is answered to a request with a body.
fn post(place: &str, path: &str, content_type: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(place).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

fn json_at(place: &str, path: &str) -> Value {
    serde_json::from_str(&get(place, path).unwrap()).unwrap()
}

#[test]
fn a_script_is_uploaded_and_runs_in_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("tm.log");
    std::fs::write(&log, "a line of a TaskManager\n").unwrap();
    let options = [
        format!("web.upload.dir={}", dir.path().display()),
        format!("taskmanager.log.path={}", log.display()),
    ];
    let mut cluster = Processes::manager(&options, "");
    cluster.add_task_manager("");
    cluster.await_slots(1);
    let rest = cluster.rest.clone();

    let part = "--b\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"job.sql\"\r\n\r\n";
    let upload = format!("{part}{SCRIPT}\r\n--b--\r\n");
    let uploaded = post(&rest, "/v1/jars/upload", "multipart/form-data; boundary=b", &upload);
    let (_, id) = uploaded["filename"].as_str().unwrap().rsplit_once('/').unwrap();
    let wanted = json!({ "programArgsList": ["--var", "NAME=uploaded"] });
    let path = format!("/v1/jars/{id}/run");
    let run = post(&rest, &path, "application/json", &wanted.to_string());
    let job = format!("/jobs/{}", run["jobid"].as_str().unwrap());
    assert!(
        wait_for(|| json_at(&rest, &job)["state"] == "FINISHED"),
        "{}",
        json_at(&rest, &job)
    );
    assert_eq!(json_at(&rest, &job)["name"], "uploaded");
    let untold = post(&rest, &path, "application/json", "{}");
    assert!(untold["errors"][0].as_str().unwrap().contains("NAME"), "{untold}");

    let managers = json_at(&rest, "/taskmanagers");
    let manager = managers["taskmanagers"][0]["id"].as_str().unwrap();
    let told = flott(&["logs", "-m", &rest, "-t", manager]).expect(0);
    assert_eq!(told.out, "a line of a TaskManager\n");
    let listed = flott(&["logs", "-m", &rest, "-t", manager, "--list"]).expect(0);
    assert!(listed.out.ends_with("  tm.log\n"), "{}", listed.out);
    let threads = get(&rest, &format!("/taskmanagers/{manager}/thread-dump")).unwrap();
    assert!(threads.contains(" s of CPU"), "{threads}");
    let gone = flott(&["logs", "-m", &rest, "-t", "nobody"]).expect(1);
    assert!(gone.err.contains("TaskExecutor nobody"), "{}", gone.err);
}
