//! A process of a program: how it is started and told what it is, and how it learns that.

use super::ProgramSpec;
use super::messages::Assignment;
use crate::error::ClusterError;
use crate::rpc::{read, write};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::net::UnixStream;

/// The variable that names what a process is in a cluster.
pub const ROLE: &str = "FLOTT_ROLE";

/// Its value where standard input tells the rest.
const ASSIGNED: &str = "assigned";

/// How many last lines of its standard error a failure tells.
const TOLD_LINES: usize = 20;

/// How long is waited for them once the process has ended: what it has started may hold its standard error open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Tries to start a file that was just written: another process that is being started may still hold it open.
const TRIES: u32 = 50;

/// A process that ends when this is dropped.
pub(super) struct ProgramProcess {
    child: Option<Child>,
    last_words: Option<mpsc::Receiver<VecDeque<String>>>,
}

impl fmt::Debug for ProgramProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.child.as_ref().map(Child::id);
        f.debug_struct("ProgramProcess").field("id", &id).finish()
    }
}

impl ProgramProcess {
    /// Starts a program; the stream is its standard input, both ways. With `listens` what it says on standard error is heard, and passed on.
    ///
    /// # Errors
    /// If the system cannot start it.
    pub(super) async fn start(
        file: &Path,
        program: &ProgramSpec,
        assignment: &Assignment,
        listens: bool,
    ) -> Result<(Self, UnixStream), ClusterError> {
        let cannot = |what: &str, error: &dyn fmt::Display| {
            ClusterError::Refused(format!("the program '{}' {what}: {error}", program.name))
        };
        let (own, theirs) = StdStream::pair().map_err(|e| cannot("cannot be started", &e))?;
        own.set_nonblocking(true).map_err(|e| cannot("cannot be started", &e))?;
        let mut child = spawn(file, program, theirs, listens)
            .await
            .map_err(|e| cannot("cannot be started", &e))?;
        let last_words = child.stderr.take().map(pass_on);
        let process = Self {
            child: Some(child),
            last_words,
        };
        let mut stream = UnixStream::from_std(own).map_err(|e| cannot("cannot be started", &e))?;
        // One that has ended already says so when it is listened to.
        let _ = write(&mut stream, assignment).await;
        Ok((process, stream))
    }

    /// Ends it, if it has not ended: how it did.
    pub(super) async fn ended(mut self) -> String {
        let Some(mut child) = self.child.take() else {
            return "it has ended".to_owned();
        };
        let last_words = self.last_words.take();
        let waiting = tokio::task::spawn_blocking(move || {
            // One that has closed its standard input and goes on is of no use.
            let _ = child.kill();
            let status = child.wait();
            let said = last_words.and_then(|words| words.recv_timeout(LAST_WORDS).ok());
            (status, said.unwrap_or_default())
        });
        let (status, said) = match waiting.await {
            Ok((Ok(status), said)) => (status.to_string(), said),
            Ok((Err(error), said)) => (error.to_string(), said),
            Err(error) => (error.to_string(), VecDeque::new()),
        };
        match said.is_empty() {
            true => format!("its process has ended ({status})"),
            false => format!(
                "its process has ended ({status}), and said:\n{}",
                Vec::from(said).join("\n")
            ),
        }
    }
}

impl Drop for ProgramProcess {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let _ = child.kill();
        // Nobody waits here until the system has put it away.
        let reaping = thread::Builder::new().name("reap-program".to_owned());
        let _ = reaping.spawn(move || child.wait());
    }
}

async fn spawn(file: &Path, program: &ProgramSpec, input: StdStream, listens: bool) -> io::Result<Child> {
    let mut command = Command::new(file);
    command
        .arg0(&program.name)
        .args(&program.arguments)
        .env(ROLE, ASSIGNED)
        .stdin(Stdio::from(OwnedFd::from(input)));
    if listens {
        command.stderr(Stdio::piped());
    }
    let mut tries = 1;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            spawned => return spawned,
        }
    }
}

/// Passes on what a process says on standard error, and keeps its last lines until it ends.
fn pass_on(stderr: ChildStderr) -> mpsc::Receiver<VecDeque<String>> {
    let (said, last_words) = mpsc::channel();
    let listening = thread::Builder::new().name("hear-program".to_owned());
    let _ = listening.spawn(move || {
        let mut lines = VecDeque::with_capacity(TOLD_LINES);
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // Who has closed standard error hears nothing.
            let _ = writeln!(io::stderr(), "{line}");
            if lines.len() == TOLD_LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
        let _ = said.send(lines);
    });
    last_words
}

/// What this process was told that it is.
#[derive(Debug)]
pub struct Assigned {
    /// What it is.
    pub assignment: Assignment,
    /// To who has started it; it closes when that one ends.
    pub stream: UnixStream,
}

impl Assigned {
    /// Whether this process is told what it is over its standard input.
    pub fn is_to_be_told() -> bool {
        std::env::var(ROLE).is_ok_and(|role| role == ASSIGNED)
    }

    /// Hears what this process is. Once in a process. Needs Tokio.
    ///
    /// # Errors
    /// If standard input does not tell: somebody else has set the variable.
    pub async fn hear() -> Result<Self, ClusterError> {
        let untold = |error: &dyn fmt::Display| {
            ClusterError::Refused(format!(
                "{ROLE}={ASSIGNED}: only a JobManager or TaskManager starts a program so: {error}"
            ))
        };
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(|e| untold(&e))?;
        let input = StdStream::from(input);
        input.set_nonblocking(true).map_err(|e| untold(&e))?;
        let mut stream = UnixStream::from_std(input).map_err(|e| untold(&e))?;
        match read(&mut stream).await {
            Ok(Some(assignment)) => Ok(Self { assignment, stream }),
            Ok(None) => Err(untold(&"it has ended")),
            Err(error) => Err(untold(&error)),
        }
    }
}
