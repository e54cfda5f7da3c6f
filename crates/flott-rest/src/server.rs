//! The server: which path is answered by whom ([`routes`]), and its life ([`serve`]).

use crate::access::{self, Access};
use crate::app::App;
use crate::error::RestError;
use crate::listener::Guarded;
use crate::role::{self, Answering, Role};
use crate::{
    checkpoints, events, exceptions, jobmanager, jobs, logs, metrics, plan, savepoints, submit, subtasks, taskmanagers,
    vertices,
};
use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

/// How long open requests may go on once the server shall end.
const GRACE: Duration = Duration::from_secs(5);

/// Answers requests of those whom `access` lets in at `listener` until `shutdown` is ready, and lets those that are being answered end,
/// for 5 seconds at most. Who answers follows `role`.
///
/// Cancel-safe: dropping it ends the server at once. Operations that were triggered go on without it.
///
/// # Errors
/// If connections can no longer be accepted.
///
/// ```no_run
/// # async fn example(dispatcher: flott_cluster::dispatcher::Dispatcher) -> std::io::Result<()> {
/// use tokio::sync::watch;
///
/// let listener = tokio::net::TcpListener::bind(("127.0.0.1", 8081)).await?;
/// let access = flott_rest::Access::from_options(dispatcher.options()).map_err(std::io::Error::other)?;
/// let (_role, leading) = watch::channel(flott_rest::Role::Leading(dispatcher));
/// let interrupted = async {
///     let _ = tokio::signal::ctrl_c().await;
/// };
/// flott_rest::serve(listener, access, leading, interrupted).await
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    access: Access,
    role: watch::Receiver<Role>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (answering, answers) = watch::channel(Answering::Standby(None));
    let following = follow(role, answering);
    let (ending, ended) = oneshot::channel();
    let until_shutdown = async move {
        shutdown.await;
        let _ = ending.send(());
    };
    let listener = Guarded::new(listener, access.acceptor().clone());
    let guarded = Router::new()
        .fallback(role::answer)
        .with_state(answers)
        .layer(from_fn_with_state(access, access::admit));
    let server = axum::serve(listener, guarded).with_graceful_shutdown(until_shutdown);
    let out_of_patience = async {
        let _ = ended.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = out_of_patience => Ok(()),
        never = following => match never {},
    }
}

/// Makes what answers follow the role; rates are sampled while it leads.
async fn follow(mut role: watch::Receiver<Role>, answering: watch::Sender<Answering>) -> Infallible {
    loop {
        let now = role.borrow_and_update().clone();
        let changed = async {
            // Without anybody who could change it, it stays.
            if role.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        match now {
            Role::Standby(leader) => {
                answering.send_replace(Answering::Standby(leader));
                changed.await;
            }
            Role::Leading(dispatcher) => {
                let app = App::new(dispatcher);
                let sampling = app.rates.clone().sample_forever(app.dispatcher.clone());
                answering.send_replace(Answering::Routes(routes(app)));
                tokio::select! {
                    () = changed => {}
                    never = sampling => match never {},
                }
            }
        }
    }
}

/// All paths, with and without the version.
fn routes(app: App) -> Router {
    let paths = Router::new()
        .route("/config", get(jobmanager::dashboard))
        .route("/overview", get(jobmanager::overview))
        .route("/jobmanager/config", get(jobmanager::options))
        .route("/jobmanager/environment", get(jobmanager::environment))
        .route("/jobmanager/metrics", get(metrics::of_job_manager))
        .route("/jobmanager/log", get(logs::log))
        .route("/jobmanager/stdout", get(logs::stdout))
        .route("/jobmanager/logs", get(logs::list))
        .route("/jobmanager/logs/{name}", get(logs::named))
        .route("/taskmanagers", get(taskmanagers::list))
        .route("/taskmanagers/{id}", get(taskmanagers::details))
        .route("/jobs", get(jobs::ids).post(submit::submit))
        .route("/jobs/overview", get(jobs::overview))
        .route("/jobs/{job}", get(jobs::details).patch(jobs::terminate))
        .route("/jobs/{job}/yarn-cancel", get(jobs::cancel))
        .route("/jobs/{job}/status", get(jobs::status))
        .route("/jobs/{job}/plan", get(plan::plan))
        .route("/jobs/{job}/config", get(jobs::config))
        .route("/jobs/{job}/jobmanager/config", get(jobmanager::options_of_job))
        .route("/jobs/{job}/exceptions", get(exceptions::history))
        .route("/jobs/{job}/events", get(events::of_job))
        .route("/jobs/{job}/metrics", get(metrics::of_job))
        .route("/jobs/{job}/vertices/{vertex}", get(vertices::details))
        .route("/jobs/{job}/vertices/{vertex}/watermarks", get(vertices::watermarks))
        .route(
            "/jobs/{job}/vertices/{vertex}/backpressure",
            get(vertices::backpressure),
        )
        .merge(routes_of_subtasks())
        .route("/jobs/{job}/vertices/{vertex}/metrics", get(metrics::of_vertex))
        .route(
            "/jobs/{job}/vertices/{vertex}/subtasks/metrics",
            get(metrics::over_subtasks),
        )
        .route(
            "/jobs/{job}/checkpoints",
            get(checkpoints::history).post(savepoints::trigger_checkpoint),
        )
        .route("/jobs/{job}/checkpoints/config", get(checkpoints::config))
        .route("/jobs/{job}/checkpoints/details/{id}", get(checkpoints::details))
        .route(
            "/jobs/{job}/checkpoints/{trigger}",
            get(savepoints::checkpoint_progress),
        )
        .route("/jobs/{job}/savepoints", post(savepoints::trigger_savepoint))
        .route("/jobs/{job}/savepoints/{trigger}", get(savepoints::savepoint_progress))
        .route("/jobs/{job}/stop", post(savepoints::stop))
        .route("/savepoint-disposal", post(savepoints::dispose))
        .route("/savepoint-disposal/{trigger}", get(savepoints::disposal_progress));
    Router::new()
        .nest("/v1", paths.clone())
        .merge(paths)
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .with_state(app)
}

/// Paths of the subtasks of a vertex.
fn routes_of_subtasks() -> Router<App> {
    let paths = Router::new()
        .route("/taskmanagers", get(subtasks::by_task_manager))
        .route("/subtasktimes", get(subtasks::times))
        .route("/accumulators", get(subtasks::accumulators))
        .route("/subtasks/accumulators", get(subtasks::accumulators_of_subtasks))
        .route("/subtasks/{subtask}", get(subtasks::details))
        .route("/subtasks/{subtask}/metrics", get(subtasks::metrics_of))
        .route("/subtasks/{subtask}/attempts/{attempt}", get(subtasks::attempt));
    Router::new().nest("/jobs/{job}/vertices/{vertex}", paths)
}

async fn not_found(uri: Uri) -> RestError {
    RestError::not_found(format!("Not found: {}", uri.path()))
}
