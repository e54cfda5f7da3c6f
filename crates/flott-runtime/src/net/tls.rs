//! TLS below the handshake: [`Transport`] between the processes of a cluster, [`Acceptor`] and [`Connector`] for REST.
//!
//! Options are Flink's, but for the files: these are PEM, where Flink names Java keystores. As in Flink `security.ssl.NAME`
//! stands for both places.
//!
//! | option | below `security.ssl.internal` | below `security.ssl.rest` |
//! |---|---|---|
//! | `.enabled` | between all processes | between commands and the JobManager |
//! | `.cert`, `.key` | of each process | of the JobManager; of a command if clients have to prove who they are |
//! | `.ca` | signs all of them | signs the JobManager's for commands, and theirs for the JobManager |
//! | `.authentication-enabled` | always, both ends prove who they are | whether commands have to |
//!
//! Between processes the CA alone decides: whoever has a certificate of it belongs to the cluster, under whatever name, because
//! processes come and go with their addresses. A command looks at the JobManager's name, too, unless
//! `security.ssl.verify-hostname` is off. Files are read once, and TLS is 1.2 or 1.3.

#[cfg(test)]
#[path = "../../../../tests/certificates.rs"]
mod certificates;
mod fault;
mod names;
mod pem;
mod settings;
#[cfg(test)]
mod tests;

pub use fault::tls_fault;
pub use names::AnyHostName;
pub use pem::{PemError, pem_certificates, pem_key};

use super::handshake::in_time;
use super::{NetError, Stream};
use flott_core::Options;
use flott_core::options::OptionError;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use settings::Settings;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// For how long the other side may read why we do not go on with it.
const FAREWELL: Duration = Duration::from_secs(1);

/// The server's end of connections: as they come, or under TLS. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    tls: Option<TlsAcceptor>,
    asks_clients: bool,
}

impl Acceptor {
    /// Takes connections as they come.
    pub fn plain() -> Self {
        Self {
            tls: None,
            asks_clients: false,
        }
    }

    /// The JobManager's end of REST, by `security.ssl.rest.*`.
    ///
    /// # Errors
    /// If TLS is on and a file is missing, or is not what it has to be.
    pub fn of_rest(options: &Options) -> Result<Self, OptionError> {
        let settings = Settings::rest(options);
        if !settings.is_enabled()? {
            return Ok(Self::plain());
        }
        let asks_clients = settings.authenticates_clients()?;
        Ok(Self::with(settings.server_end(asks_clients)?, asks_clients))
    }

    fn with(config: ServerConfig, asks_clients: bool) -> Self {
        Self {
            tls: Some(TlsAcceptor::from(Arc::new(config))),
            asks_clients,
        }
    }

    /// Whether connections are under TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether only clients come in that have a certificate of the CA.
    pub fn asks_clients(&self) -> bool {
        self.asks_clients
    }

    /// Makes a connection of a stream that a listener has given. Not cancel safe: the stream is lost.
    ///
    /// # Errors
    /// [`NetError::Tls`], [`NetError::Timeout`] after [`super::HANDSHAKE_TIMEOUT`]; never without TLS.
    pub async fn accept(&self, stream: TcpStream) -> Result<Stream, NetError> {
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(stream));
        };
        in_time("begin TLS", async {
            match tls.accept(stream).into_fallible().await {
                Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
                Err((error, stream)) => Err(take_leave(error, stream).await),
            }
        })
        .await
    }
}

/// The client's end of connections: as they come, or under TLS. Cheap to clone.
#[derive(Clone)]
pub struct Connector(Option<TlsConnector>);

impl Connector {
    /// Leaves connections as they are.
    pub fn plain() -> Self {
        Self(None)
    }

