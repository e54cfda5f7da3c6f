//! Which JobManager answers: the one that leads. One that stands by sends people there.

use crate::error::RestError;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use flott_cluster::dispatcher::Dispatcher;
use tokio::sync::watch;
use tower::ServiceExt;

/// What a JobManager is now.
#[derive(Clone)]
pub enum Role {
    /// It leads, and has all jobs.
    Leading(Dispatcher),
    /// Another one leads, whose REST is there, host and port; or it is not known yet who does.
    Standby(Option<String>),
}

impl Role {
    /// Whether requests can be sent here: it leads, or knows who does and sends them there.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn is_ready(&self) -> Result<(), String> {
        match self {
            Self::Leading(_) | Self::Standby(Some(_)) => Ok(()),
            Self::Standby(None) => Err("it is not known yet which JobManager leads".to_owned()),
        }
    }
}

/// What answers now.
#[derive(Clone)]
pub(crate) enum Answering {
    Routes(Router),
    Standby(Option<String>),
}

/// Answers with the routes of the time, or tells where to ask.
pub(crate) async fn answer(State(answering): State<watch::Receiver<Answering>>, request: Request) -> Response {
    let now = answering.borrow().clone();
    match now {
        Answering::Routes(routes) => match routes.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        // By the scheme that this request came with.
        Answering::Standby(Some(place)) => Redirect::temporary(&format!("//{place}{}", request.uri())).into_response(),
        Answering::Standby(None) => {
            // In Flink's words, which its clients and people know.
            let text = "Service temporarily unavailable due to an ongoing leader election. Please refresh.";
            RestError::new(StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}
