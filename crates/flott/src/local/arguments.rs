//! What a program's command line says to Flott, under the names that `flott run` and Flink's command have for it.
//!
//! Each is found wherever it stands before a `--`; all else is the program's own ([`program_arguments`]).

use flott_launch::LaunchError;
use flott_launch::config::CommandLine;
use std::path::PathBuf;

/// The command line of a program, as far as it is Flott's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// `-p`, `-D` and `--config`.
    pub command_line: CommandLine,
    /// `-s`, `--from-savepoint` or `--restore`: what each job starts from, whatever the program says.
    pub restore: Option<String>,
    /// `--allow-non-restored-state`
    pub allow_non_restored_state: bool,
    /// `--savepoint-on-stop`: where a savepoint goes when a signal stops the jobs.
    pub savepoint_on_stop: Option<String>,
    /// `--check-state`: the first job is tried with the state at this path instead of being run.
    pub check_state: Option<String>,
    /// What is the program's own.
    pub rest: Vec<String>,
}

/// Arguments with a value.
#[derive(Debug, Clone, Copy)]
enum Name {
    Parallelism,
    Define,
    Config,
    Restore,
    SavepointOnStop,
    CheckState,
}

/// Each form of an argument with a value.
const NAMES: [(&str, Name); 10] = [
    ("-p", Name::Parallelism),
    ("--parallelism", Name::Parallelism),
    ("-D", Name::Define),
    ("--config", Name::Config),
    ("-s", Name::Restore),
    ("--from-savepoint", Name::Restore),
    ("--fromSavepoint", Name::Restore),
    ("--restore", Name::Restore),
    ("--savepoint-on-stop", Name::SavepointOnStop),
    ("--check-state", Name::CheckState),
];

impl Arguments {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// If an argument lacks its value, or has one that it cannot have.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, LaunchError> {
        let (parsed, wrong) = Self::read(arguments);
        match wrong {
            Some(error) => Err(error),
            None => Ok(parsed),
        }
    }

    /// What can be read of a command line, and the first thing that is wrong with it.
    fn read(arguments: impl IntoIterator<Item = String>) -> (Self, Option<LaunchError>) {
        let mut parsed = Self::default();
        let mut wrong = None;
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                parsed.rest.extend(arguments);
                break;
            }
            if ["--allow-non-restored-state", "--allowNonRestoredState"].contains(&argument.as_str()) {
                parsed.allow_non_restored_state = true;
                continue;
            }
            let Some((name, value)) = split(&argument) else {
                parsed.rest.push(argument);
                continue;
            };
            let value = match value {
                Some(value) => Some(value.to_owned()),
                // What looks like another argument is one, and no value.
                None => arguments.next_if(|next| !next.starts_with('-')),
            };
            let missing = || LaunchError::Argument(format!("{argument}: its value is missing"));
            let value = value.filter(|v| !v.is_empty()).ok_or_else(missing);
            if let Err(error) = value.and_then(|value| parsed.take(name, value)) {
                wrong.get_or_insert(error);
            }
        }
        (parsed, wrong)
    }

    fn take(&mut self, name: Name, value: String) -> Result<(), LaunchError> {
        match name {
            Name::Parallelism => {
                let wrong = |_| LaunchError::Argument(format!("-p {value}: a number is expected, e.g. -p 4"));
                self.command_line.parallelism = Some(value.parse().map_err(wrong)?);
            }
            Name::Define => self.command_line.defines.push(value),
            Name::Config => self.command_line.config = Some(PathBuf::from(value)),
            Name::Restore => self.restore = Some(value),
            Name::SavepointOnStop => self.savepoint_on_stop = Some(value),
            Name::CheckState => self.check_state = Some(value),
        }
        Ok(())
    }
}

