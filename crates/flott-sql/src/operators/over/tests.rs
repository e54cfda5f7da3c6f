//! OVER aggregates as tables of text.

use super::aggregate::OverAggregate;
use crate::nodes::*;
use crate::operators::harness::{Harness, in_tiers, lines, owner};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use flott_core::{Batch, Field, LogicalType, TypeKind};
use flott_state::StateBackend;
use std::sync::Arc;

const SCHEMA: &str = "k BIGINT, v BIGINT, t TIMESTAMP(3)";

fn call(function: &str, args: &[usize]) -> AggregateCall {
    AggregateCall {
        function: function.into(),
        args: args.to_vec(),
        distinct: false,
        filter: None,
        ty: match args.is_empty() {
            true => LogicalType::not_null(TypeKind::BigInt),
            false => LogicalType::bigint(),
        },
        name: function.to_lowercase(),
        detail: Default::default(),
    }
}

fn spec(frame: OverFrame, aggregates: Vec<AggregateCall>) -> OverAggregateSpec {
    OverAggregateSpec {
        input: vec![
            Field::new("k", LogicalType::bigint()),
            Field::new("v", LogicalType::bigint()),
            Field::new("t", LogicalType::new(TypeKind::Timestamp(3))),
        ],
        partition: vec![0],
        order: OverOrder::EventTime { column: 2 },
        frame,
        aggregates,
        ttl_ms: 0,
    }
}

fn sum_and_count(frame: OverFrame) -> OverAggregateSpec {
    spec(frame, vec![call("SUM", &[1]), call("COUNT", &[])])
}

fn harness(spec: &OverAggregateSpec) -> Harness {
    Harness::new(Box::new(OverAggregate::new(spec).unwrap()), SCHEMA)
}

const ROWS: &str = "+I 1 5 30\n+I 1 1 10\n+I 2 7 20\n+I 1 2 10\n+I 1 NULL 40";

#[test]
fn rows_are_told_in_order_of_time_when_the_watermark_passes() {
    let mut op = harness(&sum_and_count(OverFrame::UnboundedRows));
    assert_eq!(op.run(ROWS), "");
    assert_eq!(op.run("watermark 9"), "");
    assert_eq!(op.run("watermark 20"), "+I 1 1 10 1 1\n+I 1 2 10 3 2\n+I 2 7 20 7 1");
    assert_eq!(
        op.run("+I 2 9 20\n+I 2 1 21\nwatermark 35"),
        "+I 2 1 21 8 2\n+I 1 5 30 8 3"
    );
    assert_eq!(op.metrics.late_records_dropped.get(), 1);
    assert_eq!(op.run("end"), "+I 1 NULL 40 8 4");
}

#[test]
fn rows_of_one_time_share_a_range() {
    let mut op = harness(&sum_and_count(OverFrame::UnboundedRange));
    assert_eq!(
        op.run(&format!("{ROWS}\nend")),
        "+I 1 1 10 3 2\n+I 1 2 10 3 2\n+I 2 7 20 7 1\n+I 1 5 30 8 3\n+I 1 NULL 40 8 4"
    );
}

#[test]
fn bounded_frames_take_back_what_leaves_them() {
    let calls = || {
        vec![
            call("SUM", &[1]),
            call("MIN", &[1]),
            AggregateCall {
                distinct: true,
                ..call("COUNT", &[1])
            },
        ]
    };
    let rows =
        "+I 1 5 10\n+I 1 5 20\n+I 1 9 30\n+I 1 7 40\nwatermark 40\n+I 1 NULL 50\n+I 1 8 40\n+I 1 6 51\nwatermark 60";
    let mut op = harness(&spec(OverFrame::Rows { preceding: 1 }, calls()));
    assert_eq!(
        op.run(rows),
        "+I 1 5 10 5 5 1\n+I 1 5 20 10 5 1\n+I 1 9 30 14 5 2\n+I 1 7 40 16 7 2\n+I 1 NULL 50 7 7 1\n+I 1 6 51 6 6 1"
    );
    assert_eq!(op.metrics.late_records_dropped.get(), 1, "40 was told before");
    let mut op = harness(&spec(OverFrame::Range { preceding_ms: 10 }, calls()));
    assert_eq!(
        op.run(rows),
        "+I 1 5 10 5 5 1\n+I 1 5 20 10 5 1\n+I 1 9 30 14 5 2\n+I 1 7 40 16 7 2\n+I 1 NULL 50 7 7 1\n+I 1 6 51 6 6 1"
    );
}

