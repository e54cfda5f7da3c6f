//! Connections over which nothing comes back any more: a cable, a switch or a firewall says nothing when it fails, and the system alone
//! would go on asking for a quarter of an hour.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Probes that go unanswered within the patience.
const PROBES: u32 = 3;

/// The system counts in whole seconds.
const LEAST: Duration = Duration::from_secs(1);

/// Linux takes no longer ones.
const LONGEST: Duration = Duration::from_secs(32_767);

/// Has the system end a connection whose other machine answers nothing for about `patience` (RFC 1122's keep-alive, and on Linux RFC
/// 5482's user timeout, without which bytes that are on their way are waited for far longer). A process that is busy answers: its system does.
///
/// # Errors
/// If the system refuses.
pub fn end_when_silent(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    let patience = patience.min(LONGEST);
    let pause = (patience / (PROBES + 1)).max(LEAST);
    let keepalive = TcpKeepalive::new()
        .with_time(pause)
        .with_interval(pause)
        .with_retries(PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(patience))?;
    Ok(())
}
