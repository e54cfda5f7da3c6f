use super::*;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;
use flott_core::clock::SystemClock;
use flott_core::{Batch, Field, JobId, LogicalType, OperatorId};
use flott_runtime::connector::{Boundedness, MetadataKey, ReaderPoll, Split};
use flott_runtime::{Flow, TaskInfo};
use std::path::Path;

fn columns() -> Vec<Field> {
    vec![
        Field::new("n", LogicalType::bigint()),
        Field::new("s", LogicalType::string()),
    ]
}

fn table(path: &Path, format: &str, more: &[(&str, &str)]) -> TableSpec {
    let path = path.to_str().unwrap();
    let options = [("connector", "filesystem"), ("path", path), ("format", format)];
    TableSpec {
        name: "c.d.t".into(),
        options: options.iter().chain(more).copied().collect(),
        columns: columns(),
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    }
}

fn scan(table: TableSpec, metadata: Vec<MetadataKey>) -> ScanSpec {
    ScanSpec {
        fields: columns(),
        table,
        metadata,
        watermark: None,
        partitions: None,
    }
}

/// A context; its runtime is the one that the test runs in.
pub(super) fn context(subtask: usize, attempt: u64) -> OperatorContext {
    OperatorContext {
        task: Arc::new(TaskInfo {
            job_id: JobId::of("submission"),
            job_name: "job".into(),
            task_name: "task".into(),
            subtask,
            parallelism: 2,
            max_parallelism: 128,
            attempt,
            generation: 1,
            options: Arc::default(),
        }),
        operator_id: OperatorId::of("sink"),
        operator_name: "sink".into(),
        waker: flott_runtime::Waker::new(),
        clock: Arc::new(SystemClock),
        runtime: tokio::runtime::Handle::current(),
        metrics: Arc::default(),
        restored: None,
        backend: Default::default(),
    }
}

pub(super) async fn splits_of(source: &dyn Source) -> Vec<Split> {
    source.enumerator(None).unwrap().discover().await.unwrap()
}

/// Reads `batches` batches, or all there are.
pub(super) fn read(reader: &mut dyn SourceReader, batches: usize) -> Vec<(usize, Batch)> {
    let mut read = vec![];
    while read.len() < batches {
        match reader.poll(0).unwrap() {
            ReaderPoll::Batch { split, batch } => {
                assert!(reader.is_active(split));
                read.push((split, batch));
            }
            ReaderPoll::SplitFinished(_) => {}
            ReaderPoll::Idle { .. } => panic!("idle with splits to read"),
            ReaderPoll::Finished => break,
        }
    }
    read
}

pub(super) fn numbers(batches: &[(usize, Batch)]) -> Vec<i64> {
    let numbers = batches
        .iter()
        .flat_map(|(_, b)| b.column(0).as_primitive::<Int64Type>().values().to_vec());
    let mut numbers: Vec<i64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

fn json_line(n: i64) -> String {
    format!("{{\"n\":{n},\"s\":\"{}\"}}\n", "x".repeat(n as usize % 100))
}

#[tokio::test]
async fn every_line_is_read_once_by_any_number_of_subtasks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.json");
    let mut text = String::new();
    let mut rows = 0;
    while text.len() < 40 << 20 {
        text.push_str(&json_line(rows));
        rows += 1;
    }
    // The last line has no line end.
    text.pop();
    std::fs::write(&path, &text).unwrap();
    let source = FilesystemConnector
        .source(&scan(table(&path, "json", &[]), vec![]))
        .unwrap();
    assert_eq!(source.boundedness(), Boundedness::Bounded);
    let splits = splits_of(source.as_ref()).await;
    assert_eq!(splits.len(), 3);
    let enumerator = source.enumerator(None).unwrap();
    let mut all = vec![];
    for subtask in 0..2 {
        let mine: Vec<Split> = splits
            .iter()
            .filter(|s| enumerator.owner(s, 2) == subtask)
            .cloned()
            .collect();
        assert!(!mine.is_empty());
        let mut reader = source.reader(&context(subtask, 0)).unwrap();
        reader.add_splits(mine).unwrap();
        reader.no_more_splits();
        // Stop somewhere, and let another reader go on from the checkpoint.
        all.extend(read(reader.as_mut(), 5));
        let rest = reader.snapshot(1).unwrap();
        let mut restored = source.reader(&context(1 - subtask, 1)).unwrap();
        restored.add_splits(rest).unwrap();
        restored.no_more_splits();
        all.extend(read(restored.as_mut(), usize::MAX));
    }
    assert_eq!(numbers(&all), (0..rows).collect::<Vec<_>>());
}

