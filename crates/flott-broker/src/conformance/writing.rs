//! Checks of Produce.

use bytes::{BufMut, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::InitProducerIdRequest;
use kafka_protocol::records::{Compression, IEEE, RecordBatchEncoder, RecordEncodeOptions};

use super::client::{CheckError, expect};
use super::session::{
    Reading, Session, Writer, base_timestamp_ms, batch, is_passing, only, produce_request, record, records_of,
    timed_batch,
};

/// Produce and Fetch answer alike in all versions that both brokers have; topic ids from Fetch 13 on.
pub(super) async fn records_come_back_in_every_version(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("versions");
    let id = session.create_topic(&name, 1).await?;
    let mut end = 0;
    for version in 3..=11 {
        let request = produce_request(&name, 0, None, 1, batch(Writer::PLAIN, &["a", "b"]));
        let response = session.client.call(&request, version).await?;
        let partition = only(only(response.responses, "Produce")?.partition_responses, "Produce")?;
        expect(format!("Produce v{version}: error"), partition.error_code, 0)?;
        expect(format!("Produce v{version}: offset"), partition.base_offset, end)?;
        end += 2;
    }
    for version in 4..=17 {
        let data = session.fetch_in(version, &name, id, Reading::from(0)).await?;
        expect(format!("Fetch v{version}: error"), data.error_code, 0)?;
        expect(format!("Fetch v{version}: end"), data.high_watermark, end)?;
        let records = records_of(&data)?;
        let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
        expect(format!("Fetch v{version}: offsets"), offsets, (0..end).collect())?;
        let second = &records[1];
        expect("value", second.value.as_deref(), Some(&b"b"[..]))?;
        expect("key", second.key.as_deref(), Some(&b"key"[..]))?;
        expect("timestamp", second.timestamp, base_timestamp_ms() + 1)?;
    }
    Ok(())
}

pub(super) async fn bad_batches_are_refused(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("bad");
    session.create_topic(&name, 1).await?;
    let good = batch(Writer::PLAIN, &["v"]);

    let mut flipped = good.to_vec();
    let last = flipped.len() - 3;
    flipped[last] ^= 1;
    let corrupt = session.produce(&name, None, flipped.into()).await?;
    expect(
        "a flipped bit",
        corrupt.error_code,
        ResponseError::CorruptMessage.code(),
    )?;

    let two = session
        .produce(&name, None, [good.clone(), good.clone()].concat().into())
        .await?;
    expect("two batches", two.error_code, ResponseError::InvalidRecord.code())?;

    let mut control = record(Writer::PLAIN, 0, 1000, "v");
    control.control = true;
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, [&control], &options).map_err(codec)?;
    let control = session.produce(&name, None, bytes.freeze()).await?;
    expect(
        "a control batch",
        control.error_code,
        ResponseError::InvalidRecord.code(),
    )?;

    let large = session
        .produce(&name, None, batch(Writer::PLAIN, &[&"x".repeat(2 << 20)]))
        .await?;
    expect("2 MiB", large.error_code, ResponseError::MessageTooLarge.code())?;

    let acks = produce_request(&name, 0, None, 5, good.clone());
    let response = session.client.call(&acks, 9).await?;
    let acks = only(only(response.responses, "Produce")?.partition_responses, "Produce")?;
    expect("5 acks", acks.error_code, ResponseError::InvalidRequiredAcks.code())?;

    let elsewhere = produce_request(&name, 9, None, 1, good.clone());
    let response = session.client.call(&elsewhere, 9).await?;
    let elsewhere = only(only(response.responses, "Produce")?.partition_responses, "Produce")?;
    expect(
        "no such partition",
        elsewhere.error_code,
        ResponseError::UnknownTopicOrPartition.code(),
    )?;

    let missing = session.produce(&session.name("missing"), None, good).await?;
    expect(
        "no such topic",
        missing.error_code,
        ResponseError::UnknownTopicOrPartition.code(),
    )?;
    expect(
        "nothing was appended",
        session.fetch(&name, Reading::from(0)).await?.high_watermark,
        0,
    )
}

