//! Which path is answered by whom: one table ([`all`]), of which the server is made and with which its description is compared.

use crate::app::App;
use crate::error::RestError;
use crate::{
    checkpoints, events, exceptions, jars, jobmanager, jobs, logs, metrics, openapi, plan, requirements, savepoints,
    submit, subtasks, taskmanagers, vertices, why,
};
use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, Uri};
use axum::routing::{self, MethodRouter};

/// A method, a path without the version, in which `{job}` stands for what requests say there, and who answers.
type Route = (Method, &'static str, MethodRouter<App>);

/// All that is answered.
fn all() -> Vec<Route> {
    vec![
        get("/config", jobmanager::dashboard),
        get("/overview", jobmanager::overview),
        get("/jobmanager/config", jobmanager::options),
        get("/jobmanager/environment", jobmanager::environment),
        get("/jobmanager/metrics", metrics::of_job_manager),
        get("/jobmanager/log", logs::log),
        get("/jobmanager/stdout", logs::stdout),
        get("/jobmanager/logs", logs::list),
        get("/jobmanager/logs/{name}", logs::named),
        get("/jobmanager/thread-dump", logs::threads),
        get("/taskmanagers", taskmanagers::list),
        get("/taskmanagers/{id}", taskmanagers::details),
        get("/taskmanagers/{id}/log", logs::log_of_task_manager),
        get("/taskmanagers/{id}/stdout", logs::stdout_of_task_manager),
        get("/taskmanagers/{id}/logs", logs::list_of_task_manager),
        get("/taskmanagers/{id}/logs/{name}", logs::named_of_task_manager),
        get("/taskmanagers/{id}/thread-dump", logs::threads_of_task_manager),
        get("/jobs", jobs::ids),
        post("/jobs", submit::submit),
        get("/jobs/overview", jobs::overview),
        get("/jobs/{job}", jobs::details),
        patch("/jobs/{job}", jobs::terminate),
        get("/jobs/{job}/yarn-cancel", jobs::cancel),
        get("/jobs/{job}/status", jobs::status),
        get("/jobs/{job}/plan", plan::plan),
        get("/jobs/{job}/config", jobs::config),
        get("/jobs/{job}/jobmanager/config", jobmanager::options_of_job),
        get("/jobs/{job}/exceptions", exceptions::history),
        get("/jobs/{job}/events", events::of_job),
        get("/jobs/{job}/why", why::of_job),
        get("/jobs/{job}/metrics", metrics::of_job),
        get("/jobs/{job}/vertices/{vertex}", vertices::details),
        get("/jobs/{job}/vertices/{vertex}/watermarks", vertices::watermarks),
        get("/jobs/{job}/vertices/{vertex}/backpressure", vertices::backpressure),
        get("/jobs/{job}/vertices/{vertex}/taskmanagers", subtasks::by_task_manager),
        get("/jobs/{job}/vertices/{vertex}/subtasktimes", subtasks::times),
        get("/jobs/{job}/vertices/{vertex}/accumulators", subtasks::accumulators),
        get(
            "/jobs/{job}/vertices/{vertex}/subtasks/accumulators",
            subtasks::accumulators_of_subtasks,
        ),
        get("/jobs/{job}/vertices/{vertex}/subtasks/{subtask}", subtasks::details),
        get(
            "/jobs/{job}/vertices/{vertex}/subtasks/{subtask}/metrics",
            subtasks::metrics_of,
        ),
        get(
            "/jobs/{job}/vertices/{vertex}/subtasks/{subtask}/attempts/{attempt}",
            subtasks::attempt,
        ),
        get("/jobs/{job}/vertices/{vertex}/metrics", metrics::of_vertex),
        get("/jobs/{job}/vertices/{vertex}/subtasks/metrics", metrics::over_subtasks),
        get("/jobs/{job}/resource-requirements", requirements::current),
        put("/jobs/{job}/resource-requirements", requirements::change),
        get("/jobs/{job}/checkpoints", checkpoints::history),
        post("/jobs/{job}/checkpoints", savepoints::trigger_checkpoint),
        get("/jobs/{job}/checkpoints/config", checkpoints::config),
        get("/jobs/{job}/checkpoints/details/{id}", checkpoints::details),
        get("/jobs/{job}/checkpoints/{trigger}", savepoints::checkpoint_progress),
        post("/jobs/{job}/savepoints", savepoints::trigger_savepoint),
        get("/jobs/{job}/savepoints/{trigger}", savepoints::savepoint_progress),
        post("/jobs/{job}/stop", savepoints::stop),
        post("/savepoint-disposal", savepoints::dispose),
        get("/savepoint-disposal/{trigger}", savepoints::disposal_progress),
        get("/jars", jars::list),
        post("/jars/upload", jars::upload),
        delete("/jars/{jar}", jars::delete),
        get("/jars/{jar}/plan", jars::plan_by_query),
        post("/jars/{jar}/plan", jars::plan_by_body),
        post("/jars/{jar}/run", jars::run),
        get("/openapi.json", openapi::document),
    ]
}

fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::GET, path, routing::get(handler))
}

fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::POST, path, routing::post(handler))
}

fn put<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::PUT, path, routing::put(handler))
}

fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::DELETE, path, routing::delete(handler))
}

fn patch<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::PATCH, path, routing::patch(handler))
}

/// Answers all paths, with and without the version; those of uploaded files where something can be uploaded.
pub(crate) fn router(app: App) -> Router {
    let can_upload = app.web.is_some();
    let paths = all()
        .into_iter()
        .filter(|(_, path, _)| can_upload || !path.starts_with("/jars"))
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_answered_is_described_and_the_other_way_round() {
        let answered: BTreeSet<(String, String)> = all()
            .into_iter()
            .map(|(method, path, _)| (path.to_owned(), method.to_string().to_lowercase()))
            .collect();
        let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
        let methods = |(path, item): (&String, &Value)| -> Vec<(String, String)> {
            let names = item.as_object().unwrap().keys().filter(|name| *name != "parameters");
            names.map(|method| (path.clone(), method.clone())).collect()
        };
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<(String, String)> = paths.iter().flat_map(methods).collect();
        assert_eq!(answered, described);
    }
}