/// An argument of Flott with a value, and the value if it stands in the same word: `--name=value`, `-Dkey=value`, `-p4`, `-p=4`, `-s/path`.
fn split(argument: &str) -> Option<(Name, Option<&str>)> {
    NAMES.iter().find_map(|(form, name)| {
        let rest = argument.strip_prefix(form)?;
        if rest.is_empty() {
            return Some((*name, None));
        }
        if form.starts_with("--") {
            return rest.strip_prefix('=').map(|value| (*name, Some(value)));
        }
        if let Some(value) = rest.strip_prefix('=') {
            return Some((*name, Some(value)));
        }
        let is_value = match name {
            Name::Define => rest.contains('='),
            Name::Parallelism => rest.bytes().all(|b| b.is_ascii_digit()),
            Name::Restore => rest.starts_with('/'),
            _ => false,
        };
        is_value.then_some((*name, Some(rest)))
    })
}

/// The program's own part of the process's command line, its name first: what is left without Flott's arguments (`-p`, `-D`, `--config`,
/// `-s`, `--from-savepoint`, `--restore`, `--allow-non-restored-state`, `--savepoint-on-stop`, `--check-state`), and all behind a `--`.
/// A parser of arguments takes it in place of the process's.
pub fn program_arguments() -> Vec<String> {
    let mut all: Vec<String> = all_arguments();
    let own = all.split_off(all.len().min(1));
    // What is wrong in it, executing tells.
    all.extend(Arguments::read(own).0.rest);
    all
}

/// The process's command line; what is no UTF-8 in it is no argument of Flott.
pub(super) fn all_arguments() -> Vec<String> {
    let arguments = std::env::args_os();
    arguments.map(|a| a.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = line.split_whitespace().map(str::to_owned);
        Arguments::parse(words).map_err(|e| e.to_string())
    }

    #[test]
    fn arguments_are_found_wherever_they_stand() {
        let parsed =
            parse("clicks -p 4 --input x -Da.b=c -D d=e --config=f.yaml -s /s --savepoint-on-stop /o out").unwrap();
        assert_eq!(
            parsed.command_line,
            CommandLine {
                parallelism: Some(4),
                defines: vec!["a.b=c".to_owned(), "d=e".to_owned()],
                config: Some("f.yaml".into()),
            }
        );
        assert_eq!(
            (parsed.restore.as_deref(), parsed.savepoint_on_stop.as_deref()),
            (Some("/s"), Some("/o"))
        );
        assert_eq!(parsed.rest, ["clicks", "--input", "x", "out"]);
        for form in [
            "--from-savepoint /s",
            "--fromSavepoint=/s",
            "--restore=/s",
            "--restore /s",
            "-s/s",
            "-s=/s",
        ] {
            assert_eq!(parse(form).unwrap().restore.as_deref(), Some("/s"), "{form}");
        }
        assert_eq!(parse("-p=3").unwrap().command_line.parallelism, Some(3));
        assert!(parse("--allow-non-restored-state").unwrap().allow_non_restored_state);
        assert_eq!(parse("--check-state=/p x").unwrap().check_state.as_deref(), Some("/p"));
    }

    #[test]
    fn what_only_looks_alike_is_the_programs_own() {
        let own = "-print --parallel -Debug --restored x -step -src/x --check-states";
        assert_eq!(parse(own).unwrap().rest.join(" "), own);
        let behind = parse("-p 2 -- -p 8080 --restore").unwrap();
        assert_eq!(
            (behind.command_line.parallelism, behind.rest.join(" ")),
            (Some(2), "-p 8080 --restore".to_owned())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            parse("-p many").unwrap_err(),
            "-p many: a number is expected, e.g. -p 4"
        );
        for line in ["x --restore", "--restore --verbose"] {
            assert_eq!(parse(line).unwrap_err(), "--restore: its value is missing");
        }
        let words = ["--restore", "--verbose"].map(str::to_owned);
        assert_eq!(Arguments::read(words).0.rest, ["--verbose"]);
        assert_eq!(
            parse("--check-state= y").unwrap_err(),
            "--check-state=: its value is missing"
        );
    }
}
