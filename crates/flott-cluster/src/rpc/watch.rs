//! A standby's look at the leader's process: a connection on which nothing is said, and which breaks when that process ends.

use super::job_manager::standby;
use super::settings::RpcSettings;
use flott_runtime::net::{self, NetError};
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Between two looks; a process that is there for the first and not for the second has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What a look at a process has shown.
enum Seen {
    /// Nobody listens where it did.
    Nobody,
    /// It was there until now.
    WasThere,
    /// It cannot be told: it does not answer, or does not take the connection.
    Unclear,
}

/// Waits until the JobManager's process at `address` (host and port) has ended for certain: its connection broke or was never made, and twice
/// its machine says that nobody listens there. Goes on waiting while that cannot be told. Cancel-safe.
pub async fn process_ended(address: &str, settings: &RpcSettings) {
    #[cfg(test)]
    if let Some(ended) = crate::simulation::process_ended(address) {
        return ended.await;
    }
    let mut refusals = 0;
    loop {
        match look(address, settings).await {
            Seen::Nobody => refusals += 1,
            Seen::WasThere => refusals = 0,
            Seen::Unclear => {
                refusals = 0;
                tokio::time::sleep(settings.heartbeat_interval).await;
            }
        }
        if refusals == 2 {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(address: &str, settings: &RpcSettings) -> Seen {
    let stream = match tokio::time::timeout(settings.heartbeat_timeout, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => return Seen::Nobody,
        Ok(Err(_)) | Err(_) => return Seen::Unclear,
    };
    let shaken = async {
        let mut stream = settings.transport.connect(stream).await?;
        net::connect(&mut stream, &settings.secret, standby().as_bytes()).await?;
        Ok(stream)
    };
    let mut stream = match shaken.await {
        Ok(stream) => stream,
        Err(NetError::Closed | NetError::Silent) => return Seen::WasThere,
        Err(error) => {
            tracing::debug!(address, %error, "the leading JobManager cannot be watched; its lease tells");
            return Seen::Unclear;
        }
    };
    // Whatever ends this ends the connection.
    let read: io::Result<u8> = stream.read_u8().await;
    match read {
        Ok(_) => Seen::Unclear,
        Err(_) => Seen::WasThere,
    }
}
