//! How many may stand at a port without having said who they are: [`Strangers`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one port that have not proved themselves; more wait in the listener's queue.
pub const MAX_STRANGERS: usize = 256;

/// Lets so many connections in at once; each counts until its [`Stranger`] is dropped.
#[derive(Debug, Clone)]
pub struct Strangers(Arc<Semaphore>);

/// The place of a connection that has not proved itself: drop it once it has.
#[derive(Debug)]
#[must_use = "dropping it lets the next one in"]
pub struct Stranger {
    _place: OwnedSemaphorePermit,
}

impl Strangers {
    /// At most so many at once.
    pub fn at_most(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// The listener's next connection, as soon as there is a place for it. Cancel safe.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn next(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, Stranger)> {
        let place = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, from) = listener.accept().await?;
        Ok((stream, from, Stranger { _place: place }))
    }
}

impl Default for Strangers {
    /// At most [`MAX_STRANGERS`].
    fn default() -> Self {
        Self::at_most(MAX_STRANGERS)
    }
}
