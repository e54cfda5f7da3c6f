//! The command `flott`: what a person types to run, look at and demonstrate streaming jobs.
//!
//! Results go to standard output, everything else (progress, warnings, logs) to standard error. Exit codes: 0 done or
//! stopped as asked, 1 the job or command failed, 2 the command line is wrong.

mod catalog_files;
mod collect;
mod config;
mod demo;
mod job;
mod kept;
mod new;
mod output;
mod progress;
mod run;
mod script;
mod shell;
mod state;

use clap::{Parser, Subcommand};
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
    /// Run a SQL script until its jobs end or are stopped.
    Run(run::RunArgs),
    /// Type SQL statements one after the other.
    Sql(shell::SqlArgs),
    /// Run the website-traffic job on an embedded broker with generated data.
    Demo(demo::DemoArgs),
    /// Show the plans of a script's jobs.
    Explain(script::ScriptArgs),
    /// Check a script without running it, and warn of what will hurt.
    Check(script::ScriptArgs),
    /// Make a project for a DataStream program, which compiles and runs.
    New(new::NewArgs),
    /// Look at the state in checkpoints and savepoints.
    #[command(subcommand)]
    State(state::StateCommand),
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
    let cli = Cli::parse();
    flott_launch::logging::init();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Sql(args) => shell::sql(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Explain(args) => script::explain(&args),
        Command::Check(args) => script::check(&args),
        Command::New(args) => new::new(&args),
        Command::State(command) => state::state(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
