//! A raw client: one connection, one request at a time, any version.

use std::fmt::Debug;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why a check could not go on.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No connection.
    #[error("cannot connect to {address}: {source}; is the broker up?")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection ended while a request was on its way.
    #[error("{request}: the connection broke: {source}")]
    Broken {
        /// The kind of request.
        request: String,
        /// How.
        source: io::Error,
    },
    /// A request or answer does not fit its version.
    #[error("{request}: cannot be encoded or decoded: {source}")]
    Codec {
        /// The kind of request.
        request: String,
        /// What does not fit.
        source: anyhow::Error,
    },
    /// The broker answered something else.
    #[error("{what}: expected {expected}, found {found}")]
    Unexpected {
        /// What was looked at.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}

/// `Ok` if both are the same.
pub(super) fn expect<T: PartialEq + Debug>(what: impl Into<String>, found: T, expected: T) -> Result<(), CheckError> {
    if found == expected {
        return Ok(());
    }
    Err(unexpected(what, format!("{expected:?}"), format!("{found:?}")))
}

/// The error of something that is not as it should be.
pub(super) fn unexpected(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> CheckError {
    CheckError::Unexpected {
        what: what.into(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// A connection to a broker.
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If there is no one at `address`.
    pub async fn connect(address: &str) -> Result<Self, CheckError> {
        let connected = TcpStream::connect(address).await;
        let stream = connected.map_err(|source| CheckError::Connect {
            address: address.to_owned(),
            source,
        })?;
        Ok(Self {
            stream,
            correlation_id: 0,
        })
    }

    /// Sends a request and waits for its answer. Not cancel safe: drop the client after a cancelled call.
    ///
    /// # Errors
    /// If the request does not exist in this version, the connection breaks, or the answer does not decode.
    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, CheckError> {
        self.send(request, version).await?;
        let name = name::<R>(version);
        let mut answer = self.receive(&name).await?;
        let codec = |source| CheckError::Codec {
            request: name.clone(),
            source,
        };
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).map_err(codec)?;
        expect(
            format!("{name}: correlation id"),
            header.correlation_id,
            self.correlation_id,
        )?;
        let response = R::Response::decode(&mut answer, version).map_err(codec)?;
        expect(format!("{name}: bytes left behind the answer"), answer.len(), 0)?;
        Ok(response)
    }

    /// Sends a request without waiting.
    pub(super) async fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<(), CheckError> {
        let name = name::<R>(version);
        let mut body = BytesMut::new();
        let codec = |source| CheckError::Codec {
            request: name.clone(),
            source,
        };
        request.encode(&mut body, version).map_err(codec)?;
        self.send_raw(R::KEY, version, R::header_version(version), &body).await
    }

    /// Sends a request whose version need not exist, under a header of `header_version`.
    pub(super) async fn send_raw(
        &mut self,
        api_key: i16,
        version: i16,
        header_version: i16,
        body: &[u8],
    ) -> Result<(), CheckError> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(api_key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("flott-conformance")));
        let request = format!("request key {api_key} v{version}");
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        let encoded = header.encode(&mut frame, header_version);
        encoded.map_err(|source| CheckError::Codec {
            request: request.clone(),
            source,
        })?;
        frame.put_slice(body);
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream
            .write_all(&frame)
            .await
            .map_err(|source| CheckError::Broken { request, source })
    }

    /// Receives one answer, from its header on.
    pub(super) async fn receive(&mut self, request: &str) -> Result<Bytes, CheckError> {
        let broken = |source| CheckError::Broken {
            request: request.to_owned(),
            source,
        };
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await.map_err(broken)?;
        let mut answer = vec![0; (&length[..]).get_u32() as usize];
        self.stream.read_exact(&mut answer).await.map_err(broken)?;
        Ok(answer.into())
    }
}

fn name<R: Request>(version: i16) -> String {
    match ApiKey::try_from(R::KEY) {
        Ok(api_key) => format!("{api_key:?} v{version}"),
        Err(()) => format!("request key {} v{version}", R::KEY),
    }
}
