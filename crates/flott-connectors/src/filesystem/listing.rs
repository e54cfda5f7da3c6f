//! Which files a path means.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    pub path: PathBuf,
    pub size_bytes: u64,
    /// Time of the last change in milliseconds since the epoch.
    pub modified_ms: i64,
}

/// Tells of a file or folder whether anything below it is wanted.
pub(super) type Wanted<'a> = &'a dyn Fn(&Path) -> bool;

/// Whether files and directories of this name are left out.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// The files that `path` means, in the order of their names. A directory stands for all files below it.
///
/// # Errors
/// If nothing is there, or a directory cannot be read; the path of the trouble comes with the cause.
pub(super) fn list(path: &str, wanted: Wanted<'_>) -> Result<Vec<FoundFile>, (PathBuf, io::Error)> {
    let mut files = vec![];
    if path.contains(['*', '?']) {
        for found in expand(Path::new(path))? {
            walk(&found, wanted, &mut files)?;
        }
    } else {
        walk(Path::new(path), wanted, &mut files)?;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup();
    Ok(files)
}

fn walk(path: &Path, wanted: Wanted<'_>, files: &mut Vec<FoundFile>) -> Result<(), (PathBuf, io::Error)> {
    if !wanted(path) {
        return Ok(());
    }
    let at = |e| (path.to_owned(), e);
    let metadata = std::fs::metadata(path).map_err(at)?;
    if !metadata.is_dir() {
        let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        files.push(FoundFile {
            path: path.to_owned(),
            size_bytes: metadata.len(),
            modified_ms: modified.map_or(0, |d| d.as_millis() as i64),
        });
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(at)? {
        let entry = entry.map_err(at)?;
        if !is_hidden(&entry.file_name().to_string_lossy()) {
            match walk(&entry.path(), wanted, files) {
                // Gone since it was listed.
                Err((_, e)) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The paths that match a pattern, a component at a time.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut paths = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            paths.iter_mut().for_each(|p| p.push(component));
            continue;
        };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?']) {
            paths.iter_mut().for_each(|p| p.push(&*name));
            paths.retain(|p| p.exists());
            continue;
        }
        let mut matches = vec![];
        for folder in &paths {
            let here = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            let entries = match std::fs::read_dir(here) {
                Ok(entries) => entries,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                Err(e) => return Err((here.to_owned(), e)),
            };
            for entry in entries {
                let found = entry.map_err(|e| (here.to_owned(), e))?.file_name();
                let text = found.to_string_lossy();
                if !is_hidden(&text) && matches_pattern(name.as_bytes(), text.as_bytes()) {
                    matches.push(folder.join(&found));
                }
            }
        }
        paths = matches;
    }
    Ok(paths)
}

/// Whether a name matches a pattern of `*` and `?`.
pub(super) fn matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| matches_pattern(rest, &name[skipped..])),
        (Some((b'?', rest)), Some((_, name))) => matches_pattern(rest, name),
        (Some((p, rest)), Some((n, name))) => p == n && matches_pattern(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_walked_and_hidden_names_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "b.json",
            "a.json",
            ".part.inprogress",
            "_SUCCESS",
            "sub/c.json",
            "_tmp/d.json",
            "sub/e.csv",
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let names = |path: &Path| {
            let files = list(path.to_str().unwrap(), &|_| true).unwrap();
            files
                .iter()
                .map(|f| f.path.strip_prefix(root).unwrap().to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(root), ["a.json", "b.json", "sub/c.json", "sub/e.csv"]);
        assert_eq!(names(&root.join("a.json")), ["a.json"]);
        assert_eq!(names(&root.join("*.json")), ["a.json", "b.json"]);
        assert_eq!(names(&root.join("s?b/*.json")), ["sub/c.json"]);
        assert_eq!(names(&root.join("nothing*")), Vec::<String>::new());
        assert_eq!(
            list(root.join("a.json").to_str().unwrap(), &|_| true).unwrap()[0].size_bytes,
            6
        );
        assert!(list(root.join("missing").to_str().unwrap(), &|_| true).is_err());
    }
}
