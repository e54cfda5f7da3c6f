//! A folder in a store: [`Root`], what all reading and writing goes through, with errors that name the file.

use crate::copies::LocalCopies;
use crate::error::CheckpointError;
use crate::local::DurableLocal;
use crate::manifest::Location;
use bytes::Bytes;
use flott_core::Options;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The schemes of addresses in S3-compatible stores.
pub(crate) const S3_SCHEMES: [&str; 3] = ["s3", "s3a", "s3p"];

/// A folder of an object store or of the local disk. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Root {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// How people name the folder.
    display: String,
    /// Of its state files, on local disk.
    copies: Option<Arc<LocalCopies>>,
}

/// A file that a listing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Path within the root.
    pub path: String,
    /// Number of bytes.
    pub bytes: u64,
    /// When it was last written, milliseconds since the epoch.
    pub modified_ms: i64,
}

impl Root {
    /// The folder at a path, `file://` or `s3://` address. A local folder is created; nothing is asked of a remote store.
    ///
    /// What S3 reads of the options is told by `s3::open_bucket`.
    ///
    /// # Errors
    /// If the address is none, or the folder cannot be made.
    pub fn open(uri: &str, options: &Options) -> Result<Self, CheckpointError> {
        match Address::parse(uri)? {
            Address::Local(path) => {
                std::fs::create_dir_all(&path).map_err(|e| CheckpointError::folder(path.display().to_string(), &e))?;
                Self::local(&path)
            }
            Address::S3 { bucket, prefix } => open_s3(uri, &bucket, &prefix, options),
        }
    }

    /// The folder at an address, which must exist if it is local.
    ///
    /// # Errors
    /// If the address is none, or there is no such folder.
    pub fn open_existing(uri: &str, options: &Options) -> Result<Self, CheckpointError> {
        match Address::parse(uri)? {
            Address::Local(path) => Self::local(&path),
            Address::S3 { bucket, prefix } => open_s3(uri, &bucket, &prefix, options),
        }
    }

    fn local(path: &std::path::Path) -> Result<Self, CheckpointError> {
        let absolute =
            std::path::absolute(path).map_err(|e| CheckpointError::file("find", path.display().to_string(), &e))?;
        let display = absolute.display().to_string();
        if !absolute.is_dir() {
            return Err(CheckpointError::NotFound {
                path: display,
                problem: "there is no such folder".to_owned(),
            });
        }
        let store = DurableLocal::new(&absolute).map_err(|e| CheckpointError::io("open", &display, &e))?;
        Ok(Self::of_store(Arc::new(store), "", &display))
    }

    /// A folder of any store; for tests and for stores that programs bring.
    pub fn of_store(store: Arc<dyn ObjectStore>, prefix: &str, display: &str) -> Self {
        Self {
            store,
            prefix: Path::from(prefix),
            display: display.trim_end_matches('/').to_owned(),
            copies: None,
        }
    }

    /// A folder in memory, which nothing else sees.
    pub fn in_memory() -> Self {
        Self::of_store(Arc::new(object_store::memory::InMemory::new()), "", "memory")
    }

    /// A folder within this one.
    pub fn folder(&self, name: &str) -> Self {
        Self {
            store: Arc::clone(&self.store),
            prefix: self.place(name),
            display: format!("{}/{name}", self.display),
            copies: None,
        }
    }

    /// The same folder, of whose state files there are copies on local disk.
    pub fn with_copies(self, copies: Option<Arc<LocalCopies>>) -> Self {
        Self { copies, ..self }
    }

    /// The same folder read from the store alone; `None` if it is read so anyway.
    pub fn without_copies(&self) -> Option<Self> {
        self.copies.as_ref().filter(|copies| !copies.is_empty())?;
        Some(self.clone().with_copies(None))
    }

    pub(crate) fn copies(&self) -> Option<&Arc<LocalCopies>> {
        self.copies.as_ref()
    }

    fn place(&self, path: &str) -> Path {
        path.split('/')
            .filter(|part| !part.is_empty())
            .fold(self.prefix.clone(), |place, part| place.join(part))
    }

    /// How people name a file of this folder.
    pub fn display(&self, path: &str) -> String {
        if path.is_empty() {
            self.display.clone()
        } else {
            format!("{}/{path}", self.display)
        }
    }

    /// Writes a file that must not exist yet, of one or several parts. When it returns, the file survives a power cut.
    ///
    /// Not cancel-safe: a dropped call may or may not have written the file.
    ///
    /// # Errors
    /// If the file exists, or cannot be written.
    pub async fn put_new(&self, path: &str, content: impl Into<PutPayload>) -> Result<(), CheckpointError> {
        let options = PutOptions::from(PutMode::Create);
        self.store
            .put_opts(&self.place(path), content.into(), options)
            .await
            .map(drop)
            .map_err(|e| CheckpointError::io("write", self.display(path), &e))
    }

