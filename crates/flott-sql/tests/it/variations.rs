//! Every golden once more, one thing done differently at a time: stopped and restored at every barrier, broken off behind
//! every checkpoint, rescaled on every restore, with every exchange encoding, with batches of 1, 7 and 8,192 rows. No variation may change an answer.
//!
//! What is compared with the straight run: the changelog, where Flink's is the same on every run; otherwise the rows that are
//! left when it has been applied. Only those rows count, too,
//! * at another parallelism, because subtasks interleave;
//! * for files, because every barrier ends a file and files have no order;
//! * with mini-batch, because a barrier folds what has gathered: the changelog says where barriers were.
//!
//! Every test also says how often it really did what it is named after.

use crate::goldens::{Golden, benchmark, events, examples, many_events, recorded};
use crate::harness::{Counts, Engine, Run, StoppedBy, Stops, Variation, difference};
use crate::snapshot::report;
use std::sync::{Mutex, OnceLock};

/// Tables whose key is not the query's: of the rows that fall on one key the youngest wins. Which that is depends on how subtasks
/// interleave and on what a mini-batch folds, so that they are varied in order only.
const YOUNGEST_WINS: &[&str] = &[
    "cdc_sink_by_other_key",
    "upsert_sink_coarser_key",
    "upsert_sink_key_differs",
    "upsert_sink_key_filtered",
];

/// A LIMIT without an order takes the rows that come first; behind an exchange, or out of a mini-batch, others do.
const FIRST_COME: &[&str] = &["limit_retracting", "limit_retracting_offset"];

/// The first and the last of several groups' updates, a list of them, and the last digits of floating-point sums, hang on
/// the order in which rows come through an exchange or a mini-batch; so does which of both zeros is the least or the greatest.
const ORDER_COUNTS: &[&str] = &[
    "first_last_of_agg",
    "float_zero_extremes_changes",
    "listagg_of_agg",
    "variance_global",
];

/// All goldens with what they come to when nothing is varied.
fn straight() -> &'static [(Golden, Run)] {
    static STRAIGHT: OnceLock<Vec<(Golden, Run)>> = OnceLock::new();
    STRAIGHT.get_or_init(|| {
        let engine = Engine::new();
        let goldens = recorded().into_iter().chain(events()).chain(examples());
        goldens
            .map(|golden| {
                let run = engine.run(&golden, &Variation::default());
                (golden, run)
            })
            .collect()
    })
}

/// Runs every golden for which `takes` says so, and compares it with its straight run. `was_varied`: whether a run that did not
/// fail has really done something differently.
fn vary(
    variation: &Variation,
    in_order: bool,
    takes: impl Fn(&Golden) -> bool + Sync + Send,
    was_varied: impl Fn(&Counts) -> bool + Sync,
) -> Counts {
    let engine = Engine::new();
    let hangs_on_order = |g: &Golden| {
        [YOUNGEST_WINS, FIRST_COME, ORDER_COUNTS]
            .concat()
            .contains(&g.name.as_str())
    };
    let has_order = |g: &Golden| in_order || !hangs_on_order(g);
    let goldens = straight().iter().filter(|(g, _)| takes(g) && has_order(g));
    let left = Mutex::new(goldens);
    let done = Mutex::new((Counts::default(), vec![]));
    let next = || left.lock().unwrap().next();
    let work = || {
        while let Some((golden, straight)) = next() {
            let run = engine.run(golden, variation);
            let (counts, differences) = &mut *done.lock().unwrap();
            counts.merge(&run.counts);
            if run.failure.is_none() && !was_varied(&run.counts) {
                differences.push(format!("{}: nothing was varied: {:?}", golden.name, run.counts));
            }
            differences.extend(compare(golden, &run, straight, in_order));
        }
    };
    // Most of the time jobs wait for a disk or a clock.
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let (counts, differences) = done.into_inner().unwrap();
    report(&differences);
    counts
}

fn compare(golden: &Golden, run: &Run, straight: &Run, in_order: bool) -> Option<String> {
    let name = &golden.name;
    match (&run.failure, &straight.failure) {
        (Some(_), Some(_)) => None,
        (Some(failure), None) => Some(format!("{name}: {failure}")),
        (None, Some(failure)) => Some(format!("{name}: the straight run fails: {failure}")),
        (None, None) => {
            let in_order = in_order && golden.in_order && golden.file.is_none();
            difference(name, &run.rows, &straight.rows, in_order, "straight")
        }
    }
}

