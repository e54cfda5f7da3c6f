//! [`Connection`]: one TCP or TLS stream to a broker.
//!
//! Requests are pipelined: [`Connection::start`] puts a frame into the writer's queue, in the order of the calls, and gives a
//! [`PendingCall`] that waits for the answer with the same correlation id. A failed read, a failed write or a request past
//! `request.timeout.ms` closes the connection and fails every pending call; whoever needs the broker connects anew.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::config::ClientConfig;
use super::error::{ErrorCode, KafkaError};
use super::security::scram::{self, Scram};
use super::security::{SaslConfig, SaslMechanism};

/// A frame larger than this is not from a Kafka broker.
const MAX_FRAME_BYTES: usize = 1 << 30;
/// `UNSUPPORTED_VERSION`, which an older broker answers to a newer ApiVersions.
const UNSUPPORTED_VERSION: i16 = 35;

type Waiter = oneshot::Sender<Result<Bytes, String>>;

/// Calls that wait for an answer; `Err` once the connection is closed, with the reason.
type Pending = Mutex<Result<HashMap<i32, Waiter>, String>>;

/// See the module.
#[derive(Debug)]
pub struct Connection {
    broker: Arc<str>,
    client_id: StrBytes,
    request_timeout: Duration,
    frames: mpsc::UnboundedSender<Bytes>,
    pending: Arc<Pending>,
    correlation: AtomicI32,
    /// API key to the broker's lowest and highest version.
    versions: HashMap<i16, (i16, i16)>,
}

/// A request that was written, or is about to be; await [`PendingCall::answer`].
#[derive(Debug)]
pub struct PendingCall<R> {
    broker: Arc<str>,
    api: &'static str,
    version: i16,
    timeout: Duration,
    answer: oneshot::Receiver<Result<Bytes, String>>,
    pending: Arc<Pending>,
    response: PhantomData<fn() -> R>,
}

fn lock(pending: &Pending) -> MutexGuard<'_, Result<HashMap<i32, Waiter>, String>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

fn close(pending: &Pending, reason: &str) {
    let calls = std::mem::replace(&mut *lock(pending), Err(reason.to_owned()));
    for (_, waiter) in calls.into_iter().flatten() {
        // A caller that went away does not mind.
        let _ = waiter.send(Err(reason.to_owned()));
    }
}

/// Kafka's name of the API of `R`.
pub fn api_name<R: Request>() -> &'static str {
    let path = std::any::type_name::<R>();
    let name = path.rsplit("::").next().unwrap_or(path);
    name.strip_suffix("Request").unwrap_or(name)
}

/// The answer that a frame without its length is; the error is the reason.
///
/// Room for an array is asked for before its elements are read, so damaged bytes may reserve address space that is never
/// touched.
pub fn decode_answer<R: Decodable + HeaderVersion>(bytes: &mut Bytes, version: i16) -> Result<R, String> {
    ResponseHeader::decode(bytes, R::header_version(version)).map_err(|e| e.to_string())?;
    R::decode(bytes, version).map_err(|e| e.to_string())
}

impl<R: Decodable + HeaderVersion> PendingCall<R> {
    /// Waits for the answer.
    pub async fn answer(self) -> Result<R, KafkaError> {
        let disconnected = |reason: String| KafkaError::Disconnected {
            broker: self.broker.to_string(),
            reason,
        };
        let mut bytes = match tokio::time::timeout(self.timeout, self.answer).await {
            Ok(Ok(Ok(bytes))) => bytes,
            Ok(Ok(Err(reason))) => return Err(disconnected(reason)),
            Ok(Err(_)) => return Err(disconnected("the connection was closed".into())),
            Err(_) => {
                close(&self.pending, "a request timed out");
                let timeout_ms = self.timeout.as_millis() as u64;
                return Err(KafkaError::Timeout {
                    broker: self.broker.to_string(),
                    api: self.api,
                    timeout_ms,
                });
            }
        };
        decode_answer(&mut bytes, self.version).map_err(|reason| KafkaError::Malformed {
            broker: self.broker.to_string(),
            api: self.api,
            reason,
        })
    }
}

