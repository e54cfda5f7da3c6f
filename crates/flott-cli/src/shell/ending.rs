//! SIGTERM and SIGHUP in the shell, noticed from its start on, whatever it does.
//!
//! What runs a statement asks [`Ending`] or waits for it, and the shell ends behind the statement. While the shell waits for a line,
//! which nothing interrupts, the listening task itself stops the jobs, gives the terminal back as it was, and ends the process.

use anyhow::Result;
use flott_cluster::JobHandle;
use flott_launch::signals::{EndSignal, Interrupt};
use flott_launch::stop;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Whether the process is to end.
#[derive(Debug)]
pub struct Ending {
    asked: watch::Sender<bool>,
    is_waiting: AtomicBool,
    /// Those to stop.
    jobs: Mutex<Vec<JobHandle>>,
    /// The terminal as it was at the start.
    terminal: Option<Termios>,
}

impl Ending {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen(runtime: &Runtime) -> Result<Arc<Self>> {
        let mut signal = runtime.block_on(async { EndSignal::new() })?;
        let ending = Arc::new(Self {
            asked: watch::Sender::new(false),
            is_waiting: AtomicBool::new(false),
            jobs: Mutex::default(),
            terminal: tcgetattr(rustix::stdio::stdin()).ok(),
        });
        let shared = ending.clone();
        runtime.spawn(async move {
            loop {
                signal.recv().await;
                shared.asked.send_replace(true);
                if shared.is_waiting.load(Ordering::SeqCst) {
                    shared.end().await;
                }
            }
        });
        Ok(ending)
    }

    /// Whether the process is to end.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until the process is to end. Cancel-safe.
    pub async fn asked(&self) {
        let mut asked = self.asked.subscribe();
        // The sender is in `self`, so the channel is open.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    /// Takes in a job that is to be stopped with the process.
    pub fn add(&self, job: JobHandle) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }

    /// Waits for a line with `wait`, unless the process is to end: then there is none.
    pub fn waiting<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        // The listener sets one and reads the other, the other way round: one of both notices.
        self.is_waiting.store(true, Ordering::SeqCst);
        if self.is_asked() {
            return None;
        }
        let line = wait();
        self.is_waiting.store(false, Ordering::SeqCst);
        Some(line)
    }

    async fn end(&self) {
        if let Some(before) = &self.terminal {
            // There is nobody left to tell if the terminal has gone.
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
        let jobs: Vec<JobHandle> = std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        let code = match stop::stop_all(&jobs, None).await {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("error: {error:#}");
                1
            }
        };
        std::process::exit(code);
    }
}

/// What stops a statement: Ctrl-C from the making on, and the end of the process.
#[derive(Debug)]
pub struct Stop<'a> {
    interrupt: Interrupt,
    ending: &'a Ending,
}

impl<'a> Stop<'a> {
    /// Begins to notice Ctrl-C; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(ending: &'a Ending) -> Result<Self> {
        Ok(Self {
            interrupt: Interrupt::new()?,
            ending,
        })
    }

    /// Waits for either. Cancel-safe.
    pub async fn recv(&mut self) {
        tokio::select! {
            () = self.interrupt.recv() => {}
            () = self.ending.asked() => {}
        }
    }
}
