//! Our answers beside those of a real Flink: `tests/flink.txt`, which `bench/record_rest.py` has recorded and whose form it explains.
//!
//! Every field that Flink sends must be in ours, with a type that Flink's has; what is different on purpose is listed with its reason.

use crate::openapi::Description;
use crate::support::{DEADLINE, ENDLESS, Server, plan};
use flott_cluster::{JobHandle, JobStatus, Restore, Submission};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const RECORDED: &str = include_str!("../flink.txt");

const FAILING: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT 1 / (n - n) FROM numbers;";

/// Answers (the end of the path) and fields (the beginning of the pointer) that we do not have, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("/jobmanager/environment", "/jvm/options/*", "there is no JVM"),
    ("/jobmanager/environment", "/classpath/*", "there is no JVM"),
    (
        "/:taskmanagerid",
        "/metrics/garbageCollectors/*",
        "there is no garbage to collect",
    ),
    (
        "/exceptions",
        "/exceptionHistory/entries/*/concurrentExceptions/*",
        "Flink makes an entry of giving up, and lists what failed beside it; here the entry is what failed, with what failed at that moment",
    ),
    (
        "/taskmanagers/nobody",
        "",
        "Flink answers 500 with a stack trace; what is not there is 404 here, as for all other paths",
    ),
];

/// Of these, where it depends on the moment whether there is a difference: what fails beside a failure may come too late for it.
const BY_CHANCE: &str = "/exceptions";

/// An answer of Flink.
struct Recorded {
    status: u16,
    /// Pointer, whether all have it, types.
    fields: Vec<(String, bool, Vec<String>)>,
}

/// Method, path and situation.
type Asked = (String, String, String);

fn recorded() -> BTreeMap<Asked, Recorded> {
    let mut all = BTreeMap::new();
    let lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let mut current: Vec<Asked> = vec![];
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with(' ') {
            let asked = |situation: &&str| (words[0].to_owned(), words[1].to_owned(), (*situation).to_owned());
            current = words[3..].iter().map(asked).collect();
            for asked in &current {
                let status = words[2].parse().unwrap();
                all.insert(asked.clone(), Recorded { status, fields: vec![] });
            }
            continue;
        }
        let pointer = words[0].trim_end_matches('?').to_owned();
        let types: Vec<String> = words[1].split('|').map(str::to_owned).collect();
        for asked in &current {
            let fields = &mut all.get_mut(asked).unwrap().fields;
            fields.push((pointer.clone(), !words[0].ends_with('?'), types.clone()));
        }
    }
    all
}

/// What stands at a pointer: all values of it, or where there is none.
fn at<'a>(value: &'a Value, parts: &[&str], is_required: bool) -> Result<Vec<&'a Value>, String> {
    let Some((first, rest)) = parts.split_first() else {
        return Ok(vec![value]);
    };
    let inner: Vec<&Value> = match (value, *first) {
        (Value::Array(all), "*") => all.iter().collect(),
        (Value::Object(all), "*") => all.values().collect(),
        (value, name) => value.get(name).into_iter().collect(),
    };
    if inner.is_empty() && is_required {
        return Err(format!("no {first}"));
    }
    let found: Result<Vec<_>, _> = inner.into_iter().map(|one| at(one, rest, is_required)).collect();
    Ok(found?.concat())
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number() || value == "NaN",
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

/// Why an answer does not have a field; `None`: it has.
fn lacks(answer: &Value, (pointer, is_required, types): &(String, bool, Vec<String>)) -> Option<String> {
    let parts: Vec<&str> = pointer.split('/').filter(|part| !part.is_empty()).collect();
    match at(answer, &parts, *is_required) {
        Err(why) => Some(why),
        Ok(values) => {
            let wrong = values.iter().find(|value| !types.iter().any(|kind| is(value, kind)))?;
            Some(format!("{wrong} is no {}", types.join(" or ")))
        }
    }
}

/// Answers that are compared, and what they differ in.
struct Comparison {
    server: Server,
    description: Description,
    recorded: BTreeMap<Asked, Recorded>,
    compared: BTreeSet<Asked>,
    differences: Vec<String>,
    used: BTreeSet<usize>,
}

impl Comparison {
    /// Asks, and compares with what Flink answered in this situation. `path` is the recorded one, `real` the one that is asked.
    async fn ask(&mut self, method: &str, path: &str, real: &str, situation: &str, body: Option<&Value>) -> Value {
        let body = body.map(Value::to_string);
        let (status, answer) = self.server.ask(method, real, body.as_deref()).await;
        self.compare(method, path, situation, status, &answer);
        let undescribed = self.description.differences(method, real, status, &answer);
        let of_description = undescribed
            .into_iter()
            .map(|why| format!("{method} {path} ({situation}) is not as described: {why}"));
        self.differences.extend(of_description);
        answer
    }

