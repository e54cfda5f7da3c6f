//! Checks of Fetch, ListOffsets and OffsetForLeaderEpoch.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{BrokerId, OffsetForLeaderEpochRequest};
use uuid::Uuid;

use super::client::{CheckError, Client, expect};
use super::session::{
    EARLIEST, LATEST, READ_UNCOMMITTED, Reading, Session, Writer, batch, fetch_request, only, records_of, timed_batch,
    topic_name,
};

const MAX_TIMESTAMP: i64 = -3;

pub(super) async fn reads_respect_offsets_and_limits(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("limits");
    session.create_topic(&name, 1).await?;
    for values in [["a", "b", "c"], ["d", "e", "f"]] {
        session.produce_values(&name, &values).await?;
    }
    let middle = session.fetch(&name, Reading::from(4)).await?;
    let offsets: Vec<_> = records_of(&middle)?.iter().map(|record| record.offset).collect();
    expect(
        "from the middle of a batch comes the whole batch",
        offsets,
        vec![3, 4, 5],
    )?;
    let small = session
        .fetch(
            &name,
            Reading {
                max_bytes: 1,
                ..Reading::from(0)
            },
        )
        .await?;
    let count = records_of(&small)?.len();
    expect("one batch even beyond the limit", count, 3)?;
    let end = session.fetch(&name, Reading::from(6)).await?;
    expect("at the end", (end.error_code, records_of(&end)?.len()), (0, 0))?;
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    for offset in [7, -1] {
        let beyond = session.fetch(&name, Reading::from(offset)).await?;
        expect(format!("offset {offset}"), beyond.error_code, out_of_range)?;
    }
    let missing = session.fetch(&session.name("missing"), Reading::from(0)).await?;
    expect(
        "missing topic",
        missing.error_code,
        ResponseError::UnknownTopicOrPartition.code(),
    )?;
    let unknown = session.fetch_in(13, "", Uuid::from_u128(7), Reading::from(0)).await?;
    expect(
        "unknown topic id",
        unknown.error_code,
        ResponseError::UnknownTopicId.code(),
    )
}

pub(super) async fn a_waiting_fetch_wakes(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("waiting");
    session.create_topic(&name, 1).await?;
    let began = Instant::now();
    let empty = session
        .fetch(
            &name,
            Reading {
                max_wait_ms: 300,
                ..Reading::from(0)
            },
        )
        .await?;
    expect("nothing comes", records_of(&empty)?.len(), 0)?;
    expect(
        "the wait was waited out",
        began.elapsed() >= Duration::from_millis(290),
        true,
    )?;

    let mut waiting = Client::connect(&session.bootstrap).await?;
    let request = fetch_request(
        12,
        &name,
        Uuid::nil(),
        Reading {
            max_wait_ms: 20_000,
            ..Reading::from(0)
        },
    );
    let began = Instant::now();
    let wake = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        session.produce_values(&name, &["now"]).await
    };
    let (answer, produced) = tokio::join!(waiting.call(&request, 12), wake);
    produced?;
    let data = only(only(answer?.responses, "Fetch")?.partitions, "Fetch")?;
    expect("the record came", records_of(&data)?.len(), 1)?;
    let waited = began.elapsed();
    let in_time = waited >= Duration::from_millis(200) && waited < Duration::from_secs(10);
    expect(format!("woken by the record, after {waited:?}"), in_time, true)
}

pub(super) async fn offsets_are_found_by_time(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("times");
    session.create_topic(&name, 1).await?;
    let found = session.list_offset(&name, 5, READ_UNCOMMITTED).await?;
    expect("in an empty log", (found.error_code, found.offset), (0, -1))?;
    for timestamps_ms in [&[100, 300, 200][..], &[250, 400], &[350]] {
        let produced = session.produce(&name, None, timed_batch(timestamps_ms)).await?;
        expect("Produce: error", produced.error_code, 0)?;
    }
    let expected = [
        (EARLIEST, -1, 0),
        (LATEST, -1, 6),
        (MAX_TIMESTAMP, 400, 4),
        (0, 100, 0),
        (100, 100, 0),
        (101, 300, 1),
        (301, 400, 4),
        (400, 400, 4),
        (401, -1, -1),
    ];
    for (timestamp, timestamp_ms, offset) in expected {
        let found = session.list_offset(&name, timestamp, READ_UNCOMMITTED).await?;
        let found = (found.error_code, found.timestamp, found.offset);
        expect(
            format!("ListOffsets {timestamp}: error, timestamp, offset"),
            found,
            (0, timestamp_ms, offset),
        )?;
    }
    for version in 1..=9 {
        let found = session
            .list_offset_in(version, &name, LATEST, READ_UNCOMMITTED * i8::from(version > 1), -1)
            .await?;
        expect(
            format!("ListOffsets v{version}: end"),
            (found.error_code, found.offset),
            (0, 6),
        )?;
    }
    let missing = session
        .list_offset(&session.name("missing"), LATEST, READ_UNCOMMITTED)
        .await?;
    expect(
        "missing topic",
        missing.error_code,
        ResponseError::UnknownTopicOrPartition.code(),
    )
}

pub(super) async fn leader_epochs_are_checked(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("epochs");
    session.create_topic(&name, 1).await?;
    session.produce(&name, None, batch(Writer::PLAIN, &["a", "b"])).await?;
    let metadata = session.metadata(&name).await?;
    let epoch = only(metadata.partitions, "Metadata")?.leader_epoch;
    let unknown = ResponseError::UnknownLeaderEpoch.code();
    for (claimed, error) in [(epoch, 0), (epoch + 1, unknown)] {
        let data = session
            .fetch(
                &name,
                Reading {
                    leader_epoch: claimed,
                    ..Reading::from(0)
                },
            )
            .await?;
        expect(format!("Fetch in epoch {claimed}"), data.error_code, error)?;
        let found = session
            .list_offset_in(7, &name, LATEST, READ_UNCOMMITTED, claimed)
            .await?;
        expect(format!("ListOffsets in epoch {claimed}"), found.error_code, error)?;
    }
    for (asked, expected) in [(epoch, (0, epoch, 2)), (epoch + 1, (0, -1, -1))] {
        let partition = OffsetForLeaderPartition::default().with_leader_epoch(asked);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(topic_name(&name))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let response = session.client.call(&request, 4).await?;
        let end = only(
            only(response.topics, "OffsetForLeaderEpoch")?.partitions,
            "OffsetForLeaderEpoch",
        )?;
        let end = (end.error_code, end.leader_epoch, end.end_offset);
        expect(format!("the end of epoch {asked}: error, epoch, offset"), end, expected)?;
    }
    Ok(())
}
