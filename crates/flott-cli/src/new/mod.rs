//! `flott new`: a project that compiles and runs.
//!
//! It depends on the `flott` of a checkout, by path, where there is one: named by `--path`, around the current folder, or around this
//! very command; else on the package of this command's version. Nothing is written before all that can be wrong was looked at, and an existing folder
//! is never touched.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("Cargo.toml.txt")),
    ("src/main.rs", include_str!("main.rs.txt")),
    ("README.md", include_str!("README.md.txt")),
    (".gitignore", include_str!("gitignore.txt")),
];

/// Names that Cargo or Rust keep for themselves, or that the project's own dependencies have.
const TAKEN: &[&str] = &[
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "flott",
    "incremental",
    "proc_macro",
    "serde",
    "std",
    "test",
    "target",
];

const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type",
    "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Arguments of `flott new`.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// The folder to make; the project is named after it.
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// The checkout of Flott to build against; found by itself around the current folder, or around this command.
    #[arg(long, value_name = "CHECKOUT")]
    path: Option<PathBuf>,
}

/// Makes the project.
///
/// # Errors
/// If the name cannot be one, the folder exists or cannot be made, or `--path` is no checkout.
pub fn new(args: &NewArgs) -> Result<()> {
    let name = args.folder.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("'{}' names no folder: flott new my-job", args.folder.display()))?;
    check_name(name)?;
    if args.folder.symlink_metadata().is_ok() {
        bail!(
            "'{}' exists already: choose another name, or move it away",
            args.folder.display()
        );
    }
    let checkout = match &args.path {
        Some(path) => Some(checkout_at(path)?),
        None => checkout_nearby(),
    };
    let (flott, from) = match &checkout {
        Some(checkout) => {
            let path = checkout.join("crates/flott");
            let path = path
                .to_str()
                .with_context(|| format!("'{}' is not UTF-8, as Cargo's paths are", path.display()))?;
            (format!("{{ path = {} }}", quoted(path)), checkout.display().to_string())
        }
        None => (quoted(env!("CARGO_PKG_VERSION")), "its package".to_owned()),
    };
    for (file, text) in FILES {
        let path = args.folder.join(file);
        let folder = path.parent().unwrap_or(&args.folder);
        std::fs::create_dir_all(folder).with_context(|| format!("'{}' cannot be made", folder.display()))?;
        let text = text.replace("{{name}}", name).replace("{{flott}}", &flott);
        std::fs::write(&path, text).with_context(|| format!("'{}' cannot be written", path.display()))?;
    }
    println!("{name} is made, with flott from {from}:\n");
    println!("  cd {}\n  cargo run\n  cargo test", args.folder.display());
    Ok(())
}

/// Whether Cargo takes a name, and Rust that of its crate.
fn check_name(name: &str) -> Result<()> {
    match what_is_wrong(name) {
        None => Ok(()),
        Some(reason) => bail!(
            "a project cannot be named '{name}': it {reason}; '{}' would do",
            like(name)
        ),
    }
}

fn what_is_wrong(name: &str) -> Option<&'static str> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_next = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.chars().next().is_some_and(is_first) {
        Some("begins with something other than a letter")
    } else if !name.chars().all(is_next) {
        Some("has characters other than letters of ASCII, digits, '-' and '_'")
    } else if TAKEN.contains(&name) {
        Some("is a name that Cargo, Rust or a dependency of the project has")
    } else if KEYWORDS.contains(&name) {
        Some("is a keyword of Rust")
    } else {
        None
    }
}

/// A name like `name` that can be one.
fn like(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let words: String = name.chars().map(plain).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    let words = words.join("-");
    let tries = [words.clone(), format!("{words}-job"), format!("job-{words}")];
    let found = tries.into_iter().find(|name| what_is_wrong(name).is_none());
    found
        .filter(|_| !words.is_empty())
        .unwrap_or_else(|| "my-job".to_owned())
}

/// A text as TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_checkout(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("crates/flott/Cargo.toml"));
    manifest.is_ok_and(|text| text.contains("name = \"flott\"\n"))
}

fn checkout_at(path: &Path) -> Result<PathBuf> {
    let path = path
        .canonicalize()
        .with_context(|| format!("--path {}: it cannot be found", path.display()))?;
    if !is_checkout(&path) {
        bail!(
            "--path {}: this is no checkout of Flott, which has a folder crates/flott",
            path.display()
        );
    }
    Ok(path)
}

/// The checkout that the current folder, or this command, lies in.
fn checkout_nearby() -> Option<PathBuf> {
    let places = [std::env::current_dir(), std::env::current_exe()];
    let places = places
        .into_iter()
        .flatten()
        .filter_map(|place| place.canonicalize().ok());
    places
        .flat_map(|place| place.ancestors().map(Path::to_owned).collect::<Vec<_>>())
        .find(|folder| is_checkout(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_told_with_one_that_can() {
        for (name, said) in [
            (
                "7-seas",
                "begins with something other than a letter; 'job-7-seas' would do",
            ),
            (
                "my job",
                "has characters other than letters of ASCII, digits, '-' and '_'; 'my-job' would do",
            ),
            (
                "zoë",
                "has characters other than letters of ASCII, digits, '-' and '_'; 'zo' would do",
            ),
            (
                "flott",
                "is a name that Cargo, Rust or a dependency of the project has; 'flott-job' would do",
            ),
            ("loop", "is a keyword of Rust; 'loop-job' would do"),
            ("…", "begins with something other than a letter; 'my-job' would do"),
        ] {
            let error = check_name(name).unwrap_err().to_string();
            assert_eq!(error, format!("a project cannot be named '{name}': it {said}"));
        }
        for name in ["clicks", "my-job", "_x", "Job2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
