//! Batches of [`BatchEncoder`] walked again, and every way to break them.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::records::{
    Compression, Record as TheirRecord, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::*;
use crate::kafka::client::batch::encode::{BatchEncoder, ProducerStamp};
use crate::kafka::client::fetch::AbortedTransaction;

const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const COMMITTED: WalkOptions = WalkOptions {
    check_crcs: true,
    read_committed: true,
};

fn fetched(records: impl Into<Bytes>, fetch_offset: i64) -> Fetched {
    Fetched {
        topic: Arc::from("t"),
        partition: 3,
        fetch_offset,
        records: records.into(),
        ..Fetched::default()
    }
}

fn at_offset(batch: Bytes, base_offset: i64) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch
}

fn batch(base_offset: i64, values: &[&str], codec: Codec, stamp: ProducerStamp) -> Vec<u8> {
    let mut encoder = BatchEncoder::new(64);
    for (i, v) in values.iter().enumerate() {
        encoder.append(
            1_000 + i as i64,
            Some(b"k"),
            Some(v.as_bytes()),
            &[("h", Some(b"x")), ("n", None)],
        );
    }
    at_offset(encoder.finish(codec, stamp).unwrap(), base_offset)
}

fn of_producer(producer_id: i64) -> ProducerStamp {
    ProducerStamp {
        producer_id,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
    }
}

fn marker(base_offset: i64, producer_id: i64, commit: bool) -> Vec<u8> {
    let mut encoder = BatchEncoder::new(64);
    encoder.append(0, Some(&[0, 0, 0, u8::from(commit)]), Some(&[0, 0, 0, 0, 0, 0]), &[]);
    let mut bytes = at_offset(
        encoder.finish(Codec::None, of_producer(producer_id)).unwrap(),
        base_offset,
    );
    bytes[22] |= 0x20;
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn values(walker: &mut RecordWalker) -> Result<Vec<(i64, String)>, KafkaError> {
    let mut out = Vec::new();
    while let Some(r) = walker.next()? {
        out.push((r.offset, String::from_utf8(r.value.unwrap_or(b"-").to_vec()).unwrap()));
    }
    Ok(out)
}

#[test]
fn all_codecs_round_trip() {
    for codec in ALL {
        let mut encoder = BatchEncoder::new(16);
        encoder.append(50, None, None, &[]);
        encoder.append(40, Some(b""), Some(b"v"), &[("a", Some(b"1")), ("b", None)]);
        let bytes = at_offset(encoder.finish(codec, ProducerStamp::NONE).unwrap(), 7);
        let mut walker = RecordWalker::new(fetched(bytes, 7), COMMITTED);
        let r = walker.next().unwrap().unwrap();
        assert_eq!(
            (r.offset, r.timestamp_ms, r.key, r.value, r.headers().count()),
            (7, 50, None, None, 0)
        );
        assert_eq!(walker.position(), 8);
        let r = walker.next().unwrap().unwrap();
        assert_eq!(
            (r.offset, r.timestamp_ms, r.key, r.value),
            (8, 40, Some(&b""[..]), Some(&b"v"[..]))
        );
        let headers: Vec<_> = r.headers().map(Result::unwrap).collect();
        assert_eq!(headers, vec![("a", Some(&b"1"[..])), ("b", None)]);
        assert!(walker.next().unwrap().is_none());
        assert_eq!(walker.position(), 9, "{codec:?}");
    }
}

#[test]
fn batches_of_another_encoder_are_read() {
    let records: Vec<TheirRecord> = (0..10)
        .map(|i| TheirRecord {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 5,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: 100 + i,
            sequence: i as i32,
            timestamp: i * 10,
            key: None,
            value: Some(Bytes::from(format!("v{i}"))),
            headers: Default::default(),
        })
        .collect();
    let mut buf = bytes::BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut buf, &records, &options).unwrap();
    let mut walker = RecordWalker::new(fetched(buf.freeze(), 104), COMMITTED);
    assert_eq!(
        walker.next().unwrap().map(|r| (r.offset, r.leader_epoch)),
        Some((104, 5))
    );
    let seen = values(&mut walker).unwrap();
    assert_eq!(
        seen.first(),
        Some(&(105, "v5".to_owned())),
        "earlier offsets of the batch are skipped"
    );
    assert_eq!(seen.len(), 5);
}

