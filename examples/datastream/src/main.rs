//! The command `flott-examples`: runs one of the samples.

use anyhow::{Result, bail};
use clap::Parser;
use flott::prelude::*;
use flott_examples::kafka::KAFKA_SAMPLES;
use flott_examples::lines::{CommittedParts, FollowedFile};
use flott_examples::samples::{SAMPLES, Sample};
use std::path::PathBuf;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: flott::Allocator = flott::Allocator;

/// Programs of the DataStream API, each with an input of its own.
///
/// What every program of Flott takes, it takes too: -p N, -D KEY=VALUE, --config FILE, -s PATH, --restore latest|PATH and so on.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Cli {
    /// Which one; without a name all are listed.
    name: Option<String>,
    /// Read the lines of this file instead, also those that are appended, up to a line with a single dot.
    #[arg(long, value_name = "FILE")]
    follow: Option<PathBuf>,
    /// Write to files in this folder instead of standard output, exactly once.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Keep checkpoints in this folder, one a second, and go on from the newest one.
    #[arg(long, value_name = "FOLDER")]
    checkpoints: Option<PathBuf>,
    /// Fail once behind so many lines, to see the job restart; needs checkpoints.
    #[arg(long, value_name = "LINES")]
    fail_behind: Option<u64>,
    /// Bootstrap servers of the samples that begin with kafka-.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    bootstrap: String,
}

/// Fails once, if the job did not fail before.
#[derive(Debug, Clone)]
struct FailBehind {
    lines: u64,
    is_first_attempt: bool,
}

impl MapFunction<String> for FailBehind {
    type Out = String;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.is_first_attempt = ctx.attempt_number() == 0;
        Ok(())
    }

    fn map(&mut self, line: String) -> Result<String, BoxError> {
        if self.is_first_attempt {
            self.lines = self.lines.checked_sub(1).ok_or_else(|| {
                eprintln!("failing once, as told");
                "told to fail here"
            })?;
        }
        Ok(line)
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse_from(program_arguments());
    let Some(name) = &cli.name else {
        for sample in SAMPLES {
            println!("{:22} {}", sample.name, sample.about);
        }
        for sample in KAFKA_SAMPLES {
            println!("{:22} {}", sample.name, sample.about);
        }
        return Ok(());
    };
    let env = environment(&cli)?;
    if let Some(sample) = KAFKA_SAMPLES.iter().find(|sample| sample.name == name) {
        (sample.describe)(&env, &cli.bootstrap)?;
    } else if let Some(sample) = SAMPLES.iter().find(|sample| sample.name == name) {
        describe(sample, &env, &cli)?;
    } else {
        let names = SAMPLES.iter().map(|sample| sample.name);
        let names: Vec<&str> = names.chain(KAFKA_SAMPLES.iter().map(|sample| sample.name)).collect();
        bail!("there is no sample '{name}'; there are: {}", names.join(", "));
    }
    env.execute(name)?;
    Ok(())
}

fn environment(cli: &Cli) -> Result<StreamExecutionEnvironment> {
    let env = StreamExecutionEnvironment::get_execution_environment();
    if let Some(folder) = &cli.checkpoints {
        let folder = std::path::absolute(folder)?;
        // What a program sets wins over its command line; this it leaves to it.
        if env.options()?.get("execution.checkpointing.interval").is_none() {
            env.enable_checkpointing(Duration::from_secs(1));
        }
        env.configure("execution.checkpointing.dir", format!("file://{}", folder.display()))
            .configure("execution.state-recovery.path", "latest");
    }
    Ok(env)
}

/// Puts a sample between its source and its sink.
fn describe(sample: &Sample, env: &StreamExecutionEnvironment, cli: &Cli) -> Result<()> {
    if sample.needs_order && env.get_parallelism() > 1 {
        bail!(
            "'{}' needs the records of a key in order, which several readers of one file do not keep: leave out -p {}",
            sample.name,
            env.get_parallelism()
        );
    }
    let mut lines = match &cli.follow {
        Some(file) => env
            .from_source(
                FollowedFile::new(file),
                WatermarkStrategy::no_watermarks(),
                "Followed File",
            )
            .set_parallelism(1),
        None => env.from_collection(sample.input.lines().map(str::to_owned)),
    };
    if let Some(lines_before) = cli.fail_behind {
        lines = lines.map_with(FailBehind {
            lines: lines_before,
            is_first_attempt: false,
        });
    }
    let rows = (sample.describe)(&lines)?;
    match &cli.out {
        Some(folder) => rows.sink_to(CommittedParts::new(folder)).uid("parts"),
        None => rows.print(),
    };
    Ok(())
}