    /// Like [`Self::put_new`], for content that nobody else writes under this name: a file that exists with the same content
    /// is taken for ours. Stores retry requests whose answer was lost, and then find their own file.
    ///
    /// # Errors
    /// If the file exists with other content, or cannot be written.
    pub async fn put_own(&self, path: &str, content: impl Into<PutPayload>) -> Result<(), CheckpointError> {
        let content = content.into();
        match self.put_new(path, content.clone()).await {
            Err(error) if error.is_exists() && is_content(&self.get(path).await?, &content) => Ok(()),
            result => result,
        }
    }

    /// Writes a file in place of what was there; for signs of life, which are no part of any protocol.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn put_over(&self, path: &str, content: impl Into<PutPayload>) -> Result<(), CheckpointError> {
        let place = self.place(path);
        let put = self.store.put_opts(&place, content.into(), PutOptions::default());
        put.await
            .map(drop)
            .map_err(|e| CheckpointError::io("write", self.display(path), &e))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// If it does not exist, or cannot be read.
    pub async fn get(&self, path: &str) -> Result<Bytes, CheckpointError> {
        let read = async { self.store.get(&self.place(path)).await?.bytes().await };
        read.await
            .map_err(|e| CheckpointError::io("read", self.display(path), &e))
    }

    /// Reads a part of what is at a location; `range` counts from the location's first byte.
    ///
    /// # Errors
    /// If the file cannot be read or is shorter.
    pub async fn read(&self, location: &Location, range: Range<u64>) -> Result<Bytes, CheckpointError> {
        let cut_off = |path: &str| CheckpointError::DamagedFile {
            path: self.display(path),
            problem: format!("it ends before byte {}", range.end),
        };
        match location {
            Location::Inline(bytes) => {
                if range.start > range.end || range.end > bytes.0.len() as u64 {
                    return Err(cut_off("the manifest"));
                }
                Ok(bytes.0.slice(range.start as usize..range.end as usize))
            }
            Location::File { path, offset, .. } => {
                if range.is_empty() {
                    return Ok(Bytes::new());
                }
                let wanted = offset + range.start..offset + range.end;
                if let Some(copies) = &self.copies
                    && let Some(bytes) = copies.read(path, wanted.clone()).await
                {
                    return Ok(bytes);
                }
                let length = wanted.end - wanted.start;
                let read = self
                    .store
                    .get_range(&self.place(path), wanted)
                    .await
                    .map_err(|e| CheckpointError::io("read", self.display(path), &e))?;
                if read.len() as u64 == length {
                    Ok(read)
                } else {
                    Err(cut_off(path))
                }
            }
        }
    }

    /// Deletes a file; one that is not there counts as deleted.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn delete(&self, path: &str) -> Result<(), CheckpointError> {
        match self.store.delete(&self.place(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(CheckpointError::io("delete", self.display(path), &e)),
        }
    }

    /// All files below this folder, sorted by path.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn list(&self) -> Result<Vec<ListedFile>, CheckpointError> {
        let found: Vec<_> = self
            .store
            .list(Some(&self.prefix))
            .try_collect()
            .await
            .map_err(|e| CheckpointError::io("list", self.display(""), &e))?;
        let skipped = self.prefix.as_ref().len();
        let mut files: Vec<ListedFile> = found
            .into_iter()
            .map(|meta| ListedFile {
                path: meta.location.as_ref()[skipped..].trim_start_matches('/').to_owned(),
                bytes: meta.size,
                modified_ms: meta.last_modified.timestamp_millis(),
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Checks, before a job starts, that the folder can hold checkpoints: that a file can be written, read and deleted, and
    /// that a second put-if-absent of one name is refused.
    ///
    /// # Errors
    /// With place, cause and remedy.
    pub async fn probe(&self) -> Result<(), CheckpointError> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let unique = now.map_or(0, |d| d.as_nanos());
        let path = format!("probe-{}-{unique}", std::process::id());
        let first = Bytes::from_static(b"first");
        self.put_new(&path, first.clone()).await?;
        let second = self.put_new(&path, Bytes::from_static(b"second")).await;
        let content = self.get(&path).await;
        self.delete(&path).await?;
        let content = content?;
        let unsuitable = |problem: &str, remedy: &str| CheckpointError::Unsuitable {
            place: self.display(""),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        };
        match second {
            Ok(()) => Err(unsuitable(
                "it lets a file be created twice, so two processes could both believe that they lead",
                "use a store that knows put-if-absent (S3, MinIO, GCS, Azure, a local disk)",
            )),
            Err(error) if error.is_exists() && content == first => Ok(()),
            Err(error) if error.is_exists() => Err(unsuitable(
                "what was read is not what was written",
                "check the store and what stands before it",
            )),
            Err(error) => Err(error),
        }
    }
}

fn is_content(file: &Bytes, content: &PutPayload) -> bool {
    let mut rest = file.as_ref();
    let parts_match = content.iter().all(|part| match rest.strip_prefix(part.as_ref()) {
        Some(behind) => {
            rest = behind;
            true
        }
        None => false,
    });
    parts_match && rest.is_empty()
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Local(PathBuf),
    S3 { bucket: String, prefix: String },
}

impl Address {
    fn parse(uri: &str) -> Result<Self, CheckpointError> {
        let bad = |problem: &str| CheckpointError::BadUri {
            uri: uri.to_owned(),
            problem: problem.to_owned(),
        };
        let uri = uri.trim();
        if uri.is_empty() {
            return Err(bad("it is empty"));
        }
        let Some((scheme, rest)) = uri.split_once(':').filter(|(s, _)| is_scheme(s)) else {
            return Ok(Self::Local(uri.into()));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let path = rest
                    .strip_prefix("//")
                    .map_or(rest, |r| r.strip_prefix("localhost").unwrap_or(r));
                if path.starts_with('/') {
                    Ok(Self::Local(path.into()))
                } else {
                    Err(bad("after file:// the path must begin with /"))
                }
            }
            scheme if S3_SCHEMES.contains(&scheme) => {
                let rest = rest.strip_prefix("//").unwrap_or_default();
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(bad("it names no bucket"));
                }
                Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    prefix: prefix.trim_matches('/').to_owned(),
                })
            }
            other => Err(bad(&format!("'{other}' is a kind of store that is not supported"))),
        }
    }
}

