use super::*;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use flott_core::{Field, LogicalType, TypeKind};
use flott_runtime::connector::{ReaderPoll, SourceReader};

fn table(columns: Vec<Field>, options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        name: "c.d.t".into(),
        options: [("connector", "datagen")].iter().chain(options).copied().collect(),
        columns,
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    }
}

fn field(name: &str, kind: TypeKind) -> Field {
    Field::new(name, LogicalType::new(kind))
}

fn reader(table: &TableSpec, lanes: impl Iterator<Item = u64>, made: u64) -> reader::DatagenReader {
    let settings = settings(table, &table.columns).unwrap();
    let mut reader = reader::DatagenReader::new(Arc::new(settings), Arc::default(), Default::default());
    let split = |lane| Split {
        id: format!("lane-{lane}"),
        state: serde_json::to_vec(&Lane { lane, made, seed: 42 }).unwrap(),
    };
    reader.add_splits(lanes.map(split).collect()).unwrap();
    reader.no_more_splits();
    reader
}

/// Polls until nothing is left, the clock moving to where the reader asks for it.
fn drain(reader: &mut reader::DatagenReader) -> (Vec<ArrayRef>, i64) {
    let (mut now_ms, mut first, mut finished) = (1_000_000, vec![], 0);
    loop {
        match reader.poll(now_ms).unwrap() {
            ReaderPoll::Batch { split, batch } => {
                assert_eq!(split, 0);
                first.push(batch.column(0).clone());
            }
            ReaderPoll::SplitFinished(_) => finished += 1,
            ReaderPoll::Idle { until_ms } => {
                assert!(until_ms.unwrap() > now_ms);
                now_ms = until_ms.unwrap();
            }
            ReaderPoll::Finished => break,
        }
    }
    assert!(finished > 0);
    (first, now_ms - 1_000_000)
}

