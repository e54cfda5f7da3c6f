//! How a connection begins: who feeds which channels of which attempt. The steps are in [`super`].

use super::attempt::Attempt;
use super::{CONNECT_TIMEOUT, ExchangeId, OPEN_TIMEOUT, Peer, Shared};
use crate::error::{FailureLabel, TaskError};
use crate::exchange::channel::Incoming;
use crate::net::{self, HANDSHAKE_TIMEOUT, MAX_REFUSAL_BYTES, NetError, Stranger, Stream};
use flott_core::JobId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// In front of the hello, so that a connection to a wrong port is told apart.
const PURPOSE: &[u8] = b"exchange\0";
/// Frames of other builds are not read.
const BUILD: &str = env!("CARGO_PKG_VERSION");
/// Channels of one connection.
const MAX_CHANNELS: usize = 1 << 20;
/// Pauses between two tries to connect: the first, and the longest.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// The peer answers after [`OPEN_TIMEOUT`] at the latest, and its answer needs a moment.
const ANSWER_TIMEOUT: Duration = OPEN_TIMEOUT.saturating_add(Duration::from_secs(10));

/// What a peer says about itself.
#[derive(Debug, PartialEq, Eq)]
struct Greeting {
    build: String,
    id: ExchangeId,
    peer: String,
}

impl Greeting {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = PURPOSE.to_vec();
        put_text(&mut bytes, &self.build);
        bytes.extend_from_slice(&self.id.job.0.to_le_bytes());
        bytes.extend_from_slice(&self.id.generation.to_le_bytes());
        bytes.extend_from_slice(&self.id.attempt.to_le_bytes());
        put_text(&mut bytes, &self.peer);
        bytes
    }

    /// `None` if the bytes are no greeting.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes.strip_prefix(PURPOSE)?;
        let greeting = Self {
            build: take_text(rest)?,
            id: ExchangeId {
                job: JobId(u128::from_le_bytes(*take(rest)?)),
                generation: u64::from_le_bytes(*take(rest)?),
                attempt: u64::from_le_bytes(*take(rest)?),
            },
            peer: take_text(rest)?,
        };
        rest.is_empty().then_some(greeting)
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    // A hello is shorter than this; the handshake refuses a longer one.
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(taken)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = u16::from_le_bytes(*take(rest)?);
    let (text, left) = rest.split_at_checked(usize::from(length))?;
    *rest = left;
    String::from_utf8(text.to_vec()).ok()
}

/// A connection that a peer has opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) attempt: Arc<Attempt>,
    pub(super) peer: Peer,
    pub(super) channels: Vec<(u32, Incoming)>,
}

/// Connects to a peer, which reads the channels of these numbers.
///
/// # Errors
/// If it cannot be reached or does not take us; the error names it.
pub(super) async fn connect(
    peer: &Peer,
    id: ExchangeId,
    here: &str,
    numbers: &[u32],
    shared: &Shared,
) -> Result<Stream, TaskError> {
    let stream = reach(peer, CONNECT_TIMEOUT, shared.patience).await?;
    let introduced = introduce(stream, &hello_of(id, here), numbers, shared).await;
    introduced.map_err(|e| {
        let text = format!("the connection to {peer} could not be opened");
        TaskError::caused(FailureLabel::Infrastructure, text, e)
    })
}

/// Tries to connect until the peer listens: it may have been told to start just now.
async fn reach(peer: &Peer, within: Duration, patience: Duration) -> Result<TcpStream, TaskError> {
    let deadline = Instant::now() + within;
    let [mut pause, longest] = RETRY_PAUSES;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let tried = match timeout(left, TcpStream::connect(&peer.address)).await {
            Ok(tried) => tried,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
        };
        match tried.and_then(|stream| prepare(&stream, patience).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(e) if Instant::now() + pause >= deadline => {
                let text = format!(
                    "{peer} cannot be reached within {} s: see that it runs, and that its host and port are open to this one",
                    within.as_secs()
                );
                return Err(TaskError::caused(FailureLabel::Infrastructure, text, e));
            }
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(longest);
    }
}

/// What holds for both ends of a connection.
fn prepare(stream: &TcpStream, patience: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    net::end_when_silent(stream, patience)
}

/// The hello of this build.
pub(super) fn hello_of(id: ExchangeId, here: &str) -> Vec<u8> {
    let (build, peer) = (BUILD.to_owned(), here.to_owned());
    Greeting { build, id, peer }.encode()
}

