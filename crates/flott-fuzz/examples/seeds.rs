//! Writes the seeds that are bytes rather than text into `fuzz/seeds`: batches, protocol frames, runs of state.
//!
//! ```text
//! cargo run -p flott-fuzz --example seeds
//! ```

#![allow(clippy::unwrap_used, reason = "a tool")]

use arrow_array::{ArrayRef, Int64Array, StringArray};
use bytes::{BufMut, Bytes, BytesMut};
use flott::StateValue;
use flott::datastream::{Data, Records};
use flott_broker::Broker;
use flott_connectors::kafka::client::batch::codec::Codec;
use flott_connectors::kafka::client::batch::encode::{BatchEncoder, ProducerStamp};
use flott_core::hash::hash_columns;
use flott_core::{Batch, KeyGroupRange, LogicalType};
use flott_runtime::element::Element;
use flott_runtime::exchange::frame;
use flott_state::{ColumnType, KeyedTable, RunMode, TableDescriptor};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn write(target: &str, name: &str, content: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), content).unwrap();
}

fn batch(codec: Codec, transactional: bool) -> Bytes {
    let mut encoder = BatchEncoder::new(0);
    encoder.append(5, Some(b"k"), Some(b"{\"v\":1}"), &[("h", Some(b"x")), ("n", None)]);
    encoder.append(7, None, Some(b"value value value value"), &[]);
    encoder.append(3, Some(b""), None, &[]);
    let stamp = ProducerStamp {
        producer_id: if transactional { 0 } else { -1 },
        transactional,
        ..ProducerStamp::NONE
    };
    encoder.finish(codec, stamp).unwrap()
}

fn records() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let name = format!("{codec:?}").to_lowercase();
        write("kafka-records", &name, &[&[0][..], &batch(codec, false)].concat());
    }
    let two = [&[3][..], &batch(Codec::None, true), &batch(Codec::Gzip, false)].concat();
    write("kafka-records", "aborted", &two);
    let zeros = vec![0; 64 << 20];
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut encoder = BatchEncoder::new(0);
        encoder.append(0, None, Some(&zeros), &[]);
        let name = format!("bomb-{codec:?}").to_lowercase();
        write(
            "kafka-records",
            &name,
            &[&[0][..], &encoder.finish(codec, ProducerStamp::NONE).unwrap()].concat(),
        );
    }
}

fn framed<R: Request>(request: &R, version: i16) -> Bytes {
    let mut frame = BytesMut::new();
    let header = m::RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("c")));
    header.encode(&mut frame, R::header_version(version)).unwrap();
    request.encode(&mut frame, version).unwrap();
    frame.freeze()
}

async fn protocol() {
    use kafka_protocol::messages::create_topics_request::CreatableTopic;
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let topic = || m::TopicName(StrBytes::from_static_str("t"));
    let id = || m::TransactionalId(StrBytes::from_static_str("x"));
    let produce = m::ProduceRequest::default().with_acks(-1).with_topic_data(vec![
        TopicProduceData::default().with_name(topic()).with_partition_data(vec![
            PartitionProduceData::default().with_records(Some(batch(Codec::None, false))),
        ]),
    ]);
    let fetch = m::FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![
        FetchTopic::default()
            .with_topic(topic())
            .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1 << 20)]),
    ]);
    let list = m::ListOffsetsRequest::default().with_topics(vec![
        ListOffsetsTopic::default()
            .with_name(topic())
            .with_partitions(vec![ListOffsetsPartition::default().with_timestamp(-1)]),
    ]);
    let metadata = m::MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(topic()))]))
        .with_allow_auto_topic_creation(true);
    let create = m::CreateTopicsRequest::default().with_topics(vec![
        CreatableTopic::default()
            .with_name(m::TopicName(StrBytes::from_static_str("n")))
            .with_num_partitions(3)
            .with_replication_factor(1),
    ]);
    let init = m::InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(60_000);
    let end = m::EndTxnRequest::default()
        .with_transactional_id(id())
        .with_committed(true);
    // By number in the target of answers.
    let frames: Vec<(&str, u8, i16, Bytes)> = vec![
        ("produce", 0, 9, framed(&produce, 9)),
        ("produce-old", 0, 3, framed(&produce, 3)),
        ("fetch", 1, 11, framed(&fetch, 11)),
        ("fetch-new", 1, 12, framed(&fetch, 12)),
        ("list-offsets", 2, 6, framed(&list, 6)),
        ("metadata", 3, 12, framed(&metadata, 12)),
        ("metadata-old", 3, 1, framed(&metadata, 1)),
        ("api-versions", 7, 3, framed(&m::ApiVersionsRequest::default(), 3)),
        ("create-topics", 8, 7, framed(&create, 7)),
        ("init-producer-id", 10, 4, framed(&init, 4)),
        ("end-txn", 12, 3, framed(&end, 3)),
        (
            "list-transactions",
            14,
            0,
            framed(&m::ListTransactionsRequest::default(), 0),
        ),
    ];
    let broker = Broker::builder().start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    let mut all = BytesMut::new();
    for (name, number, version, frame) in frames {
        let mut one = BytesMut::new();
        one.put_u16(frame.len() as u16);
        one.put_slice(&frame);
        write("kafka-requests", name, &one);
        all.put_slice(&one);
        if let Some(answer) = broker.answer(frame).await {
            write(
                "kafka-answers",
                name,
                &[&[number, version as u8][..], &answer[4..]].concat(),
            );
        }
    }
    write("kafka-requests", "all", &all);
    broker.shutdown().await;
}

