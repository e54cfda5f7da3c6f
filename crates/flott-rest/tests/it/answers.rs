//! Every path's answer has the fields that Flink's clients insist on, of the types that they insist on.

use crate::support::{ENDLESS, Server, answer, head};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Path (`J`, `V` and `N` stand for a job, its source's vertex and a savepoint), and a table of a field, by JSON pointer, and its type.
const ANSWERS: &[(&str, &str)] = &[
    (
        "/config",
        "/refresh-interval integer, /timezone-name string, /timezone-offset integer, /flink-version string, /flink-revision string, \
         /features/web-submit boolean, /features/web-cancel boolean, /features/web-rescale boolean, /features/web-history boolean",
    ),
    (
        "/overview",
        "/taskmanagers integer, /slots-total integer, /slots-available integer, /jobs-running integer, /jobs-finished integer, \
         /jobs-cancelled integer, /jobs-failed integer, /flink-version string, /flink-commit string",
    ),
    ("/jobmanager/config", "/0/key string, /0/value string"),
    (
        "/jobs/J/resource-requirements",
        "/V/parallelism/lowerBound integer, /V/parallelism/upperBound integer",
    ),
    ("/jobs/J/jobmanager/config", "/0/key string, /0/value string"),
    (
        "/jobmanager/environment",
        "/jvm/version string, /jvm/arch string, /jvm/options array, /classpath array",
    ),
    ("/jobmanager/logs", "/logs array"),
    (
        "/jobmanager/thread-dump",
        "/threadInfos/0/threadName string, /threadInfos/0/stringifiedThreadInfo string",
    ),
    ("/taskmanagers/tm-1/logs", "/logs array"),
    (
        "/taskmanagers/tm-1/thread-dump",
        "/threadInfos/0/threadName string, /threadInfos/0/stringifiedThreadInfo string",
    ),
    ("/jobmanager/metrics", "/0/id string"),
    (
        "/jobmanager/metrics?get=taskSlotsTotal",
        "/0/id string, /0/value string",
    ),
    (
        "/taskmanagers",
        "/taskmanagers/0/id string, /taskmanagers/0/path string, /taskmanagers/0/dataPort integer, /taskmanagers/0/jmxPort integer, \
         /taskmanagers/0/timeSinceLastHeartbeat integer, /taskmanagers/0/slotsNumber integer, /taskmanagers/0/freeSlots integer, \
         /taskmanagers/0/totalResource/cpuCores number, /taskmanagers/0/freeResource/managedMemory integer, \
         /taskmanagers/0/hardware/physicalMemory integer, /taskmanagers/0/memoryConfiguration/totalProcessMemory integer",
    ),
    (
        "/taskmanagers/tm-1",
        "/id string, /metrics/heapUsed integer, /metrics/garbageCollectors array, /allocatedSlots array, /hardware/cpuCores integer",
    ),
    ("/jars", "/address string, /files array"),
    ("/jobs", "/jobs/0/id id, /jobs/0/status string"),
    (
        "/jobs/overview",
        "/jobs/0/jid id, /jobs/0/name string, /jobs/0/state string, /jobs/0/start-time integer, /jobs/0/end-time integer, \
         /jobs/0/duration integer, /jobs/0/last-modification integer, /jobs/0/tasks/total integer, /jobs/0/tasks/created integer, \
         /jobs/0/tasks/scheduled integer, /jobs/0/tasks/deploying integer, /jobs/0/tasks/running integer, \
         /jobs/0/tasks/finished integer, /jobs/0/tasks/canceling integer, /jobs/0/tasks/canceled integer, \
         /jobs/0/tasks/failed integer, /jobs/0/tasks/reconciling integer, /jobs/0/tasks/initializing integer",
    ),
    (
        "/jobs/J",
        "/jid id, /name string, /isStoppable boolean, /state string, /job-type string, /start-time integer, /end-time integer, \
         /duration integer, /maxParallelism integer, /now integer, /timestamps/INITIALIZING integer, /timestamps/RUNNING integer, \
         /timestamps/RECONCILING integer, /status-counts/RUNNING integer, /status-counts/CANCELING integer, /pending-operators integer, \
         /vertices/0/id id, /vertices/0/slotSharingGroupId id, /vertices/0/name string, /vertices/0/maxParallelism integer, \
         /vertices/0/parallelism integer, /vertices/0/status string, /vertices/0/start-time integer, /vertices/0/end-time integer, \
         /vertices/0/duration integer, /vertices/0/tasks/RUNNING integer, /vertices/0/metrics/read-bytes integer, \
         /vertices/0/metrics/read-bytes-complete boolean, /vertices/0/metrics/write-bytes integer, \
         /vertices/0/metrics/read-records integer, /vertices/0/metrics/write-records integer, \
         /vertices/0/metrics/accumulated-backpressured-time integer, /vertices/0/metrics/accumulated-idle-time integer, \
         /vertices/0/metrics/accumulated-busy-time number, /plan/jid id, /plan/nodes array",
    ),
    ("/jobs/J/status", "/status string"),
    (
        "/jobs/J/plan",
        "/plan/jid id, /plan/name string, /plan/type string, /plan/nodes/0/id id, /plan/nodes/0/parallelism integer, \
         /plan/nodes/0/operator string, /plan/nodes/0/operator_strategy string, /plan/nodes/0/description string, \
         /plan/nodes/0/optimizer_properties object, /plan/nodes/0/inputs/0/id id, /plan/nodes/0/inputs/0/num integer, \
         /plan/nodes/0/inputs/0/ship_strategy string, /plan/nodes/0/inputs/0/exchange string",
    ),
    (
        "/jobs/J/config",
        "/jid id, /name string, /execution-config/restart-strategy string, /execution-config/job-parallelism integer, \
         /execution-config/object-reuse-mode boolean, /execution-config/user-config object",
    ),
    (
        "/jobs/J/exceptions",
        "/timestamp integer, /truncated boolean, /all-exceptions array, /exceptionHistory/entries array, /exceptionHistory/truncated boolean",
    ),
    (
        "/jobs/J/events",
        "/truncated boolean, /events/0/sequence integer, /events/0/timestamp integer, /events/0/type string, /events/0/message string",
    ),
    (
        "/jobs/J/why",
        "/jid id, /name string, /now integer, /status string, /healthy boolean, /measuredSeconds number, /findings array, \
         /flow/0/name string, /flow/0/parallelism integer, /flow/0/running integer, /flow/0/recordsInPerSecond number, \
         /flow/0/recordsOutPerSecond number, /flow/0/busy number, /flow/0/backPressured number, /flow/0/idle number",
    ),
    ("/jobs/J/metrics", "/0/id string"),
    (
        "/jobs/J/metrics?get=uptime,numRestarts,nothing",
        "/0/id string, /0/value string, /1/value string",
    ),
    (
        "/jobs/J/vertices/V",
        "/id id, /name string, /parallelism integer, /maxParallelism integer, /now integer, /aggregated/metrics/read-records/p95 integer, \
         /subtasks/0/subtask integer, /subtasks/0/status string, /subtasks/0/attempt integer, /subtasks/0/endpoint string, \
         /subtasks/0/start_time integer, /subtasks/0/start-time integer, /subtasks/0/end-time integer, /subtasks/0/duration integer, \
         /subtasks/0/taskmanager-id string, /subtasks/0/status-duration/RUNNING integer, /subtasks/0/metrics/read-records integer",
    ),
    (
        "/jobs/J/vertices/V/taskmanagers",
        "/id id, /name string, /now integer, /taskmanagers/0/endpoint string, /taskmanagers/0/taskmanager-id string, \
         /taskmanagers/0/status string, /taskmanagers/0/start-time integer, /taskmanagers/0/end-time integer, \
         /taskmanagers/0/duration integer, /taskmanagers/0/metrics/read-records integer, /taskmanagers/0/status-counts/RUNNING integer, \
         /taskmanagers/0/aggregated/metrics/read-bytes/max integer, /taskmanagers/0/aggregated/status-duration/RUNNING/min integer",
    ),
    (
        "/jobs/J/vertices/V/subtasktimes",
        "/id id, /name string, /now integer, /subtasks/1/subtask integer, /subtasks/1/endpoint string, /subtasks/1/duration integer, \
         /subtasks/1/timestamps/RUNNING integer, /subtasks/1/timestamps/FAILED integer",
    ),
    ("/jobs/J/vertices/V/accumulators", "/id id, /user-accumulators array"),
    (
        "/jobs/J/vertices/V/subtasks/accumulators",
        "/id id, /parallelism integer, /subtasks/0/subtask integer, /subtasks/0/attempt integer, /subtasks/0/endpoint string, \
         /subtasks/0/user-accumulators array",
    ),
    (
        "/jobs/J/vertices/V/subtasks/1",
        "/subtask integer, /status string, /attempt integer, /endpoint string, /start-time integer, /end-time integer, \
         /duration integer, /taskmanager-id string, /status-duration/RUNNING integer, /metrics/read-records integer",
    ),
    (
        "/jobs/J/vertices/V/subtasks/1/attempts/0",
        "/subtask integer, /attempt integer",
    ),
    ("/jobs/J/vertices/V/subtasks/1/metrics", "/0/id string"),
    (
        "/jobs/J/vertices/V/subtasks/1/metrics?get=numRecordsIn",
        "/0/id string, /0/value string",
    ),
    ("/jobs/J/vertices/V/watermarks", "/0/id string, /0/value string"),
    (
        "/jobs/J/vertices/V/backpressure",
        "/status string, /backpressureLevel string, /backpressure-level string, /end-timestamp integer, /subtasks/0/subtask integer, \
         /subtasks/0/attempt-number integer, /subtasks/0/backpressureLevel string, /subtasks/0/ratio number, \
         /subtasks/0/idleRatio number, /subtasks/0/busyRatio number",
    ),
    ("/jobs/J/vertices/V/metrics", "/0/id string"),
    (
        "/jobs/J/vertices/V/metrics?get=0.numRecordsIn,1.busyTimeMsPerSecond",
        "/0/id string, /0/value string, /1/id string, /1/value string",
    ),
    ("/jobs/J/vertices/V/subtasks/metrics", "/0/id string"),
    (
        "/jobs/J/vertices/V/subtasks/metrics?get=busyTimeMsPerSecond",
        "/0/id string, /0/min number, /0/max number, /0/avg number, /0/sum number, /0/skew number",
    ),
    (
        "/jobs/J/checkpoints",
        "/counts/restored integer, /counts/total integer, /counts/in_progress integer, /counts/completed integer, \
         /counts/failed integer, /summary/state_size/min integer, /summary/state_size/avg integer, /summary/state_size/p999 number, \
         /summary/checkpointed_size/max integer, /summary/end_to_end_duration/p50 number, /summary/processed_data/min integer, \
         /summary/persisted_data/min integer, /summary/alignment_buffered/min integer, /latest/completed/id integer, \
         /latest/completed/className string, /latest/completed/external_path string, /latest/completed/discarded boolean, \
         /latest/savepoint/id integer, /latest/failed null, /latest/restored null, /history/0/id integer, /history/0/status string, \
         /history/0/is_savepoint boolean, /history/0/trigger_timestamp integer, /history/0/latest_ack_timestamp integer, \
         /history/0/checkpointed_size integer, /history/0/state_size integer, /history/0/end_to_end_duration integer, \
         /history/0/processed_data integer, /history/0/persisted_data integer, /history/0/alignment_buffered integer, \
         /history/0/num_subtasks integer, /history/0/num_acknowledged_subtasks integer, /history/0/checkpoint_type string, \
         /history/0/tasks object",
    ),
    (
        "/jobs/J/checkpoints/config",
        "/mode string, /interval integer, /timeout integer, /min_pause integer, /max_concurrent integer, \
         /externalization/enabled boolean, /externalization/delete_on_cancellation boolean, /state_backend string, \
         /checkpoint_storage string, /unaligned_checkpoints boolean, /tolerable_failed_checkpoints integer, \
         /aligned_checkpoint_timeout integer, /checkpoints_after_tasks_finish boolean, /state_changelog_enabled boolean, \
         /changelog_periodic_materialization_interval integer, /changelog_storage string",
    ),
    (
        "/jobs/J/checkpoints/details/N",
        "/id integer, /status string, /className string, /end_to_end_duration integer, /num_subtasks integer, /tasks object",
    ),
];

/// What is refused: method, path, body, status, and a part of the text.
const REFUSALS: &[(&str, &str, Option<&str>, u16, &str)] = &[
    ("GET", "/nothing", None, 404, "Not found: /nothing"),
    ("DELETE", "/v1/jobs", None, 404, "Not found: /v1/jobs"),
    ("GET", "/jobmanager/log", None, 404, "web.log.path"),
    ("GET", "/jobs/xyz", None, 400, "(jobid) from value \"xyz\""),
    (
        "GET",
        "/jobs/000000000000000000000000000000ff",
        None,
        404,
        "Job 000000000000000000000000000000ff not found",
    ),
    (
        "GET",
        "/jobs/000000000000000000000000000000ff/checkpoints",
        None,
        404,
        "not found",
    ),
    (
        "PATCH",
        "/jobs/000000000000000000000000000000ff?mode=cancel",
        None,
        404,
        "not found",
    ),
    ("PATCH", "/jobs/J?mode=dance", None, 400, "dance"),
    ("PATCH", "/jobs/J?mode=stop", None, 308, "jobs/:jobId/stop"),
    ("GET", "/jobs/J/vertices/xyz", None, 400, "vertexid"),
    (
        "GET",
        "/jobs/J/vertices/000000000000000000000000000000ff",
        None,
        404,
        "JobVertex",
    ),
    (
        "GET",
        "/jobs/J/vertices/V/subtasks/metrics?get=x&agg=mode",
        None,
        400,
        "mode",
    ),
    ("GET", "/jobs/J/vertices/V/subtasks/x", None, 400, "subtaskindex"),
    ("GET", "/jobs/J/vertices/V/subtasks/2", None, 404, "no subtask 2"),
    ("GET", "/jobs/J/vertices/V/subtasks/0/attempts/x", None, 400, "attempt"),
    (
        "GET",
        "/jobs/J/vertices/V/subtasks/0/attempts/7",
        None,
        404,
        "attempt 7",
    ),
    (
        "GET",
        "/jobs/000000000000000000000000000000ff/events",
        None,
        404,
        "not found",
    ),
    (
        "GET",
        "/jobs/000000000000000000000000000000ff/why",
        None,
        404,
        "not found",
    ),
    ("GET", "/jobs/J/checkpoints/details/x", None, 400, "checkpointid"),
    (
        "GET",
        "/jobs/J/checkpoints/details/99999999",
        None,
        404,
        "checkpoint 99999999",
    ),
    (
        "GET",
        "/jobs/J/exceptions?maxExceptions=many",
        None,
        400,
        "maxExceptions",
    ),
    ("GET", "/taskmanagers/nobody", None, 404, "nobody"),
    ("GET", "/taskmanagers/nobody/logs", None, 404, "TaskExecutor nobody"),
    (
        "GET",
        "/taskmanagers/nobody/logs/x.log",
        None,
        404,
        "TaskExecutor nobody",
    ),
    ("GET", "/taskmanagers/tm-1/log", None, 404, "taskmanager.log.path"),
    ("GET", "/taskmanagers/tm-gone/log", None, 500, "killed"),
    ("GET", "/taskmanagers/tm-gone/thread-dump", None, 500, "killed"),
    (
        "GET",
        "/jobs/J/savepoints/000000000000000000000000000000ff",
        None,
        404,
        "triggerId",
    ),
    (
        "GET",
        "/jobs/J/checkpoints/000000000000000000000000000000ff",
        None,
        404,
        "triggerId",
    ),
    ("GET", "/savepoint-disposal/xyz", None, 400, "triggerid"),
    ("POST", "/jobs/J/savepoints", Some("{"), 400, "cannot be read"),
    (
        "POST",
        "/jobs/J/savepoints",
        Some("{\"formatType\":\"ZIP\"}"),
        400,
        "ZIP",
    ),
    ("POST", "/jobs/J/savepoints", None, 400, "target-directory"),
    ("POST", "/jobs/J/stop", Some("{\"drain\":\"perhaps\"}"), 400, "perhaps"),
    ("POST", "/jobs/J/stop", Some("{}"), 400, "targetDirectory"),
    (
        "POST",
        "/jobs/J/stop",
        Some("{\"targetDirectory\":\"/x\",\"triggerId\":\"1\"}"),
        400,
        "triggerId",
    ),
    ("POST", "/savepoint-disposal", Some("{}"), 400, "savepoint-path"),
    ("POST", "/jars/upload", Some("{}"), 400, "multipart/form-data"),
    (
        "DELETE",
        "/jars/x_none.sql",
        None,
        400,
        "File x_none.sql does not exist",
    ),
    ("DELETE", "/jars/..%2Fx.sql", None, 400, "jarid must be a filename only"),
    ("GET", "/jars/x_none.sql/plan", None, 400, "does not exist"),
    ("POST", "/jars/x_none.sql/plan", None, 400, "does not exist"),
    ("POST", "/jars/x_none.sql/run", None, 400, "does not exist"),
    ("POST", "/jars/x.sql/run", Some("{\"entryClass\":\"a.B\"}"), 400, "a.B"),
    ("POST", "/jars/x.sql/run", Some("{\"jobId\":\"1\"}"), 400, "jobId"),
    ("GET", "/jars/x.sql/plan?parallelism=0", None, 400, "parallelism"),
    ("POST", "/jobs", Some("{}"), 400, "plan"),
    ("POST", "/jobs", Some("{\"plan\":{\"version\":99}}"), 400, "version 99"),
];

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        "id" => value
            .as_str()
            .is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))),
        other => panic!("{other} is no type"),
    }
}

