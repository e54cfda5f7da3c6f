//! Requests to a JobManager ([`JobManager`]): one connection each, JSON both ways, bounded in time and size.

use super::upload::FileUpload;
use anyhow::{Context, Result, anyhow, bail};
use flott_core::Options;
use flott_runtime::net::{Connector, NetError, Stream, tls_fault};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest wait for an answer; what takes longer is triggered, and asked for again and again.
const ANSWER: Duration = Duration::from_secs(120);

/// Longest upload, with its answer.
const UPLOAD: Duration = Duration::from_secs(1_800);

/// Largest answer.
const ANSWER_BYTES: usize = 64 << 20;

/// Time between questions for the end of something.
const POLL: Duration = Duration::from_millis(200);

/// How often one JobManager may send to another.
const MOST_REDIRECTIONS: usize = 3;

/// What a request carries.
#[derive(Clone, Copy)]
enum Content<'a> {
    Json(&'a Value),
    File(&'a FileUpload),
}

impl Content<'_> {
    /// Its media type, its length in bytes and itself.
    fn body(self) -> Result<(String, u64, BoxBody<Bytes, io::Error>)> {
        match self {
            Self::Json(value) => {
                let text = Bytes::from(value.to_string());
                let bytes = text.len() as u64;
                let body = Full::new(text).map_err(|never| match never {}).boxed();
                Ok(("application/json".to_owned(), bytes, body))
            }
            Self::File(upload) => Ok((upload.content_type(), upload.bytes(), upload.body()?.boxed())),
        }
    }

    fn patience(self) -> Duration {
        match self {
            Self::Json(_) => ANSWER,
            Self::File(_) => UPLOAD,
        }
    }
}

/// A JobManager by its address, and how it is asked.
#[derive(Debug, Clone)]
pub struct JobManager {
    address: String,
    connector: Connector,
    /// With the token; it prints as something sensitive.
    authorization: Option<HeaderValue>,
}

