//! `flott jobmanager`: takes jobs by REST, and TaskManagers that register; with `high-availability.type` only while it leads.

use super::{ProcessArgs, start_log};
use crate::collect::Rows;
use crate::job;
use crate::run::runtime;
use anyhow::{Context, Result, bail};
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::high_availability::jobs::JobStore;
use flott_cluster::high_availability::{Candidate, HighAvailability};
use flott_cluster::rpc::{JobManagerPort, RpcSettings, is_loopback, port};
use flott_cluster::slot_pool::SlotPool;
use flott_cluster::{liveness, report};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_launch::metrics;
use flott_launch::signals::StopSignal;
use flott_rest::{Access, Role};
use flott_runtime::Registry;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Where jobs keep their checkpoints that do not say where.
const CHECKPOINT_DIR: &str = "execution.checkpointing.dir";

/// Pause of a standby that cannot take part in the election.
const RETRY: Duration = Duration::from_secs(1);

/// Runs a JobManager until a signal ends it.
pub fn job_manager(args: &ProcessArgs) -> Result<()> {
    let options = args.options()?;
    start_log(&options)?;
    let runtime = runtime()?;
    let result = runtime.block_on(run(options));
    runtime.shutdown_background();
    result
}

async fn run(options: Options) -> Result<()> {
    let mut signals = StopSignal::new()?;
    liveness::begin(&options)?;
    let mut settings = RpcSettings::from_options(&options)?;
    let availability = HighAvailability::from_options(&options, &settings).await?;
    if availability.is_some()
        && let Some(port) = port(&options, "high-availability.jobmanager.port")?
    {
        settings.job_manager_port = port;
    }
    let access = Access::from_options(&options)?;
    let rest = listen(&options, &access).await?;
    let rest_address = rest.local_addr()?;
    let host = settings.job_manager_host.clone();
    let rpc = JobManagerPort::bind(settings).await?;
    let (role, roles) = watch::channel(Role::Standby(None));
    let shown = roles.clone();
    let pages = move || match &*shown.borrow() {
        Role::Leading(dispatcher) => report::job_manager_pages(dispatcher),
        Role::Standby(_) => vec![],
    };
    let asked = roles.clone();
    let metrics = metrics::serve_process(&options, pages, move || asked.borrow().is_ready()).await?;
    metrics
        .addresses()
        .for_each(|address| eprintln!("metrics at http://{address}/metrics"));
    eprintln!(
        "JobManager: REST at {}://{rest_address}, TaskManagers at {}",
        if access.is_tls() { "https" } else { "http" },
        rpc.address()
    );
    let candidate = Candidate {
        rpc_address: format!("{host}:{}", rpc.address().port()),
        rest_address: format!(
            "{}:{}",
            options.get("rest.address").unwrap_or(&host),
            rest_address.port()
        ),
    };
    let job_manager = JobManager {
        registry: Arc::new(job::registry(&Rows::default())),
        options,
        rpc,
        role,
    };
    let stopped = async move { signals.recv().await };
    tokio::select! {
        served = flott_rest::serve(rest, access, roles, stopped) => served.context("REST has ended"),
        never = job_manager.lead(availability, &candidate) => match never? {},
    }
}

/// A JobManager that comes to lead, and loses that again.
struct JobManager {
    options: Options,
    registry: Arc<Registry>,
    rpc: JobManagerPort,
    role: watch::Sender<Role>,
}

impl JobManager {
    /// Leads whenever it is to.
    async fn lead(&self, availability: Option<HighAvailability>, candidate: &Candidate) -> Result<Infallible> {
        let Some(availability) = availability else {
            let why = self.reign(self.options.clone(), 0, None, pending()).await?;
            bail!("{why}");
        };
        let mut options = self.options.clone();
        if options.get(CHECKPOINT_DIR).is_none() {
            options.set(CHECKPOINT_DIR, &availability.checkpoint_dir);
        }
        loop {
            let mut leadership = tokio::select! {
                campaigned = availability.election.campaign(candidate) => match campaigned {
                    Ok(leadership) => leadership,
                    Err(error) => {
                        tracing::error!(%error, "this JobManager cannot take part in the election, and tries again");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                },
                never = self.point_at_leader(&availability) => match never {},
            };
            let epoch = leadership.epoch();
            tracing::info!(epoch, "this JobManager leads");
            let store = JobStore::new(availability.jobs.clone(), epoch).under(availability.election.clone());
            match self.reign(options.clone(), epoch, Some(store), leadership.lost()).await {
                Ok(why) => tracing::warn!(epoch, "this JobManager leads no more: {why}"),
                Err(error) => {
                    tracing::error!(epoch, "this JobManager cannot lead: {error:#}");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Leads until `lost` tells why no more.
    async fn reign(
        &self,
        options: Options,
        epoch: u64,
        store: Option<JobStore>,
        lost: impl Future<Output = String>,
    ) -> Result<String> {
        let pool = SlotPool::new(&options, Arc::new(SystemClock))?;
        let pool = match store {
            Some(_) => pool.keeping_attempts(),
            None => pool,
        };
        let slots = Arc::new(pool.clone());
        let dispatcher = Dispatcher::new(options, self.registry.clone(), Arc::new(SystemClock), slots, store)?;
        let server = self.rpc.serve(epoch, pool);
        let leading = async {
            dispatcher.take_over().await?;
            self.role.send_replace(Role::Leading(dispatcher.clone()));
            pending().await
        };
        let ended = tokio::select! {
            why = lost => Ok(why),
            failed = leading => failed,
        };
        self.role.send_replace(Role::Standby(None));
        // First nobody hears it any more, then it lets go: what its masters say on their way out reaches no task.
        server.close().await;
        dispatcher.suspend();
        ended
    }

    /// Tells who asks this one where the leader is.
    async fn point_at_leader(&self, availability: &HighAvailability) -> Infallible {
        loop {
            let leader = availability.election.leader().await.ok().flatten();
            self.role
                .send_replace(Role::Standby(leader.map(|leader| leader.at.rest_address)));
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Listens at `rest.port` of `rest.bind-address`.
async fn listen(options: &Options, access: &Access) -> Result<TcpListener> {
    let host = options.get("rest.bind-address").unwrap_or("127.0.0.1");
    if !is_loopback(host) && !access.is_guarded() {
        bail!(
            "rest.bind-address: {host}: whoever reaches REST there can run jobs: give it a token (security.rest.token-file), or let clients prove \
             who they are by certificates (security.ssl.rest.enabled and security.ssl.rest.authentication-enabled), or bind it to 127.0.0.1"
        );
    }
    if !is_loopback(host) && !access.is_tls() {
        tracing::warn!(
            host,
            "REST is reached from other machines without TLS (security.ssl.rest.enabled): who sees the network sees the token"
        );
    }
    let port = port(options, "rest.port")?.unwrap_or(8081);
    TcpListener::bind((host, port)).await.with_context(|| {
        format!("REST cannot listen at {host}:{port} (rest.bind-address, rest.port): end what uses the port, or choose another")
    })
}
