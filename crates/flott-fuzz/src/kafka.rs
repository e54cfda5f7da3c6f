//! Kafka: record batches, records into rows, and the protocol's frames on both sides.

use crate::schema;
use bytes::Bytes;
use flott_broker::Broker;
use flott_connectors::kafka::client::batch::codec::Codec;
use flott_connectors::kafka::client::batch::encode::{BatchEncoder, ProducerStamp};
use flott_connectors::kafka::client::batch::walk::{RecordWalker, WalkOptions};
use flott_connectors::kafka::client::connection::decode_answer;
use flott_connectors::kafka::client::fetch::{AbortedTransaction, Fetched};
use flott_connectors::kafka::read_fetched;
use flott_core::Options;
use flott_runtime::Registry;
use flott_runtime::connector::{ScanSpec, TableSpec};
use kafka_protocol::messages as m;
use std::time::Duration;

/// Record batches as a broker sends them. The first byte says how to read: 1 read_committed, 2 with an aborted
/// transaction of producer 0.
pub(crate) fn records(data: &[u8]) {
    let Some((flags, batches)) = data.split_first() else {
        return;
    };
    let aborted = AbortedTransaction {
        producer_id: 0,
        first_offset: 0,
    };
    let fetched = Fetched {
        records: Bytes::copy_from_slice(batches),
        aborted: if flags & 2 != 0 { vec![aborted] } else { vec![] },
        ..Fetched::default()
    };
    let options = WalkOptions {
        check_crcs: false,
        read_committed: flags & 1 != 0,
    };
    let mut walker = RecordWalker::new(fetched, options);
    let mut before = walker.position();
    while let Ok(Some(record)) = walker.next() {
        assert!(record.offset >= before, "offsets go up");
        before = record.offset;
        record.headers().take_while(Result::is_ok).count();
    }
    assert!(walker.position() >= before);
    assert!(matches!(walker.next(), Ok(None)), "a walker stays at its end");
}

/// Records into rows: a table of `kafka` or `upsert-kafka` by the first line (columns and its whole options), then a
/// record a line, key and value with a tab between, `~` for NULL.
pub(crate) fn rows(data: &[u8]) {
    let Some(input) = schema::read(data, "") else { return };
    let mut options: Options = input.options;
    options.set("topic", "t");
    options.set("properties.bootstrap.servers", "h:1");
    let keys = options.remove("primary-key").unwrap_or_default();
    let table = TableSpec {
        name: "t".to_owned(),
        columns: input.columns.clone(),
        primary_key: keys.split(',').filter(|k| !k.is_empty()).map(str::to_owned).collect(),
        metadata: vec![],
        partition_keys: vec![],
        options,
    };
    let mut registry = Registry::new();
    flott_connectors::register(&mut registry);
    let Ok(connector) = registry.find_connector(table.connector()) else {
        return;
    };
    let Ok(info) = connector.check_source(&table) else {
        return;
    };
    let scan = ScanSpec {
        fields: input.columns,
        metadata: info.metadata,
        watermark: None,
        partitions: None,
        table,
    };
    let mut encoder = BatchEncoder::new(0);
    for line in input.body.split(|b| *b == b'\n') {
        let (key, value) = match line.iter().position(|b| *b == b'\t') {
            Some(tab) => (Some(&line[..tab]), Some(&line[tab + 1..])),
            None => (None, Some(line)),
        };
        let told = |part: Option<&'_ [u8]>| part.is_some_and(|p| p != b"~");
        encoder.append(
            0,
            key.filter(|k| told(Some(k))),
            value.filter(|v| told(Some(v))),
            &[("h", Some(b"1"))],
        );
    }
    let records = encoder
        .finish(Codec::None, ProducerStamp::NONE)
        .expect("nothing is packed");
    let fetched = Fetched {
        records,
        ..Fetched::default()
    };
    let mut unread = 0;
    if let Ok(batch) = read_fetched(&scan, fetched, &mut |reason| {
        assert!(!reason.is_empty());
        unread += 1;
    }) {
        schema::check_columns(batch.columns(), batch.num_rows());
    }
}

/// Requests to the embedded broker, one after the other: each with its length in two bytes.
pub(crate) fn requests(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let Ok(broker) = Broker::builder().retention_bytes(1 << 20).start().await else {
            return;
        };
        broker.create_topic("t", 2).expect("a legal topic");
        let mut rest = data;
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
            let request = Bytes::copy_from_slice(&after[..length]);
            rest = &after[length..];
            // A fetch may wait for records.
            let _ = tokio::time::timeout(Duration::from_millis(5), broker.answer(request)).await;
        }
        broker.shutdown().await;
    });
}

/// Answers to our client: number of the API, version, the frame.
pub(crate) fn answers(data: &[u8]) {
    let [api, version, frame @ ..] = data else { return };
    let version = i16::from(*version);
    let mut frame = Bytes::copy_from_slice(frame);
    macro_rules! answer {
        ($($number:literal => $response:ident),* $(,)?) => {
            match api {
                $($number => drop(decode_answer::<m::$response>(&mut frame, version)),)*
                _ => {}
            }
        };
    }
    answer! {
        0 => ProduceResponse, 1 => FetchResponse, 2 => ListOffsetsResponse, 3 => MetadataResponse,
        4 => OffsetCommitResponse, 5 => OffsetFetchResponse, 6 => FindCoordinatorResponse, 7 => ApiVersionsResponse,
        8 => CreateTopicsResponse, 9 => DeleteTopicsResponse, 10 => InitProducerIdResponse,
        11 => AddPartitionsToTxnResponse, 12 => EndTxnResponse, 13 => DescribeTransactionsResponse,
        14 => ListTransactionsResponse, 15 => DescribeConfigsResponse, 16 => SaslHandshakeResponse,
        17 => SaslAuthenticateResponse,
    }
}
