//! What requests bring along: ids in the path, values in the query, JSON bodies of a bounded size.

use crate::error::RestError;
use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use flott_core::OperatorId;
use serde::de::DeserializeOwned;

/// Largest body of a request that brings no plan.
pub(crate) const SMALL_BODY_BYTES: usize = 1 << 20;

/// An id of 32 hexadecimal digits in the path or a body.
///
/// # Errors
/// 400 if it is none.
pub(crate) fn id(name: &str, text: &str) -> Result<u128, RestError> {
    let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.parse::<OperatorId>() {
        Ok(id) if is_hex => Ok(id.0),
        _ => Err(RestError::parameter(name, text)),
    }
}

/// A value of the query, decoded; the first of several.
pub(crate) fn query(raw: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(raw?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The comma-separated values of the query; `None`: it has no such name.
pub(crate) fn query_list(raw: Option<&str>, name: &str) -> Option<Vec<String>> {
    let text = query(raw, name)?;
    let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
    Some(values.map(str::to_owned).collect())
}

/// Reads a JSON body; an empty one stands for `{}`.
///
/// # Errors
/// 413 beyond `limit_bytes`, 400 if it has another form.
pub(crate) async fn body<T: DeserializeOwned>(body: Body, limit_bytes: usize) -> Result<T, RestError> {
    let Ok(bytes) = to_bytes(body, limit_bytes).await else {
        let text = format!("the body of the request is larger than {limit_bytes} bytes, or was cut off");
        return Err(RestError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    };
    let json: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(json)
        .map_err(|error| RestError::bad_request(format!("the body of the request cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_digits_and_nothing_else() {
        assert_eq!(id("jobid", "000000000000000000000000000000ff").unwrap(), 255);
        for wrong in [
            "",
            "ff",
            "+00000000000000000000000000000ff",
            "0000000000000000000000000000000g",
        ] {
            assert!(id("jobid", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_the_query_are_decoded_and_split() {
        let raw = Some("get=Source__a%5B1%5D.numRecordsIn%2Cb&agg=min,max");
        assert_eq!(query_list(raw, "get").unwrap(), ["Source__a[1].numRecordsIn", "b"]);
        assert_eq!(query_list(raw, "agg").unwrap(), ["min", "max"]);
        assert_eq!(query_list(raw, "subtasks"), None);
        assert_eq!(query(None, "get"), None);
    }
}