#[test]
fn partitions_larger_than_memory_give_what_they_give_in_memory() {
    const PARTITIONS: u64 = 500;
    const STEP_MS: u64 = 300;
    let run = |spec: &OverAggregateSpec, backend: StateBackend| {
        let operator = || Box::new(OverAggregate::new(spec).unwrap());
        let mut op = Harness::with_backend(operator(), SCHEMA, backend.clone());
        let mut told = vec![];
        for time in 0..80 {
            if time == 40 {
                op = Harness::restored_with_backend(operator(), SCHEMA, backend.clone(), op.snapshot());
            }
            for batch in 0..PARTITIONS / 100 {
                let row = |n: u64| {
                    let (partition, value) = ((batch * 100 + n) * 7919 % PARTITIONS, (time * 31 + n * 17) % 5);
                    // Half of the partitions come once only.
                    let partition = partition + n % 2 * (time + 1) * PARTITIONS;
                    format!("+I {partition} {value} {}", time * STEP_MS + n % 3)
                };
                let rows: Vec<String> = (0..100).map(row).collect();
                let batch = op.batch(&rows.iter().map(String::as_str).collect::<Vec<_>>());
                told.extend(op.process(batch));
            }
            // A third goes on waiting.
            told.extend(op.watermark((time * STEP_MS + 1) as i64));
        }
        let held = op.state_bytes();
        told.extend(op.watermark(1_000_000));
        let mut lines: Vec<String> = told.iter().flat_map(lines).collect();
        lines.sort();
        (lines, held)
    };
    let calls = || {
        let distinct = AggregateCall {
            distinct: true,
            ..call("COUNT", &[1])
        };
        vec![call("SUM", &[1]), call("MAX", &[1]), distinct]
    };
    let by_clock = OverAggregateSpec {
        order: OverOrder::ProcessingTime,
        ..spec(OverFrame::UnboundedRows, calls())
    };
    let expiring = OverAggregateSpec {
        ttl_ms: 3_600_000,
        ..sum_and_count(OverFrame::UnboundedRange)
    };
    let expiring_sets = OverAggregateSpec {
        ttl_ms: 3_600_000,
        ..spec(OverFrame::UnboundedRows, calls())
    };
    let rows_by_clock = OverAggregateSpec {
        frame: OverFrame::Rows { preceding: 3 },
        ..by_clock.clone()
    };
    let all = [
        OverFrame::UnboundedRows,
        OverFrame::UnboundedRange,
        OverFrame::Rows { preceding: 3 },
        OverFrame::Range { preceding_ms: 800 },
    ];
    let all = all.map(|frame| spec(frame, calls()));
    let others = [by_clock, rows_by_clock, expiring, expiring_sets];
    for spec in all.into_iter().chain(others) {
        let (expected, in_memory) = run(&spec, StateBackend::default());
        let (given, in_tiers) = run(&spec, in_tiers("50"));
        assert_eq!(expected.len() as u64, PARTITIONS * 80);
        assert!(given == expected, "{spec:?}");
        assert!(in_tiers < in_memory, "{spec:?}: {in_tiers} bytes of {in_memory}");
    }
}