    fn compare(&mut self, method: &str, path: &str, situation: &str, status: u16, answer: &Value) {
        let asked = (method.to_owned(), path.to_owned(), situation.to_owned());
        let name = format!("{method} {path} ({situation})");
        let recorded = self
            .recorded
            .get(&asked)
            .unwrap_or_else(|| panic!("{name} is not recorded"));
        self.compared.insert(asked);
        let mut differing: Vec<(String, String)> = vec![];
        if status != recorded.status {
            differing.push((
                String::new(),
                format!("{status}, Flink's is {}: {answer}", recorded.status),
            ));
        }
        for field in &recorded.fields {
            differing.extend(lacks(answer, field).map(|why| (field.0.clone(), why)));
        }
        for (pointer, why) in differing {
            let is_meant = |(end, begin, _): &(&str, &str, &str)| path.ends_with(end) && pointer.starts_with(begin);
            match DIFFERENT.iter().position(is_meant) {
                Some(reason) => {
                    self.used.insert(reason);
                }
                None => self.differences.push(format!("{name} {pointer}: {why}")),
            }
        }
    }

    /// Triggers an operation, and waits for its end; gives its result.
    async fn operate(&mut self, situation: &str, path: &str, job: &JobHandle, body: Value) -> Value {
        let real = |path: &str| path.replace(":jobid", &job.job_id.to_string());
        let answer = self.ask("POST", path, &real(path), situation, Some(&body)).await;
        let progress = format!("{}/:triggerid", path.replace("/stop", "/savepoints"));
        let id = answer["request-id"].as_str().unwrap();
        let asked = real(&progress).replace(":triggerid", id);
        self.server
            .until(&asked, |answer| answer["status"]["id"] == "COMPLETED")
            .await;
        self.ask("GET", &progress, &asked, situation, None).await["operation"].clone()
    }

    /// Asks all that was asked of Flink in this situation of a job, but for what ends a job that runs.
    async fn ask_all(&mut self, situation: &str, job: &JobHandle) {
        let checkpoints = self.server.get(&format!("/jobs/{}/checkpoints", job.job_id)).await;
        let vertex = &job.graph().vertices[1];
        let stands_for = [
            (":jobid", job.job_id.to_string()),
            (":vertexid", job.plan.nodes[vertex.nodes[0]].operator_id.to_string()),
            (":taskmanagerid", "tm-1".to_owned()),
            (":checkpointid", checkpoints["latest"]["savepoint"]["id"].to_string()),
        ];
        let of_situation =
            |asked: &&Asked| asked.2 == situation && asked.0 != "POST" && !asked.1.contains(":triggerid");
        let ends = |asked: &&Asked| asked.1.contains("cancel") && self.recorded[*asked].status == 202;
        let all: Vec<Asked> = self
            .recorded
            .keys()
            .filter(of_situation)
            .filter(|asked| !ends(asked))
            .cloned()
            .collect();
        for (method, path, _) in all {
            let real = stands_for
                .iter()
                .fold(path.clone(), |path, (name, value)| path.replace(name, value));
            self.ask(&method, &path, &real, situation, None).await;
        }
    }

    async fn await_end(&self, job: &JobHandle, wanted: JobStatus) {
        let ended = tokio::time::timeout(DEADLINE, job.ended()).await;
        assert_eq!(ended.expect("the job does not end"), wanted);
    }
}

/// While this lives, nothing can be written into a folder, whoever tries.
struct Unwritable<'a>(&'a Path);

impl<'a> Unwritable<'a> {
    fn new(folder: &'a Path) -> Self {
        std::fs::rename(folder, folder.with_extension("away")).unwrap();
        std::fs::write(folder, "no folder").unwrap();
        Self(folder)
    }
}

impl Drop for Unwritable<'_> {
    fn drop(&mut self) {
        std::fs::remove_file(self.0).unwrap();
        std::fs::rename(self.0.with_extension("away"), self.0).unwrap();
    }
}

const JOB: &str = "/jobs/:jobid";
const CHECKPOINTS: &str = "/jobs/:jobid/checkpoints";
const SAVEPOINTS: &str = "/jobs/:jobid/savepoints";
const STOP: &str = "/jobs/:jobid/stop";

type Settings<'a> = &'a [(&'a str, &'a str)];

