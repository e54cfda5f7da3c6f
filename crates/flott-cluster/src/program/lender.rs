//! What a TaskManager lends slots with: it starts a process of the program for them, which registers by itself, and tells when that has ended.

use super::files::ProgramFiles;
use super::messages::Assignment;
use super::process::ProgramProcess;
use super::{Lease, LeaseOrder, ProgramSpec};
use crate::error::ClusterError;
use crate::memory::MemoryLimit;
use crate::rpc::FromTaskManager;
use bytes::Bytes;
use flott_checkpoint::manifest::InlineBytes;
use flott_core::Options;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Options of memory: a child has its share of what the TaskManager may use.
const OF_MEMORY: &str = "taskmanager.memory.";

/// A part of a program's file, or why there is none. An empty one is behind its end.
pub(crate) type PartOf = Result<InlineBytes, String>;

/// Lends slots of this process. Cloning shares it.
#[derive(Clone)]
pub struct Lender(Arc<Inner>);

struct Inner {
    options: Options,
    id: String,
    slots: usize,
    limit: MemoryLimit,
    files: ProgramFiles,
    /// Files come one after the other.
    fetching: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// To the JobManager.
    outbox: Option<UnboundedSender<FromTaskManager>>,
    leases: BTreeMap<String, (Lease, Option<AbortHandle>)>,
    /// Who waits for a part of a file.
    parts: HashMap<(String, u64), oneshot::Sender<PartOf>>,
}

