//! The JobManager: takes jobs by REST, or runs the one that it was started with, and takes TaskManagers that register; with
//! `high-availability.type` only while it leads.

use super::start_log;
use crate::error::LaunchError;
use crate::metrics;
use crate::signals::StopSignal;
use crate::stop::say;
use crate::traces;
use flott_cluster::dispatcher::{Application, ApplicationEnd, Dispatcher};
use flott_cluster::high_availability::jobs::JobStore;
use flott_cluster::high_availability::{Candidate, HighAvailability};
use flott_cluster::memory::{self, MemoryLimit};
use flott_cluster::rpc::{JobManagerPort, RpcSettings, is_loopback, port};
use flott_cluster::slot_pool::SlotPool;
use flott_cluster::traces::SharedTraceReporter;
use flott_cluster::{ClusterError, JobHandle, liveness, report};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_rest::{Access, Farewell, Role, ScriptPlanner, WebSubmission};
use flott_runtime::Registry;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

/// Between two warnings of little memory.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Where jobs keep their checkpoints that do not say where.
const CHECKPOINT_DIR: &str = "execution.checkpointing.dir";

/// Pause of a standby that cannot take part in the election.
const RETRY: Duration = Duration::from_secs(1);

/// How long TaskManagers may take to leave once they are told that the cluster is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a JobManager that leads since a moment waits for TaskManagers that come, to tell them the same.
const FAREWELL_AT_START: Duration = Duration::from_secs(2);

/// Runs a JobManager of many jobs until a signal ends it. `planner` plans the scripts that are uploaded to it. Needs Tokio.
///
/// # Errors
/// If an option is wrong, a port is not free, or the operating system refuses.
pub async fn run_session(
    options: Options,
    registry: Arc<Registry>,
    planner: Arc<dyn ScriptPlanner>,
) -> Result<(), LaunchError> {
    let web = WebSubmission::from_options(&options, planner)?;
    run(options, registry, None, web).await.map(|_| ())
}

/// Runs a JobManager of one job until that has ended, and all that it has told its TaskManagers and the clients of REST. `seen` gets the
/// job's handle when it runs here; under high availability that may happen several times, or never. Needs Tokio.
///
/// # Errors
/// As [`run_session`]; if the job is refused, or a signal comes first: then the job has not ended.
pub async fn run_application(
    options: Options,
    registry: Arc<Registry>,
    application: Application,
    seen: impl Fn(&JobHandle) + Send + Sync + 'static,
) -> Result<ApplicationEnd, LaunchError> {
    let job = application.submission.plan.name.clone();
    let alone = Alone {
        application,
        seen: Box::new(seen),
    };
    let ended = run(options, registry, Some(alone), None).await?;
    ended.ok_or(LaunchError::Interrupted { job })
}

/// Says that memory ends; there is nothing here that could be given up.
fn warn_of_memory(limit: MemoryLimit) -> impl FnMut(u64) {
    let mut until = None;
    move |used| {
        let now = Instant::now();
        if until.is_some_and(|until| now < until) {
            return;
        }
        until = Some(now + WARN_AGAIN);
        tracing::warn!(
            used_bytes = used,
            %limit,
            "the JobManager's memory is nearly used up: give it more, keep checkpoints outside of it ('execution.checkpointing.dir'), or run fewer jobs"
        );
    }
}

/// The one job of a JobManager.
struct Alone {
    application: Application,
    seen: Box<dyn Fn(&JobHandle) + Send + Sync>,
}