impl Connection {
    /// Connects, agrees on versions and authenticates, all within `socket.connection.setup.timeout.ms`.
    pub async fn open(host: &str, port: u16, broker: &str, config: &ClientConfig) -> Result<Self, KafkaError> {
        match tokio::time::timeout(config.connect_timeout, Self::open_unbounded(host, port, broker, config)).await {
            Ok(result) => result,
            Err(_) => Err(KafkaError::Disconnected {
                broker: broker.to_owned(),
                reason: format!(
                    "could not be connected to within {} ms",
                    config.connect_timeout.as_millis()
                ),
            }),
        }
    }

    async fn open_unbounded(host: &str, port: u16, broker: &str, config: &ClientConfig) -> Result<Self, KafkaError> {
        let disconnected = |e: std::io::Error| KafkaError::Disconnected {
            broker: broker.to_owned(),
            reason: e.to_string(),
        };
        let tcp = TcpStream::connect((host, port)).await.map_err(disconnected)?;
        tcp.set_nodelay(true).map_err(disconnected)?;
        let mut connection = match &config.security.tls {
            None => {
                let (read, write) = tcp.into_split();
                Self::over(read, write, broker, config)
            }
            Some(tls) => {
                let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|e| KafkaError::Tls {
                    broker: broker.to_owned(),
                    reason: e.to_string(),
                })?;
                let stream = tokio_rustls::TlsConnector::from(tls.client.clone())
                    .connect(name, tcp)
                    .await
                    .map_err(|e| match e.kind() {
                        std::io::ErrorKind::InvalidData => KafkaError::Tls {
                            broker: broker.to_owned(),
                            reason: e.to_string(),
                        },
                        _ => disconnected(e),
                    })?;
                let (read, write) = tokio::io::split(stream);
                Self::over(read, write, broker, config)
            }
        };
        connection.versions = connection.ask_versions().await?;
        if let Some(sasl) = &config.security.sasl {
            connection.authenticate(sasl).await?;
        }
        Ok(connection)
    }

    fn over(
        read: impl AsyncRead + Unpin + Send + 'static,
        write: impl AsyncWrite + Unpin + Send + 'static,
        broker: &str,
        config: &ClientConfig,
    ) -> Self {
        let pending: Arc<Pending> = Arc::new(Mutex::new(Ok(HashMap::new())));
        let (frames, queue) = mpsc::unbounded_channel();
        let for_writer = pending.clone();
        let for_reader = pending.clone();
        // Each half ends the other: a closed queue shuts the stream down, an ended stream closes the pending calls.
        tokio::spawn(async move {
            if let Err(e) = write_frames(write, queue).await {
                close(&for_writer, &format!("writing failed: {e}"));
            }
        });
        tokio::spawn(async move {
            let reason = read_frames(read, &for_reader).await;
            close(&for_reader, &reason);
        });
        Self {
            broker: Arc::from(broker),
            client_id: StrBytes::from_string(config.client_id.clone()),
            request_timeout: config.request_timeout,
            frames,
            pending,
            correlation: AtomicI32::new(0),
            versions: HashMap::new(),
        }
    }

    /// The broker, as messages name it.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// Whether a new call is refused.
    pub fn is_closed(&self) -> bool {
        lock(&self.pending).is_err()
    }

    /// The version to use for `R`: the highest that both sides speak, at most `max`, at least `min`.
    pub fn version<R: Request>(&self, min: i16, max: i16) -> Result<i16, KafkaError> {
        let (broker_min, broker_max) = self.versions.get(&R::KEY).copied().unwrap_or((-1, -1));
        let (our_min, our_max) = (R::VERSIONS.min.max(min), R::VERSIONS.max.min(max));
        let version = broker_max.min(our_max);
        if version < our_min || version < broker_min {
            let (broker, api) = (self.broker.to_string(), api_name::<R>());
            return Err(KafkaError::Unsupported {
                broker,
                api,
                broker_min,
                broker_max,
                our_min,
                our_max,
            });
        }
        Ok(version)
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<(i32, Bytes), KafkaError> {
        let malformed = |reason: String| KafkaError::Malformed {
            broker: self.broker.to_string(),
            api: api_name::<R>(),
            reason: format!("the request cannot be written in version {version}: {reason}"),
        };
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(self.client_id.clone()));
        let size = request.compute_size(version).map_err(|e| malformed(e.to_string()))?;
        let mut frame = BytesMut::with_capacity(size + self.client_id.len() + 32);
        frame.extend_from_slice(&[0; 4]);
        header
            .encode(&mut frame, R::header_version(version))
            .map_err(|e| malformed(e.to_string()))?;
        request
            .encode(&mut frame, version)
            .map_err(|e| malformed(e.to_string()))?;
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok((correlation, frame.freeze()))
    }

    /// Queues `request`; calls are written in the order in which they were started.
    pub fn start<R: Request>(&self, request: &R, version: i16) -> Result<PendingCall<R::Response>, KafkaError> {
        self.start_for(request, version, self.request_timeout)
    }

    /// [`Connection::start`] with another time limit.
    pub fn start_for<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<PendingCall<R::Response>, KafkaError> {
        let (correlation, frame) = self.frame(request, version)?;
        let (waiter, answer) = oneshot::channel();
        match &mut *lock(&self.pending) {
            Err(reason) => {
                return Err(KafkaError::Disconnected {
                    broker: self.broker.to_string(),
                    reason: reason.clone(),
                });
            }
            Ok(calls) => {
                calls.insert(correlation, waiter);
                // The queue closes only after `pending` did, which the next reader of `answer` sees.
                let _ = self.frames.send(frame);
            }
        }
        Ok(PendingCall {
            broker: self.broker.clone(),
            api: api_name::<R>(),
            version,
            timeout,
            answer,
            pending: self.pending.clone(),
            response: PhantomData,
        })
    }

    /// Queues a request that the broker does not answer (a produce request with `acks=0`).
    pub fn send_unanswered<R: Request>(&self, request: &R, version: i16) -> Result<(), KafkaError> {
        let (_, frame) = self.frame(request, version)?;
        match &*lock(&self.pending) {
            Err(reason) => Err(KafkaError::Disconnected {
                broker: self.broker.to_string(),
                reason: reason.clone(),
            }),
            Ok(_) => {
                let _ = self.frames.send(frame);
                Ok(())
            }
        }
    }

    /// Asks and waits.
    pub async fn call<R: Request>(&self, request: &R, version: i16) -> Result<R::Response, KafkaError> {
        self.start(request, version)?.answer().await
    }

    async fn ask_versions(&self) -> Result<HashMap<i16, (i16, i16)>, KafkaError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("flott"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let call = self.start(&request, 3)?;
        let (broker, timeout) = (self.broker.to_string(), call.timeout);
        let bytes = match tokio::time::timeout(timeout, call.answer).await {
            Ok(Ok(Ok(bytes))) => bytes,
            Ok(Ok(Err(reason))) => return Err(KafkaError::Disconnected { broker, reason }),
            Ok(Err(_)) => {
                return Err(KafkaError::Disconnected {
                    broker,
                    reason: "the connection was closed".into(),
                });
            }
            Err(_) => {
                return Err(KafkaError::Timeout {
                    broker,
                    api: "ApiVersions",
                    timeout_ms: timeout.as_millis() as u64,
                });
            }
        };
        let code = bytes.get(4..6).map(|c| i16::from_be_bytes([c[0], c[1]]));
        let response = if code == Some(UNSUPPORTED_VERSION) {
            self.call(&ApiVersionsRequest::default(), 0).await?
        } else {
            let mut bytes = bytes;
            decode_answer::<ApiVersionsResponse>(&mut bytes, 3).map_err(|reason| KafkaError::Malformed {
                broker,
                api: "ApiVersions",
                reason,
            })?
        };
        KafkaError::check("ApiVersions", self.broker(), response.error_code)?;
        Ok(response
            .api_keys
            .iter()
            .map(|k| (k.api_key, (k.min_version, k.max_version)))
            .collect())
    }

    async fn authenticate(&self, sasl: &SaslConfig) -> Result<(), KafkaError> {
        let refused = |reason: String| KafkaError::Authentication {
            broker: self.broker.to_string(),
            mechanism: sasl.mechanism.name().to_owned(),
            reason,
        };
        let handshake =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(sasl.mechanism.name()));
        let answer = self
            .call(&handshake, self.version::<SaslHandshakeRequest>(1, 1)?)
            .await?;
        if let Some(code) = ErrorCode::of(answer.error_code) {
            let offered: Vec<&str> = answer.mechanisms.iter().map(|m| m.as_str()).collect();
            return Err(refused(format!("{code}; the broker offers {}", offered.join(", "))));
        }
        match sasl.mechanism {
            SaslMechanism::Plain => {
                let message = format!("\0{}\0{}", sasl.username, sasl.password.reveal());
                self.sasl_step(message, &refused).await?;
            }
            SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => {
                let kind = match sasl.mechanism {
                    SaslMechanism::ScramSha512 => scram::Kind::Sha512,
                    _ => scram::Kind::Sha256,
                };
                let nonce = scram::nonce().map_err(&refused)?;
                let mut scram = Scram::new(kind, &sasl.username, sasl.password.reveal(), nonce);
                let server_first = self.sasl_step(scram.first_message(), &refused).await?;
                let proof = scram.final_message(&server_first).map_err(&refused)?;
                let server_final = self.sasl_step(proof, &refused).await?;
                scram.verify(&server_final).map_err(&refused)?;
            }
        }
        Ok(())
    }

    async fn sasl_step(&self, message: String, refused: &impl Fn(String) -> KafkaError) -> Result<String, KafkaError> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
        let answer = self
            .call(&request, self.version::<SaslAuthenticateRequest>(0, 2)?)
            .await?;
        if let Some(code) = ErrorCode::of(answer.error_code) {
            let detail = answer.error_message.map(|m| format!(": {m}")).unwrap_or_default();
            return Err(refused(format!("{code}{detail}")));
        }
        String::from_utf8(answer.auth_bytes.to_vec()).map_err(|_| refused("the answer is not text".into()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        close(&self.pending, "the connection was closed");
    }
}

