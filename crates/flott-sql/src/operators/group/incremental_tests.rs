//! Aggregation in three phases as tables of text.

use super::entries_local::EntriesLocalAggregate;
use super::incremental::IncrementalGroupAggregate;
use crate::nodes::*;
use crate::operators::harness::{Harness, owner};
use flott_core::{Field, LogicalType, TypeKind};

const SCHEMA: &str = "k BIGINT, v BIGINT, w STRING, ok BOOLEAN";
/// Rows of groups and of values, of [`counts`].
const ENTRIES: &str = "k BIGINT, count BIGINT, max BIGINT, set INT, v BIGINT, filters BIGINT";

fn call(function: &str, arg: Option<usize>, distinct: bool, filter: Option<usize>) -> AggregateCall {
    AggregateCall {
        function: function.into(),
        args: arg.into_iter().collect(),
        distinct,
        filter,
        ty: match function {
            "COUNT" => LogicalType::not_null(TypeKind::BigInt),
            _ => LogicalType::bigint(),
        },
        name: function.to_lowercase(),
        detail: Default::default(),
    }
}

fn spec(aggregates: Vec<AggregateCall>) -> GroupAggregateSpec {
    GroupAggregateSpec {
        input: vec![
            Field::new("k", LogicalType::bigint()),
            Field::new("v", LogicalType::bigint()),
            Field::new("w", LogicalType::string()),
            Field::new("ok", LogicalType::boolean()),
        ],
        keys: vec![0],
        aggregates,
        input_retracts: false,
        generate_update_before: false,
        mini_batch: Some(MiniBatch {
            latency_ms: 1000,
            size: 100_000,
        }),
        ttl_ms: 0,
        is_incremental: true,
    }
}

/// Two counts of one set, and two of all values.
fn counts() -> GroupAggregateSpec {
    spec(vec![
        call("COUNT", None, false, None),
        call("COUNT", Some(1), true, None),
        call("MAX", Some(1), false, None),
        call("COUNT", Some(1), true, Some(3)),
    ])
}

fn local(spec: &GroupAggregateSpec) -> Harness {
    Harness::new(Box::new(EntriesLocalAggregate::new(spec).unwrap()), SCHEMA)
}

fn incremental(spec: &GroupAggregateSpec) -> Box<IncrementalGroupAggregate> {
    Box::new(IncrementalGroupAggregate::new(spec).unwrap())
}

#[test]
fn a_value_leaves_the_local_phase_once_with_its_filters() {
    let mut op = local(&counts());
    let rows = "+I 1 5 a false\n+I 1 5 a true\n+I 2 7 a false\n+I 1 6 a false\n+I 2 NULL a true";
    assert_eq!(op.run(rows), "");
    let told = "+I 1 3 6 0 NULL 0\n+I 2 2 7 0 NULL 0\n+I 1 0 NULL 1 5 3\n+I 2 0 NULL 1 7 1\n+I 1 0 NULL 1 6 1";
    assert_eq!(op.run("barrier"), told);
    assert_eq!(op.run("barrier"), "");
}

#[test]
fn values_of_several_sets_have_columns_of_their_own() {
    let mut op = local(&spec(vec![
        call("COUNT", Some(1), true, None),
        call("COUNT", Some(2), true, Some(3)),
    ]));
    assert_eq!(
        op.run("+I 1 5 a true\n+I 1 5 b false\nend"),
        "+I 1 0 NULL NULL 0\n+I 1 1 5 NULL 1\n+I 1 2 NULL a 1"
    );
}