impl JobManager {
    /// The one at `HOST:PORT`, asked under TLS and with a token where the options say so.
    ///
    /// # Errors
    /// If one of these options is wrong, or a file that one names.
    pub fn at(address: String, options: &Options) -> Result<Self> {
        let authorization = flott_rest::token(options)?.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        let mut authorization = authorization.transpose().context("security.rest.token")?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            address,
            connector: Connector::of_rest(options)?,
            authorization,
        })
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it is, for people and browsers.
    pub fn url(&self) -> String {
        let scheme = if self.connector.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If there is no JobManager, or it refuses: its reason.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.request(Method::GET, path, &json!({})).await
    }

    /// Asks for a text.
    ///
    /// # Errors
    /// If there is no JobManager, or it refuses: its reason.
    pub async fn text(&self, path: &str) -> Result<String> {
        let (status, bytes) = self.send(Method::GET, path, Content::Json(&json!({}))).await?;
        match status.is_success() {
            true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            false => Err(self.refusal(status, &self.json(&bytes)?)),
        }
    }

    /// Wants something done.
    ///
    /// # Errors
    /// If there is no JobManager, or it refuses: its reason.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.request(Method::POST, path, body).await
    }

    /// Wants something to be so.
    ///
    /// # Errors
    /// If there is no JobManager, or it refuses: its reason.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.request(Method::PUT, path, body).await
    }

    /// Wants something changed.
    ///
    /// # Errors
    /// If there is no JobManager, or it refuses: its reason.
    pub async fn patch(&self, path: &str) -> Result<Value> {
        self.request(Method::PATCH, path, &json!({})).await
    }

    /// Wants something gone.
    ///
    /// # Errors
    /// If there is no JobManager, or it refuses: its reason.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.request(Method::DELETE, path, &json!({})).await
    }

    /// Sends a file.
    ///
    /// # Errors
    /// If it cannot be read, there is no JobManager, or it refuses: its reason.
    pub async fn upload(&self, path: &str, file: &FileUpload) -> Result<Value> {
        let (status, bytes) = self.send(Method::POST, path, Content::File(file)).await?;
        self.answer(status, &bytes)
    }

    /// Triggers an operation and waits for its result, which is asked for at `asked`, followed by the id of the trigger.
    ///
    /// # Errors
    /// If there is no JobManager, or it refuses, or the operation fails: its reason.
    pub async fn operation(&self, path: &str, body: &Value, asked: &str) -> Result<Value> {
        let triggered = self.post(path, body).await?;
        let Some(trigger) = triggered["request-id"].as_str() else {
            return Err(self.is_none(&triggered.to_string()));
        };
        loop {
            let mut progress = self.get(&format!("{asked}/{trigger}")).await?;
            if progress["status"]["id"] == "COMPLETED" {
                let result = progress["operation"].take();
                for field in ["failure-cause", "failureCause"] {
                    if !result[field].is_null() {
                        bail!("{}", cause(&result[field]));
                    }
                }
                return Ok(result);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn request(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let (status, bytes) = self.send(method, path, Content::Json(body)).await?;
        self.answer(status, &bytes)
    }

    fn answer(&self, status: StatusCode, bytes: &[u8]) -> Result<Value> {
        let answer = self.json(bytes)?;
        match status.is_success() {
            true => Ok(answer),
            false => Err(self.refusal(status, &answer)),
        }
    }

    fn json(&self, bytes: &[u8]) -> Result<Value> {
        serde_json::from_slice(bytes).map_err(|_| {
            let start: String = String::from_utf8_lossy(bytes).chars().take(60).collect();
            self.is_none(start.trim())
        })
    }

    /// Why a request is not answered as it wants.
    fn refusal(&self, status: StatusCode, answer: &Value) -> anyhow::Error {
        match answer["errors"].as_array() {
            Some(errors) => {
                let texts: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
                anyhow!("the JobManager at {} refuses: {}", self.address, texts.join("\n"))
            }
            None => self.is_none(&format!("status {status}")),
        }
    }

    /// Sends a request, where another JobManager leads to that one, and gives the answer whatever it is.
    async fn send(&self, method: Method, path: &str, content: Content<'_>) -> Result<(StatusCode, Bytes)> {
        let mut asked = self.clone();
        for _ in 0..MOST_REDIRECTIONS {
            let (status, elsewhere, bytes) = asked.send_once(method.clone(), path, content).await?;
            match elsewhere {
                None => return Ok((status, bytes)),
                Some(place) => asked.address = place,
            }
        }
        bail!("the JobManagers name each other as the one that leads; ask again")
    }

    async fn send_once(
        &self,
        method: Method,
        path: &str,
        content: Content<'_>,
    ) -> Result<(StatusCode, Option<String>, Bytes)> {
        let address = &self.address;
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.is_not_there(&error.to_string())),
            Err(_) => return Err(self.is_not_there(&format!("no connection within {} s", CONNECT.as_secs()))),
        };
        let answered = timeout(content.patience(), self.exchange(stream, method, path, content)).await;
        answered.map_err(|_| {
            anyhow!(
                "the JobManager at {address} has not answered within {} s",
                content.patience().as_secs()
            )
        })?
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        method: Method,
        path: &str,
        content: Content<'_>,
    ) -> Result<(StatusCode, Option<String>, Bytes)> {
        let (content_type, bytes, body) = content.body()?;
        let stream = self.secure(stream).await?;
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = made.map_err(|error| self.is_broken(&error))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1{path}"))
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, bytes)
            .header(CONNECTION, "close")
            .body(body)
            .with_context(|| format!("{path} is no path of a request"))?;
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        // It ends with the answer.
        let connection = tokio::spawn(connection);
        let answer = match sender.send_request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                drop(sender);
                // A connection that ends before it is asked says why, and nobody else does.
                return Err(match connection.await {
                    Ok(Err(cause)) if error.is_canceled() => self.is_broken(&cause),
                    _ => self.is_broken(&error),
                });
            }
        };
        let status = answer.status();
        let elsewhere = leader_of(
            answer
                .headers()
                .get(LOCATION)
                .filter(|_| status == StatusCode::TEMPORARY_REDIRECT),
        );
        let read = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let read = read.map_err(|error| self.is_none(&format!("its answer cannot be read: {error}")))?;
        Ok((status, elsewhere, read.to_bytes()))
    }

    async fn secure(&self, stream: TcpStream) -> Result<Stream> {
        let host = self
            .address
            .rsplit_once(':')
            .map_or(self.address.as_str(), |(host, _)| host);
        let secured = self.connector.connect(stream, host).await;
        secured.map_err(|error| match error {
            NetError::Tls { fault } => self.is_no_tls(&fault),
            other => anyhow!("no TLS with the JobManager at {}: {other}", self.address),
        })
    }

    fn is_broken(&self, error: &hyper::Error) -> anyhow::Error {
        match tls_fault(error) {
            Some(fault) => self.is_no_tls(&fault),
            None if self.connector.is_tls() => self.is_none(&error.to_string()),
            None => self.is_none(&format!("{error}; if it speaks TLS, set security.ssl.rest.enabled")),
        }
    }

    fn is_no_tls(&self, fault: &str) -> anyhow::Error {
        anyhow!("no TLS with the JobManager at {}: {fault}", self.address)
    }

    fn is_not_there(&self, reason: &str) -> anyhow::Error {
        anyhow!(
            "there is no JobManager at {}: {reason}; start one there, or name another with -m HOST:PORT",
            self.address
        )
    }

    fn is_none(&self, answer: &str) -> anyhow::Error {
        anyhow!(
            "what listens at {} is not a JobManager ({answer}); name one with -m HOST:PORT, at its rest.port",
            self.address
        )
    }
}

/// Host and port that a JobManager which stands by sends to.
fn leader_of(location: Option<&HeaderValue>) -> Option<String> {
    let (place, _) = location?.to_str().ok()?.strip_prefix("//")?.split_once('/')?;
    Some(place.to_owned())
}

/// Why an operation failed: the first line says it all, unless the JobManager is Flink's, whose line begins with the name of a class.
fn cause(failure: &Value) -> String {
    let class = failure["class"].as_str().unwrap_or_default();
    let trace = failure["stack-trace"].as_str().unwrap_or_default().trim();
    let text = trace.strip_prefix(class).unwrap_or(trace);
    text.trim_start_matches(':').trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_lose_the_name_of_their_class() {
        let failure = json!({ "class": "flott.OperationFailed", "stack-trace": "flott.OperationFailed: no room\n" });
        assert_eq!(cause(&failure), "no room");
        assert_eq!(cause(&json!({ "stack-trace": "other: x" })), "other: x");
    }
}
