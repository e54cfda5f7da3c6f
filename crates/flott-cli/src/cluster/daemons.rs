//! `flott cluster`: a JobManager and TaskManagers on this machine, in the background.
//!
//! Each writes its log to `$FLOTT_LOG_DIR` (`log` if unset), in one file (`.log`), and what `print` tables print in another (`.out`); their process ids stand, a line each, in a file in `$FLOTT_PID_DIR` (the system's folder for
//! temporary files if unset), which `stop` reads: the TaskManagers end first, so nobody restarts their tasks.

use super::ProcessArgs;
use crate::{output, remote};
use anyhow::{Context, Result, bail};
use flott_core::Options;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::{File, create_dir_all, read_to_string, remove_file, write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long processes may take to come up, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
const NAP: Duration = Duration::from_millis(10);

/// What `flott cluster` can do.
#[derive(Debug, clap::Subcommand)]
pub enum ClusterCommand {
    /// Start a JobManager and TaskManagers in the background.
    Start(StartArgs),
    /// End them.
    Stop,
}

/// Arguments of `flott cluster start`.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Number of TaskManagers.
    #[arg(short, long, default_value_t = 1)]
    pub taskmanagers: usize,
    #[command(flatten)]
    pub process: ProcessArgs,
}

/// Runs the command.
pub fn cluster(command: &ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Start(args) => start(args),
        ClusterCommand::Stop => stop(),
    }
}

fn folder(variable: &str, default: PathBuf) -> PathBuf {
    std::env::var_os(variable).map_or(default, PathBuf::from)
}

fn pid_file() -> PathBuf {
    folder("FLOTT_PID_DIR", std::env::temp_dir()).join("flott-cluster.pid")
}

/// Those of the file that still run.
fn running() -> Vec<Pid> {
    let text = read_to_string(pid_file()).unwrap_or_default();
    let pids = text.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?));
    pids.filter(|pid| is_flott(*pid) && test_kill_process(*pid).is_ok())
        .collect()
}

/// Whether a process is of this program: a number may long be another's.
fn is_flott(pid: Pid) -> bool {
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let command = read_to_string(folder.join("cmdline")).unwrap_or_default();
    let role = command.split('\0').nth(1).unwrap_or_default();
    let name = |path: std::io::Result<PathBuf>| {
        let name = path.ok()?.file_name()?.to_string_lossy().into_owned();
        // So the system marks a program that was built anew since.
        Some(name.trim_end_matches(" (deleted)").to_owned())
    };
    let is_this = name(std::fs::read_link(folder.join("exe"))) == name(std::env::current_exe());
    is_this && matches!(role, "jobmanager" | "taskmanager")
}

fn start(args: &StartArgs) -> Result<()> {
    let options = args.process.options()?;
    // Also tells at once that the JobManager could not be asked.
    let url = remote::url_of(&options)?;
    if !running().is_empty() {
        bail!(
            "a cluster runs already ({}); 'flott cluster stop' ends it",
            pid_file().display()
        );
    }
    let log_dir = folder("FLOTT_LOG_DIR", PathBuf::from("log"));
    create_dir_all(&log_dir).with_context(|| format!("the folder for logs, {}, cannot be made", log_dir.display()))?;
    let mut children = vec![];
    let started = spawn_all(args, &log_dir, &mut children).and_then(|()| await_slots(&options, args, &mut children));
    match started {
        Ok(slots) => {
            output::line(format_args!(
                "Cluster started: {} TaskManagers with {slots} slots, REST at {url}",
                args.taskmanagers
            ));
            Ok(())
        }
        Err(error) => {
            for child in &mut children {
                let _ = child.kill();
                let _ = child.wait();
            }
            let _ = remove_file(pid_file());
            Err(error.context(format!("the cluster did not start; logs are in {}", log_dir.display())))
        }
    }
}

/// Starts all processes, and notes them.
fn spawn_all(args: &StartArgs, log_dir: &std::path::Path, children: &mut Vec<Child>) -> Result<()> {
    children.push(spawn("jobmanager", "jobmanager", args, log_dir)?);
    for number in 0..args.taskmanagers {
        children.push(spawn("taskmanager", &format!("taskmanager-{number}"), args, log_dir)?);
    }
    let pids: String = children.iter().rev().map(|child| format!("{}\n", child.id())).collect();
    let file = pid_file();
    write(&file, pids).with_context(|| format!("{} cannot be written", file.display()))
}

fn spawn(role: &str, name: &str, args: &StartArgs, log_dir: &std::path::Path) -> Result<Child> {
    let path = log_dir.join(format!("flott-{name}.log"));
    let create =
        |path: &std::path::Path| File::create(path).with_context(|| format!("{} cannot be written", path.display()));
    let (log, out) = (create(&path)?, create(&path.with_extension("out"))?);
    let mut command = Command::new(std::env::current_exe().context("this program is not found")?);
    command.arg(role);
    let option = match role {
        "jobmanager" => "web.log.path",
        _ => "taskmanager.log.path",
    };
    // REST shows it.
    command.arg("-D").arg(format!("{option}={}", path.display()));
    args.process.defines.iter().for_each(|define| {
        command.arg("-D").arg(define);
    });
    if let Some(config) = &args.process.config {
        command.arg("--config").arg(config);
    }
    // Of a group of its own: what ends this terminal's job does not end it.
    let child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(log)
        .process_group(0)
        .spawn();
    child.with_context(|| format!("the {role} cannot be started"))
}

/// Waits until all slots have registered; how many.
fn await_slots(options: &Options, args: &StartArgs, children: &mut [Child]) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for child in children.iter_mut() {
            if let Some(status) = child.try_wait().context("a process cannot be watched")? {
                bail!("a process ended at once ({status})");
            }
        }
        let late = || format!("after {} s not all TaskManagers are there", PATIENCE.as_secs());
        match remote::overview(options) {
            Ok(overview) if overview["taskmanagers"].as_u64() >= Some(args.taskmanagers as u64) => {
                return Ok(overview["slots-total"].as_u64().unwrap_or(0));
            }
            Ok(_) if Instant::now() > deadline => bail!(late()),
            Err(error) if Instant::now() > deadline => return Err(error.context(late())),
            _ => {}
        }
        std::thread::sleep(NAP);
    }
}

fn stop() -> Result<()> {
    let pids = running();
    if pids.is_empty() {
        bail!(
            "no cluster runs that was started here ({} names none)",
            pid_file().display()
        );
    }
    let deadline = Instant::now() + PATIENCE;
    for pid in &pids {
        let _ = kill_process(*pid, Signal::TERM);
    }
    while pids.iter().any(|pid| is_flott(*pid)) {
        if Instant::now() > deadline {
            for pid in &pids {
                let _ = kill_process(*pid, Signal::KILL);
            }
            break;
        }
        std::thread::sleep(NAP);
    }
    let _ = remove_file(pid_file());
    output::line(format_args!("Cluster stopped: {} processes", pids.len()));
    Ok(())
}