#[tokio::test]
async fn range_ends_fall_anywhere_in_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.json");
    let text: String = (0..12).map(json_line).collect();
    std::fs::write(&path, &text).unwrap();
    let source = FilesystemConnector
        .source(&scan(table(&path, "json", &[]), vec![]))
        .unwrap();
    for cut in 0..=text.len() as u64 {
        let ranges = [(0, cut), (cut, u64::MAX)];
        let split = |(i, (start, end)): (usize, &(u64, u64))| {
            let state = enumerator::FileSplit {
                path: path.clone(),
                start: *start,
                end: *end,
                position: None,
                ordinal: i as u64,
                size_bytes: 0,
                modified_ms: 0,
            };
            Split {
                id: state.id(),
                state: serde_json::to_vec(&state).unwrap(),
            }
        };
        let mut reader = source.reader(&context(0, 0)).unwrap();
        reader
            .add_splits(ranges.iter().enumerate().map(split).collect())
            .unwrap();
        reader.no_more_splits();
        assert_eq!(
            numbers(&read(reader.as_mut(), usize::MAX)),
            (0..12).collect::<Vec<_>>(),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn files_are_read_side_by_side_with_their_metadata() {
    let folder = tempfile::tempdir().unwrap();
    for (name, first) in [("a.csv", 0), ("b.csv", 10_000), ("_hidden.csv", 90_000)] {
        let text: String = (first..first + 10_000)
            .map(|n| format!("{n},\"line\n{n}\"\n"))
            .collect();
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let keys = metadata::keys();
    let source = FilesystemConnector
        .source(&scan(table(folder.path(), "csv", &[]), keys.clone()))
        .unwrap();
    let mut reader = source.reader(&context(0, 0)).unwrap();
    reader.add_splits(splits_of(source.as_ref()).await).unwrap();
    reader.no_more_splits();
    let batches = read(reader.as_mut(), usize::MAX);
    assert_eq!(numbers(&batches), (0..20_000).collect::<Vec<_>>());
    assert_eq!(
        batches.iter().take(2).map(|(split, _)| *split).collect::<Vec<_>>(),
        [0, 1]
    );
    let batch = &batches[1].1;
    assert_eq!(
        batch.column(2).as_string::<i32>().value(0),
        folder.path().join("b.csv").to_str().unwrap()
    );
    assert_eq!(batch.column(3).as_string::<i32>().value(7), "b.csv");
    let size = std::fs::metadata(folder.path().join("b.csv")).unwrap().len();
    assert_eq!(batch.column(4).as_primitive::<Int64Type>().value(0), size as i64);
    assert_eq!(batch.column(5).data_type(), &keys[3].ty.to_arrow());
    // Rows of quoted fields keep their line ends.
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "line\n10000");
}

#[tokio::test]
async fn gzip_is_unpacked_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("z.json.gz");
    let mut packer = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    for n in 0..30_000 {
        std::io::Write::write_all(&mut packer, json_line(n).as_bytes()).unwrap();
    }
    packer.finish().unwrap();
    let source = FilesystemConnector
        .source(&scan(table(&path, "json", &[]), vec![]))
        .unwrap();
    let mut reader = source.reader(&context(0, 0)).unwrap();
    reader.add_splits(splits_of(source.as_ref()).await).unwrap();
    let mut all = read(reader.as_mut(), 2);
    let mut restored = source.reader(&context(0, 1)).unwrap();
    restored.add_splits(reader.snapshot(1).unwrap()).unwrap();
    restored.no_more_splits();
    all.extend(read(restored.as_mut(), usize::MAX));
    assert_eq!(numbers(&all), (0..30_000).collect::<Vec<_>>());
}

/// Two streams of `{"n":…}` lines, one after the other, as `xz` writes them.
const XZ: [u8; 144] = [
    253, 55, 122, 88, 90, 0, 0, 4, 230, 214, 180, 70, 2, 0, 33, 1, 22, 0, 0, 0, 116, 47, 229, 163, 1, 0, 15, 123, 34,
    110, 34, 58, 49, 44, 34, 115, 34, 58, 34, 97, 34, 125, 10, 0, 155, 202, 38, 29, 253, 9, 209, 39, 0, 1, 40, 16, 229,
    11, 108, 96, 31, 182, 243, 125, 1, 0, 0, 0, 0, 4, 89, 90, 253, 55, 122, 88, 90, 0, 0, 4, 230, 214, 180, 70, 2, 0,
    33, 1, 22, 0, 0, 0, 116, 47, 229, 163, 1, 0, 15, 123, 34, 110, 34, 58, 50, 44, 34, 115, 34, 58, 34, 98, 34, 125,
    10, 0, 134, 89, 180, 126, 48, 132, 30, 27, 0, 1, 40, 16, 229, 11, 108, 96, 31, 182, 243, 125, 1, 0, 0, 0, 0, 4, 89,
    90,
];

#[tokio::test]
async fn files_of_every_compression_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("a.json.xz", &XZ);
    write("broken.json.XZ", &XZ[..XZ.len() - 20]);
    let mut packed = vec![];
    for n in [3, 4] {
        let mut packer = bzip2::write::BzEncoder::new(vec![], bzip2::Compression::fast());
        std::io::Write::write_all(&mut packer, json_line(n).as_bytes()).unwrap();
        packed.extend(packer.finish().unwrap());
    }
    write("b.json.bz2", &packed);
    write("c.json.zst", &zstd::encode_all(json_line(5).as_bytes(), 1).unwrap());
    let mut packer = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, json_line(6).as_bytes()).unwrap();
    write("d.json.deflate", &packer.finish().unwrap());
    let reader = async |pattern: &str| {
        let spec = scan(table(&folder.path().join(pattern), "json", &[]), vec![]);
        let source = FilesystemConnector.source(&spec).unwrap();
        let mut reader = source.reader(&context(0, 0)).unwrap();
        reader.add_splits(splits_of(source.as_ref()).await).unwrap();
        reader.no_more_splits();
        reader
    };
    let mut sound = reader("?.json.*").await;
    assert_eq!(numbers(&read(sound.as_mut(), usize::MAX)), [1, 2, 3, 4, 5, 6]);
    let mut broken = reader("broken*").await;
    let error = loop {
        match broken.poll(0) {
            Ok(ReaderPoll::Finished) => panic!("a file without its end was read"),
            Ok(_) => {}
            Err(e) => break e.to_string(),
        }
    };
    assert!(error.contains("broken.json.XZ' cannot be read"), "{error}");
}