#[test]
fn a_cut_off_last_batch_is_left_for_the_next_fetch() {
    for codec in ALL {
        let mut bytes = batch(0, &["a", "b"], codec, ProducerStamp::NONE);
        let second = batch(2, &["c"], codec, ProducerStamp::NONE);
        for cut in 0..second.len() {
            let first = bytes.len();
            bytes.extend_from_slice(&second[..cut]);
            let mut walker = RecordWalker::new(fetched(bytes.clone(), 0), COMMITTED);
            assert_eq!(values(&mut walker).unwrap().len(), 2);
            assert_eq!(walker.position(), 2);
            bytes.truncate(first);
        }
    }
}

#[test]
fn aborted_transactions_and_markers_are_skipped() {
    let mut bytes = Vec::new();
    for part in [
        batch(0, &["a0", "a1"], Codec::None, of_producer(1)),
        batch(2, &["b"], Codec::None, of_producer(2)),
        batch(3, &["plain"], Codec::None, ProducerStamp::NONE),
        marker(4, 1, false),
        marker(5, 2, true),
        batch(6, &["a again"], Codec::Lz4, of_producer(1)),
        marker(7, 1, true),
    ] {
        bytes.extend(part);
    }
    let mut committed = fetched(bytes.clone(), 0);
    committed.aborted = vec![AbortedTransaction {
        producer_id: 1,
        first_offset: 0,
    }];
    let mut walker = RecordWalker::new(committed, COMMITTED);
    let seen: Vec<String> = values(&mut walker).unwrap().into_iter().map(|(_, v)| v).collect();
    assert_eq!(seen, ["b", "plain", "a again"]);
    assert_eq!(walker.position(), 8, "the last marker is passed too");

    let uncommitted = WalkOptions {
        read_committed: false,
        ..COMMITTED
    };
    assert_eq!(
        values(&mut RecordWalker::new(fetched(bytes, 0), uncommitted))
            .unwrap()
            .len(),
        5
    );
}

#[test]
fn a_flipped_byte_is_named() {
    let clean = batch(40, &["hello", "world"], Codec::None, ProducerStamp::NONE);
    for at in 21..clean.len() {
        let mut bytes = clean.clone();
        bytes[at] ^= 1;
        let mut walker = RecordWalker::new(fetched(bytes, 40), COMMITTED);
        let error = values(&mut walker).unwrap_err().to_string();
        assert!(error.contains("'t' partition 3 at offset 40"), "{error}");
        assert!(walker.next().unwrap().is_none(), "stays at its end after an error");
    }
}

#[test]
fn old_formats_and_unknown_codecs_are_named() {
    let clean = batch(0, &["x"], Codec::None, ProducerStamp::NONE);
    let loose = WalkOptions {
        check_crcs: false,
        read_committed: false,
    };
    for (at, value, part) in [
        (16, 1, "format v1"),
        (22, 7, "codec 7"),
        (8, 0x80, "length"),
        (57, 0x80, "impossible"),
    ] {
        let mut bytes = clean.clone();
        bytes[at] = value;
        let error = values(&mut RecordWalker::new(fetched(bytes, 0), loose))
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// Random damage, without the CRC's protection: an error or fewer records, never a panic.
#[test]
fn no_bytes_make_it_panic() {
    let loose = WalkOptions {
        check_crcs: false,
        read_committed: true,
    };
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    let mut failed = 0;
    for round in 0..4_000 {
        let mut bytes = batch(
            0,
            &["hello", "world", "again and again and again"],
            ALL[round % 5],
            of_producer(1),
        );
        bytes.extend(marker(3, 1, false));
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.truncate(bytes.len() - random() % 3);
        let mut walker = RecordWalker::new(fetched(bytes, 0), loose);
        loop {
            match walker.next() {
                Ok(Some(record)) => record.headers().for_each(drop),
                Ok(None) => break,
                Err(_) => {
                    failed += 1;
                    break;
                }
            }
        }
    }
    assert!(failed > 100, "damage goes unnoticed: {failed}");
}
