//! The TaskManager's end: registers with the JobManager that leads, and runs what it is given. The fail point `taskmanager-order` is
//! passed at each order.

use super::job_manager::hello;
use super::messages::{self, FromJobManager, FromTaskManager, Offer, Reader};
use super::settings::RpcSettings;
use crate::error::ClusterError;
use crate::high_availability::LeaderElection;
use crate::inquiry::{self, Logs, Question};
use crate::liveness;
use crate::memory::system;
use crate::program::{Lease, Lender};
use crate::protocol::AttemptId;
use crate::taskmanager::{Listener, TaskManager};
use flott_core::Fingerprint;
use flott_runtime::failpoint;
use flott_runtime::net::{self, WriteHalf};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Between two attempts to register.
const RETRY: Duration = Duration::from_millis(200);

/// Why a TaskManager cannot do its work while no JobManager knows of it.
pub const UNREGISTERED: &str = "it is not registered with a JobManager";

/// How long a TaskManager that must end waits until its JobManager has heard of it.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long tasks run without a JobManager that leads them, under high availability.
const LEADERLESS: Duration = Duration::from_secs(60);

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
    /// The program whose operators it has; none: SQL's.
    pub program: Option<Fingerprint>,
    /// The slots of another TaskManager that it is lent.
    pub lent: Option<Lease>,
    /// Where its logs are.
    pub logs: Logs,
    /// How long it looks for a JobManager (`taskmanager.registration.timeout`).
    pub registration_timeout: Duration,
}

/// How the TaskManager finds the JobManager.
#[derive(Clone)]
pub enum Finding {
    /// It is where `jobmanager.rpc.address` and `.port` say. What it was given ends with the connection.
    Fixed,
    /// It is who leads. What runs goes on for a while without one, for the next leader to take over.
    Leader(Arc<dyn LeaderElection>),
}

impl Finding {
    /// Where the JobManager is, and its epoch.
    async fn job_manager(&self, settings: &RpcSettings) -> Result<(String, u64), ClusterError> {
        let Self::Leader(election) = self else {
            let place = format!("{}:{}", settings.job_manager_host, settings.job_manager_port);
            return Ok((place, 0));
        };
        match election.leader().await? {
            Some(leader) => Ok((leader.at.rpc_address, leader.epoch)),
            None => Err(ClusterError::Connection("no JobManager leads yet".to_owned())),
        }
    }
}

/// Why a connection to a JobManager is over.
enum Parting {
    /// It is gone; why.
    Lost(String),
    /// Its cluster has done what it was there for.
    ShutDown,
    /// This process must end; why.
    Fatal(String),
}

/// A TaskManager on its way through JobManagers.
struct Registrar<'a> {
    settings: &'a RpcSettings,
    identity: &'a TaskManagerIdentity,
    manager: &'a TaskManager,
    lender: Option<&'a Lender>,
    finding: Finding,
    /// Where the JobManager was found last.
    place: String,
    /// The highest epoch of a leader that it has obeyed.
    epoch: u64,
}

/// Registers and runs what it is given, with one JobManager after the other, until one of them says that the cluster is over.
///
/// # Errors
/// If no JobManager took it within its registration timeout, or one refused it for good; or if a task cannot be ended
/// ([`TaskManager::fatal_error`]): the process must end then.
pub async fn run_task_manager(
    settings: &RpcSettings,
    identity: &TaskManagerIdentity,
    manager: &TaskManager,
    finding: Finding,
    lender: Option<&Lender>,
) -> Result<(), ClusterError> {
    let fatal = manager.fatal_error();
    let unheard = async {
        let why = fatal.await;
        tokio::time::sleep(FAREWELL).await;
        why
    };
    tokio::select! {
        ended = serve_job_managers(settings, identity, manager, finding, lender) => ended,
        // There was no JobManager that could be told.
        why = unheard => Err(ClusterError::Fatal(why)),
    }
}

