//! The handshake: who is there, in which version, and whether it knows the secret. The bytes are in [`crate::net`].

use super::message::{check, read_body};
use super::{NetError, Secret};
use ring::rand::{SecureRandom, SystemRandom};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Version of all protocols between processes; one build speaks one version.
pub const PROTOCOL_VERSION: u32 = 1;
/// How long one side of a handshake takes at most.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A hello is this long at most.
pub const MAX_HELLO_BYTES: usize = 4 << 10;
/// What a refusal says is cut to this length.
pub const MAX_REFUSAL_BYTES: usize = 1 << 10;

const MAGIC: [u8; 8] = *b"FLOTTNET";
/// How a client begins TLS: a handshake's record, whose version says 3.
const TLS_HELLO: [u8; 2] = [0x16, 3];
/// Magic and version: all that versions agree on.
const OPENING_BYTES: usize = MAGIC.len() + 4;
const PROOF_BYTES: usize = 32;

const WELCOME: u8 = 0;
const REFUSED: u8 = 1;
const WRONG_SECRET: u8 = 2;

type Nonce = [u8; 32];

/// A client that has proved that it knows the secret, and waits to be let in or refused.
///
/// It waits for [`HANDSHAKE_TIMEOUT`] in all: answer at once, and let what takes longer follow in your own protocol.
#[derive(Debug)]
pub struct Hello {
    bytes: Vec<u8>,
    secret: Secret,
    server_nonce: Nonce,
    client_nonce: Nonce,
}

/// Opens a connection as its client: proves the secret, says `hello`, and returns once the server has let us in.
///
/// Whoever says hello should begin it with the purpose of the connection, so that a wrong port is told apart. Not cancel
/// safe: the stream is of no use after that.
///
/// # Errors
/// [`NetError::NotFlott`], [`NetError::Silent`], [`NetError::Version`], [`NetError::WrongSecret`], [`NetError::Refused`] with the server's words;
/// [`NetError::Timeout`] after [`HANDSHAKE_TIMEOUT`]; [`NetError::TooLong`] for a hello above [`MAX_HELLO_BYTES`].
pub async fn connect<S>(stream: &mut S, secret: &Secret, hello: &[u8]) -> Result<(), NetError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    check("hello", hello.len(), MAX_HELLO_BYTES)?;
    in_time("answer the handshake", async {
        let server = read_opening(stream).await.map_err(|e| match e {
            NetError::Closed => NetError::Silent,
            e => e,
        });
        if let Err(NetError::Version { .. }) = server {
            // So that the server can name both versions, too.
            stream.write_all(&opening()).await?;
            stream.flush().await?;
        }
        server?;
        let server_nonce = read_array::<32, _>(stream).await?;
        let client_nonce = random()?;
        let length = (hello.len() as u32).to_le_bytes();
        let proof = secret.prove(&client_parts(&server_nonce, &client_nonce, hello));
        let opening = opening();
        let parts: [&[u8]; 5] = [&opening, &client_nonce, &length, hello, proof.as_ref()];
        stream.write_all(&parts.concat()).await?;
        stream.flush().await?;

        let [answer, length @ ..] = read_array::<5, _>(stream).await?;
        let text = read_body(stream, "refusal", u32::from_le_bytes(length), MAX_REFUSAL_BYTES).await?;
        let proof = read_array::<PROOF_BYTES, _>(stream).await?;
        let is_proved = secret.is_proof(&server_parts(&server_nonce, &client_nonce, &[answer], &text), &proof);
        match answer {
            // What a server says that does not know the secret is not worth printing.
            WRONG_SECRET => Err(NetError::WrongSecret),
            _ if !is_proved => Err(NetError::WrongSecret),
            WELCOME => Ok(()),
            REFUSED => Err(NetError::Refused {
                text: String::from_utf8_lossy(&text).into_owned(),
            }),
            _ => Err(NetError::Damaged {
                what: "answer to a handshake",
            }),
        }
    })
    .await
}

