use super::bucket::{Bucket, Place, is_address};
use super::commit::FileCommitter;
use super::enumerator::FileEnumerator;
use super::options::{ScanOptions, SinkOptions};
use super::reader::{self, FileReader};
use super::tests::{context, numbers};
use super::writer::FileWriter;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;
use flott_core::time::END_OF_TIME;
use flott_core::{Batch, Field, JobId, LogicalType, OperatorId, Options};
use flott_runtime::connector::{Committer, CommitterContext, ReaderPoll, ScanSpec, SinkSpec, Split, TableSpec};
use flott_runtime::{Flow, SinkWriter, SourceReader, SplitEnumerator, TaskError};
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a test waits for what must come; far longer than it takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A bucket in memory.
pub(super) struct Memory {
    pub objects: Arc<InMemory>,
    pub bucket: Bucket,
}

impl Memory {
    fn new() -> Self {
        let objects = Arc::new(InMemory::new());
        let bucket = Bucket::new(objects.clone(), objects.clone(), "s3://b".into());
        Self { objects, bucket }
    }

    fn place(&self) -> Place {
        Place::Bucket(self.bucket.clone())
    }

    pub(super) async fn put(&self, key: &str, content: impl Into<Bytes>) {
        let key = Key::parse(key).unwrap();
        self.objects.put(&key, content.into().into()).await.unwrap();
    }

    /// The keys of all objects, sorted.
    pub(super) async fn keys(&self) -> Vec<String> {
        let files = self.bucket.list("s3://b").await.unwrap_or_default();
        files
            .iter()
            .map(|f| f.path.to_str().unwrap()["s3://b/".len()..].to_owned())
            .collect()
    }

    /// The lines of all parts, sorted.
    pub(super) async fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        for key in self.keys().await {
            let read = self
                .objects
                .get(&Key::parse(key).unwrap())
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            lines.extend(String::from_utf8(read.to_vec()).unwrap().lines().map(str::to_owned));
        }
        lines.sort();
        lines
    }
}

pub(super) fn table(path: &str, format: &str, more: &[(&str, &str)]) -> TableSpec {
    let options = [("connector", "filesystem"), ("path", path), ("format", format)];
    TableSpec {
        name: "c.d.t".into(),
        options: options.iter().chain(more).copied().collect(),
        columns: vec![
            Field::new("n", LogicalType::bigint()),
            Field::new("s", LogicalType::string()),
        ],
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    }
}

pub(super) fn enumerator(memory: &Memory, table: &TableSpec) -> FileEnumerator {
    enumerator_at(memory.place(), table)
}

pub(super) fn enumerator_at(place: Place, table: &TableSpec) -> FileEnumerator {
    let options = Arc::new(ScanOptions::read(table).unwrap());
    let rows = reader::rows_of(table, &options, &table.columns, 100).unwrap();
    FileEnumerator::new("t", options, rows.splitting(), place, None, None).unwrap()
}

pub(super) fn reader(memory: &Memory, table: &TableSpec, splits: Vec<Split>) -> FileReader {
    reader_at(&memory.place(), table, splits)
}

pub(super) fn reader_at(place: &Place, table: &TableSpec, splits: Vec<Split>) -> FileReader {
    let scan = ScanSpec {
        fields: table.columns.clone(),
        table: table.clone(),
        metadata: vec![],
        watermark: None,
        partitions: None,
    };
    let options = ScanOptions::read(table).unwrap();
    let mut reader = FileReader::new(&scan, &options, place, &context(0, 0)).unwrap();
    reader.add_splits(splits).unwrap();
    reader.no_more_splits();
    reader
}

