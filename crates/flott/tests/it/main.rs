//! Programs of the DataStream API, run as jobs in this process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alignment;
mod batch;
mod client;
mod closing;
mod connected;
mod derived;
#[cfg(feature = "connectors")]
mod files;
mod joins;
#[cfg(feature = "connectors")]
mod kafka;
mod keyed;
mod lives;
mod programs;
mod rich;
mod state;
#[cfg(feature = "sql")]
mod table_plans;
#[cfg(feature = "sql")]
mod tables;
mod traces;
mod windows;
mod wrong;

use flott::prelude::*;
use std::time::Duration;

/// An environment whose exchanges encode, in small batches, so that tests see what processes would.
fn env() -> StreamExecutionEnvironment {
    let options = [("execution.exchange.encoded", "true"), ("execution.batch-rows", "7")];
    StreamExecutionEnvironment::create_local_environment(options.into_iter().collect())
}

/// Records in no order, sorted.
fn sorted<T: Data + Ord>(stream: DataStream<T>) -> Vec<T> {
    let mut records = stream.execute_and_collect("test").expect("the job ends well");
    records.sort();
    records
}

#[test]
fn the_environment_counts_for_every_job() {
    let env = env();
    env.set_parallelism(1).enable_checkpointing(Duration::from_millis(50));
    for round in 1..=2 {
        let stream = env.from_collection(1..=5).map(move |x| x * 2 * round);
        let collected = stream.execute_and_collect("times two").unwrap();
        assert_eq!(collected, (1..=5).map(|x| x * 2 * round).collect::<Vec<_>>());
    }
}