/// Whether rows of several subtasks meet in one primary key, where the youngest wins: which one that is has no answer at
/// another parallelism.
fn is_won_by_the_youngest(golden: &Golden) -> bool {
    golden.name.starts_with("upsert_sink_") || golden.name == "cdc_sink_by_other_key"
}

/// Whether a golden's answer hangs on when watermarks come: with one behind every row, some of its rows are late. At another
/// parallelism time stands still until every subtask has told its own, also one that reads nothing, so how many rows come
/// before that, and are in time, has no answer; in Flink neither.
fn hangs_on_watermarks(golden: &Golden) -> bool {
    let behind_every_row = [
        "'pipeline.auto-watermark-interval' = '0 ms'",
        "'scan.watermark.emit.strategy' = 'on-event'",
    ];
    behind_every_row.iter().any(|option| golden.text.contains(option))
}

/// Whether a golden has one answer at another parallelism.
fn can_be_rescaled(golden: &Golden) -> bool {
    let is_first_come = [FIRST_COME, ORDER_COUNTS].concat().contains(&golden.name.as_str());
    !is_won_by_the_youngest(golden) && !hangs_on_watermarks(golden) && !is_first_come
}

/// Whether a golden shows the watermark itself: checkpoints keep what the rows of a split justified, not what was told by then.
fn shows_watermarks(golden: &Golden) -> bool {
    golden.text.contains("CURRENT_WATERMARK")
}

/// Whether a golden has the thousand events, which take larger steps.
fn is_large(golden: &Golden) -> bool {
    golden.is_benchmark
}

#[test]
fn stopped_and_restored_at_every_barrier() {
    let stops = |every_batches| {
        Some(Stops {
            every_batches,
            parallelisms: &[1],
            by: StoppedBy::Stop,
        })
    };
    let small = Variation {
        options: &[("execution.batch-rows", "1")],
        stops: stops(1),
    };
    let takes = |g: &Golden| !is_large(g) && !shows_watermarks(g);
    let counts = vary(&small, true, takes, |c| c.restores > 0);
    assert!(counts.restores > 500 && counts.rescales == 0, "{counts:?}");
    let large = Variation {
        options: &[("execution.batch-rows", "50")],
        stops: stops(1),
    };
    let counts = vary(&large, true, is_large, |c| c.restores > 10);
    assert!(counts.restores > 100, "{counts:?}");
}

#[test]
fn broken_off_behind_every_checkpoint() {
    let variation = |options, parallelisms| Variation {
        options,
        stops: Some(Stops {
            every_batches: 1,
            parallelisms,
            by: StoppedBy::Crash,
        }),
    };
    let small = variation(&[("execution.batch-rows", "2")], &[1]);
    // LIMIT 0 reads nothing, so it has no checkpoint to break off behind.
    let takes = |g: &Golden| !is_large(g) && !shows_watermarks(g) && g.name != "limit_zero";
    let counts = vary(&small, true, takes, |c| c.restores > 0);
    assert!(counts.restores > 100 && counts.given_up > 100, "{counts:?}");
    let large = variation(&[("execution.batch-rows", "100")], &[2, 1]);
    let counts = vary(&large, false, is_large, |c| c.restores > 1);
    assert!(counts.restores > 20 && counts.given_up > 500, "{counts:?}");
}

#[test]
fn rescaled_on_every_restore() {
    let stops = |parallelisms| {
        Some(Stops {
            every_batches: 1,
            parallelisms,
            by: StoppedBy::Stop,
        })
    };
    let small = Variation {
        options: &[("execution.batch-rows", "2")],
        stops: stops(&[2, 1, 3]),
    };
    let counts = vary(
        &small,
        false,
        |g| !is_large(g) && can_be_rescaled(g),
        |c| c.rescales > 0,
    );
    assert!(
        counts.rescales > 300 && counts.rescales == counts.restores,
        "{counts:?}"
    );
    let large = Variation {
        options: &[("execution.batch-rows", "100")],
        stops: stops(&[2, 3, 1, 4]),
    };
    let counts = vary(&large, false, is_large, |c| c.rescales > 4);
    assert!(counts.rescales > 40, "{counts:?}");
}

