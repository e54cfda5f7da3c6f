//! Faults for tests: [`FaultyStore`], an object store that fails, stops or lets another process in at a chosen step.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step fails and has no effect; all later steps fail too: the process is dead to the store.
    CrashBefore,
    /// The step takes effect, but its answer is lost; all later steps fail.
    CrashAfter,
    /// The step takes effect, but its answer is an error; later steps work.
    LostAnswer,
    /// The step takes effect, but its answer is an error; so many later steps fail without effect, then all works again.
    Outage(u64),
    /// The step fails without effect; later steps work.
    Refused,
}

/// Counts the calls to a store, and acts at one of them. Calls are numbered from 1. Cloning shares the count.
#[derive(Clone)]
pub struct FaultyStore {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn ObjectStore>,
    calls: AtomicU64,
    step: u64,
    fault: Option<Fault>,
    /// Runs before the chosen step.
    intruder: Mutex<Option<BoxFuture<'static, ()>>>,
}

/// What is to be done with a call.
enum Verdict {
    Pass,
    PassAndFail,
    Fail,
}

impl FaultyStore {
    /// A store that fails at call `step`; 0: never.
    pub fn new(store: Arc<dyn ObjectStore>, step: u64, fault: Fault) -> Self {
        Self::build(store, step, Some(fault), None)
    }

    /// A store that never fails, but lets `intruder` run to its end just before call `step`.
    pub fn interrupted(store: Arc<dyn ObjectStore>, step: u64, intruder: BoxFuture<'static, ()>) -> Self {
        Self::build(store, step, None, Some(intruder))
    }

    fn build(
        store: Arc<dyn ObjectStore>,
        step: u64,
        fault: Option<Fault>,
        intruder: Option<BoxFuture<'static, ()>>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                calls: AtomicU64::new(0),
                step,
                fault,
                intruder: Mutex::new(intruder),
            }),
        }
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn verdict(&self) -> Verdict {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.step == 0 || call < self.step {
            return Verdict::Pass;
        }
        if call == self.step {
            let intruder = self.intruder.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(intruder) = intruder {
                intruder.await;
            }
        }
        match (self.fault, call == self.step) {
            (None, _) => Verdict::Pass,
            (Some(Fault::CrashAfter | Fault::LostAnswer | Fault::Outage(_)), true) => Verdict::PassAndFail,
            (Some(Fault::Outage(calls)), false) if call <= self.step + calls => Verdict::Fail,
            (Some(Fault::CrashBefore | Fault::Refused), true) => Verdict::Fail,
            (Some(Fault::CrashBefore | Fault::CrashAfter), false) => Verdict::Fail,
            (Some(Fault::LostAnswer | Fault::Outage(_) | Fault::Refused), false) => Verdict::Pass,
        }
    }
}

fn injected() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "injected fault".into(),
    }
}

impl std::fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyStore")
            .field("store", &self.shared.store)
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.shared.store)
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.shared.verdict().await {
            Verdict::Fail => Err(injected()),
            Verdict::Pass => self.shared.store.put_opts(location, payload, options).await,
            Verdict::PassAndFail => {
                self.shared.store.put_opts(location, payload, options).await?;
                Err(injected())
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.shared.verdict().await {
            Verdict::Pass => self.shared.store.put_multipart_opts(location, options).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.shared.verdict().await {
            Verdict::Pass => self.shared.store.get_opts(location, options).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = Arc::clone(&self.shared);
        let deleted = async move {
            match shared.verdict().await {
                Verdict::Pass => shared.store.delete_stream(locations),
                Verdict::Fail => futures::stream::once(async { Err(injected()) }).boxed(),
                Verdict::PassAndFail => {
                    let deleted = shared.store.delete_stream(locations);
                    deleted.map(|d| d.and(Err(injected()))).boxed()
                }
            }
        };
        futures::stream::once(deleted).flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let shared = Arc::clone(&self.shared);
        let prefix = prefix.cloned();
        let listed = async move {
            match shared.verdict().await {
                Verdict::Pass => shared.store.list(prefix.as_ref()),
                Verdict::Fail | Verdict::PassAndFail => futures::stream::once(async { Err(injected()) }).boxed(),
            }
        };
        futures::stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.shared.verdict().await {
            Verdict::Pass => self.shared.store.list_with_delimiter(prefix).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.shared.verdict().await {
            Verdict::Pass => self.shared.store.copy_opts(from, to, options).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }
}
