//! Whether the JobManager gets on (`/livez`), and whether it can be asked (`/readyz`): for who restarts it, or sends requests to it.
//!
//! Both answer everybody, without a token, with a line of text: a kubelet has none. 200: yes. 503: no, and why. A runtime that
//! hangs altogether does not answer here at all; the endpoint of metrics, on a thread of its own, still tells.

use crate::role::Role;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use flott_cluster::liveness;
use std::future::ready;
use tokio::sync::watch;

/// A word, or why not.
type Told = Result<&'static str, (StatusCode, String)>;

/// Answers both paths, of a JobManager of this role.
pub(crate) fn router(role: watch::Receiver<Role>) -> Router {
    let is_live = || liveness::process().check();
    let is_ready = move || is_live().and_then(|()| role.borrow().is_ready());
    Router::new()
        .route("/livez", get(move || ready(told(is_live()))))
        .route("/readyz", get(move || ready(told(is_ready()))))
}

fn told(is_well: Result<(), String>) -> Told {
    is_well
        .map(|()| "ok\n")
        .map_err(|why| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_is_ready_when_it_knows_who_leads() {
        assert!(Role::Standby(None).is_ready().is_err());
        assert_eq!(Role::Standby(Some("host:8081".into())).is_ready(), Ok(()));
    }
}
