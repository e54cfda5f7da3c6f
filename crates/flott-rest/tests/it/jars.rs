//! Scripts and plans are uploaded, shown, run and deleted.

use crate::openapi::Description;
use crate::support::{DEADLINE, Server, head, plan};
use futures::future::join_all;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

const SCRIPT: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    SET 'pipeline.name' = '${NAME}';
    INSERT INTO nothing SELECT n FROM numbers WHERE n > 0;";

const TYPE: &str = "multipart/form-data; boundary=----b";

/// The body that has these files, by name.
fn body(files: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |(name, content): &(&str, &[u8])| {
        let head = format!(
            "------b\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"{name}\"\r\nContent-Type: application/x-java-archive\r\n\r\n"
        );
        [head.as_bytes(), *content, b"\r\n"].concat()
    };
    [files.iter().flat_map(part).collect(), b"------b--\r\n".to_vec()].concat()
}

async fn upload(server: &Server, files: &[(&str, &[u8])]) -> (u16, Value) {
    server
        .ask_with("POST", "/v1/jars/upload", TYPE, Some(&body(files)))
        .await
}

/// Uploads a file, and gives its id.
async fn id_of(server: &Server, name: &str, content: &[u8]) -> String {
    let (status, answer) = upload(server, &[(name, content)]).await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")), "{answer}");
    let path = Path::new(answer["filename"].as_str().unwrap()).to_owned();
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    server.ask("POST", path, Some(&body.to_string())).await
}

