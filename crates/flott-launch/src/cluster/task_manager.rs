//! The TaskManager: offers slots to a JobManager, and runs tasks in them.

use super::start_log;
use crate::error::LaunchError;
use crate::metrics;
use crate::signals::StopSignal;
use crate::stop::say;
use flott_cluster::high_availability::HighAvailability;
use flott_cluster::inquiry::Logs;
use flott_cluster::liveness;
use flott_cluster::memory::{self, MemoryLimit, managed_per_slot};
use flott_cluster::program::{Lease, Lender};
use flott_cluster::report::TaskManagerReporter;
use flott_cluster::rpc::{self, Finding, RpcSettings, TaskManagerIdentity, is_loopback, port};
use flott_cluster::taskmanager::TaskManager;
use flott_core::clock::SystemClock;
use flott_core::{Fingerprint, Options};
use flott_runtime::Registry;
use flott_runtime::exchange::ExchangeService;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Runs a TaskManager until a signal ends it, or its JobManager says that the cluster is over. `program`: whose operators `registry` has, none:
/// SQL's. `lent`: slots of another TaskManager that are its own here. Needs Tokio.
///
/// # Errors
/// If an option is wrong, a port is not free, no JobManager takes it, or one runs another program.
pub async fn run_task_manager(
    options: &Options,
    registry: Arc<Registry>,
    program: Option<Fingerprint>,
    lent: Option<Lease>,
) -> Result<(), LaunchError> {
    start_log(options)?;
    let mut signals = StopSignal::new()?;
    liveness::begin(options)?;
    let settings = RpcSettings::from_options(options)?;
    let bind_host = options.get("taskmanager.bind-host").unwrap_or("127.0.0.1");
    settings.check_exposure("taskmanager.bind-host", bind_host)?;
    let finding = match HighAvailability::from_options(options, &settings).await? {
        None => Finding::Fixed,
        Some(availability) => Finding::Leader(availability.election),
    };
    let is_fixed = matches!(finding, Finding::Fixed);
    if is_fixed && is_loopback(bind_host) && !is_loopback(&settings.job_manager_host) {
        return Err(LaunchError::Place(format!(
            "taskmanager.bind-host: {bind_host}: other TaskManagers of the JobManager at {} could not reach this one; bind it to an address of \
             this machine, or to 0.0.0.0",
            settings.job_manager_host
        )));
    }
    let data_port = port(options, "taskmanager.data.port")?.unwrap_or(0);
    let (transport, secret) = (settings.transport.clone(), settings.secret.clone());
    let exchange = ExchangeService::bind(bind_host, data_port, transport, secret, settings.heartbeat_timeout);
    let exchange =
        exchange.map_err(|error| LaunchError::Place(format!("taskmanager.data.port: {}", error.full_text())))?;
    let limit = MemoryLimit::of_task_manager(options)?;
    let identity = TaskManagerIdentity {
        program,
        lent,
        ..identity(options, exchange.address().port(), &limit)?
    };
    // A program has nothing to start another one from.
    let is_lender = identity.program.is_none();
    let lender = is_lender.then(|| Lender::new(options, &identity.id, identity.slots, limit));
    let slot_bytes = managed_per_slot(options, &limit, identity.slots)?;
    let manager = TaskManager::bounded(registry, Arc::new(SystemClock), Some(exchange), slot_bytes);
    keep_within(limit, &manager).map_err(LaunchError::Watch)?;
    let reporter = TaskManagerReporter::new(&identity.id, limit);
    let (shown, reporter) = (manager.clone(), Mutex::new(reporter));
    let pages = move || reporter.lock().unwrap_or_else(PoisonError::into_inner).pages(&shown);
    // Who asks before the first attempt to register is told so, too.
    liveness::process().set_ready(Err(rpc::UNREGISTERED.to_owned()));
    let metrics = metrics::serve_process(options, pages, || liveness::process().ready()).await?;
    metrics
        .addresses()
        .for_each(|address| say(format_args!("metrics at http://{address}/metrics")));
    let job_manager = match is_fixed {
        true => format!("at {}:{}", settings.job_manager_host, settings.job_manager_port),
        false => "is who leads".to_owned(),
    };
    say(format_args!(
        "TaskManager {}: {} slots, exchanges at port {}, JobManager {job_manager}",
        identity.id, identity.slots, identity.data_port
    ));
    tokio::select! {
        over = rpc::run_task_manager(&settings, &identity, &manager, finding, lender.as_ref()) => {
            over?;
            say(format_args!("TaskManager {}: the cluster is over", identity.id));
            Ok(())
        }
        () = signals.recv() => Ok(()),
    }
}

/// How long a job that was failed for its memory has to give it back before the next one fails.
const RELIEF: Duration = Duration::from_secs(2);

/// Fails the largest job where memory ends, so that the process lives, and with it the others.
fn keep_within(limit: MemoryLimit, manager: &TaskManager) -> std::io::Result<()> {
    let manager = manager.clone();
    let (mut failed, mut until) = (vec![], Instant::now());
    memory::watch(limit, move |used| {
        let now = Instant::now();
        if now < until {
            return;
        }
        if now > until + RELIEF {
            failed.clear();
        }
        until = now + RELIEF;
        if manager.forget_preloaded() {
            return tracing::warn!(used_bytes = used, %limit, "memory is used up: state that was read ahead of a rescaling is given up");
        }
        let why = |holder: &str| {
            format!(
                "the TaskManager's memory is used up: {} mb of {limit}, of which {holder}. Give it more memory or the job more parallelism, keep less \
                 (table.exec.state.ttl, a shorter window), or keep state on disk ('state.backend.type' = 'rocksdb')",
                used >> 20
            )
        };
        match manager.fail_largest(&failed, why) {
            Some(attempt) => {
                tracing::error!(used_bytes = used, %limit, %attempt, "memory is used up: the job with the largest state fails");
                failed.push(attempt);
            }
            None => {
                tracing::warn!(used_bytes = used, %limit, "memory is used up, and no job is left that could give any back")
            }
        }
    })
}

/// What it says of itself.
fn identity(options: &Options, data_port: u16, limit: &MemoryLimit) -> Result<TaskManagerIdentity, LaunchError> {
    let host_name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let id = match options.get("taskmanager.resource-id") {
        Some(id) => id.to_owned(),
        None => format!("{}:{data_port}-{}", host_name.trim(), std::process::id()),
    };
    let patience_ms = options
        .duration_ms("taskmanager.registration.timeout")?
        .unwrap_or(300_000);
    Ok(TaskManagerIdentity {
        id,
        host: options.get("taskmanager.host").unwrap_or_default().to_owned(),
        data_port,
        slots: options.positive("taskmanager.numberOfTaskSlots")?.unwrap_or(1),
        memory_bytes: limit.bytes,
        program: None,
        lent: None,
        logs: Logs::of_task_manager(options),
        registration_timeout: Duration::from_millis(patience_ms.max(0) as u64),
    })
}