fn runs() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(-70_000), None, Some(5)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("long text")]));
    let forms = [
        ("number", "k BIGINT", vec![LogicalType::bigint()], vec![numbers.clone()]),
        ("text", "k STRING", vec![LogicalType::string()], vec![texts.clone()]),
        (
            "pair",
            "k BIGINT, j STRING",
            vec![LogicalType::bigint(), LogicalType::string()],
            vec![numbers, texts],
        ),
    ];
    for (name, head, key, columns) in forms {
        let descriptor = TableDescriptor::new("t", key)
            .column("a", ColumnType::I64)
            .nullable("b", ColumnType::F64)
            .column("c", ColumnType::Bool)
            .column("d", ColumnType::Bytes)
            .nullable("e", ColumnType::I128);
        let mut table = KeyedTable::new(descriptor, 128, KeyGroupRange::all(128));
        let hashes = hash_columns(&columns, 4).unwrap();
        let mut slots = vec![];
        table.slots(&columns, &hashes, &mut slots).unwrap();
        for slot in &slots {
            table.column_mut::<i64>(0).set(*slot, i64::from(*slot) * 1000);
            table.bytes_column_mut(3).set(*slot, Some(b"bytes"));
        }
        let run = table.capture(1).encode(RunMode::Full).unwrap();
        let head = format!("{head} | a=i64; b=f64 null; c=bool; d=bytes; e=i128 null\n");
        if name == "number" {
            // Keys of no width, and as many rows as there are numbers, in the first block.
            let mut bomb = run.bytes.clone();
            let blocks = 10 + 17 + 5 * 19 + 4;
            bomb[10] = 0;
            bomb[blocks + 2..blocks + 6].fill(0xff);
            write("state-run", "bomb-equal-keys", &[head.as_bytes(), &bomb].concat());
        }
        write("state-run", name, &[head.as_bytes(), &run.bytes].concat());
    }
}

fn frames() {
    let head =
        "b BOOLEAN, l BIGINT, s STRING, c DECIMAL(20, 4), a ARRAY<INT>, m MAP<STRING, INT>, r ROW<x INT, y BYTES>\n";
    let ty = flott_sql::parser::types::parse_text(&format!("ROW<{}>", head.trim())).unwrap();
    let flott_core::TypeKind::Row(fields) = ty.kind else {
        return;
    };
    let mut decoder = flott_formats::decoder("json", &flott_core::Options::new(), &fields, &fields).unwrap();
    let row = r#"{"b":true,"l":5,"s":"x","c":1.5,"a":[1,null],"m":{"k":1},"r":{"x":1,"y":"AAEC"}}"#;
    decoder.decode(row.as_bytes()).unwrap();
    decoder.decode(b"{}").unwrap();
    let batch = Batch::new(decoder.finish(), 2);
    let columns = batch.columns().to_vec();
    let frame = frame::encode(&Element::Data(batch)).unwrap();
    write("exchange", "rows", &[head.as_bytes(), &frame].concat());
    let encoded = flott_core::encoding::encode_rows(&columns, 2).unwrap();
    write("exchange", "row", &[head.as_bytes(), encoded.row(0)].concat());
}

/// Rows of a program in a frame, behind the byte that chooses their type.
fn typed_frame<T: Data>(name: &str, kind: u8, values: Vec<T>) {
    let rows = Batch::of_rows(Arc::new(Records::of(values)));
    let frame = frame::encode(&Element::Data(rows)).unwrap();
    write("typed-frames", name, &[&[kind][..], &frame].concat());
}

