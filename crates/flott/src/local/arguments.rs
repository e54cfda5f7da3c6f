//! What a program's command line says to Flott, under the names that `flott run` and Flink's command have for it.
//!
//! Each is found wherever it stands before a `--`; all else is the program's own ([`program_arguments`]).

use flott_core::JobId;
use flott_launch::LaunchError;
use flott_launch::config::CommandLine;
use std::path::PathBuf;

/// What a process of the program is in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The JobManager of the program's job.
    StandaloneJob,
    /// A TaskManager.
    TaskManager,
}

/// The variable that names the role, where arguments are the program's alone.
const ROLE: &str = "FLOTT_ROLE";

/// Each role, as the variable names it, and behind `--` an argument.
const ROLES: [(&str, Role); 2] = [
    ("standalone-job", Role::StandaloneJob),
    ("taskmanager", Role::TaskManager),
];

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
    /// `--standalone-job`, `--taskmanager`: the process is one of a cluster.
    pub role: Option<Role>,
    /// `--job-id`: the id of the job of a cluster.
    pub job_id: Option<JobId>,
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
    JobId,
}

/// Each form of an argument with a value.
const NAMES: [(&str, Name); 11] = [
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
    ("--job-id", Name::JobId),
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
            if let Some(role) = argument.strip_prefix("--").and_then(role_of) {
                let earlier = parsed.role.replace(role);
                if earlier.is_some_and(|earlier| earlier != role) {
                    let text = "--standalone-job and --taskmanager: a process is one of both";
                    wrong.get_or_insert(LaunchError::Argument(text.to_owned()));
                }
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
            Name::JobId => {
                let wrong = |e| LaunchError::Argument(format!("--job-id {value}: {e}"));
                self.job_id = Some(value.parse().map_err(wrong)?);
            }
        }
        Ok(())
    }

    /// The role that the command line names, or the environment.
    ///
    /// # Errors
    /// If the environment names none that there is.
    pub fn role(&self) -> Result<Option<Role>, LaunchError> {
        match (self.role, std::env::var(ROLE)) {
            (None, Ok(name)) if !name.is_empty() => {
                let wrong =
                    || LaunchError::Argument(format!("{ROLE}={name}: standalone-job or taskmanager is expected"));
                role_of(&name).map(Some).ok_or_else(wrong)
            }
            (role, _) => Ok(role),
        }
    }
}

fn role_of(name: &str) -> Option<Role> {
    ROLES.iter().find(|(known, _)| *known == name).map(|(_, role)| *role)
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
/// `-s`, `--from-savepoint`, `--restore`, `--allow-non-restored-state`, `--savepoint-on-stop`, `--check-state`, `--standalone-job`, `--taskmanager`, `--job-id`), and all behind a `--`.
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
        let id = "00000000000000000000000000000007";
        let cluster = parse(&format!("x --standalone-job --job-id {id}")).unwrap();
        assert_eq!(
            (cluster.role, cluster.job_id, cluster.rest.join(" ").as_str()),
            (Some(Role::StandaloneJob), Some(JobId(7)), "x")
        );
        assert_eq!(parse("--taskmanager").unwrap().role, Some(Role::TaskManager));
    }

    #[test]
    fn what_only_looks_alike_is_the_programs_own() {
        let own = "-print --parallel -Debug --restored x -step -src/x --check-states taskmanager --taskmanagers";
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
        assert!(
            parse("--taskmanager --standalone-job")
                .unwrap_err()
                .contains("one of both")
        );
        assert!(
            parse("--job-id 7")
                .unwrap_err()
                .starts_with("--job-id 7: '7' is not an id")
        );
        let words = ["--restore", "--verbose"].map(str::to_owned);
        assert_eq!(Arguments::read(words).0.rest, ["--verbose"]);
        assert_eq!(
            parse("--check-state= y").unwrap_err(),
            "--check-state=: its value is missing"
        );
    }
}
