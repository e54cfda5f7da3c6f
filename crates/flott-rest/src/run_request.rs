//! What a request wants of an uploaded file ([`RunRequest`]), from its body and, as older clients say it, its query.
//!
//! | body | query | |
//! |---|---|---|
//! | `programArgsList`, `programArgs` | `programArg`, `program-args` | a program's command line; of a script `--var NAME=VALUE`: what `${NAME}` stands for in it |
//! | `parallelism` | `parallelism` | `parallelism.default`, where the script does not set it |
//! | `flinkConfiguration` | | options, where the script does not set them |
//! | `jobId` | | the job's id, which no other one may have; so a request that is repeated starts nothing twice |
//! | `savepointPath` | `savepointPath` | what the job starts from; else `execution.state-recovery.path` of its options |
//! | `allowNonRestoredState` | `allowNonRestoredState` | whether state of it may be left behind |
//! | `claimMode` (1.x: `restoreMode`) | | whose that is then: `NO_CLAIM` (its owner's) or `CLAIM` (the job's) |
//! | `entryClass` | `entry-class` | refused: nothing here has classes |
//!
//! The body wins. Numbers and booleans may be texts, as Flink's server takes them.

use crate::error::RestError;
use crate::request;
use flott_cluster::settings::ClaimMode;
use flott_cluster::{Restore, Submission};
use flott_core::{JobId, Options};
use flott_plan::Plan;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

const PARALLELISM: &str = "parallelism.default";
const RESTORE_PATH: &str = "execution.state-recovery.path";
const IGNORE_UNCLAIMED: &str = "execution.state-recovery.ignore-unclaimed-state";

/// What precedes a variable.
const VARIABLE: &str = "--var";

/// The body.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RunBody {
    entry_class: Option<String>,
    program_args: Option<String>,
    program_args_list: Option<Vec<String>>,
    parallelism: Option<Value>,
    job_id: Option<String>,
    savepoint_path: Option<String>,
    allow_non_restored_state: Option<Value>,
    #[serde(alias = "restoreMode")]
    claim_mode: Option<String>,
    flink_configuration: Option<BTreeMap<String, Value>>,
}

/// What a program must not be told on its command line: what its processes are is the cluster's to say.
const NOT_FOR_PROGRAMS: [&str; 5] = [
    "--standalone-job",
    "--taskmanager",
    "--job-id",
    "--check-state",
    "--savepoint-on-stop",
];

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunRequest {
    arguments: Vec<String>,
    /// Options that hold where the file does not say otherwise.
    pub(crate) options: Options,
    /// The job's id.
    pub(crate) job: Option<JobId>,
    savepoint_path: Option<String>,
    allow_non_restored_state: Option<bool>,
    claim_mode: Option<String>,
}

impl RunRequest {
    /// Reads body and query.
    ///
    /// # Errors
    /// 400 naming what is wrong.
    pub(crate) fn of(body: RunBody, query: Option<&str>) -> Result<Self, RestError> {
        let asked = |name: &str| request::query(query, name).filter(|text| !text.is_empty());
        if let Some(class) = given(body.entry_class).or_else(|| asked("entry-class")) {
            return Err(wrong(
                "entryClass",
                &class,
                "nothing: SQL scripts, plans and programs of Flott have no classes",
            ));
        }
        let mut options = Options::new();
        for (key, value) in body.flink_configuration.unwrap_or_default() {
            let text = scalar(&value);
            let text =
                text.ok_or_else(|| wrong(&format!("flinkConfiguration: {key}"), &value.to_string(), "a text"))?;
            options.set(key, text);
        }
        let parallelism = body.parallelism.as_ref().and_then(scalar);
        if let Some(text) = parallelism.or_else(|| asked("parallelism")) {
            options.set(PARALLELISM, text);
            options
                .positive(PARALLELISM)
                .map_err(|error| RestError::bad_request(format!("parallelism: {error}")))?;
        }
        let allowed = body.allow_non_restored_state.as_ref().and_then(scalar);
        let allowed = allowed.or_else(|| asked("allowNonRestoredState"));
        let job = given(body.job_id).map(|id| request::id("jobId", &id)).transpose()?;
        Ok(Self {
            arguments: arguments(body.program_args_list, body.program_args, query)?,
            options,
            job: job.map(JobId),
            savepoint_path: given(body.savepoint_path).or_else(|| asked("savepointPath")),
            allow_non_restored_state: allowed.map(|text| truth(&text)).transpose()?,
            claim_mode: given(body.claim_mode),
        })
    }

    /// What `${NAME}` stands for in a script.
    ///
    /// # Errors
    /// 400 if the arguments say something else.
    pub(crate) fn variables(&self) -> Result<BTreeMap<String, String>, RestError> {
        variables(self.arguments.clone())
    }

