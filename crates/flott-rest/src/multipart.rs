//! Bodies of the type `multipart/form-data` (RFC 7578), as browsers, curl and Flink's client send files, read as they come ([`Parts`]).
//!
//! ```text
//!  --BOUNDARY CRLF headers CRLF CRLF content CRLF --BOUNDARY CRLF … CRLF --BOUNDARY--
//! ```
//! What stands before the first boundary and behind the last is skipped. Nothing is held of a body but what has come and was not asked for
//! yet, a few hundred KiB at most; headers of a part are [`HEADER_BYTES`] at most.

use crate::error::RestError;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use memchr::memmem;

/// Most bytes of the headers of a part.
const HEADER_BYTES: usize = 16 << 10;

/// Longest boundary, by RFC 2046.
const BOUNDARY_BYTES: usize = 70;

/// What ends the headers of a part.
const END_OF_HEADERS: &[u8] = b"\r\n\r\n";

/// The parts of a body, one after the other.
pub(crate) struct Parts {
    body: BodyDataStream,
    /// What has come and was not given yet.
    unread: BytesMut,
    /// What a boundary begins with.
    delimiter: Vec<u8>,
    limit_bytes: u64,
    left_bytes: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a part, or before the first.
    Content,
    /// Behind a boundary.
    Boundary,
    /// Behind the last one.
    End,
}

/// What a part says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// As the client says, which is not to be trusted; `None`: it is no file.
    pub(crate) file_name: Option<String>,
}

impl Parts {
    /// Those of a body of `limit_bytes` at most.
    ///
    /// # Errors
    /// 400 if its type is another one.
    pub(crate) fn of(headers: &HeaderMap, body: Body, limit_bytes: u64) -> Result<Self, RestError> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(boundary).ok_or_else(|| {
            RestError::bad_request(format!(
                "a file is uploaded as multipart/form-data with a boundary, and not as '{}': curl -F jarfile=@job.sql does",
                content_type.unwrap_or_default()
            ))
        })?;
        Ok(Self {
            body: body.into_data_stream(),
            // The first boundary has none before it.
            unread: BytesMut::from(&b"\r\n"[..]),
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            limit_bytes,
            left_bytes: limit_bytes,
            place: Place::Content,
        })
    }

    /// The next part; what was not read of the one before is skipped. `None`: all was read.
    ///
    /// # Errors
    /// 400 if the body is none of parts, or was cut off; 413 if it is too large.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, RestError> {
        while self.content().await?.is_some() {}
        if self.place == Place::Boundary {
            self.place = self.behind_boundary().await?;
        }
        if self.place == Place::End {
            while self.fill().await? {
                self.unread.clear();
            }
            return Ok(None);
        }
        let length = loop {
            match memmem::find(&self.unread, END_OF_HEADERS) {
                Some(at) if at <= HEADER_BYTES => break at + END_OF_HEADERS.len(),
                _ if self.unread.len() > HEADER_BYTES => {
                    return Err(malformed("the headers of a part are too long"));
                }
                _ => self.await_more().await?,
            }
        };
        let headers = self.unread.split_to(length);
        Ok(Some(part(&String::from_utf8_lossy(&headers))))
    }

    /// More of the content of this part. `None`: it has ended.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(crate) async fn content(&mut self) -> Result<Option<Bytes>, RestError> {
        if self.place != Place::Content {
            return Ok(None);
        }
        loop {
            if let Some(at) = memmem::find(&self.unread, &self.delimiter) {
                if at > 0 {
                    return Ok(Some(self.unread.split_to(at).freeze()));
                }
                let _ = self.unread.split_to(self.delimiter.len());
                self.place = Place::Boundary;
                return Ok(None);
            }
            // The rest may be the beginning of a boundary.
            let certain = self.unread.len().saturating_sub(self.delimiter.len() - 1);
            if certain > 0 {
                return Ok(Some(self.unread.split_to(certain).freeze()));
            }
            self.await_more().await?;
        }
    }

    /// What follows a boundary: two hyphens say that it is the last one.
    async fn behind_boundary(&mut self) -> Result<Place, RestError> {
        while self.unread.len() < 2 {
            self.await_more().await?;
        }
        Ok(match self.unread.starts_with(b"--") {
            true => Place::End,
            false => Place::Content,
        })
    }

    /// Waits for more.
    async fn await_more(&mut self) -> Result<(), RestError> {
        match self.fill().await? {
            true => Ok(()),
            false => Err(malformed("it was cut off")),
        }
    }

    /// Waits for more; whether it came.
    async fn fill(&mut self) -> Result<bool, RestError> {
        let Some(came) = self.body.next().await else {
            return Ok(false);
        };
        let came = came.map_err(|error| malformed(&error.to_string()))?;
        let Some(left) = self.left_bytes.checked_sub(came.len() as u64) else {
            let text = format!(
                "the upload is larger than {} bytes (rest.server.max-content-length)",
                self.limit_bytes
            );
            return Err(RestError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        };
        self.left_bytes = left;
        self.unread.extend_from_slice(&came);
        Ok(true)
    }
}

fn malformed(why: &str) -> RestError {
    RestError::bad_request(format!("the upload cannot be read: {why}"))
}

/// The boundary that a content type names.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, _) = content_type.split_once(';')?;
    let boundary = parameter(content_type, "boundary")?;
    let is_it = kind.trim().eq_ignore_ascii_case("multipart/form-data");
    (is_it && (1..=BOUNDARY_BYTES).contains(&boundary.len())).then_some(boundary)
}

