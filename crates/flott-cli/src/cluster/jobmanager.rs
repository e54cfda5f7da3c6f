//! `flott jobmanager`: takes jobs by REST, and TaskManagers that register.

use super::ProcessArgs;
use crate::collect::Rows;
use crate::job;
use crate::run::runtime;
use anyhow::{Context, Result, bail};
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::report;
use flott_cluster::rpc::{JobManagerServer, RpcSettings, is_loopback, port};
use flott_cluster::slot_pool::SlotPool;
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_launch::metrics;
use flott_launch::signals::StopSignal;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Runs a JobManager until a signal ends it.
pub fn job_manager(args: &ProcessArgs) -> Result<()> {
    let options = args.options()?;
    let runtime = runtime()?;
    let result = runtime.block_on(run(options));
    runtime.shutdown_background();
    result
}

async fn run(options: Options) -> Result<()> {
    let mut signals = StopSignal::new()?;
    let pool = SlotPool::new(&options, Arc::new(SystemClock))?;
    let rest = listen(&options).await?;
    let server = JobManagerServer::bind(RpcSettings::from_options(&options)?, pool.clone()).await?;
    let registry = Arc::new(job::registry(&Rows::default()));
    let dispatcher = Dispatcher::new(options.clone(), registry, Arc::new(SystemClock), Arc::new(pool))?;
    let shown = dispatcher.clone();
    let metrics = metrics::serve_process(&options, move || report::job_manager_pages(&shown)).await?;
    metrics
        .addresses()
        .for_each(|address| eprintln!("metrics at http://{address}/metrics"));
    eprintln!(
        "JobManager: REST at http://{}, TaskManagers at {}",
        rest.local_addr()?,
        server.address()
    );
    let stopped = async move { signals.recv().await };
    flott_rest::serve(rest, dispatcher, stopped)
        .await
        .context("REST has ended")
}

/// Listens at `rest.port` of `rest.bind-address`.
async fn listen(options: &Options) -> Result<TcpListener> {
    let host = options.get("rest.bind-address").unwrap_or("127.0.0.1");
    if !is_loopback(host) {
        bail!(
            "rest.bind-address: {host}: REST asks nobody who they are yet, and whoever reaches it can run jobs; bind it to 127.0.0.1 and let a \
             proxy that knows its users forward to it"
        );
    }
    let port = port(options, "rest.port")?.unwrap_or(8081);
    TcpListener::bind((host, port)).await.with_context(|| {
        format!("REST cannot listen at {host}:{port} (rest.bind-address, rest.port): end what uses the port, or choose another")
    })
}
