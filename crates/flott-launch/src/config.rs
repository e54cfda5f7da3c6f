//! Options from outside a script or program: the configuration file, the environment, the command line.
//!
//! Weakest first: the file (`--config`, else `config.yaml` or `flink-conf.yaml` in `$FLOTT_CONF_DIR` or
//! `$FLINK_CONF_DIR`), the variable `FLINK_PROPERTIES` (lines of `key: value`), `-D key=value` and `-p`. A script's own
//! `SET`, and what a program sets, win over all of them. `config.yaml` may nest (`execution: {checkpointing: {interval: 1s}}`) or be flat.

use crate::error::LaunchError;
use flott_core::Options;
use std::path::{Path, PathBuf};
use yaml_rust2::{Yaml, YamlLoader};

/// What a command line says of options.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `-p`: parallelism of the job (`parallelism.default`).
    pub parallelism: Option<usize>,
    /// `-D`: each `KEY=VALUE`, by Flink's names.
    pub defines: Vec<String>,
    /// `--config`: the configuration file (config.yaml or flink-conf.yaml).
    pub config: Option<PathBuf>,
}

/// All options of the command line, the environment and the file.
///
/// # Errors
/// If the file cannot be read, or a `-D` has no `=`.
pub fn load(args: &CommandLine) -> Result<Options, LaunchError> {
    let mut options = match args.config.clone().or_else(default_file) {
        Some(file) => read_file(&file)?,
        None => Options::new(),
    };
    if let Ok(text) = std::env::var("FLINK_PROPERTIES") {
        options.merge(&read_lines(&text));
    }
    add_command_line(options, args)
}

/// These options with what the command line says by `-D` and `-p`.
///
/// # Errors
/// If a `-D` has no `=`, or a parallelism is none.
pub fn add_command_line(mut options: Options, args: &CommandLine) -> Result<Options, LaunchError> {
    for define in &args.defines {
        let Some((key, value)) = define.split_once('=') else {
            return Err(LaunchError::Argument(format!(
                "-D {define}: an option is written KEY=VALUE, e.g. -D execution.checkpointing.interval=1s"
            )));
        };
        options.set(key.trim(), value.trim());
    }
    if let Some(parallelism) = args.parallelism {
        if parallelism == 0 {
            let text = "-p 0: a job needs a parallelism of at least 1";
            return Err(LaunchError::Argument(text.to_owned()));
        }
        options.set("parallelism.default", parallelism.to_string());
    }
    Ok(options)
}

fn default_file() -> Option<PathBuf> {
    let dir = std::env::var_os("FLOTT_CONF_DIR").or_else(|| std::env::var_os("FLINK_CONF_DIR"))?;
    ["config.yaml", "flink-conf.yaml"]
        .iter()
        .map(|name| Path::new(&dir).join(name))
        .find(|file| file.is_file())
}

fn read_file(file: &Path) -> Result<Options, LaunchError> {
    let path = || file.to_owned();
    let text = std::fs::read_to_string(file).map_err(|source| LaunchError::File { path: path(), source })?;
    if file.file_name().is_some_and(|n| n == "flink-conf.yaml") {
        return Ok(read_lines(&text));
    }
    let documents = YamlLoader::load_from_str(&text).map_err(|source| LaunchError::Yaml { path: path(), source })?;
    let mut options = Options::new();
    for document in &documents {
        flatten("", document, &mut options).map_err(|reason| LaunchError::Content { path: path(), reason })?;
    }
    Ok(options)
}

/// `key: value` lines, as old `flink-conf.yaml` files hold them.
fn read_lines(text: &str) -> Options {
    text.lines()
        .map(|line| line.split_once(" #").map_or(line, |(before, _)| before).trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches(['\'', '"']).to_owned()))
        .collect()
}

/// Sets the options that a part of a document holds.
///
/// # Errors
/// What is none.
fn flatten(prefix: &str, yaml: &Yaml, options: &mut Options) -> Result<(), String> {
    match yaml {
        Yaml::Hash(map) => {
            for (key, value) in map {
                let Some(key) = scalar(key) else {
                    return Err(format!("below '{prefix}' there is a key that is no text"));
                };
                let path = if prefix.is_empty() {
                    key
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&path, value, options)?;
            }
            Ok(())
        }
        Yaml::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            let Some(items) = items else {
                return Err(format!(
                    "'{prefix}' holds a list of other things than texts and numbers"
                ));
            };
            options.set(prefix, items.join(";"));
            Ok(())
        }
        Yaml::Null | Yaml::BadValue => Ok(()),
        other => {
            let Some(value) = scalar(other) else {
                return Err(format!("'{prefix}' has a value that cannot be read"));
            };
            options.set(prefix, value);
            Ok(())
        }
    }
}

fn scalar(yaml: &Yaml) -> Option<String> {
    match yaml {
        Yaml::String(s) | Yaml::Real(s) => Some(s.clone()),
        Yaml::Integer(i) => Some(i.to_string()),
        Yaml::Boolean(b) => Some(b.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Options {
        let mut options = Options::new();
        flatten("", &YamlLoader::load_from_str(text).unwrap()[0], &mut options).unwrap();
        options
    }

    #[test]
    fn nested_and_flat_keys_mean_the_same() {
        let nested = yaml("execution:\n  checkpointing:\n    interval: 1s\nparallelism.default: 2\n");
        assert_eq!(nested.get("execution.checkpointing.interval"), Some("1s"));
        assert_eq!(nested.get("parallelism.default"), Some("2"));
    }

    #[test]
    fn old_files_are_lines() {
        let options = read_lines("# comment\nstate.backend: hashmap # why\nrest.port: 8081\n");
        assert_eq!(
            (options.get("state.backend"), options.get("rest.port")),
            (Some("hashmap"), Some("8081"))
        );
    }

    #[test]
    fn the_command_line_wins_and_a_define_needs_a_value() {
        let args = CommandLine {
            parallelism: Some(3),
            defines: vec!["parallelism.default=2".into(), "a.b = c".into()],
            config: None,
        };
        let options = load(&args).unwrap();
        assert_eq!(
            (options.get("parallelism.default"), options.get("a.b")),
            (Some("3"), Some("c"))
        );
        let args = CommandLine {
            defines: vec!["nothing".into()],
            ..CommandLine::default()
        };
        assert!(load(&args).unwrap_err().to_string().contains("KEY=VALUE"));
    }
}