#[tokio::test]
async fn bad_rows_fail_are_skipped_or_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.json");
    std::fs::write(&path, "{\"n\":1}\n{\"n\":x}\n{\"n\":2}\n").unwrap();
    let reader = async |more: &[(&str, &str)]| {
        let source = FilesystemConnector
            .source(&scan(table(&path, "json", more), vec![]))
            .unwrap();
        let ctx = context(0, 0);
        let mut reader = source.reader(&ctx).unwrap();
        reader.add_splits(splits_of(source.as_ref()).await).unwrap();
        reader.no_more_splits();
        (reader, ctx.metrics)
    };
    let (mut failing, _) = reader(&[]).await;
    let error = failing.poll(0).unwrap_err();
    assert!(!error.is_retryable());
    assert!(
        error.to_string().contains("byte 8") && error.to_string().contains("'bad-rows'"),
        "{error}"
    );
    let (mut skipping, metrics) = reader(&[("bad-rows", "skip")]).await;
    assert_eq!(numbers(&read(skipping.as_mut(), usize::MAX)), [1, 2]);
    assert_eq!(metrics.bad_rows.get(), 1);
    let letters = folder.path().join("letters");
    let keep = [
        ("bad-rows", "dead-letter"),
        ("bad-rows.path", letters.to_str().unwrap()),
    ];
    let (mut keeping, metrics) = reader(&keep).await;
    assert_eq!(numbers(&read(keeping.as_mut(), usize::MAX)), [1, 2]);
    assert_eq!(metrics.bad_rows.get(), 1);
    let letter = std::fs::read_to_string(letters.join("t-0.jsonl")).unwrap();
    assert!(
        letter.contains("\"row\":\"{\\\"n\\\":x}\"") && letter.contains("byte 8"),
        "{letter}"
    );
    let (mut ignoring, metrics) = reader(&[("json.ignore-parse-errors", "true")]).await;
    assert_eq!(numbers(&read(ignoring.as_mut(), usize::MAX)), [1, 2]);
    assert_eq!(metrics.bad_rows.get(), 1);
}

#[tokio::test]
async fn new_files_are_found_once() {
    let folder = tempfile::tempdir().unwrap();
    let watched = folder.path().join("in");
    let spec = scan(table(&watched, "json", &[("source.monitor-interval", "1 s")]), vec![]);
    let source = FilesystemConnector.source(&spec).unwrap();
    assert_eq!(source.boundedness(), Boundedness::Unbounded);
    let mut enumerator = source.enumerator(None).unwrap();
    assert_eq!(enumerator.discover().await.unwrap(), []);
    std::fs::create_dir(&watched).unwrap();
    std::fs::write(watched.join("a.json"), json_line(1)).unwrap();
    assert_eq!(enumerator.discover().await.unwrap().len(), 1);
    let mut restored = source.enumerator(Some(&enumerator.snapshot())).unwrap();
    std::fs::write(watched.join("b.json"), json_line(2)).unwrap();
    let found = restored.discover().await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].id.ends_with("b.json@0"), "{}", found[0].id);
    let once = FilesystemConnector
        .source(&scan(table(&folder.path().join("no"), "json", &[]), vec![]))
        .unwrap();
    let error = once.enumerator(None).unwrap().discover().await.unwrap_err().to_string();
    assert!(error.contains("/no' ('path') cannot be read"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_taken_takes_no_other_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut of_days = table(folder.path(), "json", &[("source.monitor-interval", "1 s")]);
    of_days.partition_keys = vec!["n".into()];
    let source = FilesystemConnector.source(&scan(of_days, vec![])).unwrap();
    let mut enumerator = source.enumerator(None).unwrap();
    let before = enumerator.snapshot();
    std::fs::create_dir(folder.path().join("n=1")).unwrap();
    std::fs::write(folder.path().join("n=1/a.json"), "{}").unwrap();
    let stray = folder.path().join("z.json");
    std::fs::write(&stray, "{}").unwrap();
    for _ in 0..2 {
        let error = enumerator.discover().await.unwrap_err().to_string();
        assert!(error.contains("z.json"), "{error}");
        assert_eq!(enumerator.snapshot(), before);
    }
    std::fs::remove_file(&stray).unwrap();
    let found = enumerator.discover().await.unwrap();
    assert!(found.len() == 1 && found[0].id.contains("a.json"), "{found:?}");
}

#[tokio::test]
async fn a_source_that_ends_reads_what_was_there_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.json"), json_line(1)).unwrap();
    let source = FilesystemConnector
        .source(&scan(table(folder.path(), "json", &[]), vec![]))
        .unwrap();
    let mut enumerator = source.enumerator(None).unwrap();
    assert_eq!(enumerator.discover().await.unwrap().len(), 1);
    std::fs::write(folder.path().join("b.json"), json_line(2)).unwrap();
    let mut restored = source.enumerator(Some(&enumerator.snapshot())).unwrap();
    assert_eq!(restored.discover().await.unwrap(), []);
}

