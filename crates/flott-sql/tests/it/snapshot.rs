//! Texts kept beside the tests. `FLOTT_UPDATE_SNAPSHOTS=1` writes them anew.

use std::path::{Path, PathBuf};

/// Folder `name` of these tests.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)
}

/// Whether `actual` is what `path` holds; gives the difference.
pub fn compare(path: &Path, actual: &str) -> Result<(), String> {
    if std::env::var_os("FLOTT_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, actual).map_err(|e| format!("{}: {e}", path.display()))?;
        return Ok(());
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    Err(format!(
        "{} differs\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    ))
}

/// Fails with all differences.
pub fn report(differences: &[String]) {
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