    /// The command line of a program.
    ///
    /// # Errors
    /// 400 if it says what only the cluster can.
    pub(crate) fn program_arguments(&self) -> Result<Vec<String>, RestError> {
        let own = self.arguments.iter().take_while(|argument| *argument != "--");
        let of_cluster = |argument: &&String| {
            let name = argument.split('=').next().unwrap_or_default();
            NOT_FOR_PROGRAMS.contains(&name)
        };
        match own.clone().find(of_cluster) {
            None => Ok(self.arguments.clone()),
            Some(argument) => Err(wrong(
                "programArgsList",
                argument,
                "arguments of the program, and behind a '--' anything; what its processes are the cluster says",
            )),
        }
    }

    /// The plan with what it starts from.
    ///
    /// # Errors
    /// 400 if an option is wrong.
    pub(crate) fn submission(self, mut plan: Plan) -> Result<Submission, RestError> {
        let of_plan = |key: &str| plan.options.get(key).map(str::to_owned);
        let path = self.savepoint_path.or_else(|| given(of_plan(RESTORE_PATH)));
        if let Some(mode) = self.claim_mode {
            plan.options.set(ClaimMode::KEY, mode);
        }
        ClaimMode::from_options(&plan.options).map_err(|error| RestError::bad_request(error.to_string()))?;
        let allowed = match self.allow_non_restored_state {
            Some(allowed) => allowed,
            None => {
                let allowed = plan.options.boolean(IGNORE_UNCLAIMED);
                allowed
                    .map_err(|error| RestError::bad_request(error.to_string()))?
                    .unwrap_or(false)
            }
        };
        Ok(Submission {
            plan,
            restore: Restore::from_path(path.as_deref()),
            allow_non_restored_state: allowed,
        })
    }
}

/// A text that says something: clients send empty ones for what they leave out.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn wrong(name: &str, value: &str, allowed: &str) -> RestError {
    RestError::bad_request(format!("{name}: '{value}' is not possible; allowed: {allowed}"))
}

/// The text of a number, a boolean or a text; `None` also of null.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn truth(text: &str) -> Result<bool, RestError> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong("allowNonRestoredState", text, "true or false")),
    }
}