/// Runs until a signal comes (`None`) or the one job has ended.
async fn run(
    options: Options,
    registry: Arc<Registry>,
    alone: Option<Alone>,
    web: Option<WebSubmission>,
) -> Result<Option<ApplicationEnd>, LaunchError> {
    start_log(&options)?;
    let mut signals = StopSignal::new()?;
    liveness::begin(&options)?;
    let reporter = traces::reporter(&options)?;
    let mut settings = RpcSettings::from_options(&options)?;
    let availability = HighAvailability::from_options(&options, &settings).await?;
    if availability.is_some()
        && let Some(port) = port(&options, "high-availability.jobmanager.port")?
    {
        settings.job_manager_port = port;
    }
    let limit = MemoryLimit::of_job_manager(&options)?;
    memory::watch(limit, warn_of_memory(limit)).map_err(LaunchError::Watch)?;
    let access = Access::from_options(&options)?;
    let rest = listen(&options, &access).await?;
    let rest_address = rest.local_addr().map_err(LaunchError::Rest)?;
    let host = settings.job_manager_host.clone();
    let program = alone.as_ref().and_then(|alone| alone.application.program);
    let rpc = JobManagerPort::bind(settings).await?.of_program(program);
    let (role, roles) = watch::channel(Role::Standby(None));
    let shown = roles.clone();
    let pages = move || match &*shown.borrow() {
        Role::Leading(dispatcher) => report::job_manager_pages(dispatcher, &limit),
        Role::Standby(_) => vec![],
    };
    let asked = roles.clone();
    let metrics = metrics::serve_process(&options, pages, move || asked.borrow().is_ready()).await?;
    metrics
        .addresses()
        .for_each(|address| say(format_args!("metrics at http://{address}/metrics")));
    say(format_args!(
        "JobManager: REST at {}://{rest_address}, TaskManagers at {}",
        if access.is_tls() { "https" } else { "http" },
        rpc.address()
    ));
    let candidate = Candidate {
        rpc_address: format!("{host}:{}", rpc.address().port()),
        rest_address: format!(
            "{}:{}",
            options.get("rest.address").unwrap_or(&host),
            rest_address.port()
        ),
    };
    let job_manager = JobManager {
        registry,
        options,
        rpc,
        role,
        alone,
        end: OnceLock::new(),
        reporter,
    };
    let (over, is_over) = oneshot::channel::<()>();
    let stopped = async move {
        tokio::select! {
            () = signals.recv() => Farewell::Now,
            // Who stopped the job by REST still hears what came of it.
            _ = is_over => Farewell::WhenAllIsTold,
        }
    };
    let serving = flott_rest::serve(rest, access, web, roles, stopped);
    tokio::pin!(serving);
    let end = tokio::select! {
        served = &mut serving => {
            served.map_err(LaunchError::Rest)?;
            // The signal may have come behind the end.
            return Ok(job_manager.end.into_inner());
        }
        end = job_manager.lead(availability, &candidate) => end?,
    };
    drop(over);
    serving.await.map_err(LaunchError::Rest)?;
    Ok(Some(end))
}

/// Why a JobManager leads no more.
enum Reign {
    /// Another one may; why.
    Lost(String),
    /// Its one job has ended.
    Over(ApplicationEnd),
}

/// Whether an application cannot be started by anybody, whoever leads.
fn is_final(error: &LaunchError) -> bool {
    let LaunchError::Cluster(error) = error else {
        return true;
    };
    matches!(
        error,
        ClusterError::Option(_) | ClusterError::Plan(_) | ClusterError::Restore(_) | ClusterError::Refused(_)
    )
}

/// A JobManager that comes to lead, and loses that again.
struct JobManager {
    options: Options,
    registry: Arc<Registry>,
    rpc: JobManagerPort,
    role: watch::Sender<Role>,
    alone: Option<Alone>,
    /// How its one job has ended.
    end: OnceLock<ApplicationEnd>,
    /// Who is told of checkpoints and recoveries.
    reporter: Option<SharedTraceReporter>,
}