#[test]
fn values_that_do_not_repeat_are_passed_on() {
    let mut op = local(&counts());
    let rows = |from: i64| -> String {
        (0..5000)
            .map(|i| format!("+I {} {} a true\n", i % 3, from + i))
            .collect()
    };
    assert_eq!(op.run(&rows(0)), "");
    assert_eq!(op.run("barrier").lines().count(), 3 + 5000);
    let passed = op.run(&rows(10_000));
    assert_eq!(passed.lines().count(), 5000, "now values go on as they come");
    assert_eq!(passed.lines().next(), Some("+I 0 0 NULL 1 10000 3"));
    assert_eq!(
        op.run("barrier"),
        "+I 0 1667 14998 0 NULL 0\n+I 1 1667 14999 0 NULL 0\n+I 2 1666 14997 0 NULL 0",
        "and groups are still put together"
    );
    assert!(op.largest_call <= 8192);
}

#[test]
fn only_what_is_new_is_added() {
    let mut op = Harness::new(incremental(&counts()), ENTRIES);
    let first = "+I 1 3 6 0 NULL 0\n+I 1 0 NULL 1 5 1\n+I 2 1 NULL 0 NULL 0\n+I 1 0 NULL 1 6 3";
    assert_eq!(op.run(&format!("{first}\nbarrier")), "+I 1 3 2 6 1\n+I 2 1 0 NULL 0");
    assert_eq!(
        op.run(&format!("{first}\nbarrier")),
        "+I 1 3 0 6 0\n+I 2 1 0 NULL 0",
        "known values add nothing"
    );
    assert_eq!(
        op.run("+I 1 0 NULL 1 5 3\n+I 2 0 NULL 1 5 1\nend"),
        "+I 1 0 0 NULL 1\n+I 2 0 1 NULL 0",
        "a value is known under each filter by itself"
    );
}

#[test]
fn a_bundle_ends_by_its_time() {
    let mut op = Harness::new(incremental(&counts()), ENTRIES);
    assert_eq!(op.run("clock 500\n+I 1 0 NULL 1 5 1"), "");
    assert_eq!(op.next_timer(), Some(600), "a tenth of the latency later");
    assert_eq!(op.run("timer 600"), "+I 1 0 1 NULL 0");
    assert_eq!(op.next_timer(), None);
}

#[test]
fn values_are_taken_over_at_another_parallelism() {
    let whole = GroupAggregateSpec {
        keys: vec![],
        ..counts()
    };
    let schema = "count BIGINT, max BIGINT, set INT, v BIGINT, filters BIGINT";
    let value = |v: i64| format!("+I 0 NULL 1 {v} 1");
    let mut first = Harness::new(incremental(&whole), schema);
    let known: Vec<String> = (0..40).map(value).collect();
    first.run(&known.join("\n"));
    first.run("barrier");
    for parallelism in [1, 3] {
        let mut new = 0;
        for index in 0..parallelism {
            let subtask = (index, parallelism);
            let mut second = Harness::restored(incremental(&whole), schema, subtask, vec![first.snapshot()]);
            // The hash of a value alone says where it lies.
            let mine: Vec<String> = (20..60)
                .filter(|v| owner(*v, parallelism) == index)
                .map(value)
                .collect();
            assert!(mine.len() > 5, "one hot group is the work of all");
            let told = second.run(&format!("{}\nend", mine.join("\n")));
            new += told.split(' ').nth(2).unwrap().parse::<i64>().unwrap();
        }
        assert_eq!(new, 20, "restored at parallelism {parallelism}");
    }
}

#[test]
fn what_may_be_without_a_value_or_is_taken_back_has_no_increments() {
    assert!(counts().supports_increments());
    let of = |change: &dyn Fn(&mut GroupAggregateSpec)| {
        let mut spec = counts();
        change(&mut spec);
        spec.supports_increments()
    };
    assert!(!of(&|s| s.input_retracts = true));
    assert!(!of(&|s| s.ttl_ms = 1));
    assert!(!of(&|s| s.mini_batch = None));
    assert!(!of(&|s| s.aggregates[2].ty = LogicalType::not_null(TypeKind::BigInt)));
    assert!(!of(&|s| s.aggregates.retain(|a| !a.distinct)));
    assert!(!of(&|s| s.keys = vec![0, 1]), "a grouped value needs no set");
}