/// At least two letters: `c:\x` is a path.
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '.' || c == '-')
}

#[cfg(not(feature = "s3"))]
fn open_s3(uri: &str, _bucket: &str, _prefix: &str, _options: &Options) -> Result<Root, CheckpointError> {
    Err(CheckpointError::BadUri {
        uri: uri.to_owned(),
        problem: "this program was built without its feature 's3'".to_owned(),
    })
}

#[cfg(feature = "s3")]
fn open_s3(uri: &str, bucket: &str, prefix: &str, options: &Options) -> Result<Root, CheckpointError> {
    let store = crate::s3::open_bucket(uri, bucket, options)?;
    Ok(Root::of_store(Arc::new(store), prefix, uri))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::IoCause;
    use object_store::memory::InMemory;

    #[test]
    fn addresses_are_paths_files_or_buckets() {
        let local = |p: &str| Address::Local(p.into());
        assert_eq!(Address::parse("a/b").unwrap(), local("a/b"));
        assert_eq!(Address::parse("file:///a/b").unwrap(), local("/a/b"));
        assert_eq!(Address::parse("file:/a").unwrap(), local("/a"));
        let s3 = Address::S3 {
            bucket: "b".to_owned(),
            prefix: "p/q".to_owned(),
        };
        assert_eq!(Address::parse("s3://b/p/q/").unwrap(), s3);
        assert_eq!(Address::parse("S3a://b/p/q").unwrap(), s3);
        for wrong in ["", "file://a", "s3://", "hdfs://x/y"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn files_are_created_once_read_in_parts_and_listed() {
        let folder = tempfile::tempdir().unwrap();
        let local = Root::open(folder.path().join("x/y").to_str().unwrap(), &Options::new()).unwrap();
        let memory = Root::of_store(Arc::new(InMemory::new()), "some/prefix", "memory");
        for root in [local, memory] {
            root.probe().await.unwrap();
            let job = root.folder("job");
            job.put_new("chk-1/a", Bytes::from_static(b"0123456789")).await.unwrap();
            let again = job.put_new("chk-1/a", Bytes::from_static(b"x")).await.unwrap_err();
            assert!(
                matches!(
                    again,
                    CheckpointError::Io {
                        cause: IoCause::Exists,
                        ..
                    }
                ),
                "{again}"
            );
            let part = Location::File {
                path: "chk-1/a".to_owned(),
                offset: 2,
                length: 5,
            };
            assert_eq!(job.read(&part, 1..4).await.unwrap(), Bytes::from_static(b"345"));
            assert!(job.read(&part, 1..20).await.is_err());
            assert!(job.get("chk-1/b").await.unwrap_err().is_not_found());
            let listed = root.list().await.unwrap();
            assert_eq!(listed.len(), 1, "{listed:?}");
            assert_eq!((listed[0].path.as_str(), listed[0].bytes), ("job/chk-1/a", 10));
            assert_eq!(job.list().await.unwrap()[0].path, "chk-1/a");
            job.delete("chk-1/a").await.unwrap();
            job.delete("chk-1/a").await.unwrap();
            assert!(root.list().await.unwrap().is_empty());
        }
    }

    #[test]
    fn a_file_in_the_way_is_told_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for in_the_way in [file.clone(), file.join("checkpoints")] {
            let path = in_the_way.to_str().unwrap();
            let error = Root::open(path, &Options::new()).unwrap_err().to_string();
            assert!(
                error.contains(path) && error.contains("a file is in its place; move"),
                "{error}"
            );
        }
    }
}
