//! [`Bucket`]: files that are objects of an S3-compatible store.
//!
//! An object's path is its address, `s3://bucket/key`, so that partitions, names and endings are read as those of a local
//! path. Keys are taken as they are, not encoded. What stands in [`super::fetch`] and [`super::upload`] works on the job's
//! runtime; what is here is called where it may wait.

use super::listing::{FoundFile, is_hidden, matches_pattern};
use bytes::Bytes;
use flott_checkpoint::s3;
use flott_core::Options;
use flott_runtime::connector::ConnectorError;
use futures::TryStreamExt;
use futures::future::ready;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Requests under way at once where there are many of a kind.
pub(super) const AT_ONCE: usize = 16;

/// A bucket, with a client. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Bucket {
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    /// `s3://bucket`.
    address: String,
}

/// Where a table's files are.
#[derive(Clone)]
pub(super) enum Place {
    Disk,
    Bucket(Bucket),
}

/// Whether a path is the address of an object.
pub(super) fn is_address(path: &str) -> bool {
    s3::bucket_of(path).is_some()
}

impl Place {
    /// Where `path` is; `job` holds the options of the store (`s3.endpoint`, …).
    ///
    /// # Errors
    /// If the options are wrong.
    pub(super) fn open(path: &str, job: &Options) -> Result<Self, ConnectorError> {
        let Some(name) = s3::bucket_of(path) else {
            return Ok(Self::Disk);
        };
        let client = s3::open_bucket(path, name, job).map_err(|e| ConnectorError::Option(e.to_string()))?;
        let client = Arc::new(client);
        let (scheme, _) = path.split_once("://").unwrap_or(("s3", ""));
        Ok(Self::Bucket(Bucket::new(
            client.clone(),
            client,
            format!("{scheme}://{name}"),
        )))
    }
}

impl Bucket {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, uploads: Arc<dyn MultipartStore>, address: String) -> Self {
        Self {
            objects,
            uploads,
            address,
        }
    }

    pub(super) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    pub(super) fn uploads(&self) -> &Arc<dyn MultipartStore> {
        &self.uploads
    }

    /// The key of an object's address.
    ///
    /// # Errors
    /// If the address is of another bucket, or holds characters that no key may.
    pub(super) fn key(&self, path: &Path) -> io::Result<Key> {
        let wrong = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let text = path.to_str().and_then(|p| p.strip_prefix(&self.address));
        let key = text.ok_or_else(|| wrong(format!("'{}' is not in {}", path.display(), self.address)))?;
        Key::parse(key.trim_matches('/')).map_err(|e| wrong(e.to_string()))
    }

    fn path(&self, key: &Key) -> PathBuf {
        PathBuf::from(format!("{}/{key}", self.address))
    }

    fn found(&self, object: &ObjectMeta) -> FoundFile {
        FoundFile {
            path: self.path(&object.location),
            size_bytes: object.size,
            modified_ms: object.last_modified.timestamp_millis(),
        }
    }

    /// The objects that `path` means, in the order of their names: one object, all below a folder, or those that match a
    /// pattern and all below them.
    ///
    /// # Errors
    /// If nothing is there, or the store refuses.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<FoundFile>, (PathBuf, io::Error)> {
        let at = |e: io::Error| (PathBuf::from(path), e);
        let steps: Vec<&str> = path[self.address.len()..]
            .split('/')
            .filter(|s| !s.is_empty())
            .collect();
        let is_pattern = |step: &str| step.contains(['*', '?']);
        let fixed = steps.iter().position(|s| is_pattern(s)).unwrap_or(steps.len());
        let prefix = Key::parse(steps[..fixed].join("/")).map_err(|e| at(io::Error::other(e)))?;
        let is_meant = |object: &ObjectMeta| {
            let names: Vec<&str> = object.location.as_ref().split('/').collect();
            // An object without bytes holds no rows; some tools let them stand for folders.
            object.size > 0
                && names.len() >= steps.len()
                && names[fixed..].iter().all(|name| !is_hidden(name))
                && names[fixed..]
                    .iter()
                    .zip(&steps[fixed..])
                    .all(|(name, step)| matches_pattern(step.as_bytes(), name.as_bytes()))
        };
        let mut files = vec![];
        let mut is_empty = true;
        let mut below = self.objects.list((fixed > 0).then_some(&prefix));
        while let Some(object) = below.try_next().await.map_err(|e| at(cause(e)))? {
            is_empty = false;
            if is_meant(&object) {
                files.push(self.found(&object));
            }
        }
        if is_empty && fixed == steps.len() {
            files.push(match self.objects.head(&prefix).await {
                Ok(object) => self.found(&object),
                Err(e) => return Err(at(cause(e))),
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The size of an object; `None` if there is none.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub(super) async fn size_of(&self, path: &Path) -> io::Result<Option<u64>> {
        match self.objects.head(&self.key(path)?).await {
            Ok(object) => Ok(Some(object.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(cause(e)),
        }
    }

    /// Writes a small object.
    ///
    /// # Errors
    /// If the store refuses.
    pub(super) async fn put(&self, path: &Path, content: String) -> io::Result<()> {
        let key = self.key(path)?;
        self.objects
            .put(&key, Bytes::from(content).into())
            .await
            .map(drop)
            .map_err(cause)
    }

    /// Removes an object; one that is not there counts as removed.
    ///
    /// # Errors
    /// If the store refuses.
    pub(super) async fn remove(&self, path: &Path) -> io::Result<()> {
        match self.objects.delete(&self.key(path)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(cause(e)),
        }
    }

    /// The contents of all objects of this name, `depth` folders below one, with their folders.
    ///
    /// # Errors
    /// If the store refuses.
    pub(super) async fn named(&self, folder: &Path, depth: usize, name: &str) -> io::Result<Vec<(PathBuf, String)>> {
        let prefix = self.key(folder)?;
        let steps = prefix.parts().count() + depth + 1;
        let is_named = |key: &Key| key.filename() == Some(name) && key.parts().count() == steps;
        let keys = self.objects.list(Some(&prefix)).map_ok(|object| object.location);
        keys.try_filter(|key| ready(is_named(key)))
            .map_ok(|key| async move {
                let read = self.objects.get(&key).await?.bytes().await?;
                Ok((key, read))
            })
            .try_buffer_unordered(AT_ONCE)
            .try_filter_map(|(key, read)| {
                let folder = self.path(&key).parent().map(Path::to_owned);
                ready(Ok(
                    folder.map(|folder| (folder, String::from_utf8_lossy(&read).into_owned()))
                ))
            })
            .try_collect()
            .await
            .map_err(cause)
    }
}

/// A store's error as one of files, whose kind tells what is not there.
pub(super) fn cause(e: Error) -> io::Error {
    let kind = match &e {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, e)
}