#[test]
fn rescaled_on_every_restore_with_two_phases_and_mini_batch() {
    // The clock never ends a mini-batch here, only barriers and the end do.
    let variation = Variation {
        options: &[
            ("execution.batch-rows", "5"),
            ("table.exec.mini-batch.enabled", "true"),
            ("table.exec.mini-batch.allow-latency", "1 min"),
            ("table.exec.mini-batch.size", "1000"),
            ("table.optimizer.agg-phase-strategy", "TWO_PHASE"),
        ],
        stops: Some(Stops {
            every_batches: 1,
            parallelisms: &[2, 3],
            by: StoppedBy::Stop,
        }),
    };
    let is_aggregate = |g: &Golden| {
        !is_large(g) && can_be_rescaled(g) && g.text.contains("GROUP BY") && !g.text.contains("mini-batch")
    };
    let counts = vary(&variation, false, is_aggregate, |c| c.rescales > 0);
    assert!(counts.rescales > 40, "{counts:?}");
}

/// Most tables hold two rows in memory, the others lie in a store, and every barrier's checkpoint restores them.
#[test]
fn with_state_that_does_not_fit_into_memory() {
    let small = Variation {
        options: &[("execution.batch-rows", "1"), ("state.backend.hot-rows", "2")],
        stops: Some(Stops {
            every_batches: 3,
            parallelisms: &[1],
            by: StoppedBy::Stop,
        }),
    };
    // LIMIT 0 reads nothing, so nothing of it has to fit.
    let takes = |g: &Golden| !is_large(g) && !shows_watermarks(g) && g.name != "limit_zero";
    let counts = vary(&small, true, takes, |c| c.batches > 0);
    assert!(counts.restores > 200, "{counts:?}");
    let large = Variation {
        options: &[
            ("execution.batch-rows", "50"),
            ("state.backend.hot-rows", "2"),
            ("execution.checkpointing.incremental", "true"),
        ],
        stops: Some(Stops {
            every_batches: 1,
            parallelisms: &[2, 3, 1],
            by: StoppedBy::Crash,
        }),
    };
    let counts = vary(&large, false, is_large, |c| c.restores > 1);
    assert!(counts.rescales > 20, "{counts:?}");
}

#[test]
fn with_every_exchange_encoded() {
    // Without chaining every edge is an exchange, so that every type of every operator crosses one.
    let variation = Variation {
        options: &[
            ("execution.exchange.encoded", "true"),
            ("pipeline.operator-chaining.enabled", "false"),
        ],
        stops: None,
    };
    let counts = vary(&variation, true, |_| true, |c| c.frames > 0);
    assert!(counts.frames > 800 && counts.exchanged_rows > 10_000, "{counts:?}");
}

#[test]
fn with_batches_of_1_row() {
    let variation = Variation {
        options: &[("execution.batch-rows", "1")],
        stops: None,
    };
    let counts = vary(&variation, true, |_| true, |c| c.rows == c.batches);
    assert!(counts.rows > 10_000, "{counts:?}");
    assert_eq!(counts.largest_batch, 1);
}

#[test]
fn with_batches_of_7_rows() {
    let variation = Variation {
        options: &[("execution.batch-rows", "7")],
        stops: None,
    };
    let counts = vary(&variation, true, |_| true, |c| c.batches * 7 >= c.rows);
    assert!(counts.rows > 10_000 && counts.batches * 3 < counts.rows, "{counts:?}");
    assert_eq!(counts.largest_batch, 7);
}

#[test]
fn with_batches_of_8192_rows() {
    // The goldens are smaller than such a batch, so twenty times the events are asked too, in one file.
    let variation = Variation {
        options: &[
            ("execution.batch-rows", "8192"),
            // What an exchange joins shall not leave before it is full.
            ("execution.buffer-timeout.interval", "1 min"),
        ],
        stops: None,
    };
    vary(&variation, true, |_| true, |_| true);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    std::fs::write(&path, many_events(20)).unwrap();
    let engine = Engine::new();
    let mut counts = Counts::default();
    let mut differences = vec![];
    for golden in benchmark(&path.display().to_string()) {
        let straight = engine.run(&golden, &Variation::default());
        let run = engine.run(&golden, &variation);
        counts.merge(&run.counts);
        assert_eq!(straight.failure, None, "{}", golden.name);
        differences.extend(compare(&golden, &run, &straight, true));
    }
    report(&differences);
    assert!(counts.mean_batch_rows > 4_096, "{counts:?}");
    assert_eq!(counts.largest_batch, 8_192);
}
