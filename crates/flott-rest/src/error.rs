//! Errors in Flink's form: a JSON object whose only key is `errors`, which Flink's client tells from an answer by that.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A request that is not answered as it wants.
#[derive(Debug)]
pub(crate) struct RestError {
    status: StatusCode,
    text: String,
}

impl RestError {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    /// What it says.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What is asked for is not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// The request is wrong.
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// A part of the path or the query has no value of its type, in Flink's words.
    pub(crate) fn parameter(name: &str, value: &str) -> Self {
        Self::bad_request(format!(
            "Bad request, could not parse parameters: Cannot resolve path parameter ({name}) from value \"{value}\"."
        ))
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        Json(self.status, json!({ "errors": [self.text] })).into_response()
    }
}

/// A JSON answer.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) StatusCode, pub(crate) Value);

impl Json {
    /// A plain answer.
    pub(crate) fn ok(value: Value) -> Self {
        Self(StatusCode::OK, value)
    }

    /// What is asked for happens from now on.
    pub(crate) fn accepted(value: Value) -> Self {
        Self(StatusCode::ACCEPTED, value)
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let content_type = [(axum::http::header::CONTENT_TYPE, "application/json; charset=UTF-8")];
        (self.0, content_type, self.1.to_string()).into_response()
    }
}

/// What every handler gives.
pub(crate) type Answer = Result<Json, RestError>;
