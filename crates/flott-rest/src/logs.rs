//! Logs and threads of the JobManager and of TaskManagers ([`flott_cluster::inquiry`], which says what is shown of a file).
//!
//! A file is sent as it is read, piece by piece, also from a TaskManager: nobody holds more of it than a piece. One that is cut or whose
//! TaskManager is lost meanwhile ends the connection, since its length was told before. A TaskManager that says nothing for `web.timeout`
//! (Flink's option; 10 s unless said otherwise) is waited for no longer.

use crate::app::App;
use crate::error::{Answer as Answered, Json, RestError};
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flott_checkpoint::manifest::InlineBytes;
use flott_cluster::inquiry::{self, Answer, Extent, InquiryError, LogFile, LogName, Logs, Question, Thread};
use flott_cluster::resources::TaskManagerRef;
use flott_core::Options;
use futures::stream;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

/// How long a TaskManager may take to answer.
const PATIENCE_MS: i64 = 10_000;

/// Who is asked.
enum Process {
    JobManager(Logs),
    TaskManager(TaskManagerRef, Duration),
}

impl Process {
    fn job_manager(app: &App) -> Self {
        Self::JobManager(Logs::of_job_manager(app.dispatcher.options()))
    }

    /// The TaskManager of the path.
    ///
    /// # Errors
    /// 404 if there is none.
    fn task_manager(app: &App, id: &str) -> Result<Self, RestError> {
        let found = app.dispatcher.task_manager(id);
        let found = found.ok_or_else(|| RestError::not_found(format!("Could not find TaskExecutor {id}.")))?;
        Ok(Self::TaskManager(found, patience(app.dispatcher.options())))
    }

    async fn ask(&self, question: Question) -> Result<Answer, RestError> {
        match self {
            Self::JobManager(logs) => {
                let logs = logs.clone();
                // The disk holds nobody up there.
                let answered = tokio::task::spawn_blocking(move || inquiry::answer(&logs, &question)).await;
                answered
                    .map_err(|_| internal("the JobManager's files could not be read"))?
                    .map_err(refused)
            }
            Self::TaskManager(manager, patience) => {
                let answered = tokio::time::timeout(*patience, manager.gateway.ask(question)).await;
                let silent = || {
                    let text = format!(
                        "TaskExecutor {} has not answered within {} ms (web.timeout)",
                        manager.peer.id,
                        patience.as_millis()
                    );
                    RestError::new(StatusCode::GATEWAY_TIMEOUT, text)
                };
                answered.map_err(|_| silent())?.map_err(refused)
            }
        }
    }

    async fn list(&self) -> Answered {
        let Answer::Logs(logs) = self.ask(Question::Logs).await? else {
            return Err(misunderstood());
        };
        Ok(Json::ok(json!({ "logs": logs.iter().map(listed).collect::<Vec<_>>() })))
    }

    async fn threads(&self) -> Answered {
        let Answer::Threads(threads) = self.ask(Question::Threads).await? else {
            return Err(misunderstood());
        };
        Ok(Json::ok(
            json!({ "threadInfos": threads.iter().map(described).collect::<Vec<_>>() }),
        ))
    }

    /// A file, as far as it is shown.
    async fn text(self, name: LogName) -> Result<Text, RestError> {
        let Answer::Extent(extent) = self.ask(Question::Extent(name.clone())).await? else {
            return Err(misunderstood());
        };
        let pieces = stream::try_unfold((self, name, extent), |(process, name, left)| async move {
            if left.is_empty() {
                return Ok(None);
            }
            let (piece, left) = process.piece(&name, left).await?;
            Ok::<_, io::Error>(Some((piece, (process, name, left))))
        });
        Ok(Text {
            bytes: extent.len(),
            body: Body::from_stream(pieces),
        })
    }

    /// The beginning of what is left of a file, and what is left behind that.
    async fn piece(&self, name: &LogName, left: Extent) -> io::Result<(Bytes, Extent)> {
        let asked = self.ask(Question::Piece(name.clone(), left)).await;
        match asked.map_err(|error| io::Error::other(error.text().to_owned()))? {
            Answer::Piece(InlineBytes(piece)) if !piece.is_empty() => {
                let from = left.from + piece.len() as u64;
                Ok((piece, Extent { from, ..left }))
            }
            _ => Err(io::Error::other(misunderstood().text().to_owned())),
        }
    }
}

/// What stands in a file, as far as it is sent.
pub(crate) struct Text {
    bytes: u64,
    body: Body,
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=UTF-8".to_owned()),
            (header::CONTENT_LENGTH, self.bytes.to_string()),
        ];
        (headers, self.body).into_response()
    }
}