#[test]
fn a_partition_without_young_rows_is_forgotten() {
    let mut op = harness(&sum_and_count(OverFrame::Range { preceding_ms: 10 }));
    assert_eq!(
        op.run("+I 1 5 10\n+I 2 5 5000\nwatermark 6000\nwatermark 9000")
            .lines()
            .count(),
        2
    );
    let mut second = Harness::restored(
        Box::new(OverAggregate::new(&sum_and_count(OverFrame::Range { preceding_ms: 10 })).unwrap()),
        SCHEMA,
        (0, 1),
        vec![op.snapshot()],
    );
    assert_eq!(
        second.run("+I 1 1 9\nend"),
        "+I 1 1 9 1 1",
        "nothing is known of key 1 any more"
    );
}

#[test]
fn rows_are_numbered_and_ranked() {
    let number = spec(OverFrame::UnboundedRows, vec![call("ROW_NUMBER", &[])]);
    let rows = "+I 1 1 10\n+I 1 2 10\n+I 1 3 20\nwatermark 15\n+I 1 4 20\n+I 1 5 30\nend";
    assert_eq!(
        harness(&number).run(rows),
        "+I 1 1 10 1\n+I 1 2 10 2\n+I 1 3 20 3\n+I 1 4 20 4\n+I 1 5 30 5"
    );
    let ranks = spec(
        OverFrame::UnboundedRange,
        vec![call("RANK", &[]), call("DENSE_RANK", &[])],
    );
    assert_eq!(
        harness(&ranks).run(rows),
        "+I 1 1 10 1 1\n+I 1 2 10 1 1\n+I 1 3 20 3 2\n+I 1 4 20 3 2\n+I 1 5 30 5 3"
    );
}

#[test]
fn at_processing_time_rows_are_told_as_they_come() {
    let at_once = |frame| OverAggregateSpec {
        order: OverOrder::ProcessingTime,
        ..sum_and_count(frame)
    };
    let mut op = harness(&at_once(OverFrame::UnboundedRange));
    assert_eq!(
        op.run("+I 1 5 0\n+I 2 1 0\n+I 1 2 0"),
        "+I 1 5 0 5 1\n+I 2 1 0 1 1\n+I 1 2 0 7 2"
    );
    let mut op = harness(&at_once(OverFrame::Rows { preceding: 1 }));
    assert_eq!(
        op.run("+I 1 5 0\n+I 1 2 0\nbatch\n+I 1 1 0"),
        "+I 1 5 0 5 1\n+I 1 2 0 7 2\n+I 1 1 0 3 2"
    );
    let mut op = harness(&at_once(OverFrame::Range { preceding_ms: 10 }));
    assert_eq!(op.run("clock 100\n+I 1 5 0\n+I 1 2 0"), "");
    assert_eq!(op.next_timer(), Some(101));
    assert_eq!(op.run("timer 101"), "+I 1 5 0 7 2\n+I 1 2 0 7 2");
    assert_eq!(op.run("clock 105\n+I 1 1 0\ntimer 106"), "+I 1 1 0 8 3");
    assert_eq!(op.run("clock 112\n+I 1 1 0\ntimer 113"), "+I 1 1 0 2 2");
}

#[test]
fn without_partition_all_rows_are_one() {
    let all = OverAggregateSpec {
        partition: vec![],
        ..sum_and_count(OverFrame::Rows { preceding: 1 })
    };
    let mut op = harness(&all);
    assert_eq!(
        op.run("+I 1 1 1\n+I 2 2 2\n+I 3 3 3\nwatermark 2"),
        "+I 1 1 1 1 1\n+I 2 2 2 3 2"
    );
    let mut second = Harness::restored(
        Box::new(OverAggregate::new(&all).unwrap()),
        SCHEMA,
        (0, 1),
        vec![op.snapshot()],
    );
    assert_eq!(second.run("end"), "+I 3 3 3 5 2");
}

