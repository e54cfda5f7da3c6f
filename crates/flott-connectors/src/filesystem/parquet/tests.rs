use super::super::FilesystemConnector;
use super::super::enumerator::FileSplit;
use super::super::tests::{checkpoint, committer_of, context, read, splits_of};
use super::columns::{Zone, from_file};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray};
use flott_core::{Batch, Field, LogicalType, Options, TypeKind};
use flott_formats::EncodedRows;
use flott_runtime::connector::{ScanSpec, SinkSpec, Split, TableSpec};
use flott_runtime::{Source, SourceReader, TableConnector};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn table(path: &Path, columns: &[Field], more: &[(&str, &str)]) -> TableSpec {
    let path = path.to_str().unwrap();
    let options = [("connector", "filesystem"), ("path", path), ("format", "parquet")];
    TableSpec {
        name: "c.d.t".into(),
        options: options.iter().chain(more).copied().collect(),
        columns: columns.to_vec(),
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    }
}

fn source_of(table: TableSpec, fields: &[Field]) -> Box<dyn Source> {
    let scan = ScanSpec {
        fields: fields.to_vec(),
        table,
        metadata: vec![],
        watermark: None,
        partitions: None,
    };
    FilesystemConnector.source(&scan).unwrap()
}

async fn reader_of(source: &dyn Source) -> Box<dyn SourceReader> {
    let mut reader = source.reader(&context(0, 0)).unwrap();
    reader.add_splits(splits_of(source).await).unwrap();
    reader.no_more_splits();
    reader
}

/// Rows as JSON lines.
fn lines(batches: &[(usize, Batch)], fields: &[Field]) -> Vec<String> {
    let mut encoder = flott_formats::encoder("json", &Options::new(), fields).unwrap();
    let mut rows = EncodedRows::new();
    for (_, batch) in batches {
        encoder.encode(batch.columns(), batch.num_rows(), &mut rows).unwrap();
    }
    rows.iter()
        .map(|r| String::from_utf8(r.unwrap().to_vec()).unwrap())
        .collect()
}

/// Writes JSON lines as the rows of a table's files.
async fn write(table: &TableSpec, text: &[String]) {
    let mut decoder = flott_formats::decoder("json", &Options::new(), &table.columns, &table.columns).unwrap();
    let spec = SinkSpec {
        table: table.clone(),
        fields: table.columns.clone(),
        metadata: vec![],
        updating: false,
    };
    let sink = FilesystemConnector.sink(&spec).unwrap();
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    for rows in text.chunks(100) {
        rows.iter()
            .for_each(|line| assert_eq!(decoder.decode(line.as_bytes()).unwrap(), 1));
        let count = decoder.rows();
        writer.write(Batch::new(decoder.finish(), count)).unwrap();
    }
    let parts = checkpoint(writer.as_mut(), 1);
    committer_of(sink.as_ref()).commit(&parts).await.unwrap();
}

fn ty(kind: TypeKind) -> LogicalType {
    LogicalType::new(kind)
}

fn all_types() -> Vec<Field> {
    let row = TypeKind::Row(vec![
        Field::new("x", LogicalType::bigint()),
        Field::new("at", ty(TypeKind::TimestampLtz(3))),
    ]);
    vec![
        Field::new("id", LogicalType::not_null(TypeKind::BigInt)),
        Field::new("flag", ty(TypeKind::Boolean)),
        Field::new("tiny", ty(TypeKind::TinyInt)),
        Field::new("small", ty(TypeKind::SmallInt)),
        Field::new("int", ty(TypeKind::Int)),
        Field::new("float", ty(TypeKind::Float)),
        Field::new("double", ty(TypeKind::Double)),
        Field::new("price", ty(TypeKind::Decimal(10, 2))),
        Field::new("huge", ty(TypeKind::Decimal(38, 4))),
        Field::new("word", LogicalType::string()),
        Field::new("code", ty(TypeKind::Char(2))),
        Field::new("raw", ty(TypeKind::Varbinary(9))),
        Field::new("day", ty(TypeKind::Date)),
        Field::new("clock", ty(TypeKind::Time(3))),
        Field::new("wall", ty(TypeKind::Timestamp(6))),
        Field::new("instant", ty(TypeKind::TimestampLtz(3))),
        Field::new("list", ty(TypeKind::Array(Box::new(ty(row.clone()))))),
        Field::new(
            "map",
            ty(TypeKind::Map(
                Box::new(LogicalType::not_null(TypeKind::Varchar(9))),
                Box::new(ty(TypeKind::Timestamp(3))),
            )),
        ),
        Field::new("bag", ty(TypeKind::Multiset(Box::new(LogicalType::string())))),
        Field::new("row", ty(row)),
    ]
}