/// What every handler of a file gives.
type File = Result<Text, RestError>;

/// `GET /jobmanager/logs`: none without `web.log.path`.
pub(crate) async fn list(State(app): State<App>) -> Answered {
    Process::job_manager(&app).list().await
}

/// `GET /jobmanager/log`
pub(crate) async fn log(State(app): State<App>) -> File {
    Process::job_manager(&app).text(LogName::Log).await
}

/// `GET /jobmanager/stdout`: beside the log, ending in `.out`.
pub(crate) async fn stdout(State(app): State<App>) -> File {
    Process::job_manager(&app).text(LogName::Stdout).await
}

/// `GET /jobmanager/logs/:name`
pub(crate) async fn named(State(app): State<App>, Path(name): Path<String>) -> File {
    Process::job_manager(&app).text(LogName::Named(name)).await
}

/// `GET /jobmanager/thread-dump`
pub(crate) async fn threads(State(app): State<App>) -> Answered {
    Process::job_manager(&app).threads().await
}

/// `GET /taskmanagers/:id/logs`: none without `taskmanager.log.path`.
pub(crate) async fn list_of_task_manager(State(app): State<App>, Path(id): Path<String>) -> Answered {
    Process::task_manager(&app, &id)?.list().await
}

/// `GET /taskmanagers/:id/log`
pub(crate) async fn log_of_task_manager(State(app): State<App>, Path(id): Path<String>) -> File {
    Process::task_manager(&app, &id)?.text(LogName::Log).await
}

/// `GET /taskmanagers/:id/stdout`
pub(crate) async fn stdout_of_task_manager(State(app): State<App>, Path(id): Path<String>) -> File {
    Process::task_manager(&app, &id)?.text(LogName::Stdout).await
}

/// `GET /taskmanagers/:id/logs/:name`
pub(crate) async fn named_of_task_manager(State(app): State<App>, Path((id, name)): Path<(String, String)>) -> File {
    Process::task_manager(&app, &id)?.text(LogName::Named(name)).await
}

/// `GET /taskmanagers/:id/thread-dump`
pub(crate) async fn threads_of_task_manager(State(app): State<App>, Path(id): Path<String>) -> Answered {
    Process::task_manager(&app, &id)?.threads().await
}

fn patience(options: &Options) -> Duration {
    let ms = options.duration_ms("web.timeout").ok().flatten().unwrap_or(PATIENCE_MS);
    Duration::from_millis(ms.max(1) as u64)
}

fn listed(log: &LogFile) -> Value {
    json!({ "name": log.name, "size": log.bytes, "mtime": log.changed_ms })
}

/// A thread in the form of Java's, without its stack, which nobody here can see.
fn described(thread: &Thread) -> Value {
    let does = match thread.state {
        'R' => "runs",
        'S' | 'I' => "waits",
        'D' => "waits for the disk",
        'T' | 't' => "is stopped",
        _ => "ends",
    };
    let seconds = thread.cpu_ms as f64 / 1_000.0;
    let text = format!("\"{}\" Id={} {does}, {seconds:.2} s of CPU\n", thread.name, thread.id);
    json!({ "threadName": thread.name, "stringifiedThreadInfo": text })
}

fn refused(error: InquiryError) -> RestError {
    match &error {
        InquiryError::Untold { .. } | InquiryError::Missing { .. } => RestError::not_found(error.to_string()),
        InquiryError::NoName { name } => RestError::parameter("filename", name),
        InquiryError::Unreadable { .. } | InquiryError::Gone { .. } => internal(error.to_string()),
    }
}

fn misunderstood() -> RestError {
    internal("the process has answered another question: run the same version everywhere")
}

fn internal(text: impl Into<String>) -> RestError {
    RestError::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_javas_form() {
        let thread = |state| Thread {
            id: 17,
            name: "map (1/2)".into(),
            state,
            cpu_ms: 1_230,
        };
        assert_eq!(
            described(&thread('R')),
            json!({ "threadName": "map (1/2)", "stringifiedThreadInfo": "\"map (1/2)\" Id=17 runs, 1.23 s of CPU\n" })
        );
        let waits = described(&thread('S'));
        assert!(waits["stringifiedThreadInfo"].as_str().unwrap().contains(" waits, "));
    }

    #[test]
    fn patience_is_flinks_option() {
        let of = |options: &[(&str, &str)]| patience(&options.iter().copied().collect());
        assert_eq!(of(&[]), Duration::from_secs(10));
        assert_eq!(of(&[("web.timeout", "20 s")]), Duration::from_secs(20));
    }
}