fn sink_of(directory: &Path, more: &[(&str, &str)]) -> Box<dyn Sink> {
    let spec = SinkSpec {
        table: table(directory, "csv", more),
        fields: columns(),
        metadata: vec![],
        updating: false,
    };
    FilesystemConnector.sink(&spec).unwrap()
}

fn rows(numbers: std::ops::Range<i64>) -> Batch {
    let count = (numbers.end - numbers.start) as usize;
    let texts = StringArray::from_iter_values(numbers.clone().map(|n| format!("t{n}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(numbers)), Arc::new(texts)];
    Batch::new(columns, count)
}

pub(super) fn committer_of(sink: &dyn Sink) -> Box<dyn Committer> {
    committer_named(sink, "sink")
}

fn committer_named(sink: &dyn Sink, operator: &str) -> Box<dyn Committer> {
    let ctx = CommitterContext {
        job_id: JobId::of("submission"),
        job_name: "job".into(),
        operator_id: OperatorId::of(operator),
        options: Arc::default(),
        generation: 1,
    };
    sink.committer(&ctx).unwrap().unwrap()
}

/// Lines of the committed parts, sorted, and the number of all files.
fn committed(directory: &Path) -> (Vec<String>, usize) {
    let mut lines = vec![];
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        files += 1;
        if entry.file_name().to_string_lossy().starts_with("part-") {
            lines.extend(
                std::fs::read_to_string(entry.path())
                    .unwrap()
                    .lines()
                    .map(str::to_owned),
            );
        }
    }
    lines.sort();
    (lines, files)
}

pub(super) fn checkpoint(writer: &mut dyn SinkWriter, id: u64) -> Vec<Bytes> {
    assert_eq!(writer.flush().unwrap(), Flow::Done);
    writer.prepare_commit(id).unwrap()
}

#[tokio::test]
async fn rows_are_visible_once_committed_and_a_commit_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("out");
    let sink = sink_of(&directory, &[]);
    let mut committer = committer_of(sink.as_ref());
    committer.recover(&[]).await.unwrap();
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    writer.write(rows(0..2)).unwrap();
    let first = checkpoint(writer.as_mut(), 1);
    writer.write(rows(2..3)).unwrap();
    let second = checkpoint(writer.as_mut(), 2);
    assert_eq!(committed(&directory).0, Vec::<String>::new());
    writer.committed(2);
    assert_eq!(
        checkpoint(writer.as_mut(), 3),
        Vec::<Bytes>::new(),
        "nothing was written since"
    );
    committer.commit(&first).await.unwrap();
    assert_eq!(committed(&directory).0, ["0,t0", "1,t1"]);
    committer.commit(&[first, second].concat()).await.unwrap();
    assert_eq!(
        committed(&directory),
        (vec!["0,t0".into(), "1,t1".into(), "2,t2".into()], 2)
    );
}

#[tokio::test]
async fn a_restart_commits_what_is_listed_and_removes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let sink = sink_of(directory, &[]);
    let foreign = directory.join(".part-of-another-job.inprogress");
    std::fs::write(&foreign, "x").unwrap();
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    writer.write(rows(0..1)).unwrap();
    let listed = checkpoint(writer.as_mut(), 1);
    writer.write(rows(1..2)).unwrap();
    let _unlisted = checkpoint(writer.as_mut(), 2);
    drop(writer);
    let mut committer = committer_of(sink.as_ref());
    committer.recover(&listed).await.unwrap();
    assert_eq!(committed(directory), (vec!["0,t0".into()], 2));
    assert!(foreign.exists());
    // The next attempt writes the rows after the checkpoint again, under other names.
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    writer.write(rows(1..2)).unwrap();
    committer.commit(&checkpoint(writer.as_mut(), 2)).await.unwrap();
    // Twice from one checkpoint.
    committer.recover(&listed).await.unwrap();
    assert_eq!(committed(directory).0, ["0,t0", "1,t1"]);
    // A part that is gone is lost data.
    std::fs::read_dir(directory)
        .unwrap()
        .for_each(|e| std::fs::remove_file(e.unwrap().path()).unwrap());
    let error = committer.commit(&listed).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Fatal { .. }), "{error}");
    assert!(error.to_string().contains("lost"), "{error}");
}