fn row_of(id: usize) -> String {
    if id % 7 == 3 {
        let nulls = [
            "flag", "tiny", "small", "int", "float", "double", "price", "huge", "word", "code", "raw", "day",
        ]
        .iter()
        .chain(&["clock", "wall", "instant", "list", "map", "bag", "row"]);
        let nulls: Vec<String> = nulls.map(|n| format!("\"{n}\":null")).collect();
        return format!("{{\"id\":{id},{}}}", nulls.join(","));
    }
    let (text, day) = ("x".repeat(id % 5), id % 28 + 1);
    format!(
        "{{\"id\":{id},\"flag\":{},\"tiny\":{},\"small\":-1{id},\"int\":{id},\"float\":0.5,\"double\":{id}.25,\"price\":{id}.05,\
         \"huge\":123456789012345678901234567.8901,\"word\":\"ü{text}\",\"code\":\"ab\",\"raw\":\"AAEC\",\"day\":\"2020-02-{day:02}\",\
         \"clock\":\"01:02:03\",\"wall\":\"1600-01-02 03:04:05.123456\",\"instant\":\"2026-03-29 00:30:00.123Z\",\
         \"list\":[{{\"x\":{id},\"at\":\"2020-01-01 00:00:00.001Z\"}},null,{{\"x\":null,\"at\":null}}],\
         \"map\":{{\"k{id}\":\"2020-01-01 00:00:00\",\"n\":null}},\"bag\":{{\"a\":2,\"b\":{id}}},\
         \"row\":{{\"x\":{id},\"at\":\"2020-01-01 00:00:00.001Z\"}}}}",
        id.is_multiple_of(2),
        id % 100,
    )
}