#[test]
fn waiting_rows_and_frames_are_taken_over_at_another_parallelism() {
    let calls = || {
        vec![
            call("SUM", &[1]),
            call("MAX", &[1]),
            AggregateCall {
                distinct: true,
                ..call("COUNT", &[1])
            },
        ]
    };
    for frame in [
        OverFrame::UnboundedRows,
        OverFrame::UnboundedRange,
        OverFrame::Rows { preceding: 3 },
        OverFrame::Range { preceding_ms: 40 },
    ] {
        let spec = spec(frame, calls());
        let rows: Vec<String> = (0..200i64)
            .map(|i| format!("+I {} {} {}", i % 7, i * 37 % 11, i / 2))
            .collect();
        let rows = rows.join("\n");
        let mut straight = harness(&spec);
        straight.run(&rows);
        straight.run("watermark 50");
        let mut expected: Vec<String> = straight.run("end").lines().map(str::to_owned).collect();
        assert!(expected.len() > 50);
        expected.sort();
        for parallelism in [1, 3] {
            let mut first = harness(&spec);
            first.run(&rows);
            first.run("watermark 50");
            let mut out = vec![];
            for index in 0..parallelism {
                let operator = Box::new(OverAggregate::new(&spec).unwrap());
                let mut second = Harness::restored(operator, SCHEMA, (index, parallelism), vec![first.snapshot()]);
                let told = second.run("end");
                let mine: Vec<String> = told.lines().map(str::to_owned).collect();
                let key = |row: &String| row.split(' ').nth(1).unwrap().parse().unwrap();
                assert!(mine.iter().all(|row| owner(key(row), parallelism) == index));
                out.extend(mine);
            }
            out.sort();
            assert_eq!(out, expected, "{frame:?} restored at parallelism {parallelism}");
        }
    }
}

#[test]
fn partitions_without_bound_are_forgotten_by_time_to_live() {
    let spec = OverAggregateSpec {
        ttl_ms: 1000,
        ..sum_and_count(OverFrame::UnboundedRows)
    };
    for backend in [StateBackend::default(), in_tiers("1")] {
        let mut op = Harness::with_backend(Box::new(OverAggregate::new(&spec).unwrap()), SCHEMA, backend);
        assert_eq!(
            op.run("clock 100\n+I 1 5 10\n+I 2 7 10\n+I 3 1 50\nwatermark 10"),
            "+I 1 5 10 5 1\n+I 2 7 10 7 1"
        );
        // A row of partition 3 waits, so that it stays.
        assert_eq!(
            op.run("timer 5000\n+I 1 2 20\n+I 3 4 50\nwatermark 20"),
            "+I 1 2 20 2 1"
        );
        assert_eq!(op.run("timer 6000\nwatermark 50"), "+I 3 1 50 1 1\n+I 3 4 50 5 2");
        op.run("timer 9000");
        assert_eq!(op.next_timer(), None, "nothing is left to look at");
    }
}

#[test]
fn many_rows_are_told_in_pieces() {
    for frame in [OverFrame::UnboundedRange, OverFrame::Rows { preceding: 2 }] {
        let mut op = harness(&sum_and_count(frame));
        let rows: String = (0..20_000)
            .map(|i| format!("+I {} 1 {}\n", i % 3, i / 10_000))
            .collect();
        op.run(&rows);
        assert_eq!(op.run("end").lines().count(), 20_000);
        assert!(op.largest_call <= 8192, "{} rows in one call", op.largest_call);
    }
}

/// 200 texts of 4 KB: a list of all takes 800 KB, all lists 80 MB.
fn long_texts(time: impl Fn(usize) -> i64) -> Vec<Batch> {
    let text = |i: usize| format!("{i} {}", "x".repeat(4000));
    let batch = |rows: std::ops::Range<usize>| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1; rows.len()])),
            Arc::new(StringArray::from_iter_values(rows.clone().map(text))),
            Arc::new(TimestampMillisecondArray::from_iter_values(rows.clone().map(&time))),
        ];
        Batch::new(columns, rows.len())
    };
    vec![batch(0..100), batch(100..200)]
}

