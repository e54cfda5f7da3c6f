//! The JobManager's end: registers TaskManagers, and is the way to each of them.

use super::inquiries::{Answered, Inquiries};
use super::messages::{self, FromJobManager, FromTaskManager, Offer, Reader};
use super::settings::RpcSettings;
use crate::error::ClusterError;
use crate::inquiry::Question;
use crate::program::{LeaseOrder, PartOf};
use crate::protocol::{AttemptId, Deployment, HeldAttempt, Order, Peer, Report};
use crate::resources::{GatewayListener, Heard, PreloadListener, TaskManagerGateway, TaskManagerInfo, TaskManagerRef};
use crate::slot_pool::{Leases, Registration, SlotPool};
use flott_checkpoint::manifest::InlineBytes;
use flott_core::Fingerprint;
use flott_core::clock::{Clock, SystemClock};
use flott_runtime::net::{self, Stranger, Strangers};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// More slots than any process can use.
const MOST_SLOTS: usize = 1 << 16;

/// Bytes of a program's file that are sent at a time: reports and heartbeats go between.
const PART_BYTES: u64 = 1 << 20;

/// What a TaskManager says first: only one of the same version understands what follows.
pub(super) fn hello() -> String {
    format!("taskmanager {}", env!("CARGO_PKG_VERSION"))
}

/// What a JobManager says first that stands by.
pub(super) fn standby() -> String {
    format!("standby {}", env!("CARGO_PKG_VERSION"))
}

/// Where a JobManager listens for TaskManagers.
#[derive(Debug)]
pub struct JobManagerPort {
    settings: Arc<RpcSettings>,
    listener: Arc<TcpListener>,
    address: SocketAddr,
    program: Option<Fingerprint>,
}

/// Takes the TaskManagers that come to a port, until it is dropped: then all connections are closed, and those at the other ends lose
/// their JobManager.
#[derive(Debug)]
pub struct JobManagerServer {
    stop: Option<oneshot::Sender<()>>,
    accepting: JoinHandle<()>,
}