fn integers(parts: &[ArrayRef]) -> Vec<i64> {
    parts
        .iter()
        .flat_map(|p| p.as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

#[test]
fn a_sequence_comes_in_order_and_ends() {
    let options = [
        ("fields.n.kind", "sequence"),
        ("fields.n.start", "5"),
        ("fields.n.end", "304"),
    ];
    let table = table(vec![field("n", TypeKind::BigInt)], &options);
    assert_eq!(
        DatagenConnector.check_source(&table).unwrap().boundedness,
        Boundedness::Bounded
    );
    let (parts, _) = drain(&mut reader(&table, 0..LANES, 0));
    assert_eq!(integers(&parts), (5..=304).collect::<Vec<_>>());
    // Two readers share it.
    let (even, _) = drain(&mut reader(&table, (0..LANES).step_by(2), 0));
    let (odd, _) = drain(&mut reader(&table, (1..LANES).step_by(2), 0));
    let mut both = [integers(&even), integers(&odd)].concat();
    both.sort_unstable();
    assert_eq!(both, (5..=304).collect::<Vec<_>>());
}

#[test]
fn the_rate_is_kept_and_shared() {
    let options = [("rows-per-second", "1000"), ("number-of-rows", "2000")];
    let table = table(vec![field("n", TypeKind::BigInt)], &options);
    let (parts, took_ms) = drain(&mut reader(&table, 0..LANES, 0));
    assert_eq!(integers(&parts).len(), 2000);
    assert!((1900..=2100).contains(&took_ms), "{took_ms}");
    let (parts, took_ms) = drain(&mut reader(&table, 0..LANES / 2, 0));
    assert_eq!(integers(&parts).len(), 1024);
    assert!((1900..=2200).contains(&took_ms), "{took_ms}");
}

#[test]
fn a_restored_reader_makes_the_rows_that_were_to_come() {
    let table = table(
        vec![field("n", TypeKind::BigInt)],
        &[("number-of-rows", "50000"), ("rows-per-second", "1000000")],
    );
    let (whole, _) = drain(&mut reader(&table, 0..LANES, 0));
    let mut first = reader(&table, 0..LANES, 0);
    let ReaderPoll::Batch { batch, .. } = first.poll(0).unwrap() else {
        panic!("no batch")
    };
    let mut second = reader(&table, 0..0, 0);
    second.add_splits(first.snapshot(1).unwrap()).unwrap();
    let (rest, _) = drain(&mut second);
    let parts = [vec![batch.column(0).clone()], rest].concat();
    assert_eq!(integers(&parts), integers(&whole));
}

#[test]
fn values_keep_to_their_bounds() {
    let columns = vec![
        field("i", TypeKind::Int),
        field("s", TypeKind::Varchar(flott_core::types::MAX_LENGTH)),
        field("d", TypeKind::Decimal(5, 2)),
        field("t", TypeKind::Timestamp(3)),
        field("a", TypeKind::Array(Box::new(LogicalType::bigint()))),
        field(
            "r",
            TypeKind::Row(vec![field("x", TypeKind::Double), field("y", TypeKind::Boolean)]),
        ),
        field(
            "m",
            TypeKind::Map(
                Box::new(LogicalType::string().with_nullable(false)),
                Box::new(LogicalType::int()),
            ),
        ),
        field("f", TypeKind::Double),
    ];
    let options = [
        ("fields.i.min", "-3"),
        ("fields.i.max", "3"),
        ("fields.s.length", "5"),
        ("fields.s.null-rate", "0.5"),
        ("fields.t.max-past", "10 s"),
        ("fields.a.length", "2"),
        ("fields.a.element.min", "0"),
        ("fields.r.x.max", "1"),
        ("fields.r.x.min", "0"),
    ];
    let table = table(columns, &options);
    let settings = settings(&table, &table.columns).unwrap();
    let rows: Vec<u64> = (0..1000).collect();
    let batch: Vec<ArrayRef> = settings
        .generators
        .iter()
        .map(|g| g.column(1, &rows, 1_000_000))
        .collect();
    for (column, field) in batch.iter().zip(&table.columns) {
        assert_eq!(column.data_type(), &field.ty.to_arrow());
        column.to_data().validate_full().unwrap();
    }
    let ints = batch[0].as_primitive::<Int32Type>().values().to_vec();
    assert!((-3..=3).all(|n| ints.contains(&n)) && ints.iter().all(|n| (-3..=3).contains(n)));
    // The whole span of DOUBLE is drawn from, not its ends.
    let doubles = batch[7]
        .as_primitive::<arrow_array::types::Float64Type>()
        .values()
        .to_vec();
    assert!(doubles.iter().filter(|d| **d > 0.0).count() > 300 && !doubles.contains(&f64::MAX));
    let texts = batch[1].as_string::<i32>();
    assert!((400..600).contains(&texts.null_count()));
    assert!(texts.iter().flatten().all(|t| t.len() == 5));
    let times = batch[3]
        .as_primitive::<arrow_array::types::TimestampMillisecondType>()
        .values()
        .to_vec();
    assert!(times.iter().all(|t| (990_000..=1_000_000).contains(t)));
    assert!(
        batch[4]
            .as_list::<i32>()
            .value(7)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .all(|n| *n >= 0)
    );
}

#[test]
fn wrong_options_are_named() {
    let check = |options: &[(&str, &str)]| {
        let table = table(
            vec![field("n", TypeKind::BigInt), field("b", TypeKind::Boolean)],
            options,
        );
        DatagenConnector.check_source(&table).unwrap_err().to_string()
    };
    assert!(check(&[("rows-per-secnd", "1")]).contains("did you mean 'rows-per-second'"));
    assert!(check(&[("fields.m.min", "1")]).contains("names no column"));
    assert!(check(&[("fields.n.mim", "1")]).contains("did you mean 'fields.n.min'"));
    assert!(check(&[("fields.b.min", "1")]).contains("does not fit the type"));
    assert!(check(&[("fields.n.kind", "sequence")]).contains("needs the option 'fields.n.start'"));
    assert!(check(&[("fields.b.kind", "sequence")]).contains("numeric or string"));
    assert!(check(&[("fields.n.min", "2"), ("fields.n.max", "1")]).contains("greater than"));
}
