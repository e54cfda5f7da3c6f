//! Where connections come in, under TLS or as they are: [`Guarded`].

use axum::serve::Listener;
use flott_runtime::net::{Acceptor, Strangers, Stream};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How long the listener rests when it cannot accept: most likely files have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that gives a connection once its TLS is agreed on; others are agreed on meanwhile.
pub(crate) struct Guarded {
    listener: TcpListener,
    acceptor: Acceptor,
    strangers: Strangers,
    opening: JoinSet<Option<(Stream, SocketAddr)>>,
}

impl Guarded {
    pub(crate) fn new(listener: TcpListener, acceptor: Acceptor) -> Self {
        Self {
            listener,
            acceptor,
            strangers: Strangers::default(),
            opening: JoinSet::new(),
        }
    }
}

impl Listener for Guarded {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            tokio::select! {
                Some(opened) = self.opening.join_next() => {
                    if let Ok(Some(opened)) = opened {
                        return opened;
                    }
                }
                accepted = self.strangers.next(&self.listener) => match accepted {
                    Ok((stream, from, stranger)) => {
                        let acceptor = self.acceptor.clone();
                        self.opening.spawn(async move {
                            let opened = acceptor.accept(stream).await;
                            drop(stranger);
                            let told = opened.inspect_err(|error| tracing::warn!(%from, %error, "a connection to REST was turned away"));
                            told.ok().map(|stream| (stream, from))
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection to REST cannot be accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
