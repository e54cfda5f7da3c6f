//! The files of catalogs on this machine: what `flott_sql::catalog::CatalogFiles` asks for.
//!
//! A file is written beside its place and then linked (new) or renamed (replaced), so nobody sees half of it, and of several
//! who create one only the first succeeds.

use flott_sql::catalog::CatalogFiles;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Files below the paths that users write; `file:` before them is left out.
#[derive(Debug, Default)]
pub struct LocalFiles {
    /// Tells the drafts of this process apart.
    drafts: AtomicU64,
}

fn local(path: &str) -> &Path {
    let path = path.strip_prefix("file:").unwrap_or(path);
    match path.strip_prefix("///") {
        Some(_) => Path::new(&path[2..]),
        None => Path::new(path),
    }
}

/// `None` where the thing is missing.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn names(folder: &str, wanted: impl Fn(&fs::FileType) -> bool) -> io::Result<Vec<String>> {
    let mut names = vec![];
    for entry in found(fs::read_dir(local(folder)))?.into_iter().flatten() {
        let entry = entry?;
        // A draft, or the folder of another program.
        let Some(name) = entry
            .file_name()
            .to_str()
            .filter(|n| !n.starts_with('.'))
            .map(str::to_owned)
        else {
            continue;
        };
        // What a link leads to counts.
        if let Some(meta) = found(fs::metadata(entry.path()))?
            && wanted(&meta.file_type())
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

impl LocalFiles {
    /// Writes a text beside its place.
    fn draft(&self, file: &Path, text: &str) -> io::Result<PathBuf> {
        let folder = file.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(folder)?;
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = folder.join(format!(".draft-{}-{number}", std::process::id()));
        let mut out = fs::File::create(&draft)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        Ok(draft)
    }
}

/// Makes the names in a file's folder durable.
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl CatalogFiles for LocalFiles {
    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        names(folder, fs::FileType::is_dir)
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        names(folder, fs::FileType::is_file)
    }

    fn read(&self, file: &str) -> io::Result<Option<String>> {
        found(fs::read_to_string(local(file)))
    }

    fn create(&self, file: &str, text: &str) -> io::Result<bool> {
        let file = local(file);
        let draft = self.draft(file, text)?;
        let linked = match fs::hard_link(&draft, file) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        };
        fs::remove_file(&draft)?;
        sync_folder(file)?;
        linked
    }

    fn replace(&self, file: &str, text: &str) -> io::Result<()> {
        let file = local(file);
        let draft = self.draft(file, text)?;
        fs::rename(draft, file)?;
        sync_folder(file)
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        found(fs::remove_file(local(file))).map(|_| ())
    }

    fn make_folder(&self, folder: &str) -> io::Result<bool> {
        let folder = local(folder);
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above)?;
        }
        match fs::create_dir(folder) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        found(fs::remove_dir_all(local(folder))).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_create_a_file_wins_and_replacing_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let file = format!("file://{root}/db/t.sql");
        let files = LocalFiles::default();
        assert_eq!(files.read(&file).unwrap(), None);
        assert!(files.files(&format!("{root}/db")).unwrap().is_empty());
        let wins: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|i| {
                    scope.spawn({
                        let (files, file) = (&files, &file);
                        move || usize::from(files.create(file, &format!("text {i}")).unwrap())
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
        assert!(files.read(&file).unwrap().unwrap().starts_with("text "));
        files.replace(&file, "other").unwrap();
        assert_eq!(files.read(&file).unwrap().as_deref(), Some("other"));
        let left: Vec<_> = fs::read_dir(folder.path().join("db")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(files.folders(root).unwrap(), ["db"]);
        assert!(!files.make_folder(&format!("{root}/db")).unwrap());
        assert!(files.make_folder(&format!("{root}/a/b")).unwrap());
        files.remove(&file).unwrap();
        files.remove(&file).unwrap();
        files.remove_folder(&format!("{root}/db")).unwrap();
        assert_eq!(files.folders(root).unwrap(), ["a"]);
    }
}
