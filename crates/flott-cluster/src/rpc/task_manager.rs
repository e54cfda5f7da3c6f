//! The TaskManager's end: registers with the JobManager, and runs what it is given.

use super::job_manager::hello;
use super::messages::{self, FromJobManager, FromTaskManager, Offer, Reader};
use super::process;
use super::settings::RpcSettings;
use crate::error::ClusterError;
use crate::taskmanager::TaskManager;
use flott_runtime::net;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::unbounded_channel;

/// Between two attempts to register.
const RETRY: Duration = Duration::from_millis(200);

/// What a TaskManager says of itself.
#[derive(Debug, Clone)]
pub struct TaskManagerIdentity {
    /// `taskmanager.resource-id`
    pub id: String,
    /// `taskmanager.host`: where other TaskManagers reach it; empty: where the JobManager sees it come from.
    pub host: String,
    /// Where exchanges arrive.
    pub data_port: u16,
    /// `taskmanager.numberOfTaskSlots`
    pub slots: usize,
    /// Memory that it may use, in bytes.
    pub memory_bytes: u64,
    /// How long it looks for a JobManager (`taskmanager.registration.timeout`).
    pub registration_timeout: Duration,
}

/// Registers and runs what it is given; where the JobManager is lost, tasks are cancelled and it registers anew.
///
/// # Errors
/// If no JobManager took it within its registration timeout.
pub async fn run_task_manager(
    settings: &RpcSettings,
    identity: &TaskManagerIdentity,
    manager: &TaskManager,
) -> Result<Infallible, ClusterError> {
    let place = format!("{}:{}", settings.job_manager_host, settings.job_manager_port);
    let mut alone_since = Instant::now();
    let mut told = String::new();
    loop {
        let (problem, was_registered) = match register(settings, identity, &place).await {
            Ok((reader, writer)) => {
                tracing::info!(job_manager = place, "registered with the JobManager");
                let why = attend(reader, writer, settings, manager).await;
                manager.cancel_all();
                tracing::warn!(
                    job_manager = place,
                    "the JobManager is lost, and tasks were cancelled: {why}"
                );
                (why, true)
            }
            Err(error) => (error.to_string(), false),
        };
        if was_registered {
            (alone_since, told) = (Instant::now(), String::new());
        } else if alone_since.elapsed() >= identity.registration_timeout {
            return Err(ClusterError::Connection(format!(
                "no JobManager at {place} (jobmanager.rpc.address, jobmanager.rpc.port) took this TaskManager within {} s \
                 (taskmanager.registration.timeout): {problem}",
                identity.registration_timeout.as_secs()
            )));
        } else if told != problem {
            tracing::warn!(
                job_manager = place,
                "the JobManager is not reached, and asked again: {problem}"
            );
            told = problem;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Connects and registers.
async fn register(
    settings: &RpcSettings,
    identity: &TaskManagerIdentity,
    place: &str,
) -> Result<(Reader, OwnedWriteHalf), ClusterError> {
    let connecting = tokio::time::timeout(settings.heartbeat_timeout, TcpStream::connect(place)).await;
    let connecting = connecting.map_err(|_| ClusterError::Connection("it does not answer".to_owned()))?;
    let mut stream = connecting.map_err(|e| ClusterError::Connection(e.to_string()))?;
    let _ = stream.set_nodelay(true);
    let shaken = net::connect(&mut stream, &settings.secret, hello().as_bytes()).await;
    shaken.map_err(|e| ClusterError::Connection(e.to_string()))?;
    let offer = Offer {
        id: identity.id.clone(),
        host: identity.host.clone(),
        data_port: identity.data_port,
        slots: identity.slots,
        cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: identity.memory_bytes,
    };
    let (reader, mut writer) = stream.into_split();
    let mut reader = messages::reader(reader, settings.heartbeat_timeout);
    messages::write(&mut writer, FromTaskManager::Register(offer)).await?;
    match messages::read(&mut reader).await? {
        Some(FromJobManager::Registered) => Ok((reader, writer)),
        _ => Err(ClusterError::Connection(
            "it did not answer the registration".to_owned(),
        )),
    }
}

/// Runs what the JobManager says until it is lost; why.
async fn attend(mut reader: Reader, writer: OwnedWriteHalf, settings: &RpcSettings, manager: &TaskManager) -> String {
    let (outbox, said_to_it) = unbounded_channel();
    let counted_by = manager.clone();
    let heartbeat = move || FromTaskManager::Heartbeat {
        used_bytes: process::resident_bytes(),
        counted: counted_by.readings(),
    };
    let writing = tokio::spawn(messages::write_all(
        writer,
        said_to_it,
        settings.heartbeat_interval,
        heartbeat,
    ));
    let why = loop {
        let message = match messages::read(&mut reader).await {
            Ok(Some(message)) => message,
            Ok(None) => break "it closed the connection, or its process has ended".to_owned(),
            Err(error) => break error.to_string(),
        };
        match message {
            FromJobManager::Deploy(deployment) => {
                let (attempt, outbox) = (deployment.id, outbox.clone());
                let listener = Arc::new(move |subtask, report| {
                    let _ = outbox.send(FromTaskManager::Report(attempt, subtask, report));
                });
                manager.deploy(*deployment, listener);
            }
            FromJobManager::Order(attempt, order) => manager.order(attempt, order),
            FromJobManager::Heartbeat | FromJobManager::Registered => {}
        }
    };
    writing.abort();
    why
}
