//! `flott demo`: the website-traffic job on a broker within this process, fed by a generator, shown and checked.
//!
//! ```text
//! generator ─▶ website-logs ─▶ job.sql, as `flott run` runs it ─▶ website-traffic-stats ─▶ reader ─▶ board ─▶ terminal
//!     └──────────────────────────── ledger: what was written ─────────────────────────────────────────┘
//! ```
//! The results of closed windows go to standard output, progress to standard error. It ends after `--for`, or at Ctrl-C,
//! with a summary; it fails if any closed window has other results than the ledger says.

mod board;
mod generator;
mod ledger;
mod reader;

use crate::collect::Rows;
use crate::config::ConfigArgs;
use crate::job;
use crate::output;
use crate::progress::{self, Line, Totals, thousands};
use crate::run;
use crate::script::{ScriptArgs, Step, for_each_job};
use anyhow::{Context, Result, anyhow, bail};
use board::Board;
use flott_broker::Broker;
use flott_cluster::{JobHandle, JobStatus, Restore};
use flott_core::options::parse_duration_ms;
use flott_launch::signals::StopSignal;
use flott_launch::stop as stopping;
use ledger::Ledger;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The job, the very file of the examples.
const JOB: &str = include_str!("../../../../examples/website-traffic/job.sql");

/// How long the last results may take after the generator's end, and after Ctrl-C.
const SETTLE: Duration = Duration::from_secs(30);
const SETTLE_STOPPED: Duration = Duration::from_secs(5);
/// How long the job may take to start.
const START: Duration = Duration::from_secs(30);
/// The broker keeps so much: some seconds of the fastest input.
const BROKER_BYTES: usize = 64 << 20;

/// Arguments of `flott demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// How long it runs, e.g. 30s or 5min.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    /// How much faster than the clock the records' time runs: at 60 a one-minute window closes each second.
    #[arg(long, default_value_t = 60.0)]
    pub speed: f64,
    /// Lines generated a second.
    #[arg(long, default_value_t = 100_000)]
    pub rate: u64,
    /// Parallelism of the job.
    #[arg(short, long, default_value_t = 2)]
    pub parallelism: usize,
    /// Start of the random numbers: the same seed gives the same lines.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = parse_duration_ms(text)
        .and_then(|ms| u64::try_from(ms).ok())
        .filter(|ms| *ms > 0);
    ms.map(Duration::from_millis)
        .ok_or_else(|| "a time is expected, e.g. 30s or 5min".to_owned())
}

