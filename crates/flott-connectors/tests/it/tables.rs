//! The tables `kafka` and `upsert-kafka`, driven as a task drives them, against every broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use bytes::Bytes;
use flott_connectors::kafka::client::offsets::{Isolation, TopicPartition};
use flott_connectors::kafka::{KafkaConnector, UpsertKafkaConnector};
use flott_core::clock::SystemClock;
use flott_core::{Batch, Field, JobId, LogicalType, OperatorId, Options, RowKind};
use flott_runtime::connector::{
    ChangelogMode, CommitterContext, MetadataKey, ReaderPoll, ScanSpec, Sink, SinkSpec, SinkWriter, Source,
    SourceReader, Split, TableConnector, TableSpec,
};
use flott_runtime::{Flow, OperatorContext, TaskInfo, Waker};

use crate::support::{Cluster, clusters, fresh};

pub fn table(cluster: &Cluster, connector: &str, topic: &str, options: &[(&str, &str)]) -> TableSpec {
    let mut all: Options = [
        ("connector", connector),
        ("topic", topic),
        ("properties.bootstrap.servers", &*cluster.bootstrap),
    ]
    .into_iter()
    .collect();
    options.iter().for_each(|(k, v)| drop(all.set(*k, *v)));
    TableSpec {
        name: "default_catalog.default_database.orders".into(),
        options: all,
        columns: vec![
            Field::new("name", LogicalType::string()),
            Field::new("n", LogicalType::bigint()),
        ],
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    }
}

fn context(subtask: usize) -> OperatorContext {
    OperatorContext {
        task: Arc::new(TaskInfo {
            job_id: JobId::of("job"),
            job_name: "job".into(),
            task_name: "task".into(),
            subtask,
            parallelism: 2,
            max_parallelism: 128,
            attempt: 0,
            generation: 1,
            options: Arc::default(),
        }),
        operator_id: OperatorId::of("kafka"),
        operator_name: "kafka".into(),
        waker: Waker::new(),
        clock: Arc::new(SystemClock),
        runtime: tokio::runtime::Handle::current(),
        metrics: Arc::default(),
        restored: None,
        backend: Default::default(),
    }
}

fn metadata(keys: &[&str]) -> Vec<MetadataKey> {
    let info = |key: &&str| {
        let spec = table_for_metadata();
        let info = KafkaConnector.check_sink(&spec, &Options::new()).unwrap();
        info.metadata.into_iter().find(|m| m.key == **key).unwrap()
    };
    keys.iter().map(info).collect()
}

fn table_for_metadata() -> TableSpec {
    let cluster = Cluster {
        bootstrap: "localhost:1".into(),
        broker: None,
    };
    table(&cluster, "kafka", "t", &[("format", "debezium-json")])
}

pub fn rows(names: &[&str], numbers: &[i64]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringArray::from(names.to_vec())),
        Arc::new(Int64Array::from(numbers.to_vec())),
    ]
}

pub struct Writer {
    writer: Box<dyn SinkWriter>,
    waker: Waker,
}

impl Writer {
    pub fn new(sink: &dyn Sink, subtask: usize) -> Self {
        let ctx = context(subtask);
        Self {
            writer: sink.writer(&ctx).unwrap(),
            waker: ctx.waker,
        }
    }

    /// Goes on until the call is done, as the task's driver does.
    async fn done(&mut self, mut flow: Flow) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while flow != Flow::Done {
            assert!(Instant::now() < deadline, "blocked for 20 s");
            if !self.waker.take() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            flow = self.writer.resume().unwrap();
        }
    }

    pub async fn write(&mut self, batch: Batch) {
        let flow = self.writer.write(batch).unwrap();
        self.done(flow).await;
    }

    pub async fn flush(&mut self) {
        let flow = self.writer.flush().unwrap();
        self.done(flow).await;
    }

    pub async fn checkpoint(&mut self, id: u64) -> Vec<Bytes> {
        self.flush().await;
        self.writer.prepare_commit(id).unwrap()
    }
}

