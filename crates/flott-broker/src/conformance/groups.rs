//! Checks of coordinators and committed offsets.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest, ProducerId,
    TxnOffsetCommitRequest,
};

use super::client::{CheckError, expect};
use super::producer::{end, init};
use super::session::{Session, is_passing, only, text, topic_name, transactional};

const GROUP: i8 = 0;
pub(super) const TRANSACTION: i8 = 1;
/// First version of OffsetFetch that asks for several groups at once.
const FIRST_BATCHED_VERSION: i16 = 8;

pub(super) async fn offsets_are_committed(session: &mut Session) -> Result<(), CheckError> {
    let (topic, group) = (session.name("offsets"), session.name("group"));
    session.create_topic(&topic, 2).await?;
    await_coordinator(session, GROUP, &group).await?;
    expect(
        "nothing committed yet",
        fetch(session, 9, &group, &topic, false).await?,
        (0, -1, String::new()),
    )?;
    for version in 2..=9 {
        let offset = 40 + i64::from(version);
        expect(
            format!("OffsetCommit v{version}"),
            commit(session, version, &group, &topic, 0, offset).await?,
            0,
        )?;
        for version in [1, 5, 7, 8, 9] {
            let found = fetch(session, version, &group, &topic, false).await?;
            expect(format!("OffsetFetch v{version}"), found, (0, offset, "note".to_owned()))?;
        }
    }
    let missing = commit(session, 8, &group, &session.name("missing"), 0, 1).await?;
    expect(
        "OffsetCommit for a missing topic",
        missing,
        ResponseError::UnknownTopicOrPartition.code(),
    )?;

    // All that a group has committed: partition 0 only.
    let all = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(&group)))
        .with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![all]);
    let response = session.client.call(&request, 8).await?;
    let found = only(only(response.groups, "OffsetFetch")?.topics, "OffsetFetch")?;
    expect("OffsetFetch of all: topic", found.name, topic_name(&topic))?;
    expect(
        "OffsetFetch of all: offset",
        only(found.partitions, "OffsetFetch")?.committed_offset,
        49,
    )
}

pub(super) async fn offsets_commit_with_a_transaction(session: &mut Session) -> Result<(), CheckError> {
    let (topic, group, id) = (
        session.name("offsets"),
        session.name("group"),
        session.name("transaction"),
    );
    session.create_topic(&topic, 1).await?;
    await_coordinator(session, GROUP, &group).await?;
    for (commit, offset) in [(false, -1), (true, 7)] {
        let producer = init(session, &id).await?;
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional(&id))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_group_id(GroupId(text(&group)));
        let deadline = session.deadline();
        loop {
            let error_code = session.client.call(&request, 3).await?.error_code;
            if !is_passing(error_code) {
                expect("AddOffsetsToTxn", error_code, 0)?;
                break;
            }
            session.pause(deadline, "AddOffsetsToTxn").await?;
        }
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(7)
            .with_committed_metadata(Some(text("note")));
        let requested = TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(&topic))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional(&id))
            .with_group_id(GroupId(text(&group)))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_topics(vec![requested]);
        let response = session.client.call(&request, 3).await?;
        let result = only(only(response.topics, "TxnOffsetCommit")?.partitions, "TxnOffsetCommit")?;
        expect("TxnOffsetCommit", result.error_code, 0)?;

        let pending = fetch(session, 7, &group, &topic, true).await?.0;
        expect(
            "a pending offset is unstable",
            pending,
            ResponseError::UnstableOffsetCommit.code(),
        )?;
        expect("and not visible", fetch(session, 7, &group, &topic, false).await?.1, -1)?;
        expect("EndTxn", end(session, 3, &id, producer, commit).await?, 0)?;
        let deadline = session.deadline();
        while fetch(session, 7, &group, &topic, true).await?.0 != 0 {
            session.pause(deadline, "a transaction's offsets are decided").await?;
        }
        expect(
            "the offset afterwards",
            fetch(session, 7, &group, &topic, true).await?.1,
            offset,
        )?;
    }
    Ok(())
}

/// Asks for the coordinator of a group or (not in version 0) a transactional id, in every version, until there is one.
/// On a real broker the first to ask makes it set up the coordinator's own topic.
pub(super) async fn await_coordinator(session: &mut Session, key_type: i8, key: &str) -> Result<(), CheckError> {
    for version in key_type.into()..=5 {
        let mut request = FindCoordinatorRequest::default();
        request = if version >= 4 {
            request.with_coordinator_keys(vec![text(key)])
        } else {
            request.with_key(text(key))
        };
        if version >= 1 {
            request = request.with_key_type(key_type);
        }
        let deadline = session.deadline();
        loop {
            let response = session.client.call(&request, version).await?;
            let (error_code, port) = match version {
                0..=3 => (response.error_code, response.port),
                _ => {
                    let coordinator = only(response.coordinators, "FindCoordinator")?;
                    expect("FindCoordinator: key", coordinator.key, text(key))?;
                    (coordinator.error_code, coordinator.port)
                }
            };
            if !is_passing(error_code) {
                expect(format!("FindCoordinator v{version}: error"), error_code, 0)?;
                expect(format!("FindCoordinator v{version}: has a port"), port > 0, true)?;
                break;
            }
            session.pause(deadline, "FindCoordinator").await?;
        }
    }
    Ok(())
}

async fn commit(
    session: &mut Session,
    version: i16,
    group: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<i16, CheckError> {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(vec![topic]);
    let deadline = session.deadline();
    loop {
        let response = session.client.call(&request, version).await?;
        let result = only(only(response.topics, "OffsetCommit")?.partitions, "OffsetCommit")?;
        if !is_passing(result.error_code) {
            return Ok(result.error_code);
        }
        session.pause(deadline, "OffsetCommit").await?;
    }
}

/// What is committed for partition 0: error, offset, metadata; asked for until the coordinator is ready.
async fn fetch(
    session: &mut Session,
    version: i16,
    group: &str,
    topic: &str,
    require_stable: bool,
) -> Result<(i16, i64, String), CheckError> {
    let group = GroupId(text(group));
    let mut request = OffsetFetchRequest::default();
    if version >= 7 {
        request = request.with_require_stable(require_stable);
    }
    if version < FIRST_BATCHED_VERSION {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![0]);
        request = request.with_group_id(group).with_topics(Some(vec![topic]));
    } else {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group)
            .with_topics(Some(vec![topic]));
        request = request.with_groups(vec![group]);
    }
    let deadline = session.deadline();
    loop {
        let response = session.client.call(&request, version).await?;
        let (group_error, found) = if version < FIRST_BATCHED_VERSION {
            let found = response.topics.into_iter().flat_map(|topic| topic.partitions);
            let found = found.map(|found| (found.error_code, found.committed_offset, found.metadata));
            (response.error_code, found.collect())
        } else {
            let group = only(response.groups, "OffsetFetch")?;
            let found = group.topics.into_iter().flat_map(|topic| topic.partitions);
            let found = found.map(|found| (found.error_code, found.committed_offset, found.metadata));
            (group.error_code, found.collect::<Vec<_>>())
        };
        if !is_passing(group_error) {
            expect(format!("OffsetFetch v{version}: error of the group"), group_error, 0)?;
            let (error_code, offset, metadata) = only(found, "OffsetFetch")?;
            if !is_passing(error_code) {
                return Ok((error_code, offset, metadata.unwrap_or_default().to_string()));
            }
        }
        session.pause(deadline, "OffsetFetch").await?;
    }
}