fn id_of(line: &str) -> usize {
    line[6..].split([',', '}']).next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_type_is_written_and_read_back_and_positions_are_kept() {
    let columns = all_types();
    for more in [
        vec![("parquet.block.size", "20 kb"), ("parquet.page.size", "1 kb")],
        vec![
            ("parquet.compression", "zstd"),
            ("parquet.timestamp.time.unit", "micros"),
            ("parquet.writer.version", "v2"),
        ],
        vec![("parquet.compression", "GZIP"), ("parquet.enable.dictionary", "false")],
        vec![("parquet.compression", "LZ4_RAW")],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let table = table(folder.path(), &columns, &more);
        let text: Vec<String> = (0..1000).map(row_of).collect();
        write(&table, &text).await;
        let source = source_of(table.clone(), &columns);
        let whole = lines(&read(reader_of(source.as_ref()).await.as_mut(), usize::MAX), &columns);
        assert_eq!(whole, text, "{more:?}");
        // Stopped after each batch and restored, with batches that end within row groups.
        let mut small = table.clone();
        small.options.set("parquet.batch-size", "77");
        let source = source_of(small, &columns);
        let mut reader = reader_of(source.as_ref()).await;
        let mut found = vec![];
        loop {
            let batches = read(reader.as_mut(), 1);
            if batches.is_empty() {
                break;
            }
            found.extend(lines(&batches, &columns));
            let splits = reader.snapshot(1).unwrap();
            reader = source.reader(&context(0, 1)).unwrap();
            reader.add_splits(splits).unwrap();
            reader.no_more_splits();
        }
        assert_eq!(found, text, "{more:?}");
    }
}

#[tokio::test]
async fn row_groups_are_read_once_wherever_the_file_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let columns = [
        Field::new("id", LogicalType::bigint()),
        Field::new("word", LogicalType::string()),
    ];
    let table = table(
        folder.path(),
        &columns,
        &[("parquet.block.size", "1 kb"), ("parquet.compression", "UNCOMPRESSED")],
    );
    let text: Vec<String> = (0..600)
        .map(|id| format!("{{\"id\":{id},\"word\":\"w{}\"}}", id * 7919 % 1000))
        .collect();
    write(&table, &text).await;
    let path = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let size_bytes = path.metadata().unwrap().len();
    // Asked for in another order than the file's, and one column that it does not have.
    let fields = [
        columns[1].clone(),
        columns[0].clone(),
        Field::new("none", LogicalType::bigint()),
    ];
    let mut wider = table.clone();
    wider.columns.push(fields[2].clone());
    let source = source_of(wider, &fields);
    for cut in (0..=size_bytes).step_by(97) {
        let split = |start: u64, end: u64, ordinal: u64| {
            let state = FileSplit {
                path: path.clone(),
                start,
                end,
                position: None,
                ordinal,
                size_bytes,
                modified_ms: 0,
            };
            Split {
                id: state.id(),
                state: serde_json::to_vec(&state).unwrap(),
            }
        };
        let mut reader = source.reader(&context(0, 0)).unwrap();
        reader
            .add_splits(vec![split(0, cut, 0), split(cut, u64::MAX, 1)])
            .unwrap();
        reader.no_more_splits();
        let batches = read(reader.as_mut(), usize::MAX);
        let ids: Vec<i64> = batches
            .iter()
            .flat_map(|(_, b)| b.column(1).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        assert_eq!(ids, (0..600).collect::<Vec<_>>(), "cut at {cut}");
        assert!(batches.iter().all(|(_, b)| b.column(2).null_count() == b.num_rows()));
    }
    // No column at all: only the rows count.
    let counting = source_of(table, &[]);
    let batches = read(reader_of(counting.as_ref()).await.as_mut(), usize::MAX);
    assert_eq!(batches.iter().map(|(_, b)| b.num_rows()).sum::<usize>(), 600);
}

#[tokio::test]
async fn partitions_hold_their_rows_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let columns = [
        Field::new("id", LogicalType::bigint()),
        Field::new("day", LogicalType::string()),
    ];
    let mut table = table(folder.path(), &columns, &[("parquet.block.size", "64 kb")]);
    table.partition_keys = vec!["day".into()];
    let text: Vec<String> = (0..5000)
        .map(|id| format!("{{\"id\":{id},\"day\":\"d{}\"}}", id % 5))
        .collect();
    write(&table, &text).await;
    let source = source_of(table, &columns);
    let mut found = lines(&read(reader_of(source.as_ref()).await.as_mut(), usize::MAX), &columns);
    found.sort_by_key(|line| id_of(line));
    assert_eq!(found, text);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
}

fn of_pyarrow() -> Vec<Field> {
    let deep = TypeKind::Row(vec![
        Field::new("d", ty(TypeKind::Double)),
        Field::new("c", LogicalType::string()),
    ]);
    vec![
        Field::new(
            "row",
            ty(TypeKind::Row(vec![
                Field::new("b", ty(deep)),
                Field::new("a", LogicalType::bigint()),
            ])),
        ),
        Field::new("id", ty(TypeKind::Int)),
        Field::new("small", ty(TypeKind::TinyInt)),
        Field::new("unsigned", LogicalType::bigint()),
        Field::new("word", LogicalType::string()),
        Field::new("bytes", ty(TypeKind::Varbinary(9))),
        Field::new("fixed", ty(TypeKind::Binary(2))),
        Field::new("amount", ty(TypeKind::Decimal(10, 3))),
        Field::new("day", ty(TypeKind::Date)),
        Field::new("at", ty(TypeKind::Time(3))),
        Field::new("wall", ty(TypeKind::Timestamp(3))),
        Field::new("instant", ty(TypeKind::TimestampLtz(6))),
        Field::new("list", ty(TypeKind::Array(Box::new(LogicalType::string())))),
        Field::new(
            "map",
            ty(TypeKind::Map(
                Box::new(LogicalType::not_null(TypeKind::Varchar(9))),
                Box::new(ty(TypeKind::Int)),
            )),
        ),
    ]
}