#[tokio::test]
async fn two_sinks_of_a_directory_sweep_what_is_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink_of(folder.path(), &[]);
    let mut written = vec![];
    for (n, operator) in [(0, "one"), (1, "other")] {
        let ctx = OperatorContext {
            operator_id: OperatorId::of(operator),
            ..context(0, 0)
        };
        let mut writer = sink.writer(&ctx).unwrap();
        writer.write(rows(n..n + 1)).unwrap();
        written.push(checkpoint(writer.as_mut(), 1));
        writer.write(rows(90..91)).unwrap();
        assert_eq!(writer.flush().unwrap(), Flow::Done);
    }
    assert_eq!(committed(folder.path()).1, 4);
    committer_named(sink.as_ref(), "one")
        .recover(&written[0])
        .await
        .unwrap();
    assert_eq!(committed(folder.path()), (vec!["0,t0".into()], 3), "the other's stay");
    committer_named(sink.as_ref(), "other")
        .recover(&written[1])
        .await
        .unwrap();
    assert_eq!(committed(folder.path()), (vec!["0,t0".into(), "1,t1".into()], 2));
}

#[tokio::test]
async fn a_part_whose_checkpoint_failed_is_listed_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink_of(folder.path(), &[]);
    let mut committer = committer_of(sink.as_ref());
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    writer.write(rows(0..1)).unwrap();
    let failed = checkpoint(writer.as_mut(), 1);
    writer.write(rows(1..2)).unwrap();
    let both = checkpoint(writer.as_mut(), 2);
    assert_eq!((failed.len(), both.len()), (1, 2));
    committer.commit(&both).await.unwrap();
    writer.committed(2);
    assert_eq!(committed(folder.path()), (vec!["0,t0".into(), "1,t1".into()], 2));
    writer.write(rows(2..3)).unwrap();
    assert_eq!(
        checkpoint(writer.as_mut(), 3).len(),
        1,
        "what is committed is not listed again"
    );
}

/// A clock that tests move.
#[derive(Debug)]
struct Hand(std::sync::atomic::AtomicI64);

impl flott_core::clock::Clock for Hand {
    fn now_ms(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test]
async fn parts_end_when_they_are_old_or_idle_at_the_time_of_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let intervals = [
        ("sink.rolling-policy.rollover-interval", "10 s"),
        ("sink.rolling-policy.inactivity-interval", "4 s"),
        ("sink.rolling-policy.check-interval", "1 s"),
    ];
    let sink = sink_of(folder.path(), &intervals);
    let clock = Arc::new(Hand(0.into()));
    let ctx = OperatorContext {
        clock: clock.clone(),
        ..context(0, 0)
    };
    let mut writer = sink.writer(&ctx).unwrap();
    assert_eq!(writer.next_timer(), None, "nothing is open");
    // As a task does: rows at some seconds, a look whenever the writer wants one.
    let mut seconds_of = |rows_at: &[i64], seconds: std::ops::Range<i64>| {
        let mut ended_at = vec![];
        for second in seconds {
            clock.0.store(second * 1000, std::sync::atomic::Ordering::SeqCst);
            if rows_at.contains(&second) {
                writer.write(rows(second..second + 1)).unwrap();
            }
            if writer.next_timer().is_some_and(|t| t <= second * 1000) {
                assert_eq!(writer.on_timer(second * 1000).unwrap(), Flow::Done);
                if writer.next_timer().is_none() {
                    ended_at.push(second);
                }
            }
        }
        ended_at
    };
    assert_eq!(seconds_of(&[1, 3, 6, 8, 10], 0..20), [11], "ten seconds old");
    assert_eq!(seconds_of(&[20, 22], 20..40), [26], "idle for four seconds");
    assert_eq!(committed(folder.path()).0.len(), 0, "they wait for their checkpoint");
    let parts = checkpoint(writer.as_mut(), 1);
    assert_eq!(parts.len(), 2);
    committer_of(sink.as_ref()).commit(&parts).await.unwrap();
    assert_eq!(committed(folder.path()).0.len(), 7);
    let error = FilesystemConnector
        .check_sink(
            &table(folder.path(), "csv", &[("sink.rolling-policy.check-interval", "0 s")]),
            &Options::new(),
        )
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("check-interval") && error.contains("above zero"),
        "{error}"
    );
}

#[tokio::test]
async fn parts_end_at_their_size() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink_of(folder.path(), &[("sink.rolling-policy.file-size", "512 kb")]);
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    for i in 0..100 {
        writer.write(rows(i * 2000..(i + 1) * 2000)).unwrap();
    }
    let parts = checkpoint(writer.as_mut(), 1);
    let mut committer = committer_of(sink.as_ref());
    committer.commit(&parts).await.unwrap();
    let (lines, files) = committed(folder.path());
    assert_eq!((lines.len(), files), (200_000, parts.len()));
    assert!(parts.len() >= 4, "{} parts", parts.len());
}