/// Reads `batches` batches, or all there are; waits for what has not arrived.
pub(super) async fn read(reader: &mut FileReader, batches: usize) -> Vec<(usize, Batch)> {
    let until = Instant::now() + PATIENCE;
    let mut read = vec![];
    while read.len() < batches {
        match reader.poll(0).unwrap() {
            ReaderPoll::Batch { split, batch } => read.push((split, batch)),
            ReaderPoll::SplitFinished(_) => {}
            ReaderPoll::Idle { .. } => {
                assert!(Instant::now() < until, "only {} batches have come", read.len());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            ReaderPoll::Finished => break,
        }
    }
    read
}

/// What reading ends with.
pub(super) async fn failure(reader: &mut FileReader) -> TaskError {
    let until = Instant::now() + PATIENCE;
    loop {
        match reader.poll(0) {
            Err(e) => return e,
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
        assert!(Instant::now() < until, "reading does not fail");
    }
}

pub(super) fn writer(memory: &Memory, table: &TableSpec) -> FileWriter {
    let sink = SinkSpec {
        fields: table.columns.clone(),
        table: table.clone(),
        metadata: vec![],
        updating: false,
    };
    let options = SinkOptions::read(table).unwrap();
    FileWriter::new(&sink, &options, memory.place(), &context(0, 0)).unwrap()
}

pub(super) fn committer(memory: &Memory, table: &TableSpec) -> FileCommitter {
    let ctx = CommitterContext {
        job_id: JobId::of("submission"),
        job_name: "job".into(),
        operator_id: OperatorId::of("sink"),
        options: Arc::default(),
        generation: 1,
    };
    FileCommitter::new(&SinkOptions::read(table).unwrap(), memory.place(), &ctx)
}

pub(super) fn rows(numbers: std::ops::Range<i64>) -> Batch {
    let count = (numbers.end - numbers.start) as usize;
    let texts = StringArray::from_iter_values(numbers.clone().map(|n| format!("t{}", n % 3)));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(numbers)), Arc::new(texts)];
    Batch::new(columns, count)
}

/// What `flow` leads to once the store has answered.
pub(super) async fn done(writer: &mut FileWriter, mut flow: Flow) {
    let until = Instant::now() + PATIENCE;
    while flow != Flow::Done {
        assert!(Instant::now() < until, "the writer still waits");
        tokio::time::sleep(Duration::from_millis(1)).await;
        flow = writer.resume().unwrap();
    }
}

pub(super) async fn checkpoint(writer: &mut FileWriter, id: u64) -> Vec<Bytes> {
    let flow = writer.flush().unwrap();
    done(writer, flow).await;
    writer.prepare_commit(id).unwrap()
}