/// Writes a row and gives the error that comes of it.
pub async fn write_until_refused(sink: &dyn Sink) -> String {
    let mut writer = Writer::new(sink, 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut flow = writer.writer.write(Batch::new(rows(&["a"], &[1]), 1));
    loop {
        match flow {
            Err(error) => return error.full_text(),
            Ok(Flow::Done) => flow = writer.writer.flush(),
            Ok(_) => {
                assert!(Instant::now() < deadline, "not refused within 20 s");
                tokio::time::sleep(Duration::from_millis(1)).await;
                flow = writer.writer.resume();
            }
        }
    }
}

pub fn sink_spec(table: TableSpec, keys: &[&str]) -> SinkSpec {
    let metadata = metadata(keys);
    let mut fields = table.columns.clone();
    fields.extend(metadata.iter().map(|m| Field::new(m.key.clone(), m.ty.clone())));
    SinkSpec {
        table,
        fields,
        metadata,
        updating: false,
    }
}

pub fn scan_spec(table: TableSpec, keys: &[&str]) -> ScanSpec {
    let fields = table.columns.clone();
    ScanSpec {
        table,
        fields,
        metadata: metadata(keys),
        watermark: None,
        partitions: None,
    }
}

fn source_of(spec: &ScanSpec) -> Box<dyn Source> {
    match spec.table.connector() {
        "upsert-kafka" => UpsertKafkaConnector.source(spec).unwrap(),
        _ => KafkaConnector.source(spec).unwrap(),
    }
}

pub async fn discovered(spec: &ScanSpec, restored: Option<&[u8]>) -> (Vec<Split>, Vec<u8>) {
    let source = source_of(spec);
    let mut enumerator = source.enumerator(restored).unwrap();
    let splits = enumerator.discover().await.unwrap();
    (splits, enumerator.snapshot())
}

pub struct Read {
    pub reader: Box<dyn SourceReader>,
    ctx: OperatorContext,
}

impl Read {
    pub fn new(spec: &ScanSpec, splits: Vec<Split>) -> Self {
        let ctx = context(0);
        let mut reader = source_of(spec).reader(&ctx).unwrap();
        reader.add_splits(splits).unwrap();
        reader.no_more_splits();
        Self { reader, ctx }
    }

    /// Batches until the reader is finished, or `rows` were read.
    async fn batches(&mut self, rows: usize) -> Result<Vec<Batch>, String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let (mut out, mut count) = (Vec::new(), 0);
        while count < rows {
            assert!(Instant::now() < deadline, "only {count} rows within 20 s");
            match self.reader.poll(0).map_err(|e| e.full_text())? {
                ReaderPoll::Batch { batch, .. } => {
                    count += batch.num_rows();
                    out.push(batch);
                }
                ReaderPoll::SplitFinished(_) => {}
                ReaderPoll::Finished => break,
                ReaderPoll::Idle { .. } => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        Ok(out)
    }

    pub async fn numbers(&mut self, rows: usize) -> Result<Vec<i64>, String> {
        let batches = self.batches(rows).await?;
        let mut numbers: Vec<i64> = batches
            .iter()
            .flat_map(|b| {
                b.column(1)
                    .as_primitive::<Int64Type>()
                    .iter()
                    .flatten()
                    .collect::<Vec<_>>()
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

pub async fn produce(cluster: &Cluster, topic: &Arc<str>, partition: i32, values: &[&str]) {
    let producer = cluster.producer(&[]).await;
    let index = producer.partition(&TopicPartition::new(topic.clone(), partition));
    for (i, value) in values.iter().enumerate() {
        producer
            .send(index, 1_000 * (i as i64 + 1), None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    producer.flush().await.unwrap();
}

pub const BOUNDED: [(&str, &str); 2] = [
    ("scan.startup.mode", "earliest-offset"),
    ("scan.bounded.mode", "latest-offset"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back_with_keys_and_metadata() {
    for cluster in clusters().await {
        let topic = cluster.topic(3).await;
        let options = [
            ("key.format", "json"),
            ("key.fields", "name"),
            ("value.format", "json"),
            ("value.fields-include", "EXCEPT_KEY"),
        ];
        let spec = sink_spec(table(&cluster, "kafka", &topic, &options), &["timestamp"]);
        let sink = KafkaConnector.sink(&spec).unwrap();
        let mut writer = Writer::new(&*sink, 0);
        let mut columns = rows(&["a", "b", "a"], &[1, 2, 3]);
        columns.push(Arc::new(TimestampMillisecondArray::from(vec![7_000, 8_000, 9_000])));
        writer.write(Batch::new(columns, 3)).await;
        writer.flush().await;
        let all: Vec<_> = (0..3).collect();
        let mut raw = Vec::new();
        for p in all {
            raw.extend(
                cluster
                    .read(&topic, p, Isolation::ReadUncommitted)
                    .await
                    .into_iter()
                    .map(|(_, v)| v),
            );
        }
        raw.sort();
        assert_eq!(raw, ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);

        let options = [&options[..], &BOUNDED].concat();
        let keys = [
            "topic",
            "partition",
            "headers",
            "leader-epoch",
            "offset",
            "timestamp",
            "timestamp-type",
        ];
        let spec = scan_spec(table(&cluster, "kafka", &topic, &options), &keys);
        let (splits, _) = discovered(&spec, None).await;
        assert_eq!(splits.len(), 3);
        let mut seen = Vec::new();
        for batch in Read::new(&spec, splits).batches(usize::MAX).await.unwrap() {
            for row in 0..batch.num_rows() {
                assert_eq!(batch.column(2).as_string::<i32>().value(row), &*topic);
                assert!(batch.column(3).as_primitive::<Int32Type>().value(row) < 3);
                assert_eq!(batch.column(4).as_map().value(row).len(), 0);
                assert_eq!(batch.column(4).data_type(), &spec.metadata[2].ty.to_arrow());
                assert_eq!(batch.column(8).as_string::<i32>().value(row), "CreateTime");
                seen.push((
                    batch.column(1).as_primitive::<Int64Type>().value(row),
                    batch.column(0).as_string::<i32>().value(row).to_owned(),
                    batch.column(7).as_primitive::<TimestampMillisecondType>().value(row),
                    batch.column(3).as_primitive::<Int32Type>().value(row),
                ));
            }
        }
        seen.sort();
        let partition_of_a = seen[0].3;
        let expected: Vec<(i64, String, i64)> =
            vec![(1, "a".into(), 7_000), (2, "b".into(), 8_000), (3, "a".into(), 9_000)];
        assert_eq!(
            seen.iter().map(|(n, k, t, _)| (*n, k.clone(), *t)).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(seen[2].3, partition_of_a, "equal keys share a partition");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_ends_by_every_mode() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let values: Vec<String> = (0..10).map(|i| format!("x,{i}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        produce(&cluster, &topic, 0, &values).await;
        let group = fresh("g");
        let tp = TopicPartition::new(topic.clone(), 0);
        cluster.client().await.commit_offsets(&group, &[(tp, 4)]).await.unwrap();
        let read = async |options: &[(&str, &str)]| {
            let options = [&[("format", "csv"), ("properties.group.id", &*group)], options].concat();
            let spec = scan_spec(table(&cluster, "kafka", &topic, &options), &[]);
            let splits = discovered(&spec, None).await.0;
            Read::new(&spec, splits).numbers(usize::MAX).await.unwrap()
        };
        let latest = ("scan.bounded.mode", "latest-offset");
        let earliest = ("scan.startup.mode", "earliest-offset");
        assert_eq!(read(&[earliest, latest]).await, (0..10).collect::<Vec<_>>());
        assert_eq!(
            read(&[latest]).await,
            (4..10).collect::<Vec<_>>(),
            "group-offsets is the default"
        );
        assert_eq!(
            read(&[("scan.startup.mode", "latest-offset"), latest]).await,
            Vec::<i64>::new()
        );
        let at = [
            ("scan.startup.mode", "timestamp"),
            ("scan.startup.timestamp-millis", "8500"),
            latest,
        ];
        assert_eq!(read(&at).await, [8, 9]);
        let at = [
            ("scan.startup.mode", "specific-offsets"),
            ("scan.startup.specific-offsets", "partition:0,offset:7"),
            latest,
        ];
        assert_eq!(read(&at).await, [7, 8, 9]);
        assert_eq!(
            read(&[earliest, ("scan.bounded.mode", "group-offsets")]).await,
            [0, 1, 2, 3]
        );
        let to = [
            earliest,
            ("scan.bounded.mode", "timestamp"),
            ("scan.bounded.timestamp-millis", "3000"),
        ];
        assert_eq!(read(&to).await, [0, 1]);
        let to = [
            earliest,
            ("scan.bounded.mode", "specific-offsets"),
            ("scan.bounded.specific-offsets", "partition:0,offset:3"),
        ];
        assert_eq!(read(&to).await, [0, 1, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_from_a_snapshot_and_finds_new_partitions() {
    for cluster in clusters().await {
        let prefix = fresh("several");
        let client = cluster.client().await;
        let make = async |name: &str| {
            let topic = flott_connectors::kafka::client::admin::NewTopic::new(format!("{prefix}-{name}"), 1);
            client.create_topics(&[topic]).await.unwrap();
            client.topic(&format!("{prefix}-{name}")).await.unwrap().name.clone()
        };
        let first = make("a").await;
        produce(&cluster, &first, 0, &["x,1", "x,2", "x,3"]).await;
        let pattern = format!("{prefix}-[ab]");
        let group = fresh("g");
        let options = [
            ("format", "csv"),
            ("scan.startup.mode", "latest-offset"),
            ("properties.group.id", &*group),
        ];
        let mut spec = table(&cluster, "kafka", "", &options);
        spec.options.remove("topic");
        spec.options.set("topic-pattern", &*pattern);
        let spec = scan_spec(spec, &[]);
        let (splits, known) = discovered(&spec, None).await;
        assert_eq!(splits.len(), 1);
        let mut read = Read::new(&spec, splits);
        produce(&cluster, &first, 0, &["x,4", "x,5"]).await;
        assert_eq!(read.numbers(2).await.unwrap(), [4, 5]);
        let snapshot = read.reader.snapshot(1).unwrap();
        produce(&cluster, &first, 0, &["x,6"]).await;
        assert_eq!(read.numbers(1).await.unwrap(), [6]);

        read.reader.checkpoint_complete(1);
        let tp = TopicPartition::new(first.clone(), 0);
        let deadline = Instant::now() + Duration::from_secs(10);
        while client
            .committed_offsets(&group, std::slice::from_ref(&tp))
            .await
            .unwrap()[&tp]
            != Some(5)
        {
            assert!(Instant::now() < deadline, "nothing committed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let second = make("b").await;
        produce(&cluster, &second, 0, &["x,100"]).await;
        let (found, _) = discovered(&spec, Some(&known)).await;
        assert_eq!(found.len(), 1, "only what is new");
        let mut restored = Read::new(&spec, [snapshot, found].concat());
        assert_eq!(
            restored.numbers(2).await.unwrap(),
            [6, 100],
            "a later partition is read from its start"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_shows_what_checkpoints_list_and_nothing_else() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let prefix = fresh("eo");
        let options = [
            ("format", "csv"),
            ("sink.delivery-guarantee", "exactly-once"),
            ("sink.transactional-id-prefix", &*prefix),
        ];
        let sink = KafkaConnector
            .sink(&sink_spec(table(&cluster, "kafka", &topic, &options), &[]))
            .unwrap();
        let job = CommitterContext {
            job_id: JobId::of("job"),
            job_name: "job".into(),
            operator_id: OperatorId::of("kafka"),
            options: Arc::default(),
            generation: 1,
        };
        let committer = || sink.committer(&job).unwrap().unwrap();
        committer().recover(&[]).await.unwrap();

        let mut writer = Writer::new(&*sink, 0);
        writer.write(Batch::new(rows(&["a"], &[1]), 1)).await;
        let first = writer.checkpoint(1).await;
        assert_eq!(first.len(), 1);
        // Checkpoint 1 fails: the next one lists both.
        writer.write(Batch::new(rows(&["b"], &[2]), 1)).await;
        let both = writer.checkpoint(2).await;
        assert_eq!(both.len(), 2);
        assert_eq!(cluster.committed(&topic, 0, 0).await, Vec::<String>::new());
        committer().commit(&both).await.unwrap();
        writer.writer.committed(2);
        assert_eq!(cluster.committed(&topic, 0, 2).await, ["a,1", "b,2"]);
        assert_eq!(writer.checkpoint(3).await.len(), 0, "nothing was written since");

        writer.write(Batch::new(rows(&["c"], &[3]), 1)).await;
        let third = writer.checkpoint(4).await;
        writer.write(Batch::new(rows(&["lost with the crash"], &[4]), 1)).await;
        writer.flush().await;
        // A killed process tells nobody.
        std::mem::forget(writer);
        // A restore from checkpoint 4: its transaction counts, the open one is given up. Twice, as restores may be.
        committer().recover(&third).await.unwrap();
        committer().recover(&third).await.unwrap();
        let mut writer = Writer::new(&*sink, 1);
        writer.write(Batch::new(rows(&["d"], &[5]), 1)).await;
        let fourth = writer.checkpoint(5).await;
        // Another sink of the table settles what is its own.
        let other = CommitterContext {
            operator_id: OperatorId::of("other"),
            ..job.clone()
        };
        sink.committer(&other).unwrap().unwrap().recover(&[]).await.unwrap();
        committer().commit(&fourth).await.unwrap();
        committer().recover(&first).await.unwrap();
        assert_eq!(cluster.committed(&topic, 0, 4).await, ["a,1", "b,2", "c,3", "d,5"]);
        let open = cluster.client().await.list_transactions(&prefix).await.unwrap();
        assert!(open.iter().all(|t| !t.state.is_open()), "{open:?}");

        // A listed transaction that somebody aborted is lost, and said to be.
        writer.write(Batch::new(rows(&["e"], &[6]), 1)).await;
        let fifth = writer.checkpoint(6).await;
        committer().recover(&[]).await.unwrap();
        let error = committer().commit(&fifth).await.unwrap_err().to_string();
        assert!(error.contains(&prefix) && error.contains("lost"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_table_writes_the_last_of_each_key_and_tombstones() {
    for cluster in clusters().await {
        for buffered in [false, true] {
            let topic = cluster.topic(1).await;
            let mut options = vec![("key.format", "json"), ("value.format", "json")];
            if buffered {
                options.extend([
                    ("sink.buffer-flush.max-rows", "1000"),
                    ("sink.buffer-flush.interval", "1 h"),
                ]);
            }
            let mut spec = table(&cluster, "upsert-kafka", &topic, &options);
            spec.primary_key = vec!["name".into()];
            let sink = UpsertKafkaConnector.sink(&sink_spec(spec, &[])).unwrap();
            let mut writer = Writer::new(&*sink, 0);
            let kinds = [
                RowKind::Insert,
                RowKind::UpdateBefore,
                RowKind::UpdateAfter,
                RowKind::Delete,
            ];
            let kinds: Vec<u8> = kinds.iter().map(|k| *k as u8).collect();
            let batch = Batch::new(rows(&["a", "a", "a", "b"], &[1, 1, 2, 9]), 4).with_kinds(Some(kinds.into()));
            writer.write(batch).await;
            writer.flush().await;
            let read = cluster.read(&topic, 0, Isolation::ReadUncommitted).await;
            let read: Vec<&str> = read.iter().map(|(_, v)| v.as_str()).collect();
            let (one, two) = ("{\"name\":\"a\",\"n\":1}", "{\"name\":\"a\",\"n\":2}");
            assert_eq!(
                read,
                if buffered {
                    vec![two, "null"]
                } else {
                    vec![one, two, "null"]
                }
            );
        }
    }
}

/// Kind, name and number of each row.
fn told(batches: &[Batch]) -> Vec<String> {
    let of = |batch: &Batch| {
        let (names, numbers) = (
            batch.column(0).as_string::<i32>(),
            batch.column(1).as_primitive::<Int64Type>(),
        );
        let number = |row: usize| match numbers.is_null(row) {
            true => "NULL".to_owned(),
            false => numbers.value(row).to_string(),
        };
        (0..batch.num_rows())
            .map(|row| format!("{} {} {}", batch.kind(row).short(), names.value(row), number(row)))
            .collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_table_reads_values_as_updates_and_tombstones_as_deletions() {
    for cluster in clusters().await {
        for except_key in [false, true] {
            let topic = cluster.topic(1).await;
            let mut options = vec![("key.format", "json"), ("value.format", "json")];
            if except_key {
                options.push(("value.fields-include", "EXCEPT_KEY"));
            }
            let mut spec = table(&cluster, "upsert-kafka", &topic, &options);
            spec.primary_key = vec!["name".into()];
            let sink = UpsertKafkaConnector.sink(&sink_spec(spec.clone(), &[])).unwrap();
            let mut writer = Writer::new(&*sink, 0);
            let kinds = [RowKind::Insert, RowKind::Insert, RowKind::Delete, RowKind::UpdateAfter];
            let kinds: Vec<u8> = kinds.iter().map(|k| *k as u8).collect();
            writer
                .write(Batch::new(rows(&["a", "b", "a", "b"], &[1, 2, 1, 3]), 4).with_kinds(Some(kinds.into())))
                .await;
            writer.flush().await;
            spec.options.set("scan.bounded.mode", "latest-offset");
            assert_eq!(
                UpsertKafkaConnector.check_source(&spec).unwrap().changelog,
                ChangelogMode::Upsert
            );
            let scan = scan_spec(spec, &["offset"]);
            let mut read = Read::new(&scan, discovered(&scan, None).await.0);
            let batches = read.batches(usize::MAX).await.unwrap();
            assert_eq!(told(&batches), ["+U a 1", "+U b 2", "-D a NULL", "+U b 3"]);
            let offsets = batches[0].column(2).as_primitive::<Int64Type>();
            assert_eq!(offsets.values(), &[0, 1, 2, 3]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_written_and_read_as_debezium_events() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let mut spec = table(&cluster, "kafka", &topic, &[("format", "debezium-json")]);
        spec.primary_key = vec!["name".into()];
        let info = KafkaConnector.check_sink(&spec, &Options::new()).unwrap();
        assert_eq!(info.changelog, ChangelogMode::Retract);
        let sink = KafkaConnector.sink(&sink_spec(spec.clone(), &[])).unwrap();
        let mut writer = Writer::new(&*sink, 0);
        let kinds: Vec<u8> = vec![0, 1, 2, 3];
        writer
            .write(Batch::new(rows(&["a", "a", "a", "b"], &[1, 1, 2, 9]), 4).with_kinds(Some(kinds.into())))
            .await;
        writer.flush().await;
        let update =
            r#"{"before":{"name":"a","n":2},"after":{"name":"a","n":4},"op":"u","ts_ms":8,"source":{"table":"t"}}"#;
        produce(&cluster, &topic, 0, &[update]).await;
        for (key, value) in BOUNDED {
            spec.options.set(key, value);
        }
        assert_eq!(
            KafkaConnector.check_source(&spec).unwrap().changelog,
            ChangelogMode::Retract
        );
        let scan = scan_spec(spec, &["value.source.table", "offset", "value.ingestion-timestamp"]);
        let mut read = Read::new(&scan, discovered(&scan, None).await.0);
        let batches = read.batches(usize::MAX).await.unwrap();
        assert_eq!(
            told(&batches),
            ["+I a 1", "-D a 1", "+I a 2", "-D b 9", "-U a 2", "+U a 4"]
        );
        let tables: Vec<Option<&str>> = batches[0].column(2).as_string::<i32>().iter().collect();
        assert_eq!(tables, [None, None, None, None, Some("t"), Some("t")]);
        let times: Vec<Option<i64>> =
            (batches[0].column(4).as_primitive::<TimestampMillisecondType>().iter()).collect();
        assert_eq!(times, [None, None, None, None, Some(8), Some(8)]);
        let offsets = batches[0].column(3).as_primitive::<Int64Type>();
        assert_eq!(
            offsets.values(),
            &[0, 1, 2, 3, 4, 4],
            "an update is two rows of one record"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_fail_are_skipped_or_kept() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let letters = cluster.topic(1).await;
        produce(&cluster, &topic, 0, &["x,1", "x,not a number", "x,3"]).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let read = async |policy: &[(&str, &str)]| {
            let options = [&[("format", "csv")], &BOUNDED[..], policy].concat();
            let spec = scan_spec(table(&cluster, "kafka", &topic, &options), &[]);
            let splits = discovered(&spec, None).await.0;
            let mut read = Read::new(&spec, splits);
            let numbers = read.numbers(usize::MAX).await;
            if numbers.is_ok() {
                read.reader.snapshot(1).unwrap();
            }
            (numbers, read.ctx.metrics.bad_rows.get())
        };
        let (error, _) = read(&[]).await;
        let error = error.unwrap_err();
        assert!(error.contains("offset 1") && error.contains("bad-rows"), "{error}");
        assert_eq!(read(&[("bad-rows", "skip")]).await, (Ok(vec![1, 3]), 1));
        assert_eq!(
            read(&[("bad-rows", "dead-letter"), ("bad-rows.path", path)]).await,
            (Ok(vec![1, 3]), 1)
        );
        let file = std::fs::read_to_string(folder.path().join("orders-0.jsonl")).unwrap();
        assert!(file.contains("offset 1") && file.contains("x,not a number"), "{file}");
        assert_eq!(
            read(&[("bad-rows", "dead-letter"), ("bad-rows.topic", &*letters)]).await,
            (Ok(vec![1, 3]), 1)
        );
        assert_eq!(
            cluster.read(&letters, 0, Isolation::ReadUncommitted).await,
            [(0, "x,not a number".to_owned())]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_wrong_is_named() {
    let cluster = &clusters().await[0];
    for (options, part) in [
        (
            vec![("format", "csv"), ("scan.startup.mod", "earliest-offset")],
            "did you mean 'scan.startup.mode'",
        ),
        (vec![("format", "csv")], "properties.group.id"),
        (
            vec![("format", "jsn"), ("scan.startup.mode", "earliest-offset")],
            "json",
        ),
        (
            vec![("format", "csv"), ("scan.startup.mode", "earliest")],
            "earliest-offset",
        ),
        (
            vec![("format", "csv"), ("scan.startup.mode", "timestamp")],
            "scan.startup.timestamp-millis",
        ),
        (
            vec![("key.format", "csv"), ("value.format", "csv"), ("key.fields", "nam")],
            "did you mean 'name'",
        ),
        (
            vec![
                ("format", "csv"),
                ("scan.startup.mode", "earliest-offset"),
                ("properties.check.crcs", "perhaps"),
            ],
            "true or false",
        ),
    ] {
        let error = KafkaConnector
            .check_source(&table(cluster, "kafka", "t", &options))
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    }
    for (options, part) in [
        (
            vec![("format", "csv"), ("sink.delivery-guarantee", "exactly-once")],
            "sink.transactional-id-prefix",
        ),
        (
            vec![("format", "csv"), ("sink.partitioner", "com.example.Mine")],
            "Java class",
        ),
        (vec![("format", "csv"), ("sink.buffer-flush.max-rows", "5")], "both"),
    ] {
        let table = table(cluster, "kafka", "t", &options);
        let error = KafkaConnector
            .check_sink(&table, &Options::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    }
    let no_key = table(
        cluster,
        "upsert-kafka",
        "t",
        &[("key.format", "json"), ("value.format", "json")],
    );
    let error = UpsertKafkaConnector
        .check_sink(&no_key, &Options::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("PRIMARY KEY"), "{error}");

    let options = [("format", "csv"), ("scan.startup.mode", "earliest-offset")];
    let spec = scan_spec(table(cluster, "kafka", "not-there", &options), &[]);
    let mut enumerator = KafkaConnector.source(&spec).unwrap().enumerator(None).unwrap();
    let error = enumerator.discover().await.unwrap_err().to_string();
    assert!(error.contains("'not-there' does not exist"), "{error}");
    let options = [("format", "csv"), ("properties.group.id", "never")];
    let topic = cluster.topic(1).await;
    let spec = scan_spec(table(cluster, "kafka", &topic, &options), &[]);
    let mut enumerator = KafkaConnector.source(&spec).unwrap().enumerator(None).unwrap();
    let error = enumerator.discover().await.unwrap_err().to_string();
    assert!(error.contains("auto.offset.reset"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_timeout_above_the_brokers_is_told_first() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let options = [
            ("format", "csv"),
            ("sink.delivery-guarantee", "exactly-once"),
            ("sink.transactional-id-prefix", "too-long"),
            ("properties.transaction.timeout.ms", "86400000"),
        ];
        let sink = KafkaConnector
            .sink(&sink_spec(table(&cluster, "kafka", &topic, &options), &[]))
            .unwrap();
        let job = CommitterContext {
            job_id: JobId::of("job"),
            job_name: "job".into(),
            operator_id: OperatorId::of("kafka"),
            options: Arc::default(),
            generation: 1,
        };
        let error = sink
            .committer(&job)
            .unwrap()
            .unwrap()
            .recover(&[])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("transaction.max.timeout.ms"), "{error}");
    }
}