#[tokio::test]
async fn errors_name_path_and_option() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = sink_of(&file.join("out"), &[])
        .writer(&context(0, 0))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("file/out' cannot be written"), "{error}");
    // The directory goes while the job runs.
    let gone = sink_of(folder.path(), &[]);
    let mut writer = gone.writer(&context(0, 0)).unwrap();
    drop(std::fs::remove_dir_all(folder.path()));
    writer.write(rows(0..1)).unwrap();
    assert!(
        writer
            .flush()
            .unwrap_err()
            .to_string()
            .contains(".inprogress' cannot be written")
    );
    let check = |more: &[(&str, &str)], format: &str| {
        let error = FilesystemConnector
            .check_source(&table(Path::new("/x"), format, more))
            .unwrap_err();
        error.to_string()
    };
    assert!(check(&[("pth", "x")], "json").contains("did you mean 'path'"));
    assert!(check(&[("json.ignore-parse-error", "x")], "json").contains("did you mean 'json.ignore-parse-errors'"));
    assert!(check(&[], "jsn").contains("did you mean 'json'"));
    assert!(check(&[("path", "hdfs://b/x")], "json").contains("a path on local disk"));
    assert!(check(&[("bad-rows", "dead-letter"), ("bad-rows.topic", "x")], "json").contains("has no topics"));
    assert!(
        FilesystemConnector
            .check_source(&table(Path::new("file:///x"), "json", &[]))
            .is_ok()
    );
    assert!(
        metadata::check(&[MetadataKey {
            key: "file.nme".into(),
            ty: LogicalType::string(),
            writable: false
        }])
        .unwrap_err()
        .to_string()
        .contains("did you mean 'file.name'")
    );
}

fn partitioned(path: &Path, more: &[(&str, &str)]) -> TableSpec {
    let mut table = table(path, "csv", more);
    table.columns.insert(1, Field::new("dt", LogicalType::string()));
    table.partition_keys = vec!["dt".into()];
    table
}

fn partition_sink(path: &Path, more: &[(&str, &str)]) -> Box<dyn Sink> {
    let table = partitioned(path, more);
    let spec = SinkSpec {
        fields: table.columns.clone(),
        table,
        metadata: vec![],
        updating: false,
    };
    FilesystemConnector.sink(&spec).unwrap()
}

/// Rows with a partition each.
fn dated(rows: &[(i64, Option<&str>)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| format!("t{}", r.0)))),
    ];
    Batch::new(columns, rows.len())
}

const BY_PARTITION_TIME: [(&str, &str); 3] = [
    ("sink.partition-commit.trigger", "partition-time"),
    ("sink.partition-commit.delay", "1 d"),
    ("sink.partition-commit.policy.kind", "success-file"),
];

/// Milliseconds at the start of a day of January 2020.
fn january(day: i64) -> i64 {
    1_577_836_800_000 + (day - 1) * 86_400_000
}

#[tokio::test]
async fn partitions_are_folders_and_read_back_as_columns() {
    let folder = tempfile::tempdir().unwrap();
    let sink = partition_sink(folder.path(), &[]);
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    // More partitions than may be open at once, in turns.
    let days: Vec<String> = (0..100).map(|d| format!("d{d:02}")).collect();
    let mut expected = vec![];
    for round in 0..3 {
        let rows: Vec<(i64, Option<&str>)> = days.iter().map(|d| (round, Some(d.as_str()))).collect();
        writer.write(dated(&rows)).unwrap();
        expected.extend(days.iter().map(|d| (round, Some(d.clone()))));
    }
    writer
        .write(dated(&[(7, None), (8, Some("a/b")), (9, Some("a/b"))]))
        .unwrap();
    expected.extend([(7, None), (8, Some("a/b".into())), (9, Some("a/b".into()))]);
    let parts = checkpoint(writer.as_mut(), 1);
    let mut committer = committer_of(sink.as_ref());
    committer.commit(&parts).await.unwrap();
    committer.commit(&parts).await.unwrap();
    let text = committed(&folder.path().join("dt=a%2Fb")).0;
    assert_eq!(text, ["8,t8", "9,t9"]);
    assert_eq!(committed(&folder.path().join("dt=__DEFAULT_PARTITION__")).0, ["7,t7"]);

    let table = partitioned(folder.path(), &[]);
    let mut spec = scan(table, vec![]);
    spec.fields = vec![
        Field::new("dt", LogicalType::string()),
        Field::new("n", LogicalType::bigint()),
    ];
    let source = FilesystemConnector.source(&spec).unwrap();
    let mut reader = source.reader(&context(0, 0)).unwrap();
    reader.add_splits(splits_of(source.as_ref()).await).unwrap();
    reader.no_more_splits();
    let mut found = vec![];
    for (_, batch) in read(reader.as_mut(), usize::MAX) {
        let (dates, numbers) = (
            batch.column(0).as_string::<i32>(),
            batch.column(1).as_primitive::<Int64Type>(),
        );
        found.extend(
            numbers
                .values()
                .iter()
                .zip(dates.iter())
                .map(|(n, d)| (*n, d.map(str::to_owned))),
        );
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    // A file beside the partitions has no value for their column.
    std::fs::write(folder.path().join("stray.csv"), "1,x\n").unwrap();
    let error = source
        .enumerator(None)
        .unwrap()
        .discover()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("stray.csv' has no folder 'dt=…'"), "{error}");
}

