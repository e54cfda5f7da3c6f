//! Requests to a collector ([`Endpoint`]): one connection each, protobuf by POST.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::fmt;
use tokio::net::TcpStream;

/// Where OpenTelemetry has spans go, if a URL does not say.
const DEFAULT_PATH: &str = "/v1/traces";

/// As much of an answer is read.
const ANSWER_BYTES: usize = 64 << 10;

/// A collector's place for spans.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

/// Why spans were not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) text: String,
    /// Whether they may be taken another time.
    pub(super) is_passing: bool,
}

impl Refusal {
    pub(super) fn passing(text: impl fmt::Display) -> Self {
        let text = text.to_string();
        Self { text, is_passing: true }
    }
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("this is no URL ({error})"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(
                    "TLS to collectors is not there; send to a collector on this machine, which sends on under TLS"
                        .to_owned(),
                );
            }
            _ => return Err("it has to begin with http://".to_owned()),
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or("the host is missing")?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            path: if path == "/" { DEFAULT_PATH } else { path }.to_owned(),
        })
    }

    /// Sends the body of a request. The caller bounds the time; cancel-safe, though the collector may have it.
    ///
    /// # Errors
    /// If there is no collector, or it refuses.
    pub(super) async fn post(&self, body: Bytes) -> Result<(), Refusal> {
        let host = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await.map_err(Refusal::passing)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Refusal::passing)?;
        let request = Request::post(&self.path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONNECTION, "close")
            .body(Full::new(body))
            .map_err(Refusal::passing)?;
        let answered = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            Ok((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
        };
        // The connection is driven by the same task, and so ends with it.
        let driven = async {
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        let answered: Result<(StatusCode, Bytes), hyper::Error> = tokio::select! {
            answered = answered => answered,
            () = driven => return Err(Refusal::passing("the connection has ended")),
        };
        let (status, body) = answered.map_err(Refusal::passing)?;
        judge(status, &body)
    }
}

/// What the protocol says of statuses.
fn judge(status: StatusCode, body: &[u8]) -> Result<(), Refusal> {
    if status.is_success() {
        return Ok(());
    }
    let start: String = String::from_utf8_lossy(body)
        .chars()
        .filter(|c| !c.is_control())
        .take(120)
        .collect();
    Err(Refusal {
        text: format!("status {status} {start}").trim_end().to_owned(),
        is_passing: matches!(status.as_u16(), 429 | 502 | 503 | 504),
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_whose_path_may_be_left_out() {
        for (url, read) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            (
                "http://collector/otlp/v1/traces?a=b",
                "http://collector:80/otlp/v1/traces?a=b",
            ),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().to_string(), read);
        }
        for (url, why) in [
            ("localhost:4318", "http://"),
            ("https://collector:4318", "TLS"),
            ("ftp://collector", "http://"),
            ("http://a b", "no URL"),
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(judge(StatusCode::OK, b"").is_ok());
        assert!(judge(StatusCode::SERVICE_UNAVAILABLE, b"").unwrap_err().is_passing);
        let refusal = judge(StatusCode::BAD_REQUEST, b"no\nspans").unwrap_err();
        assert_eq!(
            (refusal.text.as_str(), refusal.is_passing),
            ("status 400 Bad Request nospans", false)
        );
    }
}
