//! The server's life ([`serve`]); what it answers is in [`crate::routes`].

use crate::access::{self, Access};
use crate::app::{App, Lasting};
use crate::health;
use crate::listener::Guarded;
use crate::operations::Operations;
use crate::role::{self, Answering, Role};
use crate::routes;
use crate::submission::WebSubmission;
use axum::Router;
use axum::middleware::from_fn_with_state;
use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

/// How long open requests may go on once the server shall end.
const GRACE: Duration = Duration::from_secs(5);

/// How long results wait to be asked for.
const UNTOLD: Duration = Duration::from_secs(30);

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// What is being answered still is, for 5 seconds at most.
    Now,
    /// First the results of all triggered operations may be asked for, for 30 seconds at most.
    WhenAllIsTold,
}

/// Answers requests of those whom `access` lets in at `listener` until `shutdown` says how it ends. Who answers follows `role`.
/// What is uploaded to `web` may be run; `None`: nothing can be uploaded.
///
/// Cancel-safe: dropping it ends the server at once. Operations that were triggered go on without it.
///
/// # Errors
/// If connections can no longer be accepted.
///
/// ```no_run
/// # async fn example(dispatcher: flott_cluster::dispatcher::Dispatcher) -> std::io::Result<()> {
/// use tokio::sync::watch;
///
/// let listener = tokio::net::TcpListener::bind(("127.0.0.1", 8081)).await?;
/// let access = flott_rest::Access::from_options(dispatcher.options()).map_err(std::io::Error::other)?;
/// let (_role, leading) = watch::channel(flott_rest::Role::Leading(dispatcher));
/// let interrupted = async {
///     let _ = tokio::signal::ctrl_c().await;
///     flott_rest::Farewell::Now
/// };
/// flott_rest::serve(listener, access, None, leading, interrupted).await
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    access: Access,
    web: Option<WebSubmission>,
    role: watch::Receiver<Role>,
    shutdown: impl Future<Output = Farewell> + Send + 'static,
) -> io::Result<()> {
    let (answering, answers) = watch::channel(Answering::Standby(None));
    let healthy = health::router(role.clone());
    let operations = Operations::default();
    let scheme = if access.is_tls() { "https" } else { "http" };
    let lasting = Lasting {
        operations: operations.clone(),
        address: format!("{scheme}://{}", listener.local_addr()?).into(),
        web,
    };
    let following = follow(role, answering, lasting);
    let (ending, ended) = oneshot::channel();
    let until_shutdown = async move {
        if shutdown.await == Farewell::WhenAllIsTold {
            let _ = tokio::time::timeout(UNTOLD, operations.all_told()).await;
        }
        let _ = ending.send(());
    };
    let listener = Guarded::new(listener, access.acceptor().clone());
    let guarded = Router::new()
        .fallback(role::answer)
        .with_state(answers)
        .layer(from_fn_with_state(access, access::admit));
    let server = axum::serve(listener, healthy.fallback_service(guarded)).with_graceful_shutdown(until_shutdown);
    let out_of_patience = async {
        let _ = ended.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = out_of_patience => Ok(()),
        never = following => match never {},
    }
}

/// Makes what answers follow the role; rates are sampled while it leads.
async fn follow(mut role: watch::Receiver<Role>, answering: watch::Sender<Answering>, lasting: Lasting) -> Infallible {
    loop {
        let now = role.borrow_and_update().clone();
        let changed = async {
            // Without anybody who could change it, it stays.
            if role.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        match now {
            Role::Standby(leader) => {
                answering.send_replace(Answering::Standby(leader));
                changed.await;
            }
            Role::Leading(dispatcher) => {
                let app = App::new(dispatcher, lasting.clone());
                let sampling = app.rates.clone().sample_forever(app.dispatcher.clone());
                answering.send_replace(Answering::Routes(routes::router(app)));
                tokio::select! {
                    () = changed => {}
                    never = sampling => match never {},
                }
            }
        }
    }
}
