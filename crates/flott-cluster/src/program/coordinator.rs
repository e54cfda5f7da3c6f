//! The JobManager's end of a program's coordinator: starts it, asks it, and starts it again when it is lost.

use super::messages::{Answer, Assignment, Fault, FromCoordinator, Request};
use super::process::ProgramProcess;
use super::{Lessee, ProgramSpec};
use crate::error::ClusterError;
use crate::rpc::{read, write};
use flott_core::Fingerprint;
use flott_plan::Plan;
use flott_runtime::connector::ConnectorError;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OnceCell, oneshot};

/// A program, and the process of it that is asked. Dropping it ends that.
pub(crate) struct Coordinator {
    program: ProgramSpec,
    file: PathBuf,
    patience: Duration,
    fingerprint: OnceCell<Fingerprint>,
    process: tokio::sync::Mutex<Option<Arc<Process>>>,
    /// Processes that were started, and enumerators that were asked for.
    numbers: AtomicU64,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator")
            .field("program", &self.program.name)
            .finish_non_exhaustive()
    }
}

/// One that is there, or was.
struct Process {
    /// Tells it from those before.
    number: u64,
    outbox: UnboundedSender<(u64, Request)>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Who waits for answers.
#[derive(Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Result<Answer, Fault>>>,
    /// How the process has ended.
    end: Option<String>,
}

impl Process {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.waiting().end.is_some()
    }

    async fn ask(&self, request: Request) -> Result<Answer, Fault> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if let Some(end) = &waiting.end {
                return Err(Fault::Transient(end.clone()));
            }
            waiting.next += 1;
            let number = waiting.next;
            waiting.answers.insert(number, answer);
            let _ = self.outbox.send((number, request));
        }
        answered.await.unwrap_or_else(|_| {
            let end = self.waiting().end.clone();
            Err(Fault::Transient(end.unwrap_or_else(|| "it has ended".to_owned())))
        })
    }
}

impl Coordinator {
    /// Of a program whose file is here; nothing is started yet. `patience`: how long its `main` may take.
    pub(crate) fn new(program: ProgramSpec, file: PathBuf, patience: Duration) -> Self {
        Self {
            program,
            file,
            patience,
            fingerprint: OnceCell::new(),
            process: tokio::sync::Mutex::default(),
            numbers: AtomicU64::new(0),
        }
    }

    /// Where its file is here.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The program.
    pub(crate) fn program(&self) -> &ProgramSpec {
        &self.program
    }

    /// Who is lent slots for a job with this plan.
    pub(crate) fn lessee(&self, plan: &Plan) -> Lessee {
        Lessee {
            program: self.program.clone(),
            file: self.file.clone(),
            fingerprint: plan.fingerprint(),
        }
    }

    /// Starts it: the job that it describes.
    ///
    /// # Errors
    /// If it cannot be run, or its `main` fails, takes too long, or ends without a job.
    pub(crate) async fn describe(&self) -> Result<Plan, ClusterError> {
        let (process, plan) = self.start().await?;
        // The first one that describes says what all must.
        let _ = self.fingerprint.set(plan.fingerprint());
        *self.process.lock().await = Some(Arc::new(process));
        Ok(plan)
    }

    /// Says which graph it must describe, where that is known from before.
    pub(crate) fn must_describe(&self, plan: &Plan) {
        let _ = self.fingerprint.set(plan.fingerprint());
    }

    async fn start(&self) -> Result<(Process, Plan), ClusterError> {
        let assignment = Assignment::Coordinator {
            options: self.program.options.clone(),
        };
        let (process, mut stream) = ProgramProcess::start(&self.file, &self.program, &assignment, true).await?;
        let name = &self.program.name;
        let refused = |why: String| ClusterError::Refused(format!("the program '{name}' has executed no job: {why}"));
        let plan = match tokio::time::timeout(self.patience, read(&mut stream)).await {
            Ok(Ok(Some(FromCoordinator::Planned(plan)))) => *plan,
            // How it has ended tells more than what became of the connection.
            Ok(_) => return Err(refused(process.ended().await)),
            Err(_) => {
                return Err(refused(format!(
                    "its main has not come to execute within {} s (client.timeout)",
                    self.patience.as_secs_f64()
                )));
            }
        };
        let (outbox, requests) = unbounded_channel();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        tokio::spawn(attend(stream, requests, process, waiting.clone(), name.clone()));
        let process = Process {
            number: self.number(),
            outbox,
            waiting,
        };
        Ok((process, plan))
    }

    /// A number that nothing else of this program has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The process that is there now, or the next one.
    async fn process(&self) -> Result<Arc<Process>, ConnectorError> {
        let mut process = self.process.lock().await;
        if let Some(running) = process.as_ref().filter(|process| !process.has_ended()) {
            return Ok(running.clone());
        }
        let lost = |error: &dyn std::fmt::Display| ConnectorError::Transient {
            message: format!("the coordinator of the program cannot be started again: {error}"),
            source: None,
        };
        let (started, plan) = self.start().await.map_err(|error| lost(&error))?;
        let (found, expected) = (plan.fingerprint(), self.fingerprint.get());
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(lost(&format!(
                "it describes another graph than before (fingerprint {found}, was {expected}): what main describes must follow from its arguments \
                 alone"
            )));
        }
        Ok(process.insert(Arc::new(started)).clone())
    }

    /// Asks it; also tells which process has answered.
    ///
    /// # Errors
    /// What its connector says; `Transient` where the process is lost.
    pub(super) async fn ask(&self, request: Request) -> Result<(u64, Answer), ConnectorError> {
        let process = self.process().await?;
        let answer = process.ask(request).await?;
        Ok((process.number, answer))
    }

    /// The number of the process that is there; none: it was lost.
    pub(super) async fn current(&self) -> Option<u64> {
        let process = self.process.lock().await;
        process.as_ref().filter(|p| !p.has_ended()).map(|p| p.number)
    }
}

/// Passes on requests and answers until the process ends, or nobody asks any more: then it is ended.
async fn attend(
    stream: UnixStream,
    requests: UnboundedReceiver<(u64, Request)>,
    process: ProgramProcess,
    waiting: Arc<Mutex<Waiting>>,
    name: String,
) {
    let (mut reader, writer) = stream.into_split();
    let is_wanted = tokio::select! {
        () = hear(&mut reader, &waiting) => true,
        is_wanted = tell(writer, requests) => is_wanted,
    };
    if !is_wanted {
        return;
    }
    let end = format!(
        "the coordinator of the program '{name}' is lost: {}",
        process.ended().await
    );
    tracing::warn!("{end}");
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.end = Some(end);
    waiting.answers.clear();
}

/// Writes requests; `false`: nobody asks any more.
async fn tell(mut writer: OwnedWriteHalf, mut requests: UnboundedReceiver<(u64, Request)>) -> bool {
    while let Some(request) = requests.recv().await {
        if write(&mut writer, request).await.is_err() {
            return true;
        }
    }
    false
}

async fn hear(reader: &mut (impl AsyncRead + Unpin), waiting: &Mutex<Waiting>) {
    while let Ok(Some(said)) = read(reader).await {
        let FromCoordinator::Answered(number, answer) = said else {
            continue;
        };
        let asked = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answers
            .remove(&number);
        if let Some(asked) = asked {
            // Who has asked may not wait any more.
            let _ = asked.send(answer);
        }
    }
}
