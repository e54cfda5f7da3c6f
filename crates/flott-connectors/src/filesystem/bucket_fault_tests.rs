//! Tables in a bucket whose store breaks off, is slow and counts what it is asked.

use super::bucket::Bucket;
use super::bucket_tests::{
    Memory, PATIENCE, checkpoint, committer, done, enumerator, enumerator_at, failure, read, reader, reader_at, rows,
    table, writer,
};
use super::tests::numbers;
use super::upload::{MOST_BYTES, PIECE_BYTES};
use async_trait::async_trait;
use bytes::Bytes;
use flott_core::Batch;
use flott_core::time::END_OF_TIME;
use flott_runtime::connector::{Committer, ReaderPoll};
use flott_runtime::{Flow, SinkWriter, SourceReader, SplitEnumerator};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes that a body brings at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// What a store was asked, and how it is to behave.
#[derive(Debug, Default)]
struct Book {
    /// Bytes of a body after which it breaks off.
    break_after: Option<usize>,
    /// What is put in an object's place before it is asked for this many times.
    replacement: Option<(usize, Bytes)>,
    gets: Vec<Option<GetRange>>,
    /// Bytes that bodies had.
    sent_bytes: usize,
    parts: Vec<usize>,
    given_up: Vec<MultipartId>,
    /// Requests that change something and are under way, and the most that ever were.
    under_way: usize,
    most_under_way: usize,
    /// Small objects, completed and removed ones, in the order in which they were.
    changes: Vec<String>,
    lists: usize,
}

/// A store in memory with a [`Book`].
#[derive(Debug)]
struct Faulty {
    inner: Arc<InMemory>,
    book: Mutex<Book>,
    /// Pieces are stored while nobody holds it.
    storing: tokio::sync::Mutex<()>,
}

impl Faulty {
    fn with<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.book.lock().unwrap())
    }

    async fn slowly(&self, change: String) {
        self.with(|book| {
            book.under_way += 1;
            book.most_under_way = book.most_under_way.max(book.under_way);
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.with(|book| {
            book.under_way -= 1;
            book.changes.push(change);
        });
    }

    /// Waits until the book holds something.
    async fn until(&self, holds: impl Fn(&Book) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !self.with(|book| holds(book)) {
            assert!(Instant::now() < until, "{:?}", self.book);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "faulty",
        source: "the connection was reset".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, key: &Key, content: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.slowly(format!("put {key}")).await;
        self.inner.put_opts(key, content, options).await
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let replacement = self.with(|book| {
            book.gets.push(options.range.clone());
            let asked = book.gets.len();
            book.replacement.take_if(|(at, _)| *at == asked)
        });
        if let Some((_, content)) = replacement {
            self.inner.put(key, content.into()).await?;
        }
        let head = options.head;
        let found = self.inner.get_opts(key, options).await?;
        if head {
            return Ok(found);
        }
        let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let content = found.bytes().await?;
        let (sent, breaks) = self.with(|book| {
            let sent = book.break_after.unwrap_or(usize::MAX).min(content.len());
            book.sent_bytes += sent;
            (sent, sent < content.len())
        });
        let mut chunks: Vec<Result<Bytes>> = content[..sent]
            .chunks(CHUNK_BYTES)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        chunks.extend(breaks.then(|| Err(broken())));
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter(chunks).boxed()),
            meta,
            range,
            attributes,
        })
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.with(|book| book.lists += 1);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, key: &Key) -> Result<MultipartId> {
        self.inner.create_multipart(key).await
    }

    async fn put_part(&self, key: &Key, id: &MultipartId, index: usize, content: PutPayload) -> Result<PartId> {
        self.with(|book| book.parts.push(content.content_length()));
        let _storing = self.storing.lock().await;
        self.inner.put_part(key, id, index, content).await
    }

    async fn complete_multipart(&self, key: &Key, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.slowly(format!("complete {key}")).await;
        self.inner.complete_multipart(key, id, parts).await
    }

    async fn abort_multipart(&self, key: &Key, id: &MultipartId) -> Result<()> {
        self.with(|book| book.given_up.push(id.clone()));
        self.inner.abort_multipart(key, id).await
    }
}

fn faulty(book: Book) -> (Memory, Arc<Faulty>) {
    let inner = Arc::new(InMemory::new());
    let store = Arc::new(Faulty {
        inner: inner.clone(),
        book: Mutex::new(book),
        storing: tokio::sync::Mutex::default(),
    });
    let memory = Memory {
        objects: inner,
        bucket: Bucket::new(store.clone(), store.clone(), "s3://b".into()),
    };
    (memory, store)
}

