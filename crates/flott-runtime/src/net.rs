//! What connections between Flott's processes have in common: the handshake in front, and messages with a length.
//!
//! Both ends prove that they know the cluster's [`Secret`] before anything else is read. Numbers are little endian.
//!
//! ```text
//!  client                                                          server
//!     │ ◄── magic "FLOTTNET", version u32, nonce 32 bytes ───────────── │
//!     │ ─── magic, version, nonce, length u32, hello, proof 32 bytes ─► │   accept ─► Hello
//!     │ ◄── answer u8, length u32, text, proof 32 bytes ─────────────── │   Hello::welcome, Hello::refuse
//! ```
//! A proof is the HMAC-SHA256 under the secret of: who proves (`flott client` or `flott server`), the version, the server's
//! nonce, the client's nonce, then the hello or the answer and its text. Answers are 0: welcome, 1: refused, 2: another
//! secret; the last has no proof, so that nobody gets one who gave none.
//!
//! The handshake keeps strangers out. It neither hides nor protects what follows; where the network itself is not trusted,
//! TLS goes below it ([`Transport`]), and the secret on top is one thing more to know. Who has proved nothing yet is one of a bounded
//! number ([`Strangers`]).

mod handshake;
mod message;
mod secret;
mod silence;
mod strangers;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use handshake::{HANDSHAKE_TIMEOUT, Hello, MAX_HELLO_BYTES, MAX_REFUSAL_BYTES, PROTOCOL_VERSION, accept, connect};
pub use message::{read_message, write_message};
pub use secret::{Secret, secret_text};
pub use silence::end_when_silent;
pub use strangers::{MAX_STRANGERS, Stranger, Strangers};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use tls::{Acceptor, AnyHostName, Connector, PemError, Transport, pem_certificates, pem_key, tls_fault};

use std::io;
use std::time::Duration;

/// A connection between two processes could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Whoever answers speaks another language.
    #[error(
        "the other side is not Flott, it says {said}: check host and port, and that both sides use TLS or neither does"
    )]
    NotFlott {
        /// The first bytes, printable.
        said: String,
    },
    /// The other side begins TLS, and this one expects none.
    #[error(
        "the other side speaks TLS and this one does not: set security.ssl.internal.enabled to the same in every process of the cluster"
    )]
    SpeaksTls,
    /// TLS was refused by one side, or ended.
    #[error("TLS failed: {fault}")]
    Tls {
        /// What is wrong at which end, and what helps.
        fault: String,
    },
    /// Another version of this protocol.
    #[error(
        "the other side speaks version {theirs} of Flott's protocol, this one {ours}: run the same build everywhere"
    )]
    Version {
        /// Ours, [`PROTOCOL_VERSION`].
        ours: u32,
        /// What the other side said.
        theirs: u32,
    },
    /// The other side does not know our secret.
    #[error("the other side has another secret: give every process of the cluster the same one")]
    WrongSecret,
    /// The server refused, and said why.
    #[error("refused by the other side: {text}")]
    Refused {
        /// The server's words.
        text: String,
    },
    /// Longer than the reader or the protocol allows.
    #[error("a {what} of {length} bytes is longer than the {bound} that are allowed")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        length: u64,
        /// The bound.
        bound: u64,
    },
    /// Bytes in which the protocol cannot be seen.
    #[error("the other side sent what is no {what}: the bytes were damaged on their way, or the builds differ")]
    Damaged {
        /// What was expected.
        what: &'static str,
    },
    /// Nothing came for too long.
    #[error("the other side did not {what} within {} s: check host and port, that both sides use TLS or neither does, and that it is not overloaded", .after.as_secs())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The server closed the connection before it said anything, as one does that waits for TLS in vain.
    #[error(
        "the other side closed the connection without a word: see its log, and that both sides use TLS or neither does"
    )]
    Silent,
    /// The other side closed the connection in the middle.
    #[error("the connection was closed by the other side")]
    Closed,
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The connection failed.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for NetError {
    fn from(e: io::Error) -> Self {
        if let Some(fault) = tls_fault(&e) {
            return Self::Tls { fault };
        }
        match e.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => Self::Closed,
            _ => Self::Io(e),
        }
    }
}