impl Comparison {
    async fn new(options: Settings<'_>) -> Self {
        let server = Server::start(options).await;
        Self {
            description: Description::of(&server).await,
            server,
            recorded: recorded(),
            compared: BTreeSet::new(),
            differences: vec![],
            used: BTreeSet::new(),
        }
    }

    async fn submit(&self, sql: &str, options: Settings<'_>, savepoint: Option<&str>) -> JobHandle {
        let submission = Submission {
            plan: plan(sql, options),
            restore: Restore::from_path(savepoint),
            allow_non_restored_state: false,
        };
        self.server.dispatcher.submit(submission).await.unwrap()
    }

    /// A job that runs, with a completed checkpoint, failed ones and a savepoint, until it is stopped; gives the savepoint.
    async fn of_a_job_until_it_is_stopped(&mut self, options: Settings<'_>, folder: &Path) -> String {
        let job = self.server.run(ENDLESS, options).await;
        self.operate("running", CHECKPOINTS, &job, json!({})).await;
        let savepoints = folder.with_file_name("savepoints");
        let body = json!({ "target-directory": savepoints, "cancel-job": false });
        let unwritable = Unwritable::new(folder);
        self.operate("refused", CHECKPOINTS, &job, json!({})).await;
        self.operate("refused", SAVEPOINTS, &job, body.clone()).await;
        drop(unwritable);
        let savepoint = self.operate("running", SAVEPOINTS, &job, body).await;
        self.ask_all("running", &job).await;
        self.ask_all("absent", &job).await;
        let body = json!({ "targetDirectory": savepoints, "drain": false });
        self.operate("running", STOP, &job, body).await;
        self.await_end(&job, JobStatus::Finished).await;
        self.ask_all("stopped", &job).await;
        savepoint["location"].as_str().unwrap().to_owned()
    }

    /// A job that started from a savepoint, until it is cancelled in one of Flink's two ways; and another in the other way.
    async fn of_a_restored_job(&mut self, options: Settings<'_>, savepoint: &str) {
        let job = self.submit(ENDLESS, options, Some(savepoint)).await;
        tokio::time::timeout(DEADLINE, job.running()).await.unwrap();
        self.operate("running", CHECKPOINTS, &job, json!({})).await;
        self.ask_all("restored", &job).await;
        let other = self.submit(ENDLESS, options, None).await;
        for (method, way, job) in [("PATCH", "?mode=cancel", &job), ("GET", "/yarn-cancel", &other)] {
            let real = format!("/jobs/{}{way}", job.job_id);
            self.ask(method, &format!("{JOB}{way}"), &real, "running", None).await;
            self.await_end(job, JobStatus::Canceled).await;
        }
        let body = json!({ "savepoint-path": savepoint });
        for situation in ["running", "refused"] {
            self.operate(situation, "/savepoint-disposal", &job, body.clone()).await;
        }
    }

    async fn of_a_failed_job(&mut self, options: Settings<'_>) {
        let options = [options, &[("restart-strategy.type", "none")]].concat();
        let job = self.submit(FAILING, &options, None).await;
        self.await_end(&job, JobStatus::Failed).await;
        self.ask_all("failed", &job).await;
    }

    /// Panics unless all is as Flink has it, but for what is listed, and all that is listed is met.
    fn judge(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        let is_new = |asked: &&Asked| !self.compared.contains(*asked);
        let never: Vec<&Asked> = self.recorded.keys().filter(is_new).collect();
        assert!(never.is_empty(), "recorded, and not asked: {never:?}");
        let is_stale = |reason: &usize| !self.used.contains(reason) && DIFFERENT[*reason].0 != BY_CHANCE;
        let stale = (0..DIFFERENT.len()).filter(is_stale);
        let stale: Vec<_> = stale.map(|reason| DIFFERENT[reason]).collect();
        assert!(stale.is_empty(), "no difference any more: {stale:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_all_that_flinks_have() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("checkpoints");
    std::fs::create_dir(&folder).unwrap();
    let checkpoints = format!("file://{}", folder.display());
    let options = [
        ("execution.checkpointing.interval", "1 h"),
        ("execution.checkpointing.dir", checkpoints.as_str()),
        ("execution.checkpointing.tolerable-failed-checkpoints", "10"),
        ("parallelism.default", "2"),
        ("pipeline.operator-chaining.enabled", "false"),
    ];
    let mut all = Comparison::new(&options).await;
    let savepoint = all.of_a_job_until_it_is_stopped(&options, &folder).await;
    all.of_a_restored_job(&options, &savepoint).await;
    all.of_a_failed_job(&options).await;
    all.judge();
}
