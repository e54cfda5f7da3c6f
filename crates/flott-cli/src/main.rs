//! The command `flott`: what a person types to run, look at and demonstrate streaming jobs.
//!
//! Results go to standard output, everything else (progress, warnings, logs) to standard error. Exit codes: 0 done or
//! stopped as asked, 1 the job or command failed, 2 the command line is wrong.

mod catalog_files;
mod cluster;
mod collect;
mod completions;
mod config;
mod demo;
mod info;
mod job;
mod kept;
mod new;
mod output;
mod progress;
mod remote;
mod run;
mod script;
mod shell;
mod state;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Flink's jobs on a Rust engine.
#[derive(Debug, Parser)]
#[command(name = "flott", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a SQL script or a program until its jobs end or are stopped: here, or with -m at a JobManager.
    Run(run::RunArgs),
    /// Run a JobManager, which takes jobs by REST and gives them to TaskManagers.
    Jobmanager(cluster::ProcessArgs),
    /// Run a JobManager for the one job of a SQL script, which ends with it.
    StandaloneJob(cluster::StandaloneJobArgs),
    /// Run a TaskManager, which offers slots to a JobManager.
    Taskmanager(cluster::ProcessArgs),
    /// A JobManager and TaskManagers on this machine, in the background.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// List the jobs of a JobManager.
    List(remote::ListArgs),
    /// Show what has happened to a job of a JobManager: failures, restarts, lost TaskManagers, checkpoints.
    Events(remote::EventsArgs),
    /// Say what a job of a JobManager waits on: idle partitions, skew, slow sinks, stuck checkpoints, missing slots.
    Why(remote::WhyArgs),
    /// Show a JobManager's log.
    Logs(remote::LogsArgs),
    /// Cancel a job of a JobManager.
    Cancel(remote::CancelArgs),
    /// Stop a job of a JobManager behind a savepoint.
    Stop(remote::StopArgs),
    /// Take a savepoint of a job of a JobManager.
    Savepoint(remote::SavepointArgs),
    /// Take a checkpoint of a job of a JobManager.
    Checkpoint(remote::CheckpointArgs),
    /// Change the parallelism of a job of a JobManager while it runs.
    Rescale(remote::RescaleArgs),
    /// Type SQL statements one after the other.
    Sql(shell::SqlArgs),
    /// Run the website-traffic job on an embedded broker with generated data.
    Demo(demo::DemoArgs),
    /// Show the plans of a script's jobs.
    Explain(script::ScriptArgs),
    /// Check a script without running it, and warn of what will hurt.
    Check(script::ScriptArgs),
    /// Show the subtasks, slots and TaskManagers that a script's jobs need, without running them.
    Info(info::InfoArgs),
    /// Make a project for a DataStream program, which compiles and runs.
    New(new::NewArgs),
    /// Print what a shell needs to complete commands and options.
    Completions(completions::CompletionsArgs),
    /// Look at the state in checkpoints and savepoints.
    #[command(subcommand)]
    State(state::StateCommand),
}

/// Flink's long options of one dash have two here.
fn of_two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some("-claimMode" | "-restoreMode") => "--claimMode".into(),
        _ => argument,
    }
}

/// Does without the system's huge pages, which the allocator would ask for.
///
/// Batches come and go on several threads, so that of each 2 MiB only parts are in use: measured over the benchmark's jobs,
/// huge pages double the memory of a job and save no CPU time. A kernel that refuses changes nothing else.
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn main() -> ExitCode {
    keep_pages_small();
    let cli = Cli::parse_from(std::env::args_os().map(of_two_dashes));
    // The processes of a cluster are told by options how they log.
    if !matches!(
        cli.command,
        Command::Jobmanager(_) | Command::Taskmanager(_) | Command::StandaloneJob(_)
    ) {
        flott_launch::logging::init();
    }
    let result = match cli.command {
        Command::Run(args) => run(&args),
        Command::Jobmanager(args) => cluster::job_manager(&args),
        Command::StandaloneJob(args) => cluster::standalone_job(&args),
        Command::Taskmanager(args) => cluster::task_manager(&args),
        Command::Cluster(command) => cluster::cluster(&command),
        Command::List(args) => remote::list(&args),
        Command::Events(args) => remote::events(&args),
        Command::Why(args) => remote::why(&args),
        Command::Logs(args) => remote::logs(&args),
        Command::Cancel(args) => remote::cancel(&args),
        Command::Stop(args) => remote::stop(&args),
        Command::Savepoint(args) => remote::savepoint(&args),
        Command::Checkpoint(args) => remote::checkpoint(&args),
        Command::Rescale(args) => remote::rescale(&args),
        Command::Sql(args) => shell::sql(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Explain(args) => script::explain(&args),
        Command::Check(args) => script::check(&args),
        Command::Info(args) => info::info(&args),
        Command::New(args) => new::new(&args),
        Command::Completions(args) => completions::completions(&args, Cli::command()),
        Command::State(command) => state::state(&command),
    };
    flott_launch::traces::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `flott run`
fn run(args: &run::RunArgs) -> anyhow::Result<()> {
    match (args.program()?, args.jobmanager.is_some()) {
        (Some(program), _) => remote::run_program(args, program),
        (None, true) => remote::run(args),
        (None, false) => run::run(args),
    }
}