    /// A command's end of REST, by `security.ssl.rest.*`.
    ///
    /// # Errors
    /// If TLS is on and a file is missing, or is not what it has to be.
    pub fn of_rest(options: &Options) -> Result<Self, OptionError> {
        let settings = Settings::rest(options);
        if !settings.is_enabled()? {
            return Ok(Self::plain());
        }
        Ok(Self::with(settings.client_end()?))
    }

    fn with(config: ClientConfig) -> Self {
        Self(Some(TlsConnector::from(Arc::new(config))))
    }

    /// Whether connections are under TLS.
    pub fn is_tls(&self) -> bool {
        self.0.is_some()
    }

    /// Makes a connection of a stream to `host`, a name or an address. Not cancel safe: the stream is lost.
    ///
    /// # Errors
    /// [`NetError::Tls`], [`NetError::Timeout`] after [`super::HANDSHAKE_TIMEOUT`]; never without TLS. That the server does
    /// not accept our certificate may be known only when something is read.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> Result<Stream, NetError> {
        let Some(tls) = &self.0 else {
            return Ok(Stream::Plain(stream));
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| NetError::Tls {
            fault: format!("'{host}' is neither a name nor an address that a certificate could be for"),
        })?;
        shake(tls, stream, name).await
    }
}

async fn shake(tls: &TlsConnector, stream: TcpStream, name: ServerName<'static>) -> Result<Stream, NetError> {
    in_time("agree on TLS", async {
        match tls.connect(name, stream).into_fallible().await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
            Err((error, stream)) => Err(take_leave(error, stream).await),
        }
    })
    .await
}

/// Ends a connection on which TLS has failed, so that the other side still reads why: a stream that is closed with bytes unread
/// is reset, and what was sent on it is lost.
async fn take_leave(error: io::Error, mut stream: TcpStream) -> NetError {
    let _ = stream.shutdown().await;
    let mut unread = [0; 1024];
    let _ = timeout(FAREWELL, async {
        while stream.read(&mut unread).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    match error.into() {
        NetError::Closed => NetError::Tls {
            fault: "the other side closed the connection before it was agreed on: see its log, and that both sides use TLS or neither does".to_owned(),
        },
        error => error,
    }
}

/// Both ends of the connections between the processes of a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transport {
    acceptor: Acceptor,
    connector: Connector,
}

impl Transport {
    /// Connections as they come.
    pub fn plain() -> Self {
        Self {
            acceptor: Acceptor::plain(),
            connector: Connector::plain(),
        }
    }

    /// Reads `security.ssl.internal.*`.
    ///
    /// # Errors
    /// If TLS is on and a file is missing, or is not what it has to be.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let settings = Settings::internal(options);
        if !settings.is_enabled()? {
            return Ok(Self::plain());
        }
        let (server, mut client) = settings.both_ends()?;
        // A session that goes on would be one in which nobody is looked at again.
        client.resumption = Resumption::disabled();
        Ok(Self {
            acceptor: Acceptor::with(server, true),
            connector: Connector::with(client),
        })
    }

    /// Whether connections are under TLS, so that nobody gets in without a certificate of the cluster's CA.
    pub fn is_tls(&self) -> bool {
        self.acceptor.is_tls()
    }

    /// [`Acceptor::accept`]
    ///
    /// # Errors
    /// As there.
    pub async fn accept(&self, stream: TcpStream) -> Result<Stream, NetError> {
        self.acceptor.accept(stream).await
    }

    /// [`Connector::connect`] to a process of the cluster, whatever it is called.
    ///
    /// # Errors
    /// As there.
    pub async fn connect(&self, stream: TcpStream) -> Result<Stream, NetError> {
        match &self.connector.0 {
            None => Ok(Stream::Plain(stream)),
            // Nobody looks at the name, and an address is not sent.
            Some(tls) => shake(tls, stream, ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST))).await,
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls() {
            "Acceptor(TLS)"
        } else {
            "Acceptor(plain)"
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls() {
            "Connector(TLS)"
        } else {
            "Connector(plain)"
        })
    }
}
