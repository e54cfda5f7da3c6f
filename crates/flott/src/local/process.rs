//! What all jobs of this process have in common: the asynchronous runtime, the endpoints of their metrics, and the signals that end them.
//!
//! A signal (Ctrl-C, SIGTERM) ends the process, as it would without Flott, but behind a last checkpoint of all jobs that run. From then on
//! nobody is told of their end: the program would go on with what only a finished job allows.

use crate::local::job::{JobHost, LocalJob};
use flott_cluster::{JobHandle, JobStatus, Submission, submit_traced};
use flott_core::clock::SystemClock;
use flott_datastream::{ExecuteError, JobClient};
use flott_launch::LaunchError;
use flott_launch::metrics::Endpoints;
use flott_launch::signals::StopSignal;
use flott_launch::stop::{say, stop_all_or_end};
use flott_launch::traces;
use flott_runtime::Registry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::{Handle, Runtime};

/// How a process ends that a signal finds without a job: as after a Ctrl-C.
const WITHOUT_A_JOB: i32 = 130;

/// The one of this process, from its first job on.
static PROCESS: Mutex<Option<Arc<Process>>> = Mutex::new(None);

/// What the jobs of this process share.
#[derive(Debug)]
pub(super) struct Process {
    runtime: Runtime,
    endpoints: tokio::sync::Mutex<Endpoints>,
    running: Mutex<Vec<JobHandle>>,
    /// Whether signals are heeded.
    is_listening: Mutex<bool>,
    /// A signal has come.
    is_ending: AtomicBool,
}

impl Process {
    /// That of this process.
    ///
    /// # Errors
    /// If the system gives it no threads.
    pub(super) fn get() -> Result<Arc<Self>, ExecuteError> {
        let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = &*process {
            return Ok(process.clone());
        }
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name("flott-jobs").enable_all().build();
        let runtime = runtime
            .map_err(|e| ExecuteError::Configuration(format!("the asynchronous runtime cannot be started: {e}")))?;
        let made = Arc::new(Self {
            runtime,
            endpoints: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            is_listening: Mutex::new(false),
            is_ending: AtomicBool::new(false),
        });
        Ok(process.insert(made).clone())
    }

    /// Waits for what `make` makes, also where the program itself runs on an asynchronous runtime, in which nothing may be waited for.
    pub(super) fn wait<F: Future>(&self, make: impl FnOnce() -> F + Send) -> F::Output
    where
        F::Output: Send,
    {
        wait_on(self.runtime.handle(), make)
    }

    /// Has Ctrl-C, SIGTERM and SIGHUP end the process behind a last checkpoint of its jobs, or a savepoint below `savepoint_dir`.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn heed_signals(self: &Arc<Self>, savepoint_dir: Option<String>) -> Result<(), LaunchError> {
        let new = || {
            let _entered = self.runtime.enter();
            StopSignal::new()
        };
        let Some(mut signals) = once(&self.is_listening, new)? else {
            return Ok(());
        };
        let process = self.clone();
        let ending = self.runtime.spawn(async move {
            signals.recv().await;
            process.is_ending.store(true, Ordering::SeqCst);
            let jobs = process.running().clone();
            if jobs.is_empty() {
                std::process::exit(WITHOUT_A_JOB);
            }
            let stopped = stop_all_or_end(&jobs, savepoint_dir.as_deref(), &mut signals).await;
            let code = tell(&jobs, stopped);
            traces::flush();
            std::process::exit(code);
        });
        self.runtime.spawn(async move {
            // It comes back only by a panic; nobody else would hear the next signal.
            if ending.await.is_err() {
                std::process::exit(1);
            }
        });
        Ok(())
    }

    /// Starts a job.
    ///
    /// # Errors
    /// If it is refused, or its metrics cannot be served.
    pub(super) fn start(
        self: &Arc<Self>,
        registry: Arc<Registry>,
        submission: Submission,
    ) -> Result<JobClient, ExecuteError> {
        let submitted = self.wait(|| self.submit(registry, submission));
        if submitted.is_err() {
            self.job_ended();
        }
        Ok(JobClient::new(LocalJob::new(submitted?, self.clone())))
    }

    async fn submit(
        self: &Arc<Self>,
        registry: Arc<Registry>,
        submission: Submission,
    ) -> Result<JobHandle, ExecuteError> {
        let unserved = |error: LaunchError| ExecuteError::Configuration(error.to_string());
        self.endpoints
            .lock()
            .await
            .try_ports(&submission.plan.options)
            .await
            .map_err(unserved)?;
        let reporter = traces::reporter(&submission.plan.options).map_err(unserved)?;
        let submitted = submit_traced(registry, Arc::new(SystemClock), submission, reporter).await;
        let job = submitted.map_err(|e| ExecuteError::Job(e.to_string()))?;
        self.running().push(job.clone());
        if self.is_ending.load(Ordering::SeqCst) {
            // The signal came first, and may not have seen the job: it must not begin.
            job.stop();
            job.cancel();
            std::future::pending::<()>().await;
        }
        let served = self.endpoints.lock().await.add(&job).await;
        if served.is_err() {
            job.cancel();
        }
        let (process, watched) = (self.clone(), job.clone());
        self.runtime.spawn(async move {
            watched.ended().await;
            process.running().retain(|job| job.job_id != watched.job_id);
            process.endpoints.lock().await.remove(&watched).await;
        });
        served.map_err(unserved)?;
        Ok(job)
    }

    fn running(&self) -> MutexGuard<'_, Vec<JobHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobHost for Process {
    fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    fn job_ended(&self) {
        while self.is_ending.load(Ordering::SeqCst) {
            // Who listens ends the process.
            std::thread::park();
        }
        // The program may end next.
        traces::flush();
    }
}

/// Makes what there shall be one of; `None` if it was made before. What could not be made is tried again.
fn once<T, E>(is_made: &Mutex<bool>, make: impl FnOnce() -> Result<T, E>) -> Result<Option<T>, E> {
    let mut is_made = is_made.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_made {
        return Ok(None);
    }
    let made = make()?;
    *is_made = true;
    Ok(Some(made))
}

/// Waits on a thread of its own for what `make` makes, driven by `runtime`.
pub(super) fn wait_on<F: Future>(runtime: &Handle, make: impl FnOnce() -> F + Send) -> F::Output
where
    F::Output: Send,
{
    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(async { make().await })).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Says how jobs have ended that a signal has stopped; the code with which the process ends.
fn tell(jobs: &[JobHandle], stopped: Result<(), LaunchError>) -> i32 {
    let mut code = 0;
    for job in jobs {
        if job.status() == JobStatus::Failed {
            let cause = job.stats.failure().unwrap_or_default();
            say(format_args!("error: job '{}' is {}: {cause}", job.name, job.status()));
            code = 1;
            continue;
        }
        let checkpoint = job.stats.checkpoints().last_path;
        let last = checkpoint.map_or_else(String::new, |path| format!("; last checkpoint: {path}"));
        say(format_args!("job {} '{}' was stopped{last}", job.job_id, job.name));
    }
    if let Err(error) = stopped {
        say(format_args!("error: {error}"));
        code = 1;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_made_is_made_later_and_once() {
        let is_made = Mutex::new(false);
        assert_eq!(once(&is_made, || Err::<i32, _>("not yet")), Err("not yet"));
        assert_eq!(once(&is_made, || Ok::<_, ()>(1)), Ok(Some(1)));
        assert_eq!(once(&is_made, || Ok::<_, ()>(2)), Ok(None));
    }
}