fn typed_frames() {
    typed_frame("numbers", 0, vec![0_i64, -1, i64::MAX]);
    typed_frame("texts", 1, vec!["a".to_owned(), String::new()]);
    typed_frame(
        "nested",
        2,
        vec![(Some(1_u8), vec![vec![1_u16, 300], vec![]]), (None, vec![])],
    );
    typed_frame("nothing", 4, vec![(), (), ()]);
    // More units than memory would hold of anything else: a count, and no bytes for any.
    let mut many = vec![4, 1, 6];
    many.extend_from_slice(&u32::MAX.to_le_bytes());
    many.extend_from_slice(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    write("typed-frames", "bomb-units", &many);
    let mut timed = Records::default();
    timed.push(5_i64, Some(7));
    timed.push(6, None);
    let rows = Batch::of_rows(Arc::new(timed)).with_hashes(Some(Arc::new(vec![1, 2])));
    let frame = frame::encode(&Element::Data(rows)).unwrap();
    write("typed-frames", "timed", &[&[0][..], &frame].concat());
}

fn state_value<T: StateValue>(name: &str, value: &T) {
    let mut content = format!("v {}\n", T::state_type()).into_bytes();
    value.write_field(&mut content);
    write("state-value", name, &content);
}

fn state_values() {
    state_value("number", &7_i64);
    state_value("large", &u64::MAX);
    state_value("absent", &None::<i32>);
    state_value("texts", &vec![Some("a".to_owned()), None]);
    state_value("lists", &vec![vec![1_u8, 2], vec![]]);
    state_value("map", &BTreeMap::from([("k".to_owned(), 1_i64)]));
    state_value("tuple", &(1, Some("x".to_owned()), 0.5));
    let row = "v ROW<owner STRING NOT NULL, old DATE, balance INT NOT NULL, notes MAP<STRING NOT NULL, BOOLEAN> NOT NULL> NOT NULL\n";
    let fields = [
        1, 1, 1, 0, 0, 0, b'o', 0, 1, 9, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, b'n', 0,
    ];
    write("state-value", "evolved", &[row.as_bytes(), &fields].concat());
    let count = [1, 0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0x7f];
    write(
        "state-value",
        "bomb-count",
        &[b"v ARRAY<ARRAY<SMALLINT NOT NULL> NOT NULL> NOT NULL\n", &count[..]].concat(),
    );
}

/// Files of another writer, and the same with bytes turned.
fn parquet_files() {
    let head = b"id BIGINT, small SMALLINT, unsigned BIGINT, word STRING, bytes BYTES, fixed BYTES, amount DECIMAL(5, 2), day DATE, at TIME, \
                 wall TIMESTAMP(3), instant TIMESTAMP_LTZ(3), list ARRAY<STRING>, map MAP<STRING, INT>, \
                 row ROW<a INT, b ROW<c STRING, d FLOAT>>, gone STRING | utc-timezone=true\n";
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flott-connectors/tests/data");
    for name in ["pyarrow", "pyarrow-int96"] {
        let file = std::fs::read(data.join(name).with_extension("parquet")).unwrap();
        write("parquet", name, &[&head[..], &file].concat());
    }
    let file = std::fs::read(data.join("pyarrow.parquet")).unwrap();
    for at in [9, file.len() / 3, file.len() - 400, file.len() - 6] {
        let mut turned = file.clone();
        turned[at] ^= 0x55;
        write("parquet", &format!("turned-{at}"), &[&head[..], &turned].concat());
    }
}

fn partition_paths() {
    for (name, text) in [
        (
            "days",
            "dt DATE, hour TINYINT | partition.time-extractor.timestamp-pattern=$dt $hour:00:00\n/t/dt=2026-03-01/hour=7/part-1",
        ),
        ("escaped", "s STRING\ns=a%3Ab%2F%C3%BC%25%2/x"),
        (
            "null",
            "s STRING, b BOOLEAN | partition.default-name=none\n/x/s=none/b=none/y",
        ),
        ("dots", "s STRING\n/x/../s=../y"),
        ("twice", "s STRING\n/s=1/s=2/y"),
        (
            "far",
            "d DATE | sink.partition-commit.watermark-time-zone=America/New_York\n/d=+262142-12-31/y",
        ),
        (
            "formatter",
            "d STRING | partition.time-extractor.timestamp-formatter=yyyyMMdd\n/d=20260301/y",
        ),
    ] {
        write("partition-path", name, text.as_bytes());
    }
}

fn main() {
    records();
    runs();
    frames();
    typed_frames();
    state_values();
    parquet_files();
    partition_paths();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(protocol());
}
