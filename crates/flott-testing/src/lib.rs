//! Tests of Flott programs.
//!
//! Two things, both of which run the engine itself and imitate nothing:
//!
//! * The **operator harness** ([`OneInputHarness`], [`TwoInputHarness`]) runs a piece of a program on the test's own thread. The test pushes records with
//!   their times, moves the watermark and the clock, looks at what came out, and restores snapshots into changed operators, at
//!   another parallelism if it likes. Nothing happens between two calls, so no test has to wait.
//! * The **mini-cluster** ([`MiniCluster`]) runs whole jobs in the test's process, threads, checkpoints and restarts included. The test
//!   takes savepoints, makes tasks fail, cancels, and reads metrics.
//!
//! ```
//! use flott::prelude::*;
//! use flott_testing::OneInputHarness;
//!
//! /// Counts the clicks of each user, and forgets a user who was silent for a minute.
//! #[derive(Clone, Default)]
//! struct Clicks {
//!     count: ValueState<i64>,
//!     until: ValueState<i64>,
//! }
//!
//! impl KeyedProcessFunction<String, String> for Clicks {
//!     type Out = (String, i64);
//!
//!     fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
//!         self.count = ctx.value_state("count")?;
//!         self.until = ctx.value_state("until")?;
//!         Ok(())
//!     }
//!
//!     fn process_element(&mut self, user: String, ctx: &mut ProcessContext<'_, String, Self::Out>) -> Result<(), BoxError> {
//!         let count = self.count.value(ctx).unwrap_or(&0) + 1;
//!         self.count.update(ctx, count);
//!         let until = ctx.timestamp().unwrap_or(0) + 60_000;
//!         self.until.update(ctx, until);
//!         ctx.register_event_time_timer(until);
//!         ctx.collect((user, count));
//!         Ok(())
//!     }
//!
//!     fn on_timer(&mut self, time: i64, ctx: &mut ProcessContext<'_, String, Self::Out>) -> Result<(), BoxError> {
//!         if self.until.value(ctx) == Some(&time) {
//!             self.count.clear(ctx);
//!             self.until.clear(ctx);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let build = || OneInputHarness::for_keyed_process_function(Clicks::default(), |user: &String| user.clone());
//! let mut harness = build().open()?;
//! harness.process_element("ada".to_owned(), 1_000)?;
//! harness.process_element("ada".to_owned(), 2_000)?;
//! assert_eq!(harness.take_values(), [("ada".to_owned(), 1), ("ada".to_owned(), 2)]);
//! assert_eq!((harness.num_keyed_state_entries()?, harness.num_event_time_timers()?), (1, 2));
//!
//! // The state goes on elsewhere, in three subtasks.
//! let snapshot = harness.snapshot()?;
//! let mut harness = build().with_parallelism(3).restore(&snapshot).open()?;
//! harness.process_element("ada".to_owned(), 3_000)?;
//! assert_eq!(harness.take_values(), [("ada".to_owned(), 3)]);
//! harness.process_watermark(63_000)?;
//! assert_eq!((harness.num_keyed_state_entries()?, harness.num_event_time_timers()?), (0, 0));
//! # Ok::<(), flott_testing::HarnessError>(())
//! ```

mod cluster;
mod error;
mod harness;
mod input;
mod inputs;
mod metrics;
mod output;

pub use cluster::{ClusterError, MiniCluster, MiniClusterJob};
pub use error::HarnessError;
pub use flott_cluster::JobStatus;
pub use harness::{Harness, HarnessBuilder, HarnessSnapshot};
pub use inputs::{OneInputHarness, OneInputHarnessBuilder, TwoInputHarness, TwoInputHarnessBuilder};
pub use metrics::Metric;
pub use output::{Output, StreamRecord};
