//! The description of the server for tools: an OpenAPI 3.1 document, written by hand and served as it is.
//!
//! It cannot fall behind: [`crate::routes`] is compared with its paths, and answers are tested against its schemas.

use axum::http::header;
use axum::response::IntoResponse;

/// The document.
pub(crate) const DOCUMENT: &str = include_str!("../openapi.json");

/// `GET /openapi.json`
pub(crate) async fn document() -> impl IntoResponse {
    let content_type = [(header::CONTENT_TYPE, "application/json; charset=UTF-8")];
    (content_type, DOCUMENT)
}