async fn serve_job_managers(
    settings: &RpcSettings,
    identity: &TaskManagerIdentity,
    manager: &TaskManager,
    finding: Finding,
    lender: Option<&Lender>,
) -> Result<(), ClusterError> {
    let mut registrar = Registrar {
        settings,
        identity,
        manager,
        lender,
        finding,
        place: String::new(),
        epoch: 0,
    };
    let mut alone_since = Instant::now();
    let mut told = String::new();
    loop {
        liveness::process().set_ready(Err(UNREGISTERED.to_owned()));
        let (problem, was_registered) = match registrar.register().await {
            Ok(connection) => {
                liveness::process().set_ready(Ok(()));
                match registrar.attend(connection).await {
                    Parting::ShutDown => {
                        manager.cancel_all();
                        lender.into_iter().for_each(Lender::recall_all);
                        return Ok(());
                    }
                    Parting::Lost(why) => {
                        tracing::warn!(job_manager = registrar.place, "the JobManager is lost: {why}");
                        (why, true)
                    }
                    Parting::Fatal(why) => return Err(ClusterError::Fatal(why)),
                }
            }
            Err(error @ ClusterError::Refused(_)) => return Err(error),
            Err(error) => (error.to_string(), false),
        };
        if was_registered {
            (alone_since, told) = (Instant::now(), String::new());
        }
        registrar.give_up(alone_since.elapsed());
        if alone_since.elapsed() >= identity.registration_timeout && !was_registered {
            return Err(ClusterError::Connection(format!(
                "no JobManager{} took this TaskManager within {} s (taskmanager.registration.timeout): {problem}",
                registrar.described(),
                identity.registration_timeout.as_secs()
            )));
        }
        if !was_registered && told != problem {
            let place = registrar.described();
            tracing::warn!("the JobManager{place} is not reached, and asked again: {problem}");
            told = problem;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A connection to a JobManager that has taken this TaskManager.
struct Connection {
    reader: Reader,
    writer: WriteHalf,
    /// Filled by what runs here since before the registration.
    reports: UnboundedReceiver<FromTaskManager>,
    outbox: UnboundedSender<FromTaskManager>,
}

impl Registrar<'_> {
    /// Connects and registers.
    async fn register(&mut self) -> Result<Connection, ClusterError> {
        let (place, epoch) = self.finding.job_manager(self.settings).await?;
        self.place.clone_from(&place);
        if epoch < self.epoch {
            return Err(ClusterError::Connection(format!(
                "it is of epoch {epoch}, and {} was seen",
                self.epoch
            )));
        }
        let connecting = tokio::time::timeout(self.settings.heartbeat_timeout, TcpStream::connect(&place)).await;
        let connecting = connecting.map_err(|_| ClusterError::Connection("it does not answer".to_owned()))?;
        let stream = connecting.map_err(|e| ClusterError::Connection(e.to_string()))?;
        let _ = stream.set_nodelay(true);
        let under = self.settings.transport.connect(stream).await;
        let mut stream = under.map_err(|e| ClusterError::Connection(e.to_string()))?;
        let shaken = net::connect(&mut stream, &self.settings.secret, hello().as_bytes()).await;
        shaken.map_err(|e| ClusterError::Connection(e.to_string()))?;
        let (outbox, reports) = unbounded_channel();
        let held = self.manager.hand_over(|attempt| listener(attempt, outbox.clone()));
        let offer = Offer {
            id: self.identity.id.clone(),
            host: self.identity.host.clone(),
            data_port: self.identity.data_port,
            slots: self.identity.slots,
            cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: self.identity.memory_bytes,
            program: self.identity.program,
            lent: self.identity.lent.clone(),
            leases: self
                .lender
                .map_or_else(Vec::new, |lender| lender.registered(outbox.clone())),
            held,
        };
        let (reader, mut writer) = stream.into_split();
        let mut reader = messages::reader(reader, self.settings.heartbeat_timeout);
        messages::write(&mut writer, FromTaskManager::Register(offer)).await?;
        match messages::read(&mut reader).await? {
            Some(FromJobManager::Registered { epoch }) if epoch >= self.epoch => self.epoch = epoch,
            Some(FromJobManager::Registered { epoch }) => {
                let text = format!("it is of epoch {epoch}, and {} was seen", self.epoch);
                return Err(ClusterError::Connection(text));
            }
            Some(FromJobManager::Refused(why)) => {
                let place = self.described();
                return Err(ClusterError::Refused(format!(
                    "the JobManager{place} has refused this TaskManager: {why}"
                )));
            }
            _ => {
                let text = "it did not answer the registration".to_owned();
                return Err(ClusterError::Connection(text));
            }
        }
        tracing::info!(
            job_manager = place,
            epoch = self.epoch,
            "registered with the JobManager"
        );
        Ok(Connection {
            reader,
            writer,
            reports,
            outbox,
        })
    }

    /// Runs what the JobManager says until it is lost, another leads, or all is over.
    async fn attend(&self, connection: Connection) -> Parting {
        let Connection {
            mut reader,
            writer,
            reports,
            outbox,
        } = connection;
        let counted_by = self.manager.clone();
        let heartbeat = move || FromTaskManager::Heartbeat {
            used_bytes: system::resident_bytes(),
            counted: counted_by.readings(),
        };
        let writing = messages::write_all(writer, reports, self.settings.heartbeat_interval, heartbeat);
        let is_heard = AtomicBool::new(true);
        let obeying = self.obey(&mut reader, outbox.clone(), &is_heard);
        tokio::pin!(obeying, writing);
        let why = tokio::select! {
            parting = &mut obeying => return parting,
            newer = self.overtaken(&is_heard) => return Parting::Lost(format!("epoch {newer} leads")),
            // Where nothing can be written nothing is heard any more either, which tells more.
            () = &mut writing => return obeying.await,
            why = self.manager.fatal_error() => why,
        };
        // Behind the reports of what fails, so that no slot here is given to anybody in between.
        let _ = outbox.send(FromTaskManager::Leaving(why.clone()));
        let is_heard = async {
            tokio::select! {
                _ = &mut obeying => {}
                () = &mut writing => {}
            }
        };
        let _ = tokio::time::timeout(FAREWELL, is_heard).await;
        Parting::Fatal(why)
    }

    async fn obey(
        &self,
        reader: &mut Reader,
        outbox: UnboundedSender<FromTaskManager>,
        is_heard: &AtomicBool,
    ) -> Parting {
        let watched = liveness::process().watch("the loop that obeys the JobManager");
        loop {
            watched.waits();
            let message = match messages::read(reader).await {
                Ok(Some(message)) => message,
                Ok(None) => return Parting::Lost("it closed the connection, or its process has ended".to_owned()),
                Err(error) => return Parting::Lost(error.to_string()),
            };
            is_heard.store(true, Ordering::Relaxed);
            watched.works();
            match message {
                FromJobManager::Deploy(deployment) => {
                    let listener = listener(deployment.id, outbox.clone());
                    self.manager.deploy(*deployment, listener);
                }
                FromJobManager::Preload(share, round) => {
                    let (attempt, outbox) = (share.id, outbox.clone());
                    let told = move |read| drop(outbox.send(FromTaskManager::Preloaded(attempt, round, read)));
                    self.manager.preload(*share, Arc::new(told));
                }
                FromJobManager::Order(attempt, order) => {
                    failpoint::hit("taskmanager-order");
                    self.manager.order(attempt, order);
                }
                FromJobManager::Lend(order) => match self.lender {
                    Some(lender) => lender.lend(*order),
                    None => drop(outbox.send(FromTaskManager::LeaseEnded {
                        id: order.lease.id,
                        why: "this TaskManager is one of a program, and lends nothing".to_owned(),
                    })),
                },
                FromJobManager::Recall(lease) => self.lender.into_iter().for_each(|lender| lender.recall(&lease)),
                FromJobManager::ProgramPart { digest, offset, part } => {
                    if let Some(lender) = self.lender {
                        lender.part(digest, offset, part);
                    }
                }
                FromJobManager::Ask(number, question) => self.answer(number, question, outbox.clone()),
                FromJobManager::ShutDown => return Parting::ShutDown,
                FromJobManager::Heartbeat | FromJobManager::Registered { .. } | FromJobManager::Refused(_) => {}
            }
        }
    }

    /// Answers a question about this process, where waiting for the disk holds nobody up.
    fn answer(&self, number: u64, question: Question, outbox: UnboundedSender<FromTaskManager>) {
        let logs = self.identity.logs.clone();
        tokio::task::spawn_blocking(move || {
            let answered = inquiry::answer(&logs, &question);
            // A JobManager that is lost waits for nothing.
            let _ = outbox.send(FromTaskManager::Answered(number, answered));
        });
    }

    /// Waits until a later leader is known than the one that is obeyed, which may hang with its connections open: because the election tells
    /// so, or when it is asked.
    async fn overtaken(&self, is_heard: &AtomicBool) -> u64 {
        let Finding::Leader(election) = &self.finding else {
            return pending().await;
        };
        tokio::select! {
            leader = election.later_than(self.epoch) => leader.epoch,
            epoch = self.ask_for_later(is_heard) => epoch,
        }
    }

    /// Asks only where nothing was heard of the leader that is obeyed.
    async fn ask_for_later(&self, is_heard: &AtomicBool) -> u64 {
        let pause = (self.settings.heartbeat_interval * 2).min(self.settings.heartbeat_timeout / 2);
        loop {
            tokio::time::sleep(pause).await;
            if is_heard.swap(false, Ordering::Relaxed) {
                continue;
            }
            // Who cannot be asked has not overtaken anybody.
            if let Ok((_, epoch)) = self.finding.job_manager(self.settings).await
                && epoch > self.epoch
            {
                return epoch;
            }
        }
    }

    /// Ends what runs here when it has been alone for too long.
    fn give_up(&self, alone: Duration) {
        let patience = match &self.finding {
            Finding::Fixed => Duration::ZERO,
            Finding::Leader(_) => LEADERLESS,
        };
        if alone < patience {
            return;
        }
        self.lender.into_iter().for_each(Lender::recall_all);
        if !self.manager.is_idle() {
            tracing::warn!("no JobManager leads the tasks that run here, and they are cancelled");
            self.manager.cancel_all();
        }
    }

    fn described(&self) -> String {
        match (&self.finding, self.place.as_str()) {
            (Finding::Fixed, place) => format!(" at {place} (jobmanager.rpc.address, jobmanager.rpc.port)"),
            (Finding::Leader(_), "") => String::new(),
            (Finding::Leader(_), place) => format!(" that leads, at {place},"),
        }
    }
}

/// Passes on what the tasks of an attempt tell.
fn listener(attempt: AttemptId, outbox: UnboundedSender<FromTaskManager>) -> Listener {
    Arc::new(move |subtask, report| {
        // Where nobody hears any more, the next registration tells how far the tasks are.
        let _ = outbox.send(FromTaskManager::Report(attempt, subtask, report));
    })
}