#[tokio::test]
async fn what_another_writer_wrote_is_read() {
    let fields = of_pyarrow();
    for name in ["pyarrow.parquet", "pyarrow-int96.parquet"] {
        let table = table(&data(name), &fields, &[("parquet.utc-timezone", "true")]);
        let source = source_of(table, &fields);
        let found = lines(&read(reader_of(source.as_ref()).await.as_mut(), usize::MAX), &fields);
        // INT96 holds the wall clock's milliseconds; the other file's instants were in milliseconds.
        assert_eq!(
            found,
            [
                "{\"row\":{\"b\":{\"d\":2.5,\"c\":\"deep\"},\"a\":1},\"id\":1,\"small\":1,\"unsigned\":1,\"word\":\"a\",\"bytes\":\"AAE=\",\
                 \"fixed\":\"YWI=\",\"amount\":1.2,\"day\":\"2020-02-29\",\"at\":\"01:02:03\",\"wall\":\"2026-03-29 00:30:00.123\",\
                 \"instant\":\"2026-03-29 00:30:00.123Z\",\"list\":[\"x\",null],\"map\":{\"k\":1}}",
                "{\"row\":null,\"id\":2,\"small\":null,\"unsigned\":2,\"word\":null,\"bytes\":\"\",\"fixed\":\"Y2Q=\",\"amount\":null,\
                 \"day\":null,\"at\":null,\"wall\":null,\"instant\":null,\"list\":[],\"map\":{}}",
                "{\"row\":{\"b\":null,\"a\":null},\"id\":3,\"small\":-3,\"unsigned\":4294967295,\"word\":\"ü\",\"bytes\":null,\"fixed\":null,\
                 \"amount\":-3.45,\"day\":\"1969-12-31\",\"at\":\"23:59:59\",\"wall\":\"1600-01-01 00:00:00\",\
                 \"instant\":\"1600-01-01 00:00:00Z\",\"list\":null,\"map\":null}",
            ],
            "{name}"
        );
    }
}

#[test]
fn an_int96_instant_becomes_a_wall_clock_time_in_the_machines_zone() {
    let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, -1]).with_timezone("INT96"));
    let read = |kind: TypeKind, zone: Zone| from_file(&column, &ty(kind), zone).unwrap();
    let wall = read(TypeKind::Timestamp(3), Zone::Fixed(3600));
    assert_eq!(
        wall.as_primitive::<arrow_array::types::TimestampMillisecondType>()
            .values(),
        &[3_601_500, 3_599_999]
    );
    let instant = read(TypeKind::TimestampLtz(3), Zone::Fixed(3600));
    assert_eq!(
        instant
            .as_primitive::<arrow_array::types::TimestampMillisecondType>()
            .values(),
        &[1_500, -1]
    );
    let seconds = read(TypeKind::Timestamp(0), Zone::Utc);
    assert_eq!(
        seconds
            .as_primitive::<arrow_array::types::TimestampMillisecondType>()
            .values(),
        &[1_000, -1_000]
    );
}

