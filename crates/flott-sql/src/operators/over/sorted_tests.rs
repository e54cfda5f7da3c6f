//! OVER by any column as tables of text; what it tells is Flink's by the recorded scripts.

use super::sorted::SortedOver;
use crate::nodes::*;
use crate::operators::harness::Harness;
use flott_core::{Batch, Field, LogicalType};
use flott_runtime::{Operator, Output};

const SCHEMA: &str = "k BIGINT, v BIGINT";

fn call(function: &str, args: &[usize], distinct: bool) -> AggregateCall {
    AggregateCall {
        function: function.into(),
        args: args.to_vec(),
        distinct,
        filter: None,
        ty: LogicalType::bigint(),
        name: function.to_lowercase(),
        detail: Default::default(),
    }
}

fn spec(frame: OverFrame, aggregates: Vec<AggregateCall>) -> OverAggregateSpec {
    OverAggregateSpec {
        input: vec![
            Field::new("k", LogicalType::bigint()),
            Field::new("v", LogicalType::bigint()),
        ],
        partition: vec![0],
        order: OverOrder::Column {
            column: 1,
            update_before: true,
        },
        frame,
        aggregates,
        ttl_ms: 0,
    }
}

fn harness(spec: &OverAggregateSpec) -> Harness {
    Harness::new(Box::new(SortedOver::new(spec).unwrap()), SCHEMA)
}

/// Rows that mostly come to the end, with peers, some before it, some taken back.
fn rows() -> Vec<String> {
    (0..300)
        .map(|i| match i % 23 {
            7 => format!("+I {} {}", i % 2, i / 7),
            13 => format!("-D {} {}", i % 2, (i - 2) / 2),
            _ => format!("+I {} {}", i % 2, i / 2),
        })
        .collect()
}

#[test]
fn what_is_kept_of_a_partition_changes_nothing() {
    let calls = || {
        vec![
            call("COUNT", &[], false),
            call("SUM", &[1], false),
            call("MIN", &[1], false),
            call("COUNT", &[1], true),
        ]
    };
    let ranks = vec![call("RANK", &[], false), call("DENSE_RANK", &[], false)];
    for (frame, calls) in [
        (OverFrame::UnboundedRows, calls()),
        (OverFrame::UnboundedRange, calls()),
        (OverFrame::UnboundedRange, ranks),
    ] {
        let spec = spec(frame, calls);
        let rows = rows();
        let straight = harness(&spec).run(&rows.join("\n"));
        assert!(straight.lines().count() > 600);
        // A restored operator has nothing but the rows and what was told.
        let mut told = vec![];
        let mut op = harness(&spec);
        for row in &rows {
            told.extend(op.run(row).lines().map(str::to_owned));
            let snapshot = op.snapshot();
            op = Harness::restored(
                Box::new(SortedOver::new(&spec).unwrap()),
                SCHEMA,
                (0, 1),
                vec![snapshot],
            );
        }
        assert_eq!(told.join("\n"), straight, "{frame:?}");
    }
}

#[test]
fn a_row_at_the_end_computes_its_own_values_only() {
    for frame in [OverFrame::UnboundedRows, OverFrame::UnboundedRange] {
        let mut op = SortedOver::new(&spec(frame, vec![call("SUM", &[1], false)])).unwrap();
        let harness = harness(&spec(frame, vec![call("SUM", &[1], false)]));
        let mut out = Output::new();
        let mut come = |op: &mut SortedOver, value: i64| {
            let row = format!("+I 1 {value}");
            let batch: Batch = harness.batch(&[&row]);
            op.process(0, batch, &mut out).unwrap();
        };
        (0..1000).for_each(|value| come(&mut op, value));
        let before = op.computed_rows;
        (1000..2000).for_each(|value| come(&mut op, value));
        assert_eq!(op.computed_rows - before, 1000, "{frame:?}: one row each");
        (0..10).for_each(|_| come(&mut op, 3000));
        assert_eq!(
            op.computed_rows - before,
            1010,
            "{frame:?}: peers take the value of the last"
        );
        come(&mut op, 5);
        assert!(op.computed_rows - before > 3000, "{frame:?}: rows behind it change");
    }
}
