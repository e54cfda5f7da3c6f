//! Faults for tests: [`FaultyStore`], an object store that fails or stops at a chosen step.

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step fails and has no effect; all later steps fail too: the process is dead to the store.
    CrashBefore,
    /// The step takes effect, but its answer is lost; all later steps fail.
    CrashAfter,
    /// The step takes effect, but its answer is an error; later steps work.
    LostAnswer,
    /// The step fails without effect; later steps work.
    Refused,
}

/// Counts the calls to a store, and fails at one of them. Calls are numbered from 1.
#[derive(Debug)]
pub struct FaultyStore {
    store: Arc<dyn ObjectStore>,
    calls: AtomicU64,
    step: u64,
    fault: Fault,
}

/// What is to be done with a call.
enum Verdict {
    Pass,
    PassAndFail,
    Fail,
}

impl FaultyStore {
    /// A store that fails at call `step`; 0: never.
    pub fn new(store: Arc<dyn ObjectStore>, step: u64, fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            store,
            calls: AtomicU64::new(0),
            step,
            fault,
        })
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn verdict(&self) -> Verdict {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.step == 0 || call < self.step {
            return Verdict::Pass;
        }
        match (self.fault, call == self.step) {
            (Fault::CrashAfter | Fault::LostAnswer, true) => Verdict::PassAndFail,
            (Fault::CrashBefore | Fault::Refused, true) => Verdict::Fail,
            (Fault::CrashBefore | Fault::CrashAfter, false) => Verdict::Fail,
            (Fault::LostAnswer | Fault::Refused, false) => Verdict::Pass,
        }
    }
}

fn injected() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "injected fault".into(),
    }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.store)
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.verdict() {
            Verdict::Fail => Err(injected()),
            Verdict::Pass => self.store.put_opts(location, payload, options).await,
            Verdict::PassAndFail => {
                self.store.put_opts(location, payload, options).await?;
                Err(injected())
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.verdict() {
            Verdict::Pass => self.store.put_multipart_opts(location, options).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.verdict() {
            Verdict::Pass => self.store.get_opts(location, options).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.verdict() {
            Verdict::Pass => self.store.delete_stream(locations),
            Verdict::Fail => futures::stream::once(async { Err(injected()) }).boxed(),
            Verdict::PassAndFail => {
                let deleted = self.store.delete_stream(locations);
                deleted.map(|d| d.and(Err(injected()))).boxed()
            }
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.verdict() {
            Verdict::Pass => self.store.list(prefix),
            Verdict::Fail | Verdict::PassAndFail => futures::stream::once(async { Err(injected()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.verdict() {
            Verdict::Pass => self.store.list_with_delimiter(prefix).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.verdict() {
            Verdict::Pass => self.store.copy_opts(from, to, options).await,
            Verdict::Fail | Verdict::PassAndFail => Err(injected()),
        }
    }
}