fn collecting(order: OverOrder, frame: OverFrame) -> OverAggregateSpec {
    let text = LogicalType::string();
    let collect = |function: &str, ty| AggregateCall {
        ty,
        ..call(function, &[1])
    };
    let calls = vec![
        collect("LISTAGG", text.clone()),
        collect("ARRAY_AGG", LogicalType::new(TypeKind::Array(Box::new(text.clone())))),
        collect("MAX", text.clone()),
    ];
    let mut spec = OverAggregateSpec {
        order,
        ..spec(frame, calls)
    };
    spec.input[1].ty = text;
    spec
}

#[test]
fn values_that_grow_are_told_in_pieces_with_room() {
    let event_time = OverOrder::EventTime { column: 2 };
    let cases = [
        (event_time, OverFrame::UnboundedRows, false),
        (event_time, OverFrame::UnboundedRange, false),
        // All peers are told with the whole list.
        (event_time, OverFrame::UnboundedRange, true),
        (event_time, OverFrame::Range { preceding_ms: 1000 }, false),
        (event_time, OverFrame::Rows { preceding: 150 }, false),
        (OverOrder::ProcessingTime, OverFrame::UnboundedRows, false),
    ];
    for (order, frame, are_peers) in cases {
        let spec = collecting(order, frame);
        let mut op = Harness::new(
            Box::new(OverAggregate::new(&spec).unwrap()),
            "k BIGINT, v STRING, t TIMESTAMP(3)",
        );
        let mut told = vec![];
        for batch in long_texts(|i| if are_peers { 7 } else { i as i64 }) {
            told.extend(op.process(batch));
        }
        told.extend(op.watermark(1000));
        let lengths: Vec<usize> = told
            .iter()
            .flat_map(|batch| batch.column(3).as_string::<i32>().iter().map(|v| v.unwrap().len()))
            .collect();
        let elements = told.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(|row| batch.column(4).as_list::<i32>().value_length(row) as usize)
        });
        let in_frame = |row: usize| match frame {
            _ if are_peers => 200,
            OverFrame::Rows { preceding } => (row + 1).min(preceding as usize + 1),
            _ => row + 1,
        };
        assert!(elements.eq((0..200).map(in_frame)), "{order:?} {frame:?}");
        let longest = *lengths.iter().max().unwrap();
        assert!(lengths[0] >= 4000 && longest > 600_000);
        // One row always has room: its text twice over, as text and as list.
        let most = 2 * crate::operators::MAX_EMITTED_BYTES + 3 * longest;
        assert!(
            op.largest_bytes < most,
            "{order:?} {frame:?}: {} bytes in one call",
            op.largest_bytes
        );
    }
}

#[test]
fn peers_that_come_in_pieces_have_the_rank_of_the_first() {
    let mut spec = collecting(OverOrder::EventTime { column: 2 }, OverFrame::UnboundedRange);
    spec.aggregates = vec![call("RANK", &[]), call("DENSE_RANK", &[]), call("COUNT", &[])];
    let mut op = Harness::new(
        Box::new(OverAggregate::new(&spec).unwrap()),
        "k BIGINT, v STRING, t TIMESTAMP(3)",
    );
    // 80 MB of peers behind one row, which are more than a piece.
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1; 81])),
        Arc::new(StringArray::from_iter_values((0..81).map(|_| "x".repeat(1_000_000)))),
        Arc::new(TimestampMillisecondArray::from_iter_values(
            (0..81).map(|i| i64::from(i > 0)),
        )),
    ];
    assert!(op.process(Batch::new(columns, 81)).is_empty());
    let told = op.watermark(10);
    let column = |index: usize| {
        let of_batch = |batch: &Batch| batch.column(index).as_primitive::<Int64Type>().values().to_vec();
        told.iter().flat_map(of_batch).collect::<Vec<i64>>()
    };
    let behind_first = |first: i64, peers: i64| [vec![first], vec![peers; 80]].concat();
    assert_eq!(column(3), behind_first(1, 2));
    assert_eq!(column(4), behind_first(1, 2));
    assert_eq!(column(5), behind_first(1, 81));
    assert!(op.largest_bytes < 6 << 20, "{} bytes in one call", op.largest_bytes);
}
