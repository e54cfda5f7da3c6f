//! Jobs on a mini-cluster.

use flott::prelude::*;
use flott_testing::{ClusterError, JobStatus, MiniCluster};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The last count of each key that a sink has seen.
type Counts = Arc<Mutex<BTreeMap<i64, i64>>>;

/// Counts numbers by their remainder; the generator waits before its last number until it is let go.
fn counting(
    cluster: &MiniCluster,
    parallelism: usize,
    numbers: u64,
    go: &Arc<AtomicBool>,
) -> (StreamExecutionEnvironment, Counts) {
    let env = cluster.environment();
    env.set_parallelism(parallelism)
        .enable_checkpointing(Duration::from_millis(10));
    // What comes before the last number must not wait for it in a batch.
    env.configure("execution.batch-rows", "1");
    let (go, counts) = (go.clone(), Counts::default());
    let records = env.from_generator(numbers, move |n| {
        while n == numbers - 1 && !go.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        (n as i64 % 5, 1i64)
    });
    let seen = counts.clone();
    let counted = records
        .uid("numbers")
        .set_parallelism(1)
        .key_by(|r| r.0)
        .sum(|r| &mut r.1)
        .uid("counts");
    counted.for_each(move |(key, count)| {
        seen.lock().unwrap().insert(key, count);
    });
    (env, counts)
}

#[test]
fn a_killed_task_costs_no_record() {
    let cluster = MiniCluster::with_slots(2).unwrap();
    let go = Arc::new(AtomicBool::new(false));
    let (env, counts) = counting(&cluster, 2, 10_000, &go);
    let mut job = cluster.start(&env, "counts").unwrap();
    job.wait_until("counts", |_| counts.lock().unwrap().len() == 5).unwrap();
    let error = job.fail_task("no such operator", 0).unwrap_err().to_string();
    assert!(error.contains("Keyed Aggregation"), "{error}");
    job.fail_task("Keyed Aggregation", 1).unwrap();
    go.store(true, Ordering::SeqCst);
    assert_eq!(job.wait().unwrap(), JobStatus::Finished);
    assert_eq!(*counts.lock().unwrap(), (0..5).map(|k| (k, 2_000)).collect());
    assert_eq!(job.restarts(), 1);
    assert!(job.failure().unwrap().contains("told to fail"));
}

#[test]
fn a_job_goes_on_from_a_savepoint_at_another_parallelism() {
    let cluster = MiniCluster::with_slots(3).unwrap();
    let go = Arc::new(AtomicBool::new(true));
    let (env, counts) = counting(&cluster, 3, u64::MAX, &go);
    let mut job = cluster.start(&env, "counts").unwrap();
    job.wait_until("counts", |_| counts.lock().unwrap().len() == 5).unwrap();
    let path = job.savepoint().unwrap();
    assert_eq!(job.status(), JobStatus::Running);
    assert!(job.metric("Keyed Aggregation", "numRecordsIn").unwrap() > 0.0);
    let stopped = job.stop_with_savepoint().unwrap();
    assert_eq!(job.status(), JobStatus::Finished);
    let before = counts.lock().unwrap().clone();
    for (path, is_last) in [(path, false), (stopped, true)] {
        let (env, counts) = counting(&cluster, 2, u64::MAX, &go);
        let mut job = cluster.start_from(&env, "counts", &path).unwrap();
        assert_eq!(job.restored_from(), Some(path.as_str()));
        job.wait_until("counts", |_| counts.lock().unwrap().len() == 5).unwrap();
        job.cancel().unwrap();
        assert_eq!(job.status(), JobStatus::Canceled);
        let counts = counts.lock().unwrap();
        assert!(
            !is_last || before.iter().all(|(key, count)| counts[key] > *count),
            "{before:?} {counts:?}"
        );
    }
}

#[test]
fn wide_jobs_and_failures_are_told() {
    let cluster = MiniCluster::with_slots(2).unwrap();
    let env = cluster.environment();
    env.from_sequence(1, 10).map(|n| n).set_parallelism(3).for_each(drop);
    let error = cluster.start(&env, "wide").unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            ClusterError::Slots {
                parallelism: 3,
                slots: 2,
                ..
            }
        ),
        "{text}"
    );
    let env = cluster.environment();
    env.set_parallelism(2);
    env.from_sequence(1, 10)
        .map(|n| n)
        .slot_sharing_group("heavy")
        .for_each(drop);
    assert_eq!(
        cluster.start(&env, "groups").unwrap_err().to_string(),
        "the job needs 4 slots (2 of 'default', 2 of 'heavy'), and the cluster has 2: give it more, or lower a parallelism"
    );
    let env = cluster.environment();
    env.from_sequence(1, 10)
        .map(|n| assert!(n < 5, "five is too many"))
        .for_each(drop);
    let mut job = cluster.start(&env, "failing").unwrap();
    let error = job.wait().unwrap_err().to_string();
    assert!(
        error.contains("FAILED") && error.contains("five is too many"),
        "{error}"
    );
    let env = cluster.environment();
    env.set_parallelism(2);
    let numbers = env.from_collection([1, 2, 3]).map(|n| n * 2);
    let mut numbers = numbers.execute_and_collect("on the cluster").unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 4, 6]);
}