#[tokio::test]
async fn partitions_are_marked_when_every_subtasks_time_has_passed_them() {
    let folder = tempfile::tempdir().unwrap();
    let sink = partition_sink(folder.path(), &BY_PARTITION_TIME);
    let marked = |day: &str| folder.path().join(format!("dt={day}/_SUCCESS")).exists();
    let mut committer = committer_of(sink.as_ref());
    committer.recover(&[]).await.unwrap();
    let mut writers = [0, 1].map(|subtask| sink.writer(&context(subtask, 0)).unwrap());
    writers[0]
        .write(dated(&[(1, Some("2020-01-01")), (2, Some("2020-01-02"))]))
        .unwrap();
    writers[1].write(dated(&[(3, Some("2020-01-02"))])).unwrap();
    writers[0].on_watermark(january(2) + 1);
    writers[1].on_watermark(january(2));
    for (id, expected) in [(1, false), (2, true)] {
        for writer in &mut writers {
            for one in checkpoint(writer.as_mut(), id) {
                committer.commit(&[one]).await.unwrap();
            }
            writer.committed(id);
        }
        assert_eq!(
            (marked("2020-01-01"), marked("2020-01-02")),
            (expected, false),
            "checkpoint {id}"
        );
        writers[1].on_watermark(january(2) + 1);
    }
    // A crash: another process goes on from the last checkpoint, and knows what is open.
    drop(committer);
    let mut committer = committer_of(sink.as_ref());
    committer.recover(&[]).await.unwrap();
    assert!(!marked("2020-01-02"));
    let mut writers = [0, 1].map(|subtask| sink.writer(&context(subtask, 1)).unwrap());
    // One subtask is idle and does not count.
    writers[0].on_idle(true);
    writers[1].on_watermark(january(3) + 1);
    let mut last = vec![];
    for writer in &mut writers {
        last.extend(checkpoint(writer.as_mut(), 3));
    }
    for one in &last {
        committer.commit(std::slice::from_ref(one)).await.unwrap();
    }
    assert!(marked("2020-01-02"));
    assert_eq!(
        committed(&folder.path().join("dt=2020-01-02")),
        (vec!["2,t2".into(), "3,t3".into()], 3)
    );
    // A late row opens its partition again; the end of the input closes every one.
    std::fs::remove_file(folder.path().join("dt=2020-01-01/_SUCCESS")).unwrap();
    writers[1]
        .write(dated(&[(4, Some("2020-01-01")), (5, Some("2020-02-01"))]))
        .unwrap();
    writers[0].on_watermark(flott_core::time::END_OF_TIME);
    let first = checkpoint(writers[0].as_mut(), 4);
    committer.commit(&first).await.unwrap();
    committer.commit(&checkpoint(writers[1].as_mut(), 4)).await.unwrap();
    assert!(marked("2020-01-01") && !marked("2020-02-01"));
    writers[1].on_watermark(flott_core::time::END_OF_TIME);
    // The first subtask is at its end and has no further checkpoint.
    committer.commit(&checkpoint(writers[1].as_mut(), 5)).await.unwrap();
    assert!(marked("2020-02-01"));
}

#[tokio::test]
async fn partitions_are_marked_by_processing_time_and_values_without_a_time_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("sink.partition-commit.policy.kind", "success-file"),
        ("sink.partition-commit.success-file.name", "_DONE"),
    ];
    let sink = partition_sink(folder.path(), &options);
    let mut committer = committer_of(sink.as_ref());
    let mut writers = [0, 1].map(|subtask| sink.writer(&context(subtask, 0)).unwrap());
    writers[0].write(dated(&[(1, Some("x"))])).unwrap();
    committer.commit(&checkpoint(writers[0].as_mut(), 1)).await.unwrap();
    assert!(!folder.path().join("dt=x/_DONE").exists());
    committer.commit(&checkpoint(writers[1].as_mut(), 1)).await.unwrap();
    assert!(folder.path().join("dt=x/_DONE").exists());

    let sink = partition_sink(folder.path(), &BY_PARTITION_TIME);
    let mut committer = committer_of(sink.as_ref());
    let mut writers = [0, 1].map(|subtask| sink.writer(&context(subtask, 1)).unwrap());
    writers[0].write(dated(&[(1, Some("soon"))])).unwrap();
    committer.commit(&checkpoint(writers[0].as_mut(), 1)).await.unwrap();
    let error = committer
        .commit(&checkpoint(writers[1].as_mut(), 1))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("dt=soon' has no time") && error.contains("timestamp-pattern"),
        "{error}"
    );
}