fn line(n: i64) -> String {
    format!("{{\"n\":{n},\"s\":\"{}\"}}\n", "x".repeat(n as usize % 90))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_is_asked_for_from_there_on() {
    let (memory, store) = faulty(Book {
        break_after: Some(300_001),
        ..Book::default()
    });
    let text: String = (0..30_000).map(line).collect();
    memory.put("t/a.json", text.clone()).await;
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::none());
    let more: String = (30_000..50_000).map(line).collect();
    std::io::Write::write_all(&mut packer, more.as_bytes()).unwrap();
    memory.put("t/b.json.gz", packer.finish().unwrap()).await;
    let table = table("s3://b/t", "json", &[]);
    let splits = enumerator(&memory, &table).discover().await.unwrap();
    let mut all = reader(&memory, &table, splits.clone());
    assert_eq!(
        numbers(&read(&mut all, usize::MAX).await),
        (0..50_000).collect::<Vec<_>>()
    );
    let asked = store.with(|book| book.gets.len());
    assert!((8..20).contains(&asked), "{asked}");
    // One that brings nothing at all is given up.
    store.with(|book| book.break_after = Some(0));
    let error = failure(&mut reader(&memory, &table, splits)).await;
    let text = error.to_string();
    assert!(
        text.contains("'s3://b/t/") && text.contains("the connection was reset"),
        "{text}"
    );
    assert!(error.is_retryable(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_replaced_while_it_is_read_is_an_error_that_names_it() {
    let text: String = (0..30_000).map(line).collect();
    let (memory, _store) = faulty(Book {
        break_after: Some(300_001),
        replacement: Some((2, text.clone().into())),
        ..Book::default()
    });
    memory.put("t/a.json", text).await;
    let table = table("s3://b/t", "json", &[]);
    let splits = enumerator(&memory, &table).discover().await.unwrap();
    let error = failure(&mut reader(&memory, &table, splits)).await;
    assert!(
        error
            .to_string()
            .contains("'s3://b/t/a.json' cannot be read: another object was put in its place"),
        "{error}"
    );
    assert!(!error.is_retryable(), "what is read again would be mixed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_asked_for_as_far_as_its_last_line_goes() {
    let (memory, store) = faulty(Book::default());
    // Two ranges, with a line of a megabyte over the first one's end.
    let half: String = (0..).map(line).take(170_000).collect();
    let long = format!("{{\"n\":-1,\"s\":\"{}\"}}\n", "y".repeat(2 << 20));
    let text = format!("{half}{long}{half}");
    let bytes = text.len();
    assert!((16 << 20..32 << 20).contains(&bytes), "{bytes}");
    memory.put("t/a.json", text).await;
    let table = table("s3://b/t", "json", &[]);
    let splits = enumerator(&memory, &table).discover().await.unwrap();
    assert_eq!(splits.len(), 2);
    let mut first = reader(&memory, &table, splits[..1].to_vec());
    let read_first = numbers(&read(&mut first, usize::MAX).await);
    let sent_bytes = store.with(|book| book.sent_bytes);
    assert!(
        (bytes / 2 + (1 << 20)..bytes / 2 + (2 << 20)).contains(&sent_bytes),
        "{sent_bytes} of {bytes}"
    );
    let mut second = reader(&memory, &table, splits[1..].to_vec());
    let read_second = numbers(&read(&mut second, usize::MAX).await);
    let numbers_of_half: Vec<i64> = (0..170_000).collect();
    assert_eq!(read_first[0], -1);
    assert_eq!(read_first[1..], numbers_of_half);
    assert_eq!(read_second, numbers_of_half);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_have_one_size_however_much_is_handed_over() {
    let (memory, store) = faulty(Book::default());
    let table = table("s3://b/t", "csv", &[]);
    let mut writer = writer(&memory, &table);
    // A row is handed over as a whole, as a row group is.
    let long = arrow_array::StringArray::from(vec!["z".repeat(3 * PIECE_BYTES + 1000)]);
    let one = Batch::new(
        vec![Arc::new(arrow_array::Int64Array::from(vec![1])), Arc::new(long)],
        1,
    );
    for _ in 0..2 {
        let flow = writer.write(one.clone()).unwrap();
        done(&mut writer, flow).await;
    }
    let listed = checkpoint(&mut writer, 1).await;
    let parts = store.with(|book| book.parts.clone());
    assert_eq!(parts[..6], [PIECE_BYTES; 6]);
    assert_eq!(parts.len(), 7);
    assert!(parts[6] < PIECE_BYTES && MOST_BYTES > PIECE_BYTES);
    committer(&memory, &table).commit(&listed).await.unwrap();
    let object = memory.bucket.list("s3://b/t").await.unwrap_or_default();
    assert_eq!(object[0].size_bytes, parts.iter().sum::<usize>() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_writer_gives_up_what_no_checkpoint_lists() {
    let (memory, store) = faulty(Book::default());
    let table = table("s3://b/t", "csv", &[]);
    let mut writer = writer(&memory, &table);
    writer.write(rows(0..10)).unwrap();
    let listed = checkpoint(&mut writer, 1).await;
    // Acknowledged, and not listed.
    writer.write(rows(10..20)).unwrap();
    let flow = writer.flush().unwrap();
    done(&mut writer, flow).await;
    // Acknowledged, and the writer has not heard of it.
    let held = store.storing.lock().await;
    writer.write(rows(20..30)).unwrap();
    assert_eq!(writer.flush().unwrap(), Flow::Blocked);
    drop(held);
    store.until(|book| book.parts.len() == 3).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Open.
    let mut writer = writer;
    drop(writer.write(rows(30..40)));
    drop(writer);
    store.until(|book| book.given_up.len() == 2).await;
    // What the checkpoint lists can still be committed.
    committer(&memory, &table).commit(&listed).await.unwrap();
    assert_eq!(memory.keys().await.len(), 1);
    assert_eq!(store.with(|book| book.given_up.len()), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_completes_several_uploads_at_once_and_marks_partitions_after_all_of_them() {
    let (memory, store) = faulty(Book::default());
    let mut table = table(
        "s3://b/t",
        "csv",
        &[("sink.partition-commit.policy.kind", "success-file")],
    );
    table.partition_keys = vec!["n".into()];
    let mut committer = committer(&memory, &table);
    committer.recover(&[]).await.unwrap();
    let mut writer = writer(&memory, &table);
    for start in [0, 20] {
        let flow = writer.write(rows(start..start + 40)).unwrap();
        done(&mut writer, flow).await;
    }
    writer.on_watermark(END_OF_TIME);
    let mut listed = checkpoint(&mut writer, 1).await;
    let progress = listed.last().unwrap();
    let other = String::from_utf8(progress.to_vec()).unwrap();
    assert!(other.contains("\"subtask\":0"), "{other}");
    listed.push(other.replace("\"subtask\":0", "\"subtask\":1").into());
    let lists = store.with(|book| book.lists);
    committer.recover(&listed).await.unwrap();
    assert_eq!(store.with(|book| book.lists), lists + 1, "all objects are listed once");
    let (most, changes) = store.with(|book| (book.most_under_way, book.changes.clone()));
    assert!((2..=16).contains(&most), "{most} at once");
    let is_pending = |change: &&String| change.contains("/.pending-");
    let is_success = |change: &&String| change.ends_with("/_SUCCESS");
    let (pending, rest): (Vec<_>, Vec<_>) = changes.iter().partition(is_pending);
    assert_eq!(pending.len(), 60);
    assert!(changes[..60].iter().all(|change| is_pending(&change)), "{changes:?}");
    let completed = rest.iter().take_while(|change| change.starts_with("complete ")).count();
    assert!(completed >= 60, "{completed}");
    assert_eq!(rest.len() - completed, 60);
    assert!(rest[completed..].iter().all(is_success), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_many_partitions_in_turn_end_no_part_for_each_row() {
    let (memory, store) = faulty(Book::default());
    let mut table = table("s3://b/t", "csv", &[]);
    table.partition_keys = vec!["s".into()];
    let mut writer = writer(&memory, &table);
    let texts = (0..400).map(|n| format!("p{}", n % 40));
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(arrow_array::Int64Array::from_iter_values(0..400)),
        Arc::new(arrow_array::StringArray::from_iter_values(texts)),
    ];
    let flow = writer.write(Batch::new(columns, 400)).unwrap();
    done(&mut writer, flow).await;
    let listed = checkpoint(&mut writer, 1).await;
    // More partitions than a writer has parts open.
    assert_eq!((listed.len(), store.with(|book| book.parts.len())), (40, 40));
    committer(&memory, &table).commit(&listed).await.unwrap();
    let lines: Vec<String> = (0..400).map(|n: i64| n.to_string()).collect();
    let mut read = memory.lines().await;
    read.sort_by_key(|line| line.parse::<i64>().unwrap());
    assert_eq!(read, lines);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_do_not_keep_a_task_from_its_barriers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let bad = format!("{}\n", "no json ".repeat(1000));
    std::fs::write(&file, format!("{}{}", bad.repeat(1500), line(7))).unwrap();
    let table = table(file.to_str().unwrap(), "json", &[("bad-rows", "skip")]);
    let place = super::bucket::Place::Disk;
    let splits = enumerator_at(place.clone(), &table).discover().await.unwrap();
    let mut reader = reader_at(&place, &table, splits);
    assert!(matches!(
        reader.poll(5).unwrap(),
        ReaderPoll::Idle { until_ms: Some(5) }
    ));
    let ReaderPoll::Batch { batch, .. } = reader.poll(6).unwrap() else {
        panic!("the row is read in the second turn")
    };
    assert_eq!(numbers(&[(0, batch)]), [7]);
}