/// Runs the command.
pub fn demo(args: &DemoArgs) -> Result<()> {
    if !(args.speed > 0.0 && args.speed <= 10_000.0) {
        bail!("--speed {}: a number between 0 and 10000 is expected", args.speed);
    }
    if args.rate == 0 || args.rate > 10_000_000 {
        bail!(
            "--rate {}: between 1 and 10000000 lines a second can be generated",
            args.rate
        );
    }
    let runtime = run::runtime()?;
    let mut signals = runtime.block_on(async { StopSignal::new() })?;
    let checkpoints = tempfile::tempdir().context("no temporary folder can be made for the checkpoints")?;
    let broker = runtime.block_on(Broker::builder().retention_bytes(BROKER_BYTES).start())?;
    broker.create_topic(generator::TOPIC, generator::PARTITIONS)?;
    broker.create_topic(reader::TOPIC, reader::PARTITIONS)?;

    let script = ScriptArgs {
        execute: Some(JOB.to_owned()),
        variables: vec![format!("BOOTSTRAP={}", broker.bootstrap())],
        config: ConfigArgs {
            parallelism: Some(args.parallelism),
            defines: vec![
                format!("execution.checkpointing.dir=file://{}", checkpoints.path().display()),
                "table.local-time-zone=UTC".to_owned(),
            ],
            config: None,
        },
        ..ScriptArgs::default()
    };
    let registry = Arc::new(job::registry(&Rows::default()));
    let mut started = None;
    for_each_job(&script, registry.clone(), script.options()?, |step| {
        if let Step::Job(planned) = step {
            started = Some(runtime.block_on(run::start(&registry, *planned, Restore::Fresh, false))?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let job = started.ok_or_else(|| anyhow!("the example holds no job"))?;

    let result = runtime.block_on(drive(args, &broker, &job, &mut signals));
    runtime.block_on(broker.shutdown());
    runtime.shutdown_background();
    checkpoints
        .close()
        .context("the temporary checkpoints cannot be removed")?;
    result
}

/// Feeds, watches, stops and judges the job.
async fn drive(args: &DemoArgs, broker: &Broker, job: &JobHandle, signals: &mut StopSignal) -> Result<()> {
    await_running(job).await?;
    output::line(format_args!(
        "Website traffic, added up per minute by examples/website-traffic/job.sql on a broker in this process.\n\
         {} lines a second in {} partitions, parallelism {}, a minute in {} s; stops after {} s or at Ctrl-C.\n",
        thousands(args.rate),
        generator::PARTITIONS,
        args.parallelism,
        60.0 / args.speed,
        args.duration.as_secs_f64(),
    ));
    let ledger = Arc::new(Ledger::default());
    let stop = Arc::new(AtomicBool::new(false));
    let generating = spawn_generator(args, broker.clone(), job.clone(), ledger.clone(), stop.clone());
    let (sender, rows) = unbounded_channel();
    let mut reading = tokio::spawn(reader::read(broker.bootstrap(), sender));
    let mut show = Show {
        board: Board::default(),
        ledger,
        job,
        rows,
        began: Instant::now(),
        last: (Instant::now(), 0),
        progress: Line::new(Duration::from_secs(5)),
    };

    let watched = tokio::select! {
        watched = show.watch(generating, &stop, signals) => watched,
        read = &mut reading => Err(ended_early(read)),
    };
    stop.store(true, Ordering::Relaxed);
    reading.abort();
    show.progress.clear();
    let stopped = stopping::stop(job, None).await;
    let was_asked = watched?;
    stopped?;
    job::result(job, job.status())?;
    show.summary();
    match show.board.verdict(&show.ledger) {
        Ok((windows, rows)) => output::line(format_args!(
            "checked: {windows} windows, {} rows, all sums right",
            thousands(rows)
        )),
        Err(problems) if was_asked && !show.board.is_complete(&show.ledger) => {
            output::line(format_args!(
                "stopped before the last results had come, so they are not checked ({problems})"
            ));
        }
        Err(problems) => bail!("the results were checked: {problems}"),
    }
    Ok(())
}

async fn await_running(job: &JobHandle) -> Result<()> {
    let deadline = Instant::now() + START;
    while job.status() != JobStatus::Running || job.stats.tasks().is_empty() {
        if job.status().is_globally_terminal_state() || Instant::now() > deadline {
            job::result(job, job.status())?;
            bail!("the job is {} after {} s", job.status(), START.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn ended_early(read: Result<Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match read {
        Ok(Err(error)) => error,
        Ok(Ok(())) => anyhow!("the reader of the results ended early"),
        Err(error) => anyhow!("the reader of the results ended early: {error}"),
    }
}

type Generating = tokio::task::JoinHandle<Result<()>>;

fn spawn_generator(
    args: &DemoArgs,
    broker: Broker,
    job: JobHandle,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
) -> Generating {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64);
    // Record time ends about now: an hour of traffic in a minute.
    let start_ms = now_ms - (args.duration.as_millis() as f64 * args.speed) as i64;
    let settings = generator::Settings {
        rate: args.rate,
        speed: args.speed,
        seed: args.seed,
        start_ms,
        duration: args.duration,
    };
    tokio::task::spawn_blocking(move || {
        let read = || Totals::of(&job).read();
        generator::generate(&broker, settings, &ledger, &stop, read).context("the generator cannot go on")
    })
}

/// What the terminal shows.
struct Show<'a> {
    board: Board,
    ledger: Arc<Ledger>,
    job: &'a JobHandle,
    rows: UnboundedReceiver<reader::Row>,
    began: Instant,
    /// When the last progress was shown, and how many lines were read then.
    last: (Instant, u64),
    progress: Line,
}

impl Show<'_> {
    /// Shows results until the generator has ended and all of its closed windows are there; says whether it was stopped.
    async fn watch(&mut self, mut generating: Generating, stop: &AtomicBool, signals: &mut StopSignal) -> Result<bool> {
        let mut ticks = tokio::time::interval(self.progress.interval);
        ticks.tick().await;
        let (mut deadline, mut was_asked) = (None, false);
        loop {
            let settled = deadline.is_some_and(|at| Instant::now() > at || self.board.is_complete(&self.ledger));
            if settled {
                return Ok(was_asked);
            }
            tokio::select! {
                row = self.rows.recv() => {
                    if let Some(row) = row {
                        self.take(&row);
                    }
                }
                _ = ticks.tick() => self.show_progress(),
                status = self.job.ended() => {
                    job::result(self.job, status)?;
                    bail!("the job is {status}, but nobody has stopped it");
                }
                ended = &mut generating, if deadline.is_none() => {
                    ended.context("the generator's thread failed")??;
                    deadline = Some(Instant::now() + if was_asked { SETTLE_STOPPED } else { SETTLE });
                }
                () = signals.recv() => {
                    if was_asked {
                        return Ok(true);
                    }
                    was_asked = true;
                    stop.store(true, Ordering::Relaxed);
                    deadline = deadline.map(|_| Instant::now() + SETTLE_STOPPED);
                }
            }
        }
    }

    fn take(&mut self, row: &reader::Row) {
        self.board.add(row, &self.ledger);
        while let Ok(row) = self.rows.try_recv() {
            self.board.add(&row, &self.ledger);
        }
        let lines = self.board.take_whole(&self.ledger);
        if !lines.is_empty() {
            self.progress.clear();
            lines.iter().for_each(output::line);
            self.progress.again();
        }
    }

    fn show_progress(&mut self) {
        let (now, read) = (Instant::now(), Totals::of(self.job).read());
        let rate = read.saturating_sub(self.last.1) as f64 / (now - self.last.0).as_secs_f64().max(0.001);
        self.last = (now, read);
        let checkpoints = self.job.stats.checkpoints();
        let lag = progress::watermark_ms(self.job).map_or_else(
            || "none yet".to_owned(),
            |w| {
                format!(
                    "{:.1} s",
                    (self.ledger.written().watermark_ms - w).max(0) as f64 / 1000.0
                )
            },
        );
        let latency = self.board.take_latency().map_or_else(
            || "none yet".to_owned(),
            |(p50, p99)| format!("p50 {} ms, p99 {} ms", p50.as_millis(), p99.as_millis()),
        );
        self.progress.show(format!(
            "{:>3.0} s: {} events/s | latency {latency} | watermark lag {lag} | checkpoints {}, last {} ms | windows {}",
            self.began.elapsed().as_secs_f64(),
            thousands(rate as u64),
            checkpoints.completed,
            checkpoints.last_duration_ms,
            self.board.windows(),
        ));
    }

    fn summary(&self) {
        let (written, totals, checkpoints) = (
            self.ledger.written(),
            Totals::of(self.job),
            self.job.stats.checkpoints(),
        );
        let seconds = self.began.elapsed().as_secs_f64();
        let latency = self.board.latency().map_or_else(
            || "none".to_owned(),
            |(p50, p99)| {
                format!(
                    "p50 {} ms, p99 {} ms from a window's close to its rows, read committed",
                    p50.as_millis(),
                    p99.as_millis()
                )
            },
        );
        output::line(format_args!(
            "\nevents generated   {} in {seconds:.1} s, {} read ({} a second)\n\
             skipped, malformed {} of {}\n\
             dropped, late      {} of {}\n\
             windows            {} closed, {} result rows\n\
             latency            {latency}\n\
             checkpoints        {} completed, {} failed, last in {} ms with {} bytes of state; {} restart(s)\n\
             peak memory        {}, with the broker and the generator",
            thousands(written.lines),
            thousands(totals.read()),
            thousands((totals.read() as f64 / seconds) as u64),
            thousands(totals.bad),
            thousands(written.malformed),
            thousands(totals.late),
            thousands(written.late),
            self.board.windows(),
            thousands(self.board.rows()),
            checkpoints.completed,
            checkpoints.failed,
            checkpoints.last_duration_ms,
            thousands(checkpoints.last_bytes),
            self.job.stats.restarts(),
            peak_memory().map_or_else(|| "unknown".to_owned(), |mib| format!("{mib} MiB")),
        ));
    }
}

/// The most memory that this process has held at once, in MiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib / 1024)
}
