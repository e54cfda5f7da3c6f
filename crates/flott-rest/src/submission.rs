//! What is uploaded is run here: [`WebSubmission`], and who plans it, [`ScriptPlanner`].
//!
//! | option | what it does |
//! |---|---|
//! | `web.submit.enable` | `false`: all paths of uploaded files are unknown, as in Flink |
//! | `web.upload.dir`, `web.tmpdir` | where files are kept (`uploads`) |
//! | `rest.server.max-content-length` | largest upload in bytes, 104,857,600 unless said otherwise, as in Flink |

use crate::error::RestError;
use crate::uploads::{Kind, Uploads};
use axum::http::StatusCode;
use flott_core::Options;
use flott_core::options::OptionError;
use flott_plan::Plan;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

const ENABLED: &str = "web.submit.enable";

/// The option that bounds uploads.
const LIMIT: &str = "rest.server.max-content-length";

/// Flink's default of that.
const LIMIT_BYTES: usize = 104_857_600;

/// Most scripts that are planned at a time: planning takes a processor, of which the JobManager's jobs need some.
const AT_A_TIME: usize = 2;

/// Plans the job of a SQL script. REST knows no SQL.
pub trait ScriptPlanner: Send + Sync {
    /// The only job of the script `text`, with the options that it runs under. `options` are those that the script begins with, and
    /// `variables` what `${NAME}` stands for in it. Takes as long as it takes.
    ///
    /// # Errors
    /// What is wrong with the script, in words.
    fn plan(&self, text: &str, variables: &BTreeMap<String, String>, options: Options) -> Result<Plan, String>;
}

/// Files that are uploaded, and run. Cloning shares them.
#[derive(Clone)]
pub struct WebSubmission(Arc<Inner>);

struct Inner {
    planner: Arc<dyn ScriptPlanner>,
    uploads: Uploads,
    limit_bytes: u64,
    turns: Semaphore,
}

impl fmt::Debug for WebSubmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSubmission")
            .field("uploads", &self.0.uploads)
            .field("limit_bytes", &self.0.limit_bytes)
            .finish_non_exhaustive()
    }
}

impl WebSubmission {
    /// Reads the options; `None`: they say that nothing is to be submitted.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn from_options(options: &Options, planner: Arc<dyn ScriptPlanner>) -> Result<Option<Self>, OptionError> {
        if !options.boolean(ENABLED)?.unwrap_or(true) {
            return Ok(None);
        }
        let no_random = |_| {
            OptionError::new(
                "web.upload.dir",
                "",
                "a folder, since the system gives no random name for one",
            )
        };
        Ok(Some(Self(Arc::new(Inner {
            planner,
            uploads: Uploads::from_options(options).map_err(no_random)?,
            limit_bytes: options.positive(LIMIT)?.unwrap_or(LIMIT_BYTES) as u64,
            turns: Semaphore::new(AT_A_TIME),
        }))))
    }

    /// Largest upload.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.0.limit_bytes
    }

    /// Does something with the files, where waiting for the disk holds nobody up.
    ///
    /// # Errors
    /// As `work`.
    pub(crate) async fn with_uploads<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Uploads) -> Result<T, RestError> + Send + 'static,
    ) -> Result<T, RestError> {
        let inner = self.0.clone();
        beside(move || work(&inner.uploads)).await
    }

    /// Where a file is, and what it is.
    ///
    /// # Errors
    /// 400 if there is none.
    pub(crate) async fn find(&self, id: String) -> Result<(PathBuf, Kind), RestError> {
        self.with_uploads(move |uploads| uploads.find(&id)).await
    }

    /// Waits until it is somebody's turn to plan, or to have a program describe its job.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.0.turns.acquire().await.ok()
    }

    /// Plans a file. Options that are given hold where the file does not say otherwise.
    ///
    /// # Errors
    /// 400 if there is no such file, or it is wrong, or is given what it does not take.
    pub(crate) async fn plan(
        &self,
        id: String,
        variables: BTreeMap<String, String>,
        options: Options,
    ) -> Result<Plan, RestError> {
        let _turn = self.turn().await;
        let inner = self.0.clone();
        let planning = move || match inner.uploads.read(&id)? {
            (Kind::Script, text) => {
                let planned = inner.planner.plan(&text, &variables, options);
                planned.map_err(|error| RestError::bad_request(format!("'{id}' cannot be run: {error}")))
            }
            (Kind::Plan, text) => read_plan(&id, &text, &variables, &options),
            (Kind::Program, _) => Err(RestError::bad_request(format!("'{id}' is a program, and no text"))),
        };
        beside(planning).await
    }
}

/// Reads a plan, which has no variables, and whose parallelism is its nodes'.
fn read_plan(id: &str, text: &str, variables: &BTreeMap<String, String>, options: &Options) -> Result<Plan, RestError> {
    if let Some(name) = variables.keys().next() {
        return Err(RestError::bad_request(format!(
            "programArgsList: --var {name}: '{id}' is a plan, and has no variables"
        )));
    }
    let mut plan = Plan::from_json(text)
        .map_err(|error| RestError::bad_request(format!("'{id}' is no plan that can be run: {error}")))?;
    for (key, value) in options.iter() {
        if plan.options.get(key).is_none() {
            plan.options.set(key, value);
        }
    }
    Ok(plan)
}

async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestError> + Send + 'static,
) -> Result<T, RestError> {
    let done = tokio::task::spawn_blocking(work).await;
    let lost = |error| RestError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the work was lost: {error}"));
    done.unwrap_or_else(|error| Err(lost(error)))
}