impl Lender {
    /// Of a TaskManager with these options, id, slots and memory.
    pub fn new(options: &Options, id: &str, slots: usize, limit: MemoryLimit) -> Self {
        Self(Arc::new(Inner {
            options: options.clone(),
            id: id.to_owned(),
            slots: slots.max(1),
            limit,
            files: ProgramFiles::of(options, "io.tmp.dirs"),
            fetching: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this JobManager is told, which has been told of what is lent now.
    pub(crate) fn registered(&self, outbox: UnboundedSender<FromTaskManager>) -> Vec<Lease> {
        let mut state = self.state();
        state.outbox = Some(outbox);
        // The one before answers nothing any more.
        state.parts.clear();
        state.leases.values().map(|(lease, _)| lease.clone()).collect()
    }

    /// Starts a process for slots.
    pub(crate) fn lend(&self, order: LeaseOrder) {
        let id = order.lease.id.clone();
        self.state().leases.insert(id.clone(), (order.lease.clone(), None));
        let lender = self.clone();
        let running = tokio::spawn(async move {
            let why = match lender.run(&order).await {
                Ok(how) => how,
                Err(error) => error.to_string(),
            };
            lender.ended(&order.lease.id, why);
        });
        if let Some((_, handle)) = self.state().leases.get_mut(&id) {
            *handle = Some(running.abort_handle());
        }
    }

    /// Ends the process of a lease.
    pub(crate) fn recall(&self, id: &str) {
        if let Some((_, Some(running))) = self.state().leases.get(id) {
            running.abort();
        }
        self.ended(id, "it was recalled".to_owned());
    }

    /// Ends all of them.
    pub(crate) fn recall_all(&self) {
        let ids: Vec<String> = self.state().leases.keys().cloned().collect();
        ids.iter().for_each(|id| self.recall(id));
    }

    /// A part of a file has come, or will not.
    pub(crate) fn part(&self, digest: String, offset: u64, part: PartOf) {
        if let Some(waiting) = self.state().parts.remove(&(digest, offset)) {
            let _ = waiting.send(part);
        }
    }

    fn ended(&self, id: &str, why: String) {
        let mut state = self.state();
        if state.leases.remove(id).is_none() {
            return;
        }
        tracing::info!(lease = id, "a process of a program has ended: {why}");
        let id = id.to_owned();
        state.tell(FromTaskManager::LeaseEnded { id, why });
    }

    /// Runs a process to its end: how it has ended.
    async fn run(&self, order: &LeaseOrder) -> Result<String, ClusterError> {
        let file = self.fetch(order).await?;
        let assignment = Assignment::TaskManager {
            options: order.program.options.clone(),
            process: self.options_of(&order.lease),
            lease: order.lease.clone(),
        };
        let (process, mut stream) = ProgramProcess::start(&file, &order.program, &assignment, false).await?;
        let Lease { id, job, slots } = &order.lease;
        tracing::info!(%job, lease = id, slots, "a process of the program '{}' was lent slots", order.program.name);
        // It says nothing there until it ends.
        let _ = stream.read_u8().await;
        Ok(process.ended().await)
    }

    /// The options of a process that has some of the slots.
    fn options_of(&self, lease: &Lease) -> Options {
        let inner = &self.0;
        let has_place_of_its_own = |key: &str| {
            key.starts_with("metrics.reporter.") && key.ends_with(".port") || key == "taskmanager.data.port"
        };
        let mut options: Options = inner
            .options
            .iter()
            .filter(|(key, _)| !key.starts_with(OF_MEMORY))
            .map(|(key, value)| match has_place_of_its_own(key) {
                // A range has room for it.
                true if !value.contains('-') => (key, "0"),
                _ => (key, value),
            })
            .collect();
        options.set("taskmanager.numberOfTaskSlots", lease.slots.to_string());
        options.set("taskmanager.resource-id", format!("{}-program-{}", inner.id, lease.id));
        if let Some(bytes) = inner.limit.share(lease.slots, inner.slots) {
            options.set("taskmanager.memory.process.size", format!("{bytes}b"));
        }
        let of_state = "taskmanager.memory.managed.";
        if let Some(fraction) = inner.options.get("taskmanager.memory.managed.fraction") {
            options.set(format!("{of_state}fraction"), fraction);
        }
        if let Ok(Some(bytes)) = inner.options.memory_bytes("taskmanager.memory.managed.size") {
            let share = bytes / inner.slots as u64 * lease.slots as u64;
            options.set(format!("{of_state}size"), format!("{share}b"));
        }
        options
    }

    /// The program's file; it comes from the JobManager if it is not here.
    async fn fetch(&self, order: &LeaseOrder) -> Result<PathBuf, ClusterError> {
        let _turn = self.0.fetching.lock().await;
        let ProgramSpec {
            name, digest, bytes, ..
        } = &order.program;
        if let Some(file) = self.0.files.find(digest) {
            return Ok(file);
        }
        let unwritten = |error: std::io::Error| {
            ClusterError::Resources(format!(
                "the program '{name}' cannot be kept in the folder for temporary files (io.tmp.dirs): {error}"
            ))
        };
        let mut incoming = self.0.files.begin().map_err(unwritten)?;
        while incoming.bytes < *bytes {
            let part = self.ask_for(order, incoming.bytes).await?;
            if part.is_empty() {
                break;
            }
            incoming.write(&part).map_err(unwritten)?;
        }
        let (found, file) = incoming.finish().map_err(unwritten)?;
        match found == *digest {
            true => Ok(file),
            false => Err(ClusterError::Connection(format!(
                "the program '{name}' came damaged from the JobManager (SHA-256 {found}, expected {digest})"
            ))),
        }
    }

    async fn ask_for(&self, order: &LeaseOrder, offset: u64) -> Result<Bytes, ClusterError> {
        let (part, came) = oneshot::channel();
        let digest = order.program.digest.clone();
        {
            let mut state = self.state();
            state.parts.insert((digest.clone(), offset), part);
            state.tell(FromTaskManager::FetchProgram {
                job: order.lease.job,
                digest,
                offset,
            });
        }
        let name = &order.program.name;
        let missing = |why: String| ClusterError::Connection(format!("the program '{name}' was not sent: {why}"));
        match came.await {
            Ok(Ok(part)) => Ok(part.0),
            Ok(Err(why)) => Err(missing(why)),
            Err(_) => Err(missing("the JobManager is lost".to_owned())),
        }
    }
}

impl State {
    fn tell(&self, message: FromTaskManager) {
        if let Some(outbox) = &self.outbox {
            // A JobManager that is lost hears of what is lent when this registers again.
            let _ = outbox.send(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::JobId;

    #[test]
    fn a_child_has_its_share_and_places_of_its_own() {
        let options = [
            ("taskmanager.memory.process.size", "160m"),
            ("taskmanager.memory.managed.size", "40m"),
            ("taskmanager.memory.jvm-overhead.max", "1g"),
            ("taskmanager.data.port", "6000"),
            ("metrics.reporter.prom.port", "9249"),
            ("metrics.reporter.other.port", "9250-9260"),
            ("jobmanager.rpc.port", "7000"),
        ];
        let options = options.into_iter().collect();
        let limit = MemoryLimit::of_task_manager(&options).unwrap();
        let lender = Lender::new(&options, "tm", 4, limit);
        let of_child = |slots| {
            lender.options_of(&Lease {
                id: "7".to_owned(),
                job: JobId(1),
                slots,
            })
        };
        let wanted = [
            ("jobmanager.rpc.port", "7000"),
            ("metrics.reporter.other.port", "9250-9260"),
            ("metrics.reporter.prom.port", "0"),
            ("taskmanager.data.port", "0"),
            ("taskmanager.memory.managed.size", "31457280b"),
            ("taskmanager.memory.process.size", "125829120b"),
            ("taskmanager.numberOfTaskSlots", "3"),
            ("taskmanager.resource-id", "tm-program-7"),
        ];
        assert_eq!(of_child(3), wanted.into_iter().collect());
        // A process of one slot has enough to begin with.
        assert_eq!(of_child(1).get("taskmanager.memory.process.size"), Some("67108864b"));
    }
}