fn part(headers: &str) -> Part {
    let lines = headers.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut dispositions = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    Part {
        file_name: dispositions.next().and_then(|(_, value)| parameter(value, "filename")),
    }
}

/// A parameter of a header such as `form-data; name="jarfile"; filename="job.sql"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (name, value) = rest.split_once('=')?;
        let (value, behind) = value_of(value.trim_start());
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        (_, rest) = behind.split_once(';')?;
    }
}

/// A value at the beginning of a text, and what follows it. In quotes only a quote is escaped: browsers send paths of Windows as they are.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let Some(end) = rest.find('"') else {
            return (value + rest, "");
        };
        let (before, behind) = (&rest[..end], &rest[end + 1..]);
        match before.strip_suffix('\\') {
            Some(escaped) => value = value + escaped + "\"",
            None => return (value + before, behind),
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use std::convert::Infallible;

    const TYPE: &str = "multipart/form-data; boundary=xYz";

    /// The files of a body that comes in pieces of `step` bytes: names and contents.
    async fn files(content_type: &str, body: &str, step: usize, limit: u64) -> Result<Vec<(String, String)>, String> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
        let pieces: Vec<Bytes> = body.as_bytes().chunks(step).map(Bytes::copy_from_slice).collect();
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
        let said = |error: RestError| error.text().to_owned();
        let mut parts = Parts::of(&headers, body, limit).map_err(said)?;
        let mut found = vec![];
        while let Some(part) = parts.next().await.map_err(said)? {
            let Some(name) = part.file_name else { continue };
            let mut content = vec![];
            while let Some(more) = parts.content().await.map_err(said)? {
                content.extend_from_slice(&more);
            }
            found.push((name, String::from_utf8(content).unwrap()));
        }
        Ok(found)
    }

    fn body(parts: &[(&str, &str)]) -> String {
        let part = |(headers, content): &(&str, &str)| format!("--xYz\r\n{headers}\r\n\r\n{content}\r\n");
        parts.iter().map(part).collect::<String>() + "--xYz--\r\n"
    }

    #[tokio::test]
    async fn files_are_found_however_the_body_is_cut() {
        let text = "preamble\r\n".to_owned()
            + &body(&[
                ("Content-Disposition: form-data; name=\"request\"", "{}"),
                (
                    "Content-Disposition: form-data; name=\"jarfile\"; filename=\"a.sql\"\r\nContent-Type: text/plain",
                    "SELECT 1;\r\n--xY\r\n--x\r\n",
                ),
                ("content-disposition:form-data;filename=b.sql;name=x", ""),
                ("X: y", "no file"),
            ])
            + "epilogue";
        for step in [1, 2, 3, 7, 1_000] {
            let found = files(TYPE, &text, step, 10_000).await.unwrap();
            let wanted = [("a.sql", "SELECT 1;\r\n--xY\r\n--x\r\n"), ("b.sql", "")];
            let found: Vec<(&str, &str)> = found
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str()))
                .collect();
            assert_eq!(found, wanted, "{step}");
        }
    }

    #[tokio::test]
    async fn what_is_no_whole_body_is_refused() {
        let text = body(&[("Content-Disposition: form-data; filename=\"a\"", "content")]);
        for end in [0, 3, 5, 20, text.len() - 5, text.len() - 4] {
            let error = files(TYPE, &text[..end], 4, 1_000).await.unwrap_err();
            assert!(error.contains("cut off"), "{end}: {error}");
        }
        // The hyphens are the end.
        assert!(files(TYPE, text.trim_end(), 4, 1_000).await.is_ok());
        let long = body(&[(&"x".repeat(HEADER_BYTES + 1), "")]);
        let error = files(TYPE, &long, 1_000, 1 << 20).await.unwrap_err();
        assert!(error.contains("too long"), "{error}");
        let error = files(TYPE, &text, 4, text.len() as u64 - 1).await.unwrap_err();
        assert!(
            error.contains("larger than") && error.contains("max-content-length"),
            "{error}"
        );
        assert!(files(TYPE, &text, 4, text.len() as u64).await.is_ok());
    }

    #[tokio::test]
    async fn other_types_are_named() {
        let long = format!("multipart/form-data; boundary={}", "x".repeat(BOUNDARY_BYTES + 1));
        for wrong in [
            "application/json",
            "multipart/mixed; boundary=x",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            &long,
        ] {
            let error = files(wrong, "", 1, 10).await.unwrap_err();
            assert!(error.contains(wrong) && error.contains("curl -F"), "{error}");
        }
        assert_eq!(
            boundary("Multipart/Form-Data; charset=x; boundary=\"a b\""),
            Some("a b".into())
        );
    }

    #[test]
    fn names_in_quotes_are_as_they_are() {
        let name = |header: &str| parameter(header, "filename");
        assert_eq!(
            name("form-data; name=\"a;b\"; filename=\"x;y.sql\"").as_deref(),
            Some("x;y.sql")
        );
        assert_eq!(
            name("form-data; filename=\"a \\\"b\\\".sql\"; x=y").as_deref(),
            Some("a \"b\".sql")
        );
        assert_eq!(
            name("form-data; filename=\"C:\\dir\\a.sql\"").as_deref(),
            Some("C:\\dir\\a.sql")
        );
        assert_eq!(name("form-data; filename=\"open"), Some("open".into()));
        assert_eq!(name("form-data; filename*=UTF-8''a.sql"), None);
        assert_eq!(name("form-data"), None);
    }
}
