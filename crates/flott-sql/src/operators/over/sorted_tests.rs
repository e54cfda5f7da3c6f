//! OVER by any column as tables of text; what it tells is Flink's by the recorded scripts.

use super::sorted::SortedOver;
use crate::nodes::*;
use crate::operators::harness::Harness;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use flott_core::{Batch, Field, LogicalType};
use flott_runtime::{Operator, Output};
use std::sync::Arc;

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

#[test]
fn values_that_grow_are_told_in_pieces_with_room() {
    for (frame, is_ascending) in [
        (OverFrame::UnboundedRows, true),
        (OverFrame::UnboundedRange, true),
        (OverFrame::UnboundedRows, false),
        (OverFrame::UnboundedRange, false),
    ] {
        let text = LogicalType::string();
        let listagg = AggregateCall {
            ty: text.clone(),
            ..call("LISTAGG", &[0], false)
        };
        let mut spec = spec(frame, vec![listagg, call("RANK", &[], false)]);
        spec.partition = vec![];
        spec.input[0].ty = text;
        let op = SortedOver::new(&spec).unwrap();
        let mut op = Harness::new(Box::new(op), "k STRING, v BIGINT");
        // 40 texts of 10 KB: a list of all takes 400 KB. If they come in descending order, each is told anew with each row.
        let order = |i: i64| if is_ascending { i } else { -i };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values((0..40).map(|_| "x".repeat(10_000)))),
            Arc::new(Int64Array::from_iter_values((0..40).map(order))),
        ];
        let told = op.process(Batch::new(columns, 40));
        let rows: Vec<(usize, i64)> = told
            .iter()
            .flat_map(|batch| {
                let ranks = batch.column(3).as_primitive::<Int64Type>().values().to_vec();
                batch
                    .column(2)
                    .as_string::<i32>()
                    .iter()
                    .map(|v| v.unwrap().len())
                    .zip(ranks)
                    .collect::<Vec<_>>()
            })
            .collect();
        let whole = 40 * 10_001 - 1;
        assert_eq!(rows.last(), Some(&(whole, 40)), "{frame:?}");
        assert!(rows.iter().all(|(length, rank)| *length as i64 == 10_001 * rank - 1));
        assert_eq!(rows.len(), if is_ascending { 40 } else { 40 + 39 * 40 });
        // Room is looked for behind each pair of rows.
        let most = crate::operators::MAX_EMITTED_BYTES + 4 * whole;
        assert!(
            op.largest_bytes < most,
            "{frame:?}: {} bytes in one call",
            op.largest_bytes
        );
    }
}

#[test]
fn zeros_are_peers_and_nan_is_the_greatest() {
    let mut spec = spec(OverFrame::UnboundedRange, vec![call("COUNT", &[], false)]);
    spec.partition = vec![];
    spec.input[1].ty = LogicalType::new(flott_core::TypeKind::Double);
    let mut op = Harness::new(Box::new(SortedOver::new(&spec).unwrap()), "k BIGINT, v DOUBLE");
    assert_eq!(
        op.run("+I 1 0\n+I 2 -0\n+I 3 NaN\n+I 4 1\n+I 5 -NaN"),
        "+I 1 0 1\n-U 1 0 1\n+U 1 0 2\n+I 2 -0 2\n+I 3 NaN 3\n+I 4 1 3\n-U 3 NaN 3\n+U 3 NaN 4\n-U 3 NaN 4\n+U 3 NaN 5\n+I 5 NaN 5"
    );
}