async fn introduce(stream: TcpStream, hello: &[u8], numbers: &[u32], shared: &Shared) -> Result<Stream, NetError> {
    let mut stream = shared.transport.connect(stream).await?;
    net::connect(&mut stream, &shared.secret, hello).await?;
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    net::write_message(&mut stream, &numbers, MAX_CHANNELS * 4).await?;
    let answer = timeout(ANSWER_TIMEOUT, net::read_message(&mut stream, MAX_REFUSAL_BYTES)).await;
    let answer = answer.map_err(|_| NetError::Timeout {
        what: "take the channels",
        after: ANSWER_TIMEOUT,
    })??;
    match answer {
        Some(text) if text.is_empty() => Ok(stream),
        Some(text) => Err(NetError::Refused {
            text: String::from_utf8_lossy(&text).into_owned(),
        }),
        None => Err(NetError::Closed),
    }
}

/// Lets a peer in, once its attempt is open here and has the channels that it feeds. It is a stranger no more when it has proved
/// itself: what it waits for then may take long.
///
/// # Errors
/// If it is no peer, or feeds what nobody reads; it has been told why.
pub(super) async fn welcome(
    stream: TcpStream,
    from: SocketAddr,
    stranger: Stranger,
    shared: &Shared,
) -> Result<Opened, NetError> {
    prepare(&stream, shared.patience)?;
    let mut stream = shared.transport.accept(stream).await?;
    let hello = net::accept(&mut stream, &shared.secret).await?;
    let greeting = match Greeting::decode(hello.bytes()) {
        Some(greeting) if greeting.build == BUILD => greeting,
        Some(Greeting { build, peer, .. }) => {
            let text = format!("TaskManager {peer} is Flott {build}, this one {BUILD}: run the same build everywhere");
            hello.refuse(&mut stream, &text).await?;
            return Err(NetError::Refused { text });
        }
        None => {
            let text = "this port is for exchanges between TaskManagers: check host and port".to_owned();
            hello.refuse(&mut stream, &text).await?;
            return Err(NetError::Refused { text });
        }
    };
    hello.welcome(&mut stream).await?;
    drop(stranger);
    let numbers = timeout(HANDSHAKE_TIMEOUT, net::read_message(&mut stream, MAX_CHANNELS * 4)).await;
    let numbers = numbers.map_err(|_| NetError::Timeout {
        what: "name its channels",
        after: HANDSHAKE_TIMEOUT,
    })??;
    let numbers = numbers.ok_or(NetError::Closed)?;
    let (numbers, []) = numbers.as_chunks::<4>() else {
        return Err(NetError::Damaged {
            what: "list of channels",
        });
    };
    let numbers: Vec<u32> = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
    let claimed = match shared.attempts.wait_for(greeting.id).await {
        Some(attempt) => attempt
            .claim(&numbers, &greeting.peer)
            .map(|channels| (attempt, channels)),
        None => Err(format!(
            "{} was not opened here within {} s",
            greeting.id,
            OPEN_TIMEOUT.as_secs()
        )),
    };
    let text = claimed.as_ref().err().map_or("", String::as_str);
    let told = &text.as_bytes()[..text.floor_char_boundary(MAX_REFUSAL_BYTES)];
    let answered = net::write_message(&mut stream, told, MAX_REFUSAL_BYTES).await;
    let peer = Peer {
        id: greeting.peer,
        address: from.to_string(),
    };
    match (claimed, answered) {
        (Ok((attempt, channels)), Ok(())) => Ok(Opened {
            stream,
            attempt,
            peer,
            channels,
        }),
        // The channels are taken from the attempt, and nobody will feed them.
        (Ok((attempt, _)), Err(e)) => {
            let text = format!("the connection from {peer} was lost: {e}");
            attempt.fail(TaskError::new(FailureLabel::Infrastructure, text));
            Err(e)
        }
        (Err(text), _) => Err(NetError::Refused { text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_comes_back_and_damaged_ones_are_none() {
        let greeting = Greeting {
            build: BUILD.to_owned(),
            id: ExchangeId {
                job: JobId::of("job"),
                generation: 3,
                attempt: u64::MAX,
            },
            peer: "tm-1".to_owned(),
        };
        let bytes = greeting.encode();
        for cut in 0..bytes.len() {
            assert_eq!(Greeting::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Greeting::decode(&[&bytes[..], b"x"].concat()), None);
        assert_eq!(Greeting::decode(&bytes), Some(greeting));
    }

    #[tokio::test]
    async fn a_peer_that_does_not_listen_is_named() {
        let peer = Peer {
            id: "tm-7".to_owned(),
            address: "127.0.0.1:1".to_owned(),
        };
        let error = reach(&peer, Duration::from_millis(100), Duration::from_secs(10))
            .await
            .unwrap_err()
            .full_text();
        assert!(
            error.starts_with("TaskManager tm-7 at 127.0.0.1:1 cannot be reached"),
            "{error}"
        );
        assert!(error.contains("refused"), "{error}");
    }
}