impl JobManager {
    /// Leads whenever it is to, until its one job has ended.
    async fn lead(
        &self,
        availability: Option<HighAvailability>,
        candidate: &Candidate,
    ) -> Result<ApplicationEnd, LaunchError> {
        let Some(availability) = availability else {
            return match self.reign(self.options.clone(), 0, None, pending()).await? {
                Reign::Over(end) => Ok(end),
                Reign::Lost(why) => Err(ClusterError::Connection(why).into()),
            };
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
                Ok(Reign::Over(end)) => return Ok(end),
                Ok(Reign::Lost(why)) => tracing::warn!(epoch, "this JobManager leads no more: {why}"),
                Err(error) if self.alone.is_some() && is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::error!(epoch, "this JobManager cannot lead: {error}");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Leads until `lost` tells why no more, or its one job has ended.
    async fn reign(
        &self,
        options: Options,
        epoch: u64,
        store: Option<JobStore>,
        lost: impl Future<Output = String>,
    ) -> Result<Reign, LaunchError> {
        let is_available = store.is_some();
        let pool = SlotPool::new(&options, Arc::new(SystemClock))?;
        let pool = match store {
            Some(_) => pool.keeping_attempts(),
            None => pool,
        };
        let slots = Arc::new(pool.clone());
        let (registry, clock) = (self.registry.clone(), Arc::new(SystemClock));
        let dispatcher = match &self.alone {
            None => Dispatcher::new(options, registry, clock, slots, store)?,
            Some(alone) => Dispatcher::of_application(options, registry, clock, slots, store, alone.application.job)?,
        };
        let dispatcher = match &self.reporter {
            Some(reporter) => dispatcher.traced(reporter.clone()),
            None => dispatcher,
        };
        let server = self.rpc.serve(epoch, pool.clone());
        let began = Instant::now();
        let ended = tokio::select! {
            why = lost => Ok(Reign::Lost(why)),
            ended = self.administer(&dispatcher) => ended.map(Reign::Over),
        };
        if let Ok(Reign::Over(end)) = &ended {
            // It may have ended under the leader before, whose TaskManagers are still on their way here.
            let is_new = is_available && began.elapsed() < FAREWELL;
            let least = if is_new { FAREWELL_AT_START } else { Duration::ZERO };
            let _ = self.end.set(end.clone());
            pool.shut_down(least, FAREWELL).await;
            // It still answers what is asked of the job.
            return ended;
        }
        self.role.send_replace(Role::Standby(None));
        // First nobody hears it any more, then it lets go: what its masters say on their way out reaches no task.
        server.close().await;
        dispatcher.suspend();
        ended
    }

    /// Has the jobs run: for ever, or until the only one has ended.
    async fn administer(&self, dispatcher: &Dispatcher) -> Result<ApplicationEnd, LaunchError> {
        let Some(Alone { application, seen }) = &self.alone else {
            dispatcher.take_over().await?;
            self.role.send_replace(Role::Leading(dispatcher.clone()));
            return pending().await;
        };
        let ended = dispatcher.start_application(application).await?;
        self.role.send_replace(Role::Leading(dispatcher.clone()));
        match ended {
            Some(end) => {
                tracing::warn!(
                    job = %end.job,
                    status = %end.status,
                    "the job had ended before; another high-availability.cluster-id lets it run again"
                );
                Ok(end)
            }
            None => Ok(dispatcher.application_ended(application.job, seen).await?),
        }
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
async fn listen(options: &Options, access: &Access) -> Result<TcpListener, LaunchError> {
    let host = options.get("rest.bind-address").unwrap_or("127.0.0.1");
    if !is_loopback(host) && !access.is_guarded() {
        return Err(LaunchError::Place(format!(
            "rest.bind-address: {host}: whoever reaches REST there can run jobs: give it a token (security.rest.token-file), or let clients prove \
             who they are by certificates (security.ssl.rest.enabled and security.ssl.rest.authentication-enabled), or bind it to 127.0.0.1"
        )));
    }
    if !is_loopback(host) && !access.is_tls() {
        tracing::warn!(
            host,
            "REST is reached from other machines without TLS (security.ssl.rest.enabled): who sees the network sees the token"
        );
    }
    let port = port(options, "rest.port")?.unwrap_or(8081);
    TcpListener::bind((host, port)).await.map_err(|error| {
        LaunchError::Place(format!(
            "REST cannot listen at {host}:{port} (rest.bind-address, rest.port): end what uses the port, or choose another: {error}"
        ))
    })
}
