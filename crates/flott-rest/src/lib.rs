//! Flink's REST API over the jobs of a [`Dispatcher`]: what Flink's command line, dashboard and operators ask of a JobManager.
//!
//! [`serve`] answers every path below both with and without the prefix `/v1`. `:job` and `:vertex` are ids of 32 hexadecimal digits; a
//! vertex has the id of its first operator. Errors are `{"errors": ["…"]}`. Numbers that Flott does not have are 0 or -1, as Flink
//! sends them for what is absent; they are never left out, because Flink's client refuses that.
//!
//! | method | path | answer |
//! |---|---|---|
//! | GET | `/config`, `/overview` | versions; counts of slots and jobs (`jobmanager`) |
//! | GET | `/jobmanager/config`, `/jobs/:job/jobmanager/config`, `/jobmanager/environment`, `/jobmanager/metrics` | the same |
//! | GET | `/jobmanager/log`, `/jobmanager/stdout`, `/jobmanager/logs`, `/jobmanager/logs/:name` | its logs, as text, and their list (`logs`) |
//! | GET | `/jobmanager/thread-dump` | its threads, without stacks |
//! | GET | `/taskmanagers`, `/taskmanagers/:id` | TaskManagers (`taskmanagers`) |
//! | GET | `/taskmanagers/:id/log`, `…/stdout`, `…/logs`, `…/logs/:name`, `…/thread-dump` | a TaskManager's logs and threads (`logs`) |
//! | GET | `/jobs`, `/jobs/overview`, `/jobs/:job`, `/jobs/:job/status`, `/jobs/:job/plan`, `/jobs/:job/config` | jobs (`jobs`, `plan`) |
//! | GET | `/jobs/:job/exceptions` | failures (`exceptions`) |
//! | GET | `/jobs/:job/events` | all that has happened to the job, in order of time; Flott's own (`events`) |
//! | GET | `/jobs/:job/why` | what the job waits on, in words; Flott's own (`why`) |
//! | POST | `/jobs` | submission of a Flott plan (`submit`) |
//! | POST | `/jars/upload` | uploads a SQL script, a Flott plan or a program (`jars`), where [`WebSubmission`] allows it |
//! | GET, DELETE | `/jars`, `/jars/:jarid` | what was uploaded; deletes it |
//! | GET, POST | `/jars/:jarid/plan` | the plan of its job |
//! | POST | `/jars/:jarid/run` | runs it (`run_request` says what can be said) |
//! | PATCH | `/jobs/:job?mode=cancel` | cancels (`jobs`) |
//! | GET | `/jobs/:job/yarn-cancel` | the same, for the dashboard |
//! | GET | `/jobs/:job/vertices/:vertex`, `…/watermarks`, `…/backpressure` | a vertex (`vertices`) |
//! | GET | `/jobs/:job/vertices/:vertex/taskmanagers`, `…/subtasktimes`, `…/accumulators`, `…/subtasks/accumulators` | its subtasks by TaskManager, and one by one (`subtasks`) |
//! | GET | `/jobs/:job/vertices/:vertex/subtasks/:n`, `…/:n/attempts/:a`, `…/:n/metrics` | one of them; only its last attempt is known |
//! | GET | `/jobs/:job/metrics`, `/jobs/:job/vertices/:vertex/metrics`, `…/subtasks/metrics` | metrics (`metrics`) |
//! | GET | `/jobs/:job/checkpoints`, `…/config`, `…/details/:n` | checkpoints (`checkpoints`) |
//! | POST, then GET `…/:trigger` | `/jobs/:job/savepoints`, `/jobs/:job/checkpoints`, `/savepoint-disposal` | operations (`savepoints`) |
//! | POST | `/jobs/:job/stop` | the same; asked for below `/savepoints` |
//! | GET | `/openapi.json` | what all of this takes and gives, as an OpenAPI document (`openapi`); Flott's own |
//!
//! `/livez` and `/readyz` answer everybody, with a line of text: whether the JobManager gets on, and whether it can be asked (`health`).
//!
//! Who may ask all others is said by [`Access`]: all others get 401, or no connection.
//!
//! A body on GET is read by nobody and does no harm: Flink's client sends one. Java programs do not run here, so a submission by Flink's
//! own client (multipart) is refused.
//!
//! Of several JobManagers ([`flott_cluster::high_availability`]) the one that leads answers; the others redirect to it.

mod access;
mod app;
mod checkpoints;
mod error;
mod events;
mod exceptions;
mod health;
mod io;
mod jars;
mod jobmanager;
mod jobs;
mod listener;
mod logs;
mod metric_values;
mod metrics;
mod multipart;
mod openapi;
mod operations;
mod plan;
mod request;
mod requirements;
mod role;
mod routes;
mod run_request;
mod savepoints;
mod server;
mod status;
mod submission;
mod submit;
mod subtasks;
mod taskmanagers;
mod throwable;
mod uploads;
mod vertices;
mod why;

#[cfg(doc)]
use flott_cluster::dispatcher::Dispatcher;

pub use access::{Access, token};
pub use role::Role;
pub use server::{Farewell, serve};
pub use submission::{ScriptPlanner, WebSubmission};