/// Opens a connection as its server: returns what the client says once it has proved that it knows the secret.
///
/// The caller answers by [`Hello::welcome`] or [`Hello::refuse`]; other clients have been told what is wrong, as far as they
/// can understand it. Not cancel safe: the stream is of no use after that.
///
/// # Errors
/// [`NetError::NotFlott`], [`NetError::Version`], [`NetError::WrongSecret`], [`NetError::TooLong`] for the hello;
/// [`NetError::Timeout`] after [`HANDSHAKE_TIMEOUT`].
pub async fn accept<S>(stream: &mut S, secret: &Secret) -> Result<Hello, NetError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    in_time("end the handshake", async {
        let server_nonce = random()?;
        stream.write_all(&[&opening()[..], &server_nonce[..]].concat()).await?;
        stream.flush().await?;
        read_opening(stream).await?;
        let client_nonce = read_array::<32, _>(stream).await?;
        let length = read_array::<4, _>(stream).await?;
        let bytes = read_body(stream, "hello", u32::from_le_bytes(length), MAX_HELLO_BYTES).await?;
        let proof = read_array::<PROOF_BYTES, _>(stream).await?;
        if !secret.is_proof(&client_parts(&server_nonce, &client_nonce, &bytes), &proof) {
            send_answer(stream, WRONG_SECRET, &[], &[0; PROOF_BYTES]).await?;
            return Err(NetError::WrongSecret);
        }
        Ok(Hello {
            bytes,
            secret: secret.clone(),
            server_nonce,
            client_nonce,
        })
    })
    .await
}

impl Hello {
    /// What the client said.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Lets the client in: what follows on the stream is the caller's protocol.
    ///
    /// # Errors
    /// If the stream failed.
    pub async fn welcome<S: AsyncWrite + Unpin>(self, stream: &mut S) -> Result<(), NetError> {
        self.answer(stream, WELCOME, &[]).await
    }

    /// Turns the client away with a text for a person, of which [`MAX_REFUSAL_BYTES`] are sent.
    ///
    /// # Errors
    /// If the stream failed.
    pub async fn refuse<S: AsyncWrite + Unpin>(self, stream: &mut S, text: &str) -> Result<(), NetError> {
        let end = text.floor_char_boundary(MAX_REFUSAL_BYTES);
        self.answer(stream, REFUSED, &text.as_bytes()[..end]).await
    }

    async fn answer<S: AsyncWrite + Unpin>(self, stream: &mut S, answer: u8, text: &[u8]) -> Result<(), NetError> {
        let proved = [answer];
        let proof = self
            .secret
            .prove(&server_parts(&self.server_nonce, &self.client_nonce, &proved, text));
        in_time("take the answer", send_answer(stream, answer, text, proof.as_ref())).await
    }
}

async fn send_answer<S>(stream: &mut S, answer: u8, text: &[u8], proof: &[u8]) -> Result<(), NetError>
where
    S: AsyncWrite + Unpin,
{
    let length = (text.len() as u32).to_le_bytes();
    stream
        .write_all(&[&[answer], &length[..], text, proof].concat())
        .await?;
    Ok(stream.flush().await?)
}

fn opening() -> [u8; OPENING_BYTES] {
    let mut bytes = [0; OPENING_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    bytes[MAGIC.len()..].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes
}

async fn read_opening<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(), NetError> {
    let magic = read_array::<8, _>(stream).await?;
    if magic.starts_with(&TLS_HELLO) {
        return Err(NetError::SpeaksTls);
    }
    if magic != MAGIC {
        return Err(NetError::NotFlott {
            said: format!("\"{}\"", magic.escape_ascii()),
        });
    }
    match u32::from_le_bytes(read_array(stream).await?) {
        PROTOCOL_VERSION => Ok(()),
        theirs => Err(NetError::Version {
            ours: PROTOCOL_VERSION,
            theirs,
        }),
    }
}

async fn read_array<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N], NetError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

pub(super) async fn in_time<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, NetError>>,
) -> Result<T, NetError> {
    timeout(HANDSHAKE_TIMEOUT, work).await.unwrap_or(Err(NetError::Timeout {
        what,
        after: HANDSHAKE_TIMEOUT,
    }))
}

fn random() -> Result<Nonce, NetError> {
    let mut nonce = [0; 32];
    let filled = SystemRandom::new().fill(&mut nonce);
    filled.map(|()| nonce).map_err(|_| NetError::Random)
}

/// What the client proves. All parts but the last have one length, so no two hellos look alike.
fn client_parts<'a>(server: &'a Nonce, client: &'a Nonce, hello: &'a [u8]) -> [&'a [u8]; 5] {
    const VERSION: [u8; 4] = PROTOCOL_VERSION.to_le_bytes();
    [b"flott client", &VERSION, server, client, hello]
}

/// What the server proves.
fn server_parts<'a>(server: &'a Nonce, client: &'a Nonce, answer: &'a [u8; 1], text: &'a [u8]) -> [&'a [u8]; 6] {
    const VERSION: [u8; 4] = PROTOCOL_VERSION.to_le_bytes();
    [b"flott server", &VERSION, server, client, answer, text]
}
