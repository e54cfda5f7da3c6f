//! The object store as one process reaches it: every call is a request that may come late, twice, or never, and whose answer may be lost.

use super::checks;
use super::world::{Party, World};
use futures::future::FutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// See the module.
#[derive(Clone)]
pub struct SimulatedStore {
    world: Arc<World>,
    /// Which JobManager.
    process: usize,
}

impl SimulatedStore {
    pub fn new(world: Arc<World>, process: usize) -> Self {
        Self { world, process }
    }

    async fn call<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> String + Send,
        run: impl FnOnce(&Arc<World>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let process = self.process;
        ask(&self.world, process, Party::Store, what, run)
            .await
            .unwrap_or_else(|| Err(unanswered()))
    }
}

/// Asks a party for something in a JobManager's name; `None`: there is no answer.
pub async fn ask<T: Send + 'static>(
    world: &Arc<World>,
    process: usize,
    party: Party,
    what: impl FnOnce() -> String + Send,
    run: impl FnOnce(&Arc<World>) -> T + Send + 'static,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    world.request((Party::JobManager(process), party), what, run, move |world, done| {
        world.stir(process);
        // Who asked may be gone.
        drop(answer.send(done));
    });
    answered.await.ok().flatten()
}

fn unanswered() -> Error {
    Error::Generic {
        store: "simulated",
        source: "no answer".into(),
    }
}

fn unsupported() -> Error {
    Error::NotImplemented {
        operation: "this call".to_owned(),
        implementer: "the simulated store".to_owned(),
    }
}

/// What a store in memory answers, which never waits.
fn at_once<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    answer.now_or_never().unwrap_or_else(|| Err(unanswered()))
}

/// An object, for a trace. Savepoints draw their names where no seed reaches.
fn named(location: &Path) -> &str {
    let location = location.as_ref();
    location.find("savepoint-").map_or(location, |at| &location[..at])
}

/// Puts an object, and looks whether all is right then.
pub fn put(world: &Arc<World>, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
    let result = at_once(world.store.put_opts(location, payload, options));
    if result.is_ok() {
        checks::changed(world, location.as_ref());
    }
    result
}

/// Reads an object.
pub fn get(world: &World, location: &Path, options: GetOptions) -> Result<GetResult> {
    at_once(world.store.get_opts(location, options))
}

/// What lies in a folder.
pub fn list(world: &World, prefix: Option<&Path>) -> Result<Vec<ObjectMeta>> {
    at_once(world.store.list(prefix).try_collect())
}

impl fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the simulated store of JobManager {}", self.process)
    }
}

impl fmt::Display for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for SimulatedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        // A client tries again when it has no answer, and finds what it has put itself.
        let is_twice = matches!(options.mode, PutMode::Create) && self.world.mishap(5);
        let (location, process) = (location.clone(), self.process);
        let what = format!("put {}", named(&location));
        self.call(
            || what,
            move |world| {
                checks::claims(world, process, location.as_ref());
                let first = put(world, &location, payload.clone(), options.clone());
                match is_twice {
                    true => put(world, &location, payload, options),
                    false => first,
                }
            },
        )
        .await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let location = location.clone();
        let what = format!("get {}", named(&location));
        self.call(|| what, move |world| get(world, &location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let (what, gone) = (format!("delete {}", named(&location)), location.clone());
                let run = move |world: &Arc<World>| {
                    at_once(world.store.delete(&gone))?;
                    checks::changed(world, gone.as_ref());
                    Ok(())
                };
                store.call(|| what, run).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let what = format!("list {}", prefix.as_ref().map_or("", |p| named(p)));
            let run = move |world: &Arc<World>| list(world, prefix.as_ref());
            match store.call(|| what, run).await {
                Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(unsupported())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unsupported())
    }
}
