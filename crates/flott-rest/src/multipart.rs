//! Bodies of the type `multipart/form-data`, as browsers, curl and Flink's client send files: read as they come, within a bound.

use crate::error::RestError;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use multer::{Constraints, Error, Multipart, SizeLimit};

/// The parts of a body of `limit_bytes` at most.
///
/// # Errors
/// 400 if its type is another one.
pub(crate) fn parts(headers: &HeaderMap, body: Body, limit_bytes: u64) -> Result<Multipart<'static>, RestError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(|_| {
        RestError::bad_request(format!(
            "a file is uploaded as multipart/form-data with a boundary, and not as '{content_type}': curl -F jarfile=@job.sql does"
        ))
    })?;
    let limit = SizeLimit::new().whole_stream(limit_bytes);
    let constraints = Constraints::new().size_limit(limit);
    Ok(Multipart::with_constraints(
        body.into_data_stream(),
        boundary,
        constraints,
    ))
}

/// What is wrong with a body: 413 if it is too large, else 400.
pub(crate) fn unreadable(error: Error) -> RestError {
    match error {
        Error::StreamSizeExceeded { limit } => {
            let text = format!("the upload is larger than {limit} bytes (rest.server.max-content-length)");
            RestError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        error => RestError::bad_request(format!("the upload cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use futures::stream;
    use std::convert::Infallible;

    /// The first file of a body that comes in pieces of `step` bytes.
    async fn file(content_type: &str, body: &str, step: usize, limit: u64) -> Result<Option<String>, String> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
        let pieces: Vec<Bytes> = body.as_bytes().chunks(step).map(Bytes::copy_from_slice).collect();
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
        let said = |error: RestError| error.text().to_owned();
        let mut parts = parts(&headers, body, limit).map_err(said)?;
        let Some(part) = parts.next_field().await.map_err(|e| said(unreadable(e)))? else {
            return Ok(None);
        };
        let text = part.text().await.map_err(|e| said(unreadable(e)))?;
        Ok(Some(text))
    }

    const TYPE: &str = "multipart/form-data; boundary=xYz";
    const BODY: &str =
        "--xYz\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"a.sql\"\r\n\r\nSELECT 1;\r\n--xYz--\r\n";

    #[tokio::test]
    async fn a_file_comes_in_any_pieces_and_within_its_bound() {
        for step in [1, 7, 1_000] {
            let found = file(TYPE, BODY, step, BODY.len() as u64).await;
            assert_eq!(found.unwrap().as_deref(), Some("SELECT 1;"));
            let text = file(TYPE, BODY, step, 90).await.unwrap_err();
            assert!(
                text.contains("larger than 90 bytes (rest.server.max-content-length)"),
                "{text}"
            );
            let text = file(TYPE, &BODY[..80], step, 1_000).await.unwrap_err();
            assert!(text.contains("cannot be read"), "{text}");
        }
    }

    #[tokio::test]
    async fn other_types_are_named() {
        for wrong in ["application/json", "multipart/form-data"] {
            let text = file(wrong, "", 1, 10).await.unwrap_err();
            assert!(text.contains(wrong) && text.contains("curl -F"), "{text}");
        }
    }
}