fn told(answer: &Value) -> &str {
    answer["errors"][0].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_uploaded_shown_run_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let server = Server::start(&[("web.upload.dir", &folder), ("execution.checkpointing.interval", "1 h")]).await;
    let description = Description::of(&server).await;
    let id = id_of(&server, "../../job.sql", SCRIPT.as_bytes()).await;
    assert!(id.ends_with("_job.sql"), "{id}");
    let list = server.get("/jars").await;
    assert_eq!(
        description.differences("GET", "/jars", 200, &list),
        Vec::<String>::new()
    );
    assert!(
        list["address"].as_str().unwrap().starts_with("http://127.0.0.1:"),
        "{list}"
    );
    let file = &list["files"][0];
    assert_eq!(
        (&file["id"], &file["name"], &file["entry"]),
        (&json!(id), &json!("job.sql"), &json!([]))
    );

    let wanted = json!({ "programArgsList": ["--var", "NAME=of the list"], "parallelism": 2, "flinkConfiguration": { "restart-strategy.type": "none" } });
    let path = format!("/jars/{id}/plan");
    let (status, by_body) = post(&server, &path, &wanted).await;
    assert_eq!(status, 200, "{by_body}");
    let by_query = server
        .get(&format!(
            "{path}?programArg=--var,NAME%3Dof%20the%20query&parallelism=3"
        ))
        .await;
    for (answer, name, parallelism) in [(&by_body, "of the list", 2), (&by_query, "of the query", 3)] {
        assert_eq!(answer["plan"]["name"], name);
        assert_eq!(answer["plan"]["nodes"][0]["parallelism"], parallelism, "{answer}");
        assert_eq!(description.differences("GET", &path, 200, answer), Vec::<String>::new());
    }
    assert_eq!(server.get("/jobs").await, json!({ "jobs": [] }), "a plan runs nothing");

    let path = format!("/jars/{id}/run");
    let (status, answer) = post(&server, &path, &wanted).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        description.differences("POST", &path, 200, &answer),
        Vec::<String>::new()
    );
    let jobs = server.dispatcher.jobs();
    assert_eq!(
        (json!(jobs[0].job_id), jobs[0].name.as_str()),
        (answer["jobid"].clone(), "of the list")
    );
    let option = |key: &str| jobs[0].options.get(key);
    assert_eq!(option("restart-strategy.type"), Some("none"));
    assert_eq!(
        option("execution.checkpointing.interval"),
        Some("1 h"),
        "the cluster's hold, too"
    );

    let (status, answer) = server.ask("DELETE", &format!("/jars/{id}"), None).await;
    assert_eq!((status, answer), (200, json!({})));
    assert_eq!(server.get("/jars").await["files"], json!([]));
    let (status, answer) = post(&server, &path, &wanted).await;
    assert_eq!(status, 400, "{answer}");
    jobs[0].cancel();
    timeout(DEADLINE, jobs[0].ended()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_chosen_id_runs_once_and_goes_on_from_a_savepoint() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&[]).await;
    let id = id_of(&server, "job.sql", SCRIPT.replace("${NAME}", "once").as_bytes()).await;
    let path = format!("/jars/{id}/run");
    let chosen = |job: &str, more: Value| {
        let mut body = json!({ "jobId": format!("{job:0>32}") });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let wanted = chosen("ff", json!({}));
    let asked = (0..4).map(|_| post(&server, &path, &wanted));
    let mut statuses: Vec<u16> = join_all(asked).await.into_iter().map(|(status, _)| status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    let jobs = server.dispatcher.jobs();
    assert_eq!((jobs.len(), jobs[0].job_id.0), (1, 255));
    timeout(DEADLINE, jobs[0].running()).await.unwrap();
    let savepoint = jobs[0]
        .savepoint(Some(dir.path().display().to_string()), true)
        .await
        .unwrap();
    timeout(DEADLINE, jobs[0].ended()).await.unwrap();
    let (status, answer) = post(&server, &path, &wanted).await;
    assert_eq!((status, told(&answer).contains("already")), (409, true), "{answer}");

    let claims = chosen("1", json!({ "savepointPath": savepoint, "claimMode": "CLAIM" }));
    let (status, answer) = post(&server, &path, &claims).await;
    assert_eq!((status, told(&answer).contains("NO_CLAIM")), (400, true), "{answer}");
    let nothing = chosen("1", json!({ "savepointPath": "/no/such/savepoint" }));
    let (status, answer) = post(&server, &path, &nothing).await;
    assert_eq!(
        (status, told(&answer).contains("/no/such/savepoint")),
        (400, true),
        "{answer}"
    );
    // An id of a job that was refused is free.
    let restored = chosen("1", json!({ "savepointPath": savepoint, "claimMode": "NO_CLAIM" }));
    let (status, answer) = post(&server, &path, &restored).await;
    assert_eq!(status, 200, "{answer}");
    let jobs = server.dispatcher.jobs();
    let job = jobs.iter().find(|job| job.job_id.0 == 1).unwrap();
    assert_eq!(job.restored_from.as_deref(), Some(savepoint.as_str()));
    job.cancel();
    timeout(DEADLINE, job.ended()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_run_as_it_is() {
    let server = Server::start(&[]).await;
    let json = serde_json::to_vec(&plan(
        &SCRIPT.replace("${NAME}", "planned"),
        &[("parallelism.default", "2")],
    ))
    .unwrap();
    let id = id_of(&server, "job.json", &json).await;
    let (status, answer) = post(&server, &format!("/jars/{id}/run"), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let job = server.dispatcher.jobs().remove(0);
    assert_eq!((job.name.as_str(), job.plan.nodes[0].parallelism), ("planned", 2));
    job.cancel();
    timeout(DEADLINE, job.ended()).await.unwrap();
    let (status, answer) = post(
        &server,
        &format!("/jars/{id}/run"),
        &json!({ "programArgs": "--var NAME=x" }),
    )
    .await;
    assert_eq!((status, told(&answer).contains("NAME")), (400, true), "{answer}");
    let id = id_of(&server, "wrong.json", b"{\"version\":99}").await;
    let (status, answer) = post(&server, &format!("/jars/{id}/run"), &json!({})).await;
    assert_eq!((status, told(&answer).contains("version 99")), (400, true), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let large = body(&[("large.sql", &vec![b'x'; 3_900_000])]);
    let limit = (large.len() - 1).to_string();
    let server = Server::start(&[("web.upload.dir", &folder), ("rest.server.max-content-length", &limit)]).await;
    // A client that is refused while it sends may not see why.
    let jar = vec![b'x'; 3_000_000];
    let sql = SCRIPT.as_bytes();
    for (files, status, wanted) in [
        (&[("app.jar", jar.as_slice())][..], 400, "Java"),
        (&[("my-job", b"#!/bin/sh")], 400, "no executable"),
        (&[("..", sql)], 400, "name of an uploaded file"),
        (
            &[("a.sql", sql), ("b.sql", sql)],
            400,
            "Exactly 1 file must be sent, received 2.",
        ),
        (&[], 400, "received 0."),
    ] {
        let (found, answer) = upload(&server, files).await;
        assert_eq!(found, status, "{answer}");
        assert!(told(&answer).contains(wanted), "{answer}");
    }
    let (status, answer) = server.ask_with("POST", "/jars/upload", TYPE, Some(&large)).await;
    assert_eq!(
        (status, told(&answer).contains("rest.server.max-content-length")),
        (413, true),
        "{answer}"
    );

    let files = || std::fs::read_dir(dir.path().join("flink-web-upload")).unwrap().count();
    let until = async |count: usize| {
        while files() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, until(0)).await.expect("what was refused stays");
    let mut stream = server.connect().await;
    let head = head("POST", "/jars/upload", TYPE, "close", Some(&large));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&large[..1_000_000]).await.unwrap();
    timeout(DEADLINE, until(1)).await.expect("nothing is written");
    assert_eq!(server.get("/jars").await["files"], json!([]));
    drop(stream);
    timeout(DEADLINE, until(0))
        .await
        .expect("what the client broke off stays");

    let id = id_of(&server, "wrong.sql", b"INSERT INTO nowhere SELECT 1;").await;
    let (status, answer) = post(&server, &format!("/jars/{id}/run"), &json!({})).await;
    assert_eq!(status, 400);
    assert!(
        told(&answer).contains("wrong.sql") && told(&answer).contains("nowhere"),
        "{answer}"
    );
    let id = id_of(&server, "no-text.sql", b"\xff\xfe").await;
    let (status, answer) = post(&server, &format!("/jars/{id}/run"), &json!({})).await;
    assert_eq!((status, told(&answer).contains("UTF-8")), (400, true), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_come_at_once() {
    let server = Server::start(&[]).await;
    let contents: Vec<Vec<u8>> = (0..8).map(|i| vec![b'a' + i; 300_000]).collect();
    let ids = join_all(contents.iter().map(|content| id_of(&server, "same.sql", content))).await;
    let listed = server.get("/jars").await;
    assert_eq!(listed["files"].as_array().unwrap().len(), 8);
    assert!(ids.iter().all(|id| listed.to_string().contains(id)), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_known_of_uploads_where_they_are_not_wanted() {
    let server = Server::start(&[("web.submit.enable", "false")]).await;
    for (method, path) in [
        ("GET", "/v1/jars"),
        ("POST", "/v1/jars/upload"),
        ("POST", "/v1/jars/x.sql/run"),
    ] {
        let (status, answer) = server.ask(method, path, None).await;
        assert_eq!((status, told(&answer)), (404, format!("Not found: {path}").as_str()));
    }
    assert_eq!(server.get("/config").await["features"]["web-submit"], false);
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/config").await["features"]["web-submit"], true);
}