#[tokio::test]
async fn folders_of_partitions_that_nobody_wants_are_not_listed() {
    use flott_runtime::partition_filter::{Comparison, PartitionFilter};
    let folder = tempfile::tempdir().unwrap();
    for day in ["2020-01-01", "2020-01-02", "2020-01-03"] {
        let path = folder.path().join(format!("dt={day}"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a.csv"), "1,x\n").unwrap();
    }
    let mut spec = scan(partitioned(folder.path(), &[]), vec![]);
    spec.partitions = Some(PartitionFilter::Compare {
        column: "dt".into(),
        operator: Comparison::Greater,
        value: "2020-01-01".into(),
    });
    let source = FilesystemConnector.source(&spec).unwrap();
    let ids: Vec<String> = splits_of(source.as_ref()).await.into_iter().map(|s| s.id).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(
        ids[0].ends_with("dt=2020-01-02/a.csv@0") && ids[1].ends_with("dt=2020-01-03/a.csv@0"),
        "{ids:?}"
    );
}

#[tokio::test]
async fn a_job_of_the_same_name_that_runs_keeps_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink_of(folder.path(), &[]);
    let mut running = committer_of(sink.as_ref());
    running.recover(&[]).await.unwrap();
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    writer.write(rows(0..1)).unwrap();
    let listed = checkpoint(writer.as_mut(), 1);
    let ctx = CommitterContext {
        job_id: JobId::of("another submission"),
        job_name: "job".into(),
        operator_id: OperatorId::of("sink"),
        options: Arc::default(),
        generation: 1,
    };
    let mut other = sink.committer(&ctx).unwrap().unwrap();
    other.recover(&[]).await.unwrap();
    running.commit(&listed).await.unwrap();
    assert_eq!(committed(folder.path()), (vec!["0,t0".into()], 1));
    // Once it has ended, what it left is swept.
    writer.write(rows(1..2)).unwrap();
    writer.flush().unwrap();
    drop(running);
    other.recover(&[]).await.unwrap();
    assert_eq!(committed(folder.path()), (vec!["0,t0".into()], 1));
}

#[tokio::test]
async fn a_leader_that_was_overtaken_leaves_the_parts_of_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink_of(folder.path(), &[]);
    let mut overtaken = committer_of(sink.as_ref());
    let mut ctx = context(0, 0);
    Arc::get_mut(&mut ctx.task).unwrap().generation = 2;
    let mut writer = sink.writer(&ctx).unwrap();
    writer.write(rows(0..1)).unwrap();
    let listed = checkpoint(writer.as_mut(), 1);
    let mut earlier = sink.writer(&context(0, 0)).unwrap();
    earlier.write(rows(1..2)).unwrap();
    earlier.flush().unwrap();
    drop(earlier);
    // It was stopped in front of this, and does not know.
    overtaken.recover(&[]).await.unwrap();
    drop(overtaken);
    committer_of(sink.as_ref()).commit(&listed).await.unwrap();
    assert_eq!(committed(folder.path()), (vec!["0,t0".into()], 1));
}

#[tokio::test]
async fn a_restart_sweeps_unlisted_parts_out_of_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let sink = partition_sink(folder.path(), &[]);
    let mut writer = sink.writer(&context(0, 0)).unwrap();
    writer.write(dated(&[(1, Some("a")), (2, Some("b"))])).unwrap();
    let listed = checkpoint(writer.as_mut(), 1);
    writer.write(dated(&[(3, Some("a"))])).unwrap();
    writer.flush().unwrap();
    drop(writer);
    committer_of(sink.as_ref()).recover(&listed).await.unwrap();
    assert_eq!(committed(&folder.path().join("dt=a")), (vec!["1,t1".into()], 1));
    assert_eq!(committed(&folder.path().join("dt=b")), (vec!["2,t2".into()], 1));
}

#[tokio::test]
async fn paths_are_chosen_by_pattern_and_packed_files_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..3).map(json_line).collect();
    std::fs::write(
        folder.path().join("a.json.zst"),
        zstd::encode_all(text.as_bytes(), 1).unwrap(),
    )
    .unwrap();
    let mut packer = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, json_line(3).as_bytes()).unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/b.json.deflate"), packer.finish().unwrap()).unwrap();
    let rows = async |pattern: &str| {
        let table = table(folder.path(), "json", &[("source.path.regex-pattern", pattern)]);
        let source = FilesystemConnector.source(&scan(table, vec![])).unwrap();
        let splits = source.enumerator(None).unwrap().discover().await.unwrap();
        let mut reader = source.reader(&context(0, 0)).unwrap();
        reader.add_splits(splits).unwrap();
        reader.no_more_splits();
        numbers(&read(reader.as_mut(), usize::MAX))
    };
    assert_eq!(rows(".*/[ab]\\.json.*").await, [0, 1, 2, 3]);
    assert_eq!(rows(".*/sub/.*").await, [3]);
    assert_eq!(rows("sub/.*").await, Vec::<i64>::new());
    let check = |more: &[(&str, &str)]| {
        let error = FilesystemConnector
            .check_source(&partitioned(Path::new("/x"), more))
            .unwrap_err();
        error.to_string()
    };
    assert!(check(&[("source.path.regex-pattern", "(")]).contains("'source.path.regex-pattern' cannot be '('"));
    assert!(check(&[("sink.partition-commit.policy.kind", "metastore")]).contains("use 'success-file'"));
    assert!(check(&[("sink.partition-commit.trigger", "x")]).contains("partition-time"));
    assert!(check(&[("sink.partition-commit.watermark-time-zone", "x")]).contains("'Europe/Berlin'"));
    assert!(check(&[("sink.partition-commit.policy.class", "x")]).contains("Java class"));
}