/// The arguments: the body's list, or its line, or those of the query.
fn arguments(list: Option<Vec<String>>, line: Option<String>, query: Option<&str>) -> Result<Vec<String>, RestError> {
    let line = given(line);
    let list = list.filter(|list| !list.is_empty());
    if let (Some(_), Some(line)) = (&list, &line) {
        return Err(wrong("programArgs", line, "nothing beside programArgsList"));
    }
    if list.is_some() || line.is_some() {
        return Ok(list.unwrap_or_else(|| tokens(&line.unwrap_or_default())));
    }
    let of_query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let listed = of_query.filter(|(name, _)| name == "programArg");
    let listed: Vec<String> = listed
        .flat_map(|(_, values)| values.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    match listed.is_empty() {
        true => Ok(tokens(&request::query(query, "program-args").unwrap_or_default())),
        false => Ok(listed),
    }
}

/// The words of a line, in which quotes of either kind keep spaces.
fn tokens(line: &str) -> Vec<String> {
    let mut found = vec![];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => found.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

/// The variables that the arguments name.
fn variables(arguments: Vec<String>) -> Result<BTreeMap<String, String>, RestError> {
    let mut variables = BTreeMap::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let pair = match argument.strip_prefix(VARIABLE) {
            Some("") => arguments.next(),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        let Some((name, value)) = pair.as_deref().and_then(|pair| pair.split_once('=')) else {
            return Err(wrong(
                "programArgsList",
                &argument,
                "'--var', 'NAME=VALUE': what ${NAME} stands for in a script",
            ));
        };
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value, query: &str) -> Result<RunRequest, String> {
        let body: RunBody = serde_json::from_value(body).unwrap();
        RunRequest::of(body, Some(query)).map_err(|error| error.text().to_owned())
    }

    #[test]
    fn the_body_wins_over_the_query() {
        let query = "parallelism=3&savepointPath=%2Fquery&allowNonRestoredState=true&programArg=--var,A%3D1&program-args=--var+A%3D2";
        let of_query = read(json!({}), query).unwrap();
        assert_eq!(of_query.options.get(PARALLELISM), Some("3"));
        assert_eq!(of_query.savepoint_path.as_deref(), Some("/query"));
        assert_eq!(of_query.allow_non_restored_state, Some(true));
        assert_eq!(of_query.variables().unwrap()["A"], "1");
        let body = json!({
            "parallelism": 2, "savepointPath": "/body", "allowNonRestoredState": false, "programArgsList": ["--var", "A=3", "--var=B=x=y"],
            "jobId": "000000000000000000000000000000ff", "flinkConfiguration": { "a": 1, "b": true, "c": "d" }, "entryClass": ""
        });
        let of_body = read(body, query).unwrap();
        assert_eq!(of_body.options.get(PARALLELISM), Some("2"));
        assert_eq!(of_body.savepoint_path.as_deref(), Some("/body"));
        assert_eq!(of_body.allow_non_restored_state, Some(false));
        assert_eq!(of_body.job, Some(JobId(255)));
        assert_eq!(
            of_body.variables().map(|v| (v["A"].clone(), v["B"].clone())).unwrap(),
            ("3".to_owned(), "x=y".to_owned())
        );
        assert_eq!(
            ["a", "b", "c"].map(|key| of_body.options.get(key)),
            [Some("1"), Some("true"), Some("d")]
        );
        let line = read(json!({ "programArgs": "--var 'A=1 2' --var \"B=it's\"" }), "").unwrap();
        assert_eq!(
            line.variables().map(|v| (v["A"].clone(), v["B"].clone())).unwrap(),
            ("1 2".to_owned(), "it's".to_owned())
        );
    }

    #[test]
    fn clients_leave_out_by_null_and_empty_texts() {
        let body = json!({
            "entryClass": null, "parallelism": null, "programArgs": "", "programArgsList": [], "jobId": null, "savepointPath": "",
            "allowNonRestoredState": null, "claimMode": null, "flinkConfiguration": null
        });
        assert_eq!(
            read(body, "entry-class=&savepointPath=").unwrap(),
            read(json!({}), "").unwrap()
        );
        assert_eq!(
            read(json!({ "parallelism": "4" }), "")
                .unwrap()
                .options
                .get(PARALLELISM),
            Some("4")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, query, wanted) in [
            (
                json!({ "entryClass": "org.example.Job" }),
                "",
                ["entryClass", "org.example.Job"],
            ),
            (json!({}), "entry-class=a.B", ["entryClass", "a.B"]),
            (json!({ "parallelism": 0 }), "", ["parallelism", "0"]),
            (json!({}), "parallelism=many", ["parallelism", "many"]),
            (json!({ "jobId": "12" }), "", ["jobId", "12"]),
            (
                json!({ "programArgsList": ["--input", "x"] }),
                "",
                ["programArgsList", "--input"],
            ),
            (json!({ "programArgsList": ["--var"] }), "", ["--var", "NAME=VALUE"]),
            (
                json!({ "programArgs": "--variable A=1" }),
                "",
                ["--variable", "NAME=VALUE"],
            ),
            (
                json!({ "programArgs": "x", "programArgsList": ["y"] }),
                "",
                ["programArgs", "'x'"],
            ),
            (
                json!({ "allowNonRestoredState": "perhaps" }),
                "",
                ["allowNonRestoredState", "perhaps"],
            ),
            (
                json!({ "flinkConfiguration": { "a.b": [] } }),
                "",
                ["flinkConfiguration", "a.b"],
            ),
        ] {
            let of_script = |request: RunRequest| request.variables().map_err(|error| error.text().to_owned());
            let error = read(body, query).and_then(of_script).unwrap_err();
            assert!(wanted.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn what_a_job_starts_from_and_whose_that_is_are_read() {
        let submission = |body: Value, options: &[(&str, &str)]| {
            let mut plan = Plan::new("a job", Options::new());
            options
                .iter()
                .for_each(|(key, value)| drop(plan.options.set(*key, *value)));
            let submission = read(body, "").unwrap().submission(plan);
            submission.map_err(|error| error.text().to_owned())
        };
        let of_body = submission(
            json!({ "savepointPath": "/s", "claimMode": "NO_CLAIM" }),
            &[(RESTORE_PATH, "/t")],
        );
        assert_eq!(of_body.unwrap().restore, Restore::Path("/s".into()));
        let of_options = submission(json!({}), &[(RESTORE_PATH, "/t"), (IGNORE_UNCLAIMED, "true")]).unwrap();
        assert_eq!(of_options.restore, Restore::Path("/t".into()));
        assert!(of_options.allow_non_restored_state);
        let claimed = submission(json!({ "savepointPath": "/s", "claimMode": "CLAIM" }), &[]).unwrap();
        assert_eq!(claimed.plan.options.get(ClaimMode::KEY), Some("CLAIM"));
        for (body, options) in [
            (json!({ "savepointPath": "/s", "restoreMode": "LEGACY" }), &[][..]),
            (json!({ "savepointPath": "/s" }), &[(ClaimMode::KEY, "MINE")]),
        ] {
            let error = submission(body, options).unwrap_err();
            assert!(error.contains(ClaimMode::KEY) && error.contains("NO_CLAIM"), "{error}");
        }
    }

    #[test]
    fn a_program_is_told_all_but_what_its_processes_are() {
        let of = |words: &[&str]| {
            let request = read(json!({ "programArgsList": words }), "").unwrap();
            request.program_arguments().map_err(|error| error.text().to_owned())
        };
        let own = ["clicks", "--var", "x", "-p", "2", "--", "--taskmanager"];
        assert_eq!(of(&own).unwrap(), own);
        for wrong in ["--taskmanager", "--standalone-job", "--check-state=/s", "--job-id"] {
            assert!(of(&["clicks", wrong]).unwrap_err().contains(wrong));
        }
    }
}