impl JobManagerPort {
    /// Listens at `jobmanager.rpc.port` of `jobmanager.bind-host`; who comes waits until somebody is taken.
    ///
    /// # Errors
    /// If the port is in use, or open to other machines with nothing to keep strangers out.
    pub async fn bind(settings: RpcSettings) -> Result<Self, ClusterError> {
        settings.check_exposure("jobmanager.bind-host", &settings.bind_host)?;
        let place = (settings.bind_host.as_str(), settings.job_manager_port);
        let cannot = |e: std::io::Error| {
            ClusterError::Connection(format!(
                "the JobManager cannot listen at {}:{} (jobmanager.bind-host, jobmanager.rpc.port): {e}; end what uses the port, or choose another",
                settings.bind_host, settings.job_manager_port
            ))
        };
        let listener = TcpListener::bind(place).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Self {
            settings: Arc::new(settings),
            listener: Arc::new(listener),
            address,
            program: None,
        })
    }

    /// The same, which takes only processes of a program whose graph this is: nobody else has its operators.
    pub fn of_program(self, program: Option<Fingerprint>) -> Self {
        Self { program, ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes whoever comes into `pool`, as the leader of `epoch` (0 without high availability).
    pub fn serve(&self, epoch: u64, pool: SlotPool) -> JobManagerServer {
        let (listener, settings, program) = (self.listener.clone(), self.settings.clone(), self.program);
        let (stop, stopped) = oneshot::channel();
        let accepting = tokio::spawn(async move {
            // They end with this.
            let mut connections = JoinSet::new();
            tokio::select! {
                _ = stopped => {}
                () = accept(&listener, &settings, (epoch, program), &pool, &mut connections) => {}
            }
            connections.shutdown().await;
        });
        JobManagerServer {
            stop: Some(stop),
            accepting,
        }
    }
}

impl JobManagerServer {
    /// Closes all connections. Once this returns nothing is sent any more to a TaskManager, whatever a job master says.
    pub async fn close(mut self) {
        drop(self.stop.take());
        // It ends by itself.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for JobManagerServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: &TcpListener,
    settings: &Arc<RpcSettings>,
    leadership: (u64, Option<Fingerprint>),
    pool: &SlotPool,
    connections: &mut JoinSet<()>,
) {
    let strangers = Strangers::default();
    loop {
        while connections.try_join_next().is_some() {}
        match strangers.next(listener).await {
            Ok((stream, from, stranger)) => {
                let (settings, pool) = (settings.clone(), pool.clone());
                connections.spawn(async move {
                    if let Err(error) = serve(stream, from, stranger, &settings, leadership, &pool).await {
                        tracing::warn!(%from, %error, "a connection to the JobManager was closed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the JobManager could not be accepted");
                tokio::time::sleep(settings.heartbeat_interval).await;
            }
        }
    }
}

/// Registers the TaskManager that has connected, and hears it to its end; keeps the connection of a standby.
async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    stranger: Stranger,
    settings: &RpcSettings,
    (epoch, program): (u64, Option<Fingerprint>),
    pool: &SlotPool,
) -> Result<(), ClusterError> {
    let connection = |e: net::NetError| ClusterError::Connection(e.to_string());
    let _ = stream.set_nodelay(true);
    let mut stream = settings.transport.accept(stream).await.map_err(connection)?;
    let said = net::accept(&mut stream, &settings.secret).await.map_err(connection)?;
    if said.bytes() == standby().as_bytes() {
        said.welcome(&mut stream).await.map_err(connection)?;
        drop(stranger);
        // It says nothing until it ends.
        let _ = stream.read_u8().await;
        return Ok(());
    }
    if said.bytes() != hello().as_bytes() {
        let text = format!(
            "this JobManager is of version {} and was asked by '{}': run the same version everywhere",
            env!("CARGO_PKG_VERSION"),
            String::from_utf8_lossy(said.bytes())
        );
        said.refuse(&mut stream, &text).await.map_err(connection)?;
        return Err(ClusterError::Connection(text));
    }
    said.welcome(&mut stream).await.map_err(connection)?;
    drop(stranger);
    let (reader, mut writer) = stream.into_split();
    let mut reader = messages::reader(reader, settings.heartbeat_timeout);
    let Ok(Some(FromTaskManager::Register(mut offer))) = messages::read(&mut reader).await else {
        return Err(ClusterError::Connection(
            "a TaskManager connected and did not register".to_owned(),
        ));
    };
    let misfits = match &offer.lent {
        Some(lease) if program.is_none() => pool.admit(lease, offer.program).err(),
        _ => misfit(program, offer.program),
    };
    if let Some(why) = misfits {
        messages::write(&mut writer, FromJobManager::Refused(why.clone())).await?;
        return Err(ClusterError::Refused(format!("TaskManager {}: {why}", offer.id)));
    }
    let held = std::mem::take(&mut offer.held);
    let leases = Leases {
        leases: std::mem::take(&mut offer.leases),
        lent: offer.lent.take(),
    };
    let offer = Offer {
        // Who does not know where it is reached is reached where it comes from.
        host: match offer.host.is_empty() {
            true => from.ip().to_string(),
            false => offer.host.clone(),
        },
        slots: offer.slots.min(MOST_SLOTS),
        ..offer
    };
    let (outbox, said_to_it) = unbounded_channel();
    let gateway = Arc::new(Remote::new(outbox.clone(), &held));
    let data_address = format!("{}:{}", offer.host, offer.data_port);
    let reference = TaskManagerRef {
        peer: Peer {
            id: offer.id.clone(),
            data_address: data_address.clone(),
        },
        gateway: gateway.clone(),
    };
    let info = TaskManagerInfo {
        id: offer.id.clone(),
        address: from.to_string(),
        data_port: offer.data_port,
        slots: offer.slots,
        free_slots: offer.slots,
        allocated: vec![],
        last_heartbeat_ms: SystemClock.now_ms(),
        cpu_cores: offer.cpu_cores,
        memory_bytes: offer.memory_bytes,
        used_bytes: 0,
    };
    let _ = outbox.send(FromJobManager::Registered { epoch });
    let writing = messages::write_all(writer, said_to_it, settings.heartbeat_interval, || {
        FromJobManager::Heartbeat
    });
    tracing::info!(
        task_manager = offer.id,
        data_address,
        slots = offer.slots,
        still_runs = held.len(),
        "TaskManager registered"
    );
    let registration = pool.register_with(reference, info, held, leases);
    let why = {
        let hearing = hear(&mut reader, &gateway, &registration, pool);
        tokio::pin!(hearing);
        tokio::select! {
            why = &mut hearing => why,
            () = registration.replaced() => "it has registered anew".to_owned(),
            // Where nothing can be written nothing is heard any more either, which tells more.
            () = writing => hearing.await,
        }
    };
    // Its slots go before its jobs hear of it: they must not be given the same ones again.
    drop(registration);
    let text = format!("TaskManager {} at {data_address} is lost: {why}", offer.id);
    tracing::warn!("{text}");
    gateway.lost(&text);
    Ok(())
}

/// Why a TaskManager of a program cannot work for a JobManager of another; `None`: it can.
fn misfit(of_job_manager: Option<Fingerprint>, of_task_manager: Option<Fingerprint>) -> Option<String> {
    match (of_job_manager, of_task_manager) {
        (Some(ours), Some(theirs)) if ours != theirs => Some(format!(
            "the program of the TaskManager describes a graph with the fingerprint {theirs}, that of the JobManager one with {ours}: start all \
             processes from the same build of the program, with the same arguments"
        )),
        (Some(ours), None) => Some(format!(
            "the JobManager runs a program, whose graph has the fingerprint {ours}, and the TaskManager was started without it: start the program \
             itself as TaskManager (--taskmanager)"
        )),
        (None, Some(theirs)) => Some(format!(
            "the TaskManager runs a program, whose graph has the fingerprint {theirs}, and the JobManager was started without it: start the program \
             itself as JobManager (--standalone-job), or 'flott taskmanager' for SQL"
        )),
        _ => None,
    }
}

/// Hears a TaskManager until it is gone; why.
async fn hear(reader: &mut Reader, gateway: &Remote, registration: &Registration, pool: &SlotPool) -> String {
    loop {
        let message = match messages::read(reader).await {
            Ok(Some(message)) => message,
            Ok(None) => return "it closed its connection, or its process has ended".to_owned(),
            Err(error) => return error.to_string(),
        };
        match message {
            FromTaskManager::Report(attempt, subtask, report) => {
                gateway.report(attempt, Heard::Subtask(subtask, report))
            }
            FromTaskManager::Preloaded(attempt, round, read) => gateway.preloaded(attempt, round, read),
            FromTaskManager::Heartbeat { used_bytes, counted } => {
                registration.heartbeat(used_bytes);
                counted
                    .into_iter()
                    .for_each(|(attempt, readings)| gateway.report(attempt, Heard::Counted(readings)));
            }
            FromTaskManager::Answered(number, answer) => gateway.inquiries.answered(number, answer),
            FromTaskManager::Leaving(why) => return why,
            FromTaskManager::FetchProgram { job, digest, offset } => {
                let (file, outbox) = (pool.program_file(job), gateway.outbox.clone());
                tokio::task::spawn_blocking(move || {
                    let part = part_of(file, offset);
                    // Who is lost needs none.
                    let _ = outbox.send(FromJobManager::ProgramPart { digest, offset, part });
                });
            }
            FromTaskManager::LeaseEnded { id, why } => registration.lease_ended(&id, why),
            FromTaskManager::Register(_) => return "it registered twice".to_owned(),
        }
    }
}

/// A part of a program's file.
fn part_of(file: Option<PathBuf>, offset: u64) -> PartOf {
    let file = file.ok_or_else(|| "its job has ended".to_owned())?;
    let read = || {
        let mut from = File::open(file)?;
        from.seek(SeekFrom::Start(offset))?;
        let mut part = vec![];
        from.take(PART_BYTES).read_to_end(&mut part)?;
        Ok(InlineBytes(part.into()))
    };
    read().map_err(|error: io::Error| format!("the JobManager cannot read it: {error}"))
}

/// The way to a TaskManager in another process.
pub(crate) struct Remote {
    outbox: UnboundedSender<FromJobManager>,
    watched: Mutex<Watched>,
    inquiries: Arc<Inquiries>,
}

/// Who hears what.
#[derive(Default)]
struct Watched {
    attempts: HashMap<AttemptId, (GatewayListener, usize)>,
    /// What came of attempts that it has held, and nobody has taken over yet.
    waiting: HashMap<AttemptId, Vec<Heard>>,
    /// Who waits for state that is read ahead, and for which round of it.
    preloading: HashMap<AttemptId, (u64, PreloadListener)>,
    /// Why the TaskManager is gone.
    lost: Option<String>,
}

impl Watched {
    /// Who hears this; nobody does when all subtasks have ended.
    fn listener_of(&mut self, attempt: AttemptId, heard: &Heard) -> Option<GatewayListener> {
        let has_ended = matches!(heard, Heard::Subtask(_, Report::Ended | Report::Failed(_)));
        let (listener, left) = self.attempts.get_mut(&attempt)?;
        let listener = listener.clone();
        *left -= usize::from(has_ended).min(*left);
        if *left == 0 {
            self.attempts.remove(&attempt);
        }
        Some(listener)
    }
}

impl Remote {
    /// The way to one that has registered with what it holds.
    pub(crate) fn new(outbox: UnboundedSender<FromJobManager>, held: &[HeldAttempt]) -> Self {
        Self {
            outbox,
            watched: Mutex::new(Watched {
                waiting: held.iter().map(|held| (held.id, vec![])).collect(),
                ..Watched::default()
            }),
            inquiries: Arc::new(Inquiries::new()),
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what was heard of an attempt.
    pub(crate) fn report(&self, attempt: AttemptId, heard: Heard) {
        let listener = {
            let mut watched = self.watched();
            if let Some(waiting) = watched.waiting.get_mut(&attempt) {
                // Counters come again with each heartbeat.
                return match heard {
                    Heard::Counted(_) => {}
                    heard => waiting.push(heard),
                };
            }
            watched.listener_of(attempt, &heard)
        };
        let Some(listener) = listener else {
            return;
        };
        listener(heard);
    }

    /// Passes on what became of state that was to be read ahead.
    pub(crate) fn preloaded(&self, attempt: AttemptId, round: u64, read: Result<u64, String>) {
        let waiting = {
            let preloading = &mut self.watched().preloading;
            // Another round's answer was on its way when it was not wanted any more.
            let is_awaited = preloading.get(&attempt).is_some_and(|(of, _)| *of == round);
            is_awaited.then(|| preloading.remove(&attempt)).flatten()
        };
        if let Some((_, listener)) = waiting {
            listener(read);
        }
    }

    /// Tells all who listen that the TaskManager is gone.
    pub(crate) fn lost(&self, text: &str) {
        self.inquiries.lost(text);
        let (attempts, preloading) = {
            let mut watched = self.watched();
            watched.lost = Some(text.to_owned());
            watched.waiting.clear();
            let attempts = std::mem::take(&mut watched.attempts);
            (attempts, std::mem::take(&mut watched.preloading))
        };
        preloading
            .into_values()
            .for_each(|(_, listener)| listener(Err(text.to_owned())));
        attempts
            .into_values()
            .for_each(|(listener, _)| listener(Heard::Lost(text.to_owned())));
    }
}

impl TaskManagerGateway for Remote {
    fn deploy(&self, deployment: Deployment, listener: GatewayListener) {
        let subtasks = deployment.placement.subtasks_at(deployment.here).len();
        let lost = {
            let mut watched = self.watched();
            if watched.lost.is_none() {
                watched.attempts.insert(deployment.id, (listener.clone(), subtasks));
            }
            watched.lost.clone()
        };
        match lost {
            Some(text) => listener(Heard::Lost(text)),
            None => drop(self.outbox.send(FromJobManager::Deploy(Box::new(deployment)))),
        }
    }

    fn adopt(&self, held: &HeldAttempt, listener: GatewayListener) {
        let subtasks = held.placement.subtasks_at(held.here).len();
        let left = subtasks - held.ended.len().min(subtasks);
        let mut watched = self.watched();
        if let Some(text) = watched.lost.clone() {
            drop(watched);
            return listener(Heard::Lost(text));
        }
        watched.attempts.insert(held.id, (listener, left));
        // Heard before anything that comes from now on, which waits for the lock.
        for heard in watched.waiting.remove(&held.id).unwrap_or_default() {
            if let Some(listener) = watched.listener_of(held.id, &heard) {
                listener(heard);
            }
        }
    }

    fn preload(&self, share: Deployment, round: u64, listener: PreloadListener) {
        let lost = {
            let mut watched = self.watched();
            if watched.lost.is_none() {
                watched.preloading.insert(share.id, (round, listener.clone()));
            }
            watched.lost.clone()
        };
        match lost {
            Some(text) => listener(Err(text)),
            None => drop(self.outbox.send(FromJobManager::Preload(Box::new(share), round))),
        }
    }

    fn ask(&self, question: Question) -> BoxFuture<'static, Answered> {
        let (inquiries, outbox) = (self.inquiries.clone(), self.outbox.clone());
        async move { inquiries.ask(&outbox, question).await }.boxed()
    }

    fn lend(&self, order: LeaseOrder) {
        let _ = self.outbox.send(FromJobManager::Lend(Box::new(order)));
    }

    fn recall(&self, lease: &str) {
        let _ = self.outbox.send(FromJobManager::Recall(lease.to_owned()));
    }

    fn shut_down(&self) {
        let _ = self.outbox.send(FromJobManager::ShutDown);
    }

    fn order(&self, attempt: AttemptId, order: Order) {
        match order {
            Order::Release => drop(self.watched().waiting.remove(&attempt)),
            Order::ForgetPreloaded => drop(self.watched().preloading.remove(&attempt)),
            _ => {}
        }
        let _ = self.outbox.send(FromJobManager::Order(attempt, order));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_one_program_fit() {
        let (one, other) = (Some(Fingerprint(1)), Some(Fingerprint(2)));
        assert_eq!(misfit(None, None), None);
        assert_eq!(misfit(one, one), None);
        let said = |manager, worker| misfit(manager, worker).unwrap();
        let both = said(one, other);
        assert!(
            both.contains(&Fingerprint(1).to_string()) && both.contains(&Fingerprint(2).to_string()),
            "{both}"
        );
        assert!(said(one, None).contains("--taskmanager"));
        assert!(said(None, one).contains("--standalone-job"));
    }
}