#[tokio::test]
async fn objects_are_found_as_files_are() {
    let memory = Memory::new();
    for key in [
        "t/a.json",
        "t/b.json",
        "t/_hidden",
        "t/.hidden/c",
        "t/sub/c.json",
        "t/day=a%2Fb/d",
        "tt/x",
    ] {
        memory.put(key, "12345").await;
    }
    let names = async |path: &str| {
        let files = memory.bucket.list(path).await.map_err(|(_, e)| e.kind())?;
        assert!(files.iter().all(|f| f.size_bytes == 5 && f.modified_ms > 0));
        Ok::<_, std::io::ErrorKind>(
            files
                .iter()
                .map(|f| f.path.to_str().unwrap()[7..].to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let all = ["t/a.json", "t/b.json", "t/day=a%2Fb/d", "t/sub/c.json"];
    assert_eq!(names("s3://b/t").await.unwrap(), all);
    assert_eq!(names("s3://b/t/").await.unwrap(), all);
    assert_eq!(names("s3://b/t/a.json").await.unwrap(), ["t/a.json"]);
    assert_eq!(names("s3://b/t/*.json").await.unwrap(), ["t/a.json", "t/b.json"]);
    assert_eq!(names("s3://b/t*/s?b").await.unwrap(), ["t/sub/c.json"]);
    assert_eq!(names("s3://b/t/*.csv").await.unwrap(), Vec::<String>::new());
    assert_eq!(names("s3://b/none").await.unwrap_err(), std::io::ErrorKind::NotFound);
    assert!(is_address("s3a://b/x") && is_address("s3://b") && !is_address("/s3/b") && !is_address("file:///b"));
}

#[tokio::test]
async fn nothing_at_a_path_is_an_error_unless_it_is_watched() {
    let memory = Memory::new();
    let once = enumerator(&memory, &table("s3://b/none", "json", &[]))
        .discover()
        .await
        .unwrap_err()
        .to_string();
    assert!(once.contains("'s3://b/none' ('path') cannot be read"), "{once}");
    let mut watching = enumerator(
        &memory,
        &table("s3://b/none", "json", &[("source.monitor-interval", "1 s")]),
    );
    assert_eq!(watching.discover().await.unwrap(), []);
    memory.put("none/1.json", "{\"n\":1}\n").await;
    assert_eq!(watching.discover().await.unwrap().len(), 1);
    assert_eq!(watching.discover().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_objects_are_read_once_and_again_from_a_position() {
    let memory = Memory::new();
    let line = |n: i64| format!("{{\"n\":{n},\"s\":\"{}\"}}\n", "x".repeat(n as usize % 90));
    let mut text = "\u{feff}".to_owned();
    let mut count = 0;
    // More than one range.
    while text.len() < 20 << 20 {
        text.push_str(&line(count));
        count += 1;
    }
    memory.put("t/a.json", text).await;
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    let more: String = (count..count + 30_000).map(line).collect();
    std::io::Write::write_all(&mut packer, more.as_bytes()).unwrap();
    memory.put("t/b.json.gz", packer.finish().unwrap()).await;
    let table = table("s3://b/t", "json", &[]);
    let splits = enumerator(&memory, &table).discover().await.unwrap();
    assert_eq!(splits.len(), 3);
    let mut first = reader(&memory, &table, splits);
    // Nothing has arrived, and the start of the lines is not known.
    let mut all = read(&mut reader(&memory, &table, first.snapshot(1).unwrap()), 0).await;
    all.extend(read(&mut first, 7).await);
    let mut restored = reader(&memory, &table, first.snapshot(2).unwrap());
    all.extend(read(&mut restored, usize::MAX).await);
    assert_eq!(numbers(&all), (0..count + 30_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_groups_are_written_and_read_again_from_a_position() {
    let memory = Memory::new();
    let more = [("parquet.block.size", "16 kb"), ("parquet.batch-size", "500")];
    let table = table("s3://b/t", "parquet", &more);
    let mut writer = writer(&memory, &table);
    for start in (0..40_000).step_by(1000) {
        let flow = writer.write(rows(start..start + 1000)).unwrap();
        done(&mut writer, flow).await;
    }
    let listed = checkpoint(&mut writer, 1).await;
    assert_eq!(memory.keys().await, Vec::<String>::new());
    committer(&memory, &table).commit(&listed).await.unwrap();
    let splits = enumerator(&memory, &table).discover().await.unwrap();
    let mut first = reader(&memory, &table, splits);
    let mut all = read(&mut first, 9).await;
    let mut restored = reader(&memory, &table, first.snapshot(1).unwrap());
    all.extend(read(&mut restored, usize::MAX).await);
    assert_eq!(numbers(&all), (0..40_000).collect::<Vec<_>>());
    // Something that is no parquet file is named.
    memory.put("u/x", "not parquet").await;
    let wrong = TableSpec {
        options: [("connector", "filesystem"), ("path", "s3://b/u"), ("format", "parquet")]
            .into_iter()
            .collect(),
        ..table
    };
    let splits = enumerator(&memory, &wrong).discover().await.unwrap();
    let mut reader = reader(&memory, &wrong, splits);
    let error = failure(&mut reader).await.to_string();
    assert!(
        error.contains("'s3://b/u/x' cannot be read: it is no sound parquet file"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_an_object_once_committed_and_a_commit_can_be_repeated() {
    let memory = Memory::new();
    let table = table("s3://b/t", "csv", &[("sink.rolling-policy.file-size", "6 mb")]);
    let mut committer = committer(&memory, &table);
    committer.recover(&[]).await.unwrap();
    let mut writer = writer(&memory, &table);
    // Several pieces, and several parts.
    let mut count = 0;
    for _ in 0..25 {
        let flow = writer.write(rows(count..count + 50_000)).unwrap();
        done(&mut writer, flow).await;
        count += 50_000;
    }
    let first = checkpoint(&mut writer, 1).await;
    assert!(first.len() > 1);
    writer.write(rows(count..count + 1)).unwrap();
    let second = checkpoint(&mut writer, 2).await;
    assert_eq!(memory.keys().await, Vec::<String>::new());
    assert_eq!(
        second.len(),
        first.len() + 1,
        "the first checkpoint is not committed yet"
    );
    writer.committed(2);
    committer.commit(&second).await.unwrap();
    committer.commit(&first).await.unwrap();
    let mut restarted = self::committer(&memory, &table);
    restarted.recover(&second).await.unwrap();
    let mut expected: Vec<String> = (0..=count).map(|n| format!("{n},t{}", n % 3)).collect();
    expected.sort();
    assert_eq!(memory.lines().await, expected);
    // An upload that the store has given up is lost, and an object that something else wrote is not taken for it.
    let key = memory.keys().await.pop().unwrap();
    memory.put(&key, "other").await;
    let error = committer.commit(&second).await.unwrap_err().to_string();
    assert!(error.contains("has 5 bytes where the checkpoint lists"), "{error}");
    memory.objects.delete(&Key::parse(&key).unwrap()).await.unwrap();
    let error = committer.commit(&second).await.unwrap_err();
    assert!(
        !matches!(error, flott_runtime::connector::ConnectorError::Option(_)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_in_a_bucket_are_marked_and_read_back() {
    let memory = Memory::new();
    let mut table = table(
        "s3://b/t",
        "csv",
        &[("sink.partition-commit.policy.kind", "success-file")],
    );
    table.partition_keys = vec!["s".into()];
    table.options.set("sink.partition-commit.delay", "1 h");
    let mut committer = committer(&memory, &table);
    committer.recover(&[]).await.unwrap();
    let mut writer = writer(&memory, &table);
    let ctx = context(0, 0);
    assert_eq!(ctx.task.parallelism, 2);
    writer.write(rows(0..9)).unwrap();
    let first = checkpoint(&mut writer, 1).await;
    committer.commit(&first).await.unwrap();
    writer.committed(1);
    let all = async || {
        let found = memory.objects.list(None);
        let mut keys: Vec<String> = futures::TryStreamExt::try_collect::<Vec<_>>(found)
            .await
            .unwrap()
            .into_iter()
            .map(|o| o.location.to_string())
            .collect();
        keys.sort();
        keys
    };
    assert_eq!(all().await.iter().filter(|k| k.contains("/.pending-")).count(), 3);
    // Another process finds what is open, and at the end of both subtasks' input marks it.
    let mut restarted = self::committer(&memory, &table);
    restarted.recover(&first).await.unwrap();
    writer.on_watermark(END_OF_TIME);
    let last = checkpoint(&mut writer, 2).await;
    let other = String::from_utf8(last[0].to_vec())
        .unwrap()
        .replace("\"subtask\":0", "\"subtask\":1");
    restarted.commit(&[last[0].clone(), other.into()]).await.unwrap();
    let keys = all().await;
    assert_eq!(keys.iter().filter(|k| k.contains("/.pending-")).count(), 0, "{keys:?}");
    assert_eq!(keys.iter().filter(|k| k.ends_with("/_SUCCESS")).count(), 3, "{keys:?}");
    let splits = enumerator(&memory, &table).discover().await.unwrap();
    assert_eq!(splits.len(), 3);
    let mut reader = reader(&memory, &table, splits);
    assert_eq!(
        numbers(&read(&mut reader, usize::MAX).await),
        (0..9).collect::<Vec<_>>()
    );
    assert!(memory.bucket.key(Path::new("s3://other/t")).is_err());
    assert!(
        Place::open(
            "s3://b/t",
            &[("s3.path.style.access", "perhaps")].into_iter().collect::<Options>()
        )
        .is_err()
    );
}
