//! The program's end of its coordinator: what a JobManager asks of the ends of the job is done here, where they exist.

use super::messages::{Answer, Fault, FromCoordinator, Request, Way};
use crate::error::ClusterError;
use crate::rpc::{read, write};
use bytes::Bytes;
use flott_checkpoint::manifest::InlineBytes;
use flott_core::clock::{SharedClock, SystemClock};
use flott_plan::{Node, Plan};
use flott_runtime::connector::{CommitterContext, Split, SplitEnumerator};
use flott_runtime::registry::FactoryContext;
use flott_runtime::{Committer, Registry, TaskError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc::unbounded_channel;

type SharedEnumerator = Arc<Mutex<Box<dyn SplitEnumerator>>>;
/// The committer of a sink, made when it is asked first; a sink may have none.
type SharedCommitter = Arc<Mutex<Option<Option<Box<dyn Committer>>>>>;

/// Tells the plan, and does what it is asked until the JobManager closes.
///
/// # Errors
/// If the plan cannot be told.
pub async fn serve(stream: UnixStream, plan: Plan, registry: Arc<Registry>) -> Result<(), ClusterError> {
    let (mut reader, mut writer) = stream.into_split();
    write(&mut writer, FromCoordinator::Planned(Box::new(plan))).await?;
    let (outbox, mut answers) = unbounded_channel();
    let writing = tokio::spawn(async move {
        while let Some(answer) = answers.recv().await {
            if write(&mut writer, answer).await.is_err() {
                return;
            }
        }
    });
    let served = Arc::new(Served {
        registry,
        clock: Arc::new(SystemClock),
        enumerators: StdMutex::default(),
        committers: StdMutex::default(),
    });
    // Each in its own time: a commit does not wait until a broker has told its partitions.
    while let Ok(Some((number, request))) = read::<(u64, Request)>(&mut reader).await {
        let (served, outbox) = (served.clone(), outbox.clone());
        tokio::spawn(async move {
            let answering = tokio::spawn(async move { served.answer(request).await });
            let answer = answering.await.unwrap_or_else(|error| {
                let text = format!("a connector of the program has panicked: {error}");
                Err(Fault::Fatal(text))
            });
            let _ = outbox.send(FromCoordinator::Answered(number, answer));
        });
    }
    writing.abort();
    Ok(())
}

/// What was made.
struct Served {
    registry: Arc<Registry>,
    clock: SharedClock,
    enumerators: StdMutex<HashMap<u64, SharedEnumerator>>,
    committers: StdMutex<HashMap<usize, SharedCommitter>>,
}

fn locked<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Served {
    async fn answer(&self, request: Request) -> Result<Answer, Fault> {
        match request {
            Request::Enumerator {
                number,
                node,
                options,
                restored,
            } => {
                let ctx = FactoryContext {
                    options,
                    inputs: vec![],
                    clock: self.clock.clone(),
                };
                let (source, _) = self.registry.make_source(&node, &ctx).map_err(of_task)?;
                let restored = restored.map(|state| state.0);
                let enumerator = source.enumerator(restored.as_deref())?;
                let answer = enumerated(&*enumerator, vec![]);
                locked(&self.enumerators).insert(number, Arc::new(Mutex::new(enumerator)));
                Ok(answer)
            }
            Request::Discover { number, parallelism } => {
                let enumerator = self.enumerator(number)?;
                let mut enumerator = enumerator.lock().await;
                let found = enumerator.discover().await?.into_iter();
                let found = found
                    .map(|split| (enumerator.owner(&split, parallelism), split))
                    .collect();
                Ok(enumerated(&**enumerator, found))
            }
            Request::Owners {
                number,
                splits,
                parallelism,
            } => {
                let enumerator = self.enumerator(number)?;
                let enumerator = enumerator.lock().await;
                let owners = splits.iter().map(|split| enumerator.owner(split, parallelism));
                Ok(Answer::Owners(owners.collect()))
            }
            Request::Forget { number } => {
                locked(&self.enumerators).remove(&number);
                Ok(Answer::Done)
            }
            Request::Commit { node, way, of, listed } => {
                let listed: Vec<Bytes> = listed.into_iter().map(|committable| committable.0).collect();
                self.commit(&node, way, of.context(&node), &listed).await?;
                Ok(Answer::Done)
            }
        }
    }

    fn enumerator(&self, number: u64) -> Result<SharedEnumerator, Fault> {
        let enumerator = locked(&self.enumerators).get(&number).cloned();
        enumerator.ok_or_else(|| Fault::Transient(format!("there is no enumerator {number} in this process")))
    }

    async fn commit(&self, node: &Node, way: Way, ctx: CommitterContext, listed: &[Bytes]) -> Result<(), Fault> {
        let committer = locked(&self.committers).entry(node.id).or_default().clone();
        let mut committer = committer.lock().await;
        let committer = match &mut *committer {
            Some(made) => made,
            none => {
                let sink = self.registry.make_sink(node).map_err(of_task)?;
                none.insert(sink.committer(&ctx)?)
            }
        };
        let Some(committer) = committer else {
            return Ok(());
        };
        let done = match way {
            Way::Commit => committer.commit(listed).await,
            Way::Recover => committer.recover(listed).await,
            Way::TakeOver => committer.take_over(listed).await,
        };
        Ok(done?)
    }
}

fn enumerated(enumerator: &dyn SplitEnumerator, found: Vec<(usize, Split)>) -> Answer {
    Answer::Enumerated {
        found,
        state: InlineBytes(enumerator.snapshot().into()),
        interval: enumerator.discovery_interval(),
    }
}

/// What a factory refuses.
fn of_task(error: TaskError) -> Fault {
    match error.is_retryable() {
        true => Fault::Transient(error.full_text()),
        false => Fault::Fatal(error.full_text()),
    }
}