/// The error of reading a file as these columns.
async fn refused(path: &Path, columns: &[Field]) -> String {
    let source = source_of(table(path, columns, &[]), columns);
    let mut reader = reader_of(source.as_ref()).await;
    loop {
        match reader.poll(0) {
            Err(e) => {
                assert!(!e.is_retryable(), "{e}");
                return e.to_string();
            }
            Ok(flott_runtime::connector::ReaderPoll::Finished) => panic!("the file was read"),
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn other_types_and_damaged_files_are_refused_by_name() {
    let wrong = |name: &str, kind: TypeKind| [Field::new(name, ty(kind))];
    let file = data("pyarrow.parquet");
    let error = refused(&file, &wrong("word", TypeKind::Int)).await;
    assert!(
        error.contains("pyarrow.parquet' cannot be read: column 'word' is Utf8 in the file and INT in the table"),
        "{error}"
    );
    let error = refused(&file, &wrong("unsigned", TypeKind::SmallInt)).await;
    assert!(
        error.contains("column 'unsigned' cannot be read as SMALLINT") && error.contains("4294967295"),
        "{error}"
    );
    let error = refused(&file, &wrong("wall", TypeKind::Timestamp(9))).await;
    assert!(error.contains("choose a smaller precision"), "{error}");
    let error = refused(&file, &[Field::new("small", LogicalType::not_null(TypeKind::Int))]).await;
    assert!(
        error.contains("'small' is NOT NULL in the table, and NULL in the file"),
        "{error}"
    );
    let error = refused(&file, &[Field::new("gone", LogicalType::not_null(TypeKind::Int))]).await;
    assert!(
        error.contains("'gone' is NOT NULL in the table, and not in the file"),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let damaged = folder.path().join("damaged.parquet");
    let columns = wrong("word", TypeKind::Varchar(9));
    for content in [
        &b""[..],
        b"PAR1",
        b"{\"a\":1}\n",
        &bytes[..bytes.len() / 2],
        &bytes[100..],
    ] {
        std::fs::write(&damaged, content).unwrap();
        let error = refused(&damaged, &columns).await;
        assert!(
            error.contains("damaged.parquet' cannot be read: it is no sound parquet file"),
            "{error}"
        );
        assert!(
            error.contains("replace it, or move it out of the table's 'path'"),
            "{error}"
        );
    }
}

/// Whatever bytes are turned, a file is read or refused.
#[tokio::test]
async fn turned_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(data("pyarrow.parquet")).unwrap();
    let path = folder.path().join("turned.parquet");
    let columns = of_pyarrow();
    let source = source_of(table(&path, &columns, &[]), &columns);
    for at in (0..bytes.len()).step_by(41) {
        let mut turned = bytes.clone();
        turned[at] ^= 1 << (at % 8);
        std::fs::write(&path, &turned).unwrap();
        let mut reader = reader_of(source.as_ref()).await;
        while let Ok(polled) = reader.poll(0) {
            if matches!(polled, flott_runtime::connector::ReaderPoll::Finished) {
                break;
            }
        }
    }
}

#[test]
fn wrong_options_and_types_are_refused_with_the_remedy() {
    let columns = [Field::new("a", LogicalType::bigint())];
    let refused = |columns: &[Field], key: &str, value: &str| {
        let table = table(Path::new("/tmp"), columns, &[(key, value)]);
        let sink = FilesystemConnector
            .check_sink(&table, &Options::new())
            .unwrap_err()
            .to_string();
        let source = FilesystemConnector.check_source(&table).unwrap_err().to_string();
        assert_eq!(sink, source);
        sink
    };
    let plain = |key, value| refused(&columns, key, value);
    assert!(plain("parquet.compresion", "GZIP").contains("did you mean 'parquet.compression'"));
    assert!(plain("parquet.compression", "LZO").contains("'LZO', but needs"));
    assert!(plain("parquet.write.int64.timestamp", "false").contains("leave it out"));
    assert!(plain("parquet.block.size", "many").contains("parquet.block.size"));
    let zstd = [
        ("parquet.compression", "ZSTD"),
        ("parquet.compression.codec.zstd.level", "99"),
    ];
    let error = FilesystemConnector
        .check_source(&table(Path::new("/tmp"), &columns, &zstd))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("'parquet.compression.codec.zstd.level' cannot be '99'"),
        "{error}"
    );
    let interval = [Field::new("i", ty(TypeKind::IntervalDayTime))];
    assert!(refused(&interval, "path", "/tmp").contains("cannot carry column 'i'"));
}
