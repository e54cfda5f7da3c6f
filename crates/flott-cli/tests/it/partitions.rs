//! Files in partitions, by a job that is killed at the worst moments and restored: each row comes once, each partition that is
//! complete has its success file and no other mark, and none has it early; and the check would notice if not.

use crate::support::wait_for;
use crate::trial::{From, PATIENCE, Partition, Sink, Trial, oracle, partition_of};
use std::collections::BTreeMap;

/// A partition is complete when the watermark has passed its last window.
pub const BY_TIME: &str = "'sink.partition-commit.trigger' = 'partition-time', 'sink.partition-commit.delay' = '4 min',
    'partition.time-extractor.timestamp-pattern' = '$day 00:$minute:00'";
/// A partition is complete for now when its first part is old enough.
pub const BY_CLOCK: &str = "'sink.partition-commit.trigger' = 'process-time', 'sink.partition-commit.delay' = '300 ms'";
const MUCH_LATER: &str = "'sink.partition-commit.trigger' = 'process-time', 'sink.partition-commit.delay' = '1 h'";
const SUCCESS: &str = "_SUCCESS";

fn to_partitions(options: &'static str) -> Trial {
    let mut trial = Trial::to_files();
    let at = format!("file://{}", trial.path("partitions"));
    trial.set_sink(Sink::Partitions { at, options });
    trial
}

/// The partitions when all is done.
fn complete() -> BTreeMap<String, Partition> {
    let mut all: BTreeMap<String, Partition> = BTreeMap::new();
    for row in oracle() {
        all.entry(partition_of(&row)).or_default().rows.push(row);
    }
    all.values_mut().for_each(|p| p.marks.push(SUCCESS.to_owned()));
    all
}

/// The partitions that are marked although rows of theirs are missing.
fn early(trial: &Trial) -> Vec<String> {
    let complete = complete();
    let is_early = |(folder, found): &(String, Partition)| {
        let is_whole = complete.get(folder).is_some_and(|p| p.rows == found.rows);
        found.marks.iter().any(|m| m == SUCCESS) && !is_whole
    };
    let found = trial.partitions().into_iter().filter(is_early);
    found.map(|(folder, _)| folder).collect()
}

/// Kills two runs, each at a point that it passes once it has something to do there, and lets a third one finish.
pub fn killed_at(trial: &Trial, points: [&str; 2], is_by_time: bool) {
    let nothing_early = |when: &str| {
        if is_by_time {
            assert_eq!(early(trial), Vec::<String>::new(), "{when}");
        }
    };
    for (phase, point) in points.into_iter().enumerate() {
        let feeding = trial.feed(phase as i64);
        let parallelism = (2 - phase).to_string();
        let killed = trial
            .start(&parallelism, From::Latest, &format!("{point}=kill"))
            .ended();
        assert_eq!(killed.code, None, "{killed:?}");
        assert!(killed.err.contains(&format!("fail point {point}")), "{}", killed.err);
        feeding.join().unwrap();
        nothing_early(point);
    }
    let feeding = trial.feed(2);
    let mut job = trial.start("3", From::Latest, "");
    let complete = complete();
    wait_for(|| trial.partitions() == complete || !job.is_running());
    nothing_early("at the end");
    let settled = trial.finish(&oracle(), job, PATIENCE).map(drop);
    feeding.join().unwrap();
    assert_eq!(settled, Ok(()), "after kills at {points:?}");
    assert_eq!(trial.partitions(), complete, "after kills at {points:?}");
}

#[test]
fn killed_between_checkpoint_and_commit() {
    killed_at(&to_partitions(BY_TIME), ["checkpoint-complete", "sink-commit"], true);
}

#[test]
fn killed_between_the_open_mark_and_the_part() {
    killed_at(&to_partitions(BY_TIME), ["partition-open"; 2], true);
}

#[test]
fn killed_between_the_parts_and_what_is_due() {
    killed_at(&to_partitions(BY_TIME), ["partition-due"; 2], true);
}

/// The second run is killed while it settles what the first has left.
#[test]
fn killed_before_the_success_file_twice() {
    killed_at(&to_partitions(BY_TIME), ["partition-mark"; 2], true);
}

#[test]
fn killed_behind_the_success_file_twice() {
    killed_at(&to_partitions(BY_TIME), ["partition-marked"; 2], true);
}

#[test]
fn killed_on_both_sides_of_success_files_by_the_clock() {
    killed_at(&to_partitions(BY_CLOCK), ["partition-mark", "partition-marked"], false);
    killed_at(&to_partitions(BY_CLOCK), ["partition-open", "partition-due"], false);
}

#[test]
fn a_delay_by_the_clock_outlives_a_kill() {
    let trial = to_partitions(MUCH_LATER);
    let feeding = trial.feed_all();
    let killed = trial.start("2", From::Latest, "partition-open=kill").ended();
    assert_eq!(killed.code, None, "{killed:?}");
    assert_eq!(trial.settle(From::Latest, "", PATIENCE), Ok(()));
    feeding.join().unwrap();
    let is_open = |p: &Partition| p.marks.len() == 1 && p.marks[0].starts_with(".pending-");
    let found = trial.partitions();
    assert!(found.values().all(is_open), "{found:?}");
}

/// Behind the first phase a partition is incomplete for good: who marks it now is early.
#[test]
fn the_check_notices_a_success_file_that_comes_early() {
    let trial = to_partitions(BY_TIME);
    for (failpoints, is_noticed) in [("", false), ("partition-due=early", true)] {
        let feeding = (!is_noticed).then(|| trial.feed(0));
        let mut job = trial.start("2", From::Latest, failpoints);
        feeding.into_iter().for_each(|f| f.join().unwrap());
        let is_due = |p: &Partition| p.marks == [SUCCESS];
        wait_for(|| {
            trial.partitions().values().filter(|p| is_due(p)).count() >= 3 && early(&trial).is_empty() != is_noticed
        });
        assert!(job.is_running(), "{}", job.err());
        job.kill();
        assert_eq!(!early(&trial).is_empty(), is_noticed, "{:?}", trial.partitions());
    }
}

#[test]
fn the_check_notices_a_success_file_left_out() {
    let trial = to_partitions(BY_TIME);
    trial.feed_all().join().unwrap();
    assert_eq!(trial.settle(From::Nothing, "partition-mark=skip", PATIENCE), Ok(()));
    let found = trial.partitions();
    assert!(
        found.values().all(|p| !p.marks.iter().any(|m| m == SUCCESS)),
        "{found:?}"
    );
}
