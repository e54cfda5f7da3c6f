//! The local disk as an object store whose puts survive a power cut: [`DurableLocal`].
//!
//! A put writes a file beside its place, syncs it, gives it its name by a link (which fails if the name is taken) or a
//! rename, and syncs the folder. Files that a crash left beside their place have `.tmp-` in their name; sweeping finds them.

use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder of the local disk.
#[derive(Debug)]
pub struct DurableLocal {
    root: PathBuf,
    files: LocalFileSystem,
    next_temporary: AtomicU64,
}

impl DurableLocal {
    /// The store of an existing folder.
    ///
    /// # Errors
    /// If the folder does not exist.
    pub fn new(root: &FilePath) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            files: LocalFileSystem::new_with_prefix(root)?.with_automatic_cleanup(true),
            next_temporary: AtomicU64::new(0),
        })
    }
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

/// Writes a file so that it is there in full, or not at all.
fn put_durably(target: &FilePath, temporary: &FilePath, payload: &PutPayload, exclusive: bool) -> io::Result<()> {
    let folder = target.parent().ok_or(ErrorKind::InvalidInput)?;
    create_folders(folder)?;
    let written = write_synced(temporary, payload).and_then(|()| {
        if exclusive {
            fs::hard_link(temporary, target)?;
            fs::remove_file(temporary)
        } else {
            fs::rename(temporary, target)
        }
    });
    if let Err(error) = written {
        // Left behind, it would be swept by age; the error that counts is the first one.
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    sync_folder(folder)
}

fn write_synced(path: &FilePath, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    for part in payload {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Creates a folder and those above it; each new name is synced in the folder that holds it.
fn create_folders(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        create_folders(above)?;
        match fs::create_dir(folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => sync_folder(above)?,
        }
    }
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &FilePath) -> io::Result<()> {
    Ok(())
}

#[async_trait::async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let target = self.files.path_to_filesystem(location)?;
        let exclusive = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let mut temporary = target.clone().into_os_string();
        temporary.push(format!(".tmp-{}-{number}", std::process::id()));
        let display = target.display().to_string();
        let written =
            tokio::task::spawn_blocking(move || put_durably(&target, FilePath::new(&temporary), &payload, exclusive))
                .await
                .map_err(|e| object_store::Error::JoinError { source: e })?;
        match written {
            Ok(()) => Ok(PutResult {
                e_tag: None,
                version: None,
            }),
            Err(error) if exclusive && error.kind() == ErrorKind::AlreadyExists => {
                Err(object_store::Error::AlreadyExists {
                    path: display,
                    source: error.into(),
                })
            }
            Err(error) => Err(object_store::Error::Generic {
                store: "local disk",
                source: error.into(),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}