pub(super) async fn compressed_batches_stay_as_they_are(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("compressed");
    session.create_topic(&name, 1).await?;
    let records: Vec<_> = (0..3)
        .map(|offset| record(Writer::PLAIN, offset, 1000 + offset, "value"))
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::Gzip,
    };
    let compressor = |plain: &mut BytesMut, out: &mut BytesMut, _| {
        put_stored_gzip(out, plain);
        Ok(())
    };
    RecordBatchEncoder::encode_with_custom_compression(&mut bytes, &records, &options, Some(compressor))
        .map_err(codec)?;
    let produced = bytes.freeze();
    let response = session.produce(&name, None, produced.clone()).await?;
    expect(
        "Produce gzip: error and offset",
        (response.error_code, response.base_offset),
        (0, 0),
    )?;
    let data = session.fetch(&name, Reading::from(0)).await?;
    expect("three records from the header alone", data.high_watermark, 3)?;
    let fetched = data.records.unwrap_or_default();
    // All but what the broker writes: base offset, length, leader epoch.
    expect("the bytes come back", fetched.get(16..), produced.get(16..))
}

pub(super) async fn acks_zero_gets_no_answer(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("acks0");
    session.create_topic(&name, 1).await?;
    let request = produce_request(&name, 0, None, 0, timed_batch(&[1, 2]));
    session.client.send(&request, 9).await?;
    // If there were an answer, the next call would take it for its own and trip over the correlation id.
    let deadline = session.deadline();
    while session.fetch(&name, Reading::from(0)).await?.high_watermark != 2 {
        session.pause(deadline, "records of acks 0 arrive").await?;
    }
    Ok(())
}

pub(super) async fn sequences_are_checked(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("sequences");
    session.create_topic(&name, 1).await?;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    let deadline = session.deadline();
    let mut producer = session.client.call(&request, 4).await?;
    while is_passing(producer.error_code) {
        session.pause(deadline, "InitProducerId").await?;
        producer = session.client.call(&request, 4).await?;
    }
    expect(
        "InitProducerId: error and epoch",
        (producer.error_code, producer.producer_epoch),
        (0, 0),
    )?;
    let writer = |producer_epoch, base_sequence| Writer {
        producer_id: producer.producer_id.0,
        producer_epoch,
        base_sequence,
        transactional: false,
    };
    let out_of_order = ResponseError::OutOfOrderSequenceNumber.code();
    let fenced = ResponseError::InvalidProducerEpoch.code();
    let steps = [
        ("first", writer(0, 0), &["a", "b"][..], 0, 0),
        ("next", writer(0, 2), &["c"], 0, 2),
        ("duplicate of the first", writer(0, 0), &["a", "b"], 0, 0),
        ("duplicate of the second", writer(0, 2), &["c"], 0, 2),
        ("gap", writer(0, 4), &["e"], out_of_order, -1),
        ("new epoch in the middle", writer(1, 3), &["d"], out_of_order, -1),
        ("new epoch", writer(1, 0), &["d"], 0, 3),
        ("old epoch", writer(0, 3), &["d"], fenced, -1),
    ];
    for (step, writer, values, error, offset) in steps {
        let response = session.produce(&name, None, batch(writer, values)).await?;
        expect(
            format!("{step}: error and offset"),
            (response.error_code, response.base_offset),
            (error, offset),
        )?;
    }
    expect("values", session.values(&name, 0).await?.concat(), "abcd".to_owned())
}

/// Gzip without compression: one stored block.
fn put_stored_gzip(out: &mut BytesMut, plain: &[u8]) {
    out.put_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let length = plain.len() as u16;
    out.put_u8(1);
    out.put_u16_le(length);
    out.put_u16_le(!length);
    out.put_slice(plain);
    out.put_u32_le(IEEE.checksum(plain));
    out.put_u32_le(u32::from(length));
}

fn codec(source: anyhow::Error) -> CheckError {
    CheckError::Codec {
        request: "a batch".to_owned(),
        source,
    }
}