/// A server with a job of two vertices that has a checkpoint; what the letters of paths stand for.
async fn server_with_job() -> (Server, impl Fn(&str) -> String) {
    let server = Server::start(&[("s3.secret-key", "hush"), ("rest.port", "0")]).await;
    let options = [
        ("execution.checkpointing.interval", "20 ms"),
        ("parallelism.default", "2"),
        ("pipeline.operator-chaining.enabled", "false"),
    ];
    let job = server.run(ENDLESS, &options).await;
    let dir = tempfile::tempdir().unwrap();
    // Periodic checkpoints are soon forgotten; the last savepoint is not.
    job.savepoint(Some(dir.path().display().to_string()), false)
        .await
        .unwrap();
    let checkpoints = format!("/jobs/{}/checkpoints", job.job_id);
    let has_both =
        |answer: &Value| answer["latest"]["completed"].is_object() && answer["latest"]["savepoint"].is_object();
    let answer = server.until(&checkpoints, has_both).await;
    let number = answer["latest"]["savepoint"]["id"].to_string();
    let vertex = job.plan.nodes[0].operator_id.to_string();
    let id = job.job_id.to_string();
    let path = move |path: &str| {
        let filled = path.split_inclusive('/').map(|part| match part.trim_end_matches('/') {
            "V" => part.replace('V', &vertex),
            "N" => part.replace('N', &number),
            name if name == "J" || name.starts_with("J?") => part.replacen('J', &id, 1),
            _ => part.to_owned(),
        });
        filled.collect()
    };
    (server, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_has_its_fields_with_and_without_version() {
    let (server, fill) = server_with_job().await;
    for (path, fields) in ANSWERS {
        for prefix in ["", "/v1"] {
            let path = format!("{prefix}{}", fill(path));
            // Flink's client sends a body with GET.
            let (status, answer) = server.ask("GET", &path, Some("{}")).await;
            assert_eq!(status, 200, "{path}: {answer}");
            for field in fields.split(',') {
                let (pointer, kind) = field.trim().split_once(' ').unwrap();
                let pointer = &fill(pointer);
                let value = answer
                    .pointer(pointer)
                    .unwrap_or_else(|| panic!("{path}: no {pointer} in {answer}"));
                assert!(is(value, kind), "{path}: {pointer} is no {kind}: {value}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_with_one_key_and_a_text() {
    let (server, fill) = server_with_job().await;
    for (method, path, body, wanted, text) in REFUSALS {
        let (status, answer) = server.ask(method, &fill(path), *body).await;
        assert_eq!(status, *wanted, "{method} {path}: {answer}");
        let object = answer.as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["errors"], "{method} {path}");
        let told = answer["errors"][0].as_str().unwrap();
        assert!(told.contains(text), "{method} {path}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_shown() {
    let (server, fill) = server_with_job().await;
    for path in ["/jobmanager/config", "/jobs/J/config", "/jobs/J/jobmanager/config"] {
        let answer = server.get(&fill(path)).await.to_string();
        assert!(
            answer.contains("s3.secret-key") && answer.contains("******"),
            "{answer}"
        );
        assert!(!answer.contains("hush"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_multipart_is_refused() {
    let (server, fill) = server_with_job().await;
    let large = vec![b' '; (1 << 20) + 1];
    let (status, answer) = server
        .ask_with("POST", &fill("/jobs/J/stop"), "application/json", Some(&large))
        .await;
    assert_eq!(status, 413, "{answer}");
    let (status, answer) = server
        .ask_with("POST", "/v1/jobs", "multipart/form-data; boundary=x", Some(b"--x--"))
        .await;
    assert_eq!(status, 415);
    assert!(
        answer["errors"][0].as_str().unwrap().contains("flott run -m"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_several_requests_with_bodies() {
    let server = Server::start(&[]).await;
    let mut stream = server.connect().await;
    for round in 0..3 {
        let connection = if round == 2 { "close" } else { "keep-alive" };
        let request = head("GET", "/v1/jobs", "application/json", connection, Some(b"{}")) + "{}";
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
    let last = text.rfind("HTTP/1.1").unwrap();
    assert_eq!(answer(&text.as_bytes()[last..]).1["jobs"], Value::Array(vec![]));
}
