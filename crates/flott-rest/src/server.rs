//! The server: which path is answered by whom ([`routes`]), and its life ([`serve`]).

use crate::app::App;
use crate::error::RestError;
use crate::{checkpoints, exceptions, jobmanager, jobs, metrics, plan, savepoints, submit, taskmanagers, vertices};
use axum::Router;
use axum::http::Uri;
use axum::routing::{get, post};
use flott_cluster::dispatcher::Dispatcher;
use std::future::IntoFuture;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long open requests may go on once the server shall end.
const GRACE: Duration = Duration::from_secs(5);

/// Answers requests at `listener` until `shutdown` is ready, and lets those that are being answered end, for 5 seconds at most.
///
/// Cancel-safe: dropping it ends the server at once. Operations that were triggered go on without it.
///
/// # Errors
/// If connections can no longer be accepted.
///
/// ```no_run
/// # async fn example(dispatcher: flott_cluster::dispatcher::Dispatcher) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind(("127.0.0.1", 8081)).await?;
/// let interrupted = async {
///     let _ = tokio::signal::ctrl_c().await;
/// };
/// flott_rest::serve(listener, dispatcher, interrupted).await
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    dispatcher: Dispatcher,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = App::new(dispatcher);
    let sampling = app.rates.clone().sample_forever(app.dispatcher.clone());
    let (ending, ended) = oneshot::channel();
    let until_shutdown = async move {
        shutdown.await;
        let _ = ending.send(());
    };
    let server = axum::serve(listener, routes(app)).with_graceful_shutdown(until_shutdown);
    let out_of_patience = async {
        let _ = ended.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = out_of_patience => Ok(()),
        never = sampling => match never {},
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
        .route("/jobs/{job}/metrics", get(metrics::of_job))
        .route("/jobs/{job}/vertices/{vertex}", get(vertices::details))
        .route("/jobs/{job}/vertices/{vertex}/watermarks", get(vertices::watermarks))
        .route(
            "/jobs/{job}/vertices/{vertex}/backpressure",
            get(vertices::backpressure),
        )
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

async fn not_found(uri: Uri) -> RestError {
    RestError::not_found(format!("Not found: {}", uri.path()))
}