async fn write_frames(
    mut write: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
) -> std::io::Result<()> {
    while let Some(frame) = queue.recv().await {
        write.write_all(&frame).await?;
        if queue.is_empty() {
            write.flush().await?;
        }
    }
    write.shutdown().await
}

/// Reads until the stream ends; returns why.
async fn read_frames(mut read: impl AsyncRead + Unpin, pending: &Pending) -> String {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        while buffer.len() < 4 {
            match read.read_buf(&mut buffer).await {
                Ok(0) => return "the broker closed the connection".into(),
                Ok(_) => {}
                Err(e) => return format!("reading failed: {e}"),
            }
        }
        let length = buffer.get_u32() as usize;
        if !(4..=MAX_FRAME_BYTES).contains(&length) {
            return format!(
                "a frame of {length} bytes is not Kafka's protocol; is the listener a TLS one, or another service?"
            );
        }
        // Grown as the bytes come, so that a length alone does not take memory.
        while buffer.len() < length {
            buffer.reserve((length - buffer.len()).min(4 * 1024 * 1024));
            match read.read_buf(&mut buffer).await {
                Ok(0) => return "the broker closed the connection in the middle of an answer".into(),
                Ok(_) => {}
                Err(e) => return format!("reading failed: {e}"),
            }
        }
        let frame = buffer.split_to(length).freeze();
        let correlation = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let waiter = match &mut *lock(pending) {
            Err(reason) => return reason.clone(),
            Ok(calls) => calls.remove(&correlation),
        };
        if let Some(waiter) = waiter {
            let _ = waiter.send(Ok(frame));
        }
    }
}
