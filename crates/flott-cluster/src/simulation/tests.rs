//! Seeds by the thousand, and the bugs that they must find.

use super::planted::Bug;
use super::run;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Seeds that are run unless `FLOTT_SEEDS` says otherwise.
const SEEDS: u64 = 1_000;

/// Within so many seeds a planted bug is found.
const SEEDS_OF_BUGS: u64 = 500;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: a number of at least 0")),
    )
}

/// The lowest seed below `seeds` that shows something wrong, on all processors.
fn first_wrong(seeds: u64, bug: Option<Bug>) -> Option<u64> {
    let (next, wrong) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= seeds || seed > wrong.load(Ordering::SeqCst) {
                return;
            }
            if run(seed, bug, false).violation.is_some() {
                wrong.fetch_min(seed, Ordering::SeqCst);
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    Some(wrong.into_inner()).filter(|seed| *seed < seeds)
}

/// Fails if the seed shows something wrong; with what happened before.
fn check(seed: u64) {
    let shown = run(seed, None, true);
    if let Some(violation) = shown.violation {
        let trace = shown.trace.join("\n");
        panic!(
            "{trace}\nseed {seed}, {violation}\nagain: FLOTT_SEED={seed} cargo test -p flott-cluster --lib simulation::tests::nothing"
        );
    }
}

#[test]
fn nothing_is_lost_doubled_or_stuck_whatever_fails() {
    if let Some(seed) = variable("FLOTT_SEED") {
        return check(seed);
    }
    let seeds = variable("FLOTT_SEEDS").unwrap_or(SEEDS);
    if let Some(seed) = first_wrong(seeds, None) {
        check(seed);
        panic!("seed {seed} shows something wrong, and not when it is run again: it does not determine the run");
    }
}

#[test]
fn a_seed_determines_its_run() {
    for seed in 0..20 {
        assert_eq!(run(seed, None, true), run(seed, None, true), "seed {seed}");
    }
}

/// Asserts that a planted bug is found, and that the seed that finds it finds nothing without the bug.
fn is_found(bug: Bug) {
    let seed = first_wrong(SEEDS_OF_BUGS, Some(bug)).unwrap_or_else(|| panic!("{bug:?} is not found"));
    let without = run(seed, None, false);
    assert_eq!(without.violation, None, "seed {seed} without {bug:?}");
}

#[test]
fn a_stale_leader_that_deletes_is_found() {
    is_found(Bug::OldViewDeletes);
}

#[test]
fn a_commit_before_the_manifest_is_durable_is_found() {
    is_found(Bug::CommitsEarly);
}

#[test]
fn a_start_that_gives_up_what_its_checkpoint_lists_is_found() {
    is_found(Bug::ForgetsListed);
}
