//! Checks of transactions (version 1): visibility, repetition, fencing, timeouts, listing.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{DescribeTransactionsRequest, ListTransactionsRequest, ProducerId};
use uuid::Uuid;

use super::client::{CheckError, Client, expect};
use super::producer::{
    TIMEOUT_MS, add, add_request, begin, describe, end, init, init_with, try_init, try_write, write,
};
use super::session::{
    LATEST, READ_COMMITTED, READ_UNCOMMITTED, Reading, Session, base_timestamp_ms, fetch_request, is_passing, only,
    text, topic_name, transactional, visible_values,
};
use crate::transactions::ProducerIdAndEpoch;

pub(super) async fn commits_and_aborts_are_seen(session: &mut Session) -> Result<(), CheckError> {
    let (topic, id) = (session.name("visible"), session.name("transaction"));
    session.create_topic(&topic, 1).await?;
    let producer = init(session, &id).await?;
    session.produce_values(&topic, &["before"]).await?;

    begin(session, &id, producer, &topic).await?;
    write(session, &id, producer, &topic, 0, &["a", "b"]).await?;
    session.produce_values(&topic, &["plain"]).await?;
    expect(
        "uncommitted reader",
        session.values(&topic, READ_UNCOMMITTED).await?.join(" "),
        "before a b plain".into(),
    )?;
    expect(
        "committed reader",
        session.values(&topic, READ_COMMITTED).await?,
        vec!["before".to_owned()],
    )?;
    let data = session.fetch(&topic, Reading::from(0).committed()).await?;
    expect(
        "last stable offset, high watermark",
        (data.last_stable_offset, data.high_watermark),
        (1, 4),
    )?;
    let latest = session.list_offset(&topic, LATEST, READ_COMMITTED).await?.offset;
    expect("ListOffsets latest, committed", latest, 1)?;
    let by_time = session
        .list_offset(&topic, base_timestamp_ms() + 1, READ_COMMITTED)
        .await?
        .offset;
    expect("ListOffsets by time stays below what is stable", by_time, -1)?;

    expect("EndTxn commit", end(session, 3, &id, producer, true).await?, 0)?;
    session.await_committed(&topic, &["before", "a", "b", "plain"]).await?;
    let data = session.fetch(&topic, Reading::from(0).committed()).await?;
    expect(
        "one marker behind four records",
        (data.last_stable_offset, data.high_watermark),
        (5, 5),
    )?;
    expect(
        "nothing was aborted",
        data.aborted_transactions.unwrap_or_default().len(),
        0,
    )?;

    begin(session, &id, producer, &topic).await?;
    write(session, &id, producer, &topic, 2, &["void"]).await?;
    session.produce_values(&topic, &["after"]).await?;
    expect("EndTxn abort", end(session, 3, &id, producer, false).await?, 0)?;
    session
        .await_committed(&topic, &["before", "a", "b", "plain", "after"])
        .await?;
    let data = session.fetch(&topic, Reading::from(0).committed()).await?;
    let aborted = only(data.aborted_transactions.unwrap_or_default(), "aborted transactions")?;
    expect(
        "the aborted one",
        (aborted.producer_id.0, aborted.first_offset),
        (producer.id, 5),
    )?;
    // Whoever starts behind the first aborted record still has to hear of it.
    let data = session.fetch(&topic, Reading::from(6).committed()).await?;
    expect(
        "heard of from the middle",
        data.aborted_transactions.unwrap_or_default().len(),
        1,
    )?;
    let data = session.fetch(&topic, Reading::from(6)).await?;
    expect(
        "uncommitted readers need no list",
        data.aborted_transactions.unwrap_or_default().len(),
        0,
    )
}

pub(super) async fn a_waiting_committed_reader_wakes_at_the_commit(session: &mut Session) -> Result<(), CheckError> {
    let (topic, id) = (session.name("awaited"), session.name("transaction"));
    session.create_topic(&topic, 1).await?;
    let producer = init(session, &id).await?;
    begin(session, &id, producer, &topic).await?;

    let mut waiting = Client::connect(&session.bootstrap).await?;
    let reading = Reading {
        max_wait_ms: 20_000,
        ..Reading::from(0).committed()
    };
    let request = fetch_request(12, &topic, Uuid::nil(), reading);
    let began = Instant::now();
    let write_and_commit = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        write(session, &id, producer, &topic, 0, &["v"]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        end(session, 3, &id, producer, true).await
    };
    let (answer, ended) = tokio::join!(waiting.call(&request, 12), write_and_commit);
    expect("EndTxn", ended?, 0)?;
    let data = only(only(answer?.responses, "Fetch")?.partitions, "Fetch")?;
    let waited = began.elapsed();
    expect("the committed value", visible_values(data)?, vec!["v".to_owned()])?;
    let in_time = waited >= Duration::from_millis(300) && waited < Duration::from_secs(10);
    expect(format!("woken by the commit, after {waited:?}"), in_time, true)
}

pub(super) async fn ending_can_be_repeated_not_reversed(session: &mut Session) -> Result<(), CheckError> {
    let (topic, id) = (session.name("repeated"), session.name("transaction"));
    session.create_topic(&topic, 1).await?;
    let producer = init(session, &id).await?;
    let invalid_state = ResponseError::InvalidTxnState.code();
    expect(
        "EndTxn without a transaction",
        end(session, 3, &id, producer, true).await?,
        invalid_state,
    )?;
    for (sequence, commit) in [(0, true), (1, false)] {
        begin(session, &id, producer, &topic).await?;
        write(session, &id, producer, &topic, sequence, &["v"]).await?;
        for attempt in 1..=3 {
            for version in 0..=4 {
                let error_code = end(session, version, &id, producer, commit).await?;
                expect(
                    format!("EndTxn v{version} commit {commit}, attempt {attempt}"),
                    error_code,
                    0,
                )?;
            }
        }
        let reversed = end(session, 3, &id, producer, !commit).await?;
        expect(
            format!("EndTxn commit {} after the opposite", !commit),
            reversed,
            invalid_state,
        )?;
    }
    session.await_committed(&topic, &["v"]).await?;
    let unknown = ResponseError::InvalidProducerIdMapping.code();
    let stranger = ProducerIdAndEpoch {
        id: producer.id + 1_000_000,
        epoch: 0,
    };
    expect(
        "EndTxn of another producer",
        end(session, 3, &id, stranger, true).await?,
        unknown,
    )?;
    let elsewhere = end(session, 3, &session.name("unknown"), producer, true).await?;
    expect("EndTxn of an unknown id", elsewhere, unknown)
}

pub(super) async fn old_producers_are_fenced(session: &mut Session) -> Result<(), CheckError> {
    let (topic, id) = (session.name("fenced"), session.name("transaction"));
    session.create_topic(&topic, 1).await?;
    let old = init(session, &id).await?;
    begin(session, &id, old, &topic).await?;
    write(session, &id, old, &topic, 0, &["void"]).await?;

    // The newcomer is told to come back while the old transaction is aborted.
    let first = try_init(session, 4, &id, TIMEOUT_MS, None).await?;
    let expected = ResponseError::ConcurrentTransactions.code();
    expect("InitProducerId over an open transaction", first.error_code, expected)?;
    let new = init(session, &id).await?;
    expect(
        "the same producer id, a later epoch",
        (new.id, new.epoch > old.epoch),
        (old.id, true),
    )?;
    session.await_committed(&topic, &[]).await?;

    let (fenced, invalid_epoch) = (
        ResponseError::ProducerFenced.code(),
        ResponseError::InvalidProducerEpoch.code(),
    );
    expect(
        "EndTxn v3 of the old one",
        end(session, 3, &id, old, true).await?,
        fenced,
    )?;
    expect(
        "EndTxn v1 of the old one",
        end(session, 1, &id, old, true).await?,
        invalid_epoch,
    )?;
    expect(
        "AddPartitionsToTxn v3 of the old one",
        add(session, 3, &id, old, &topic).await?,
        fenced,
    )?;
    expect(
        "AddPartitionsToTxn v1 of the old one",
        add(session, 1, &id, old, &topic).await?,
        invalid_epoch,
    )?;
    let late = try_write(session, &id, old, &topic, 1, &["void"]).await?;
    expect("Produce of the old one", late, invalid_epoch)?;

    begin(session, &id, new, &topic).await?;
    write(session, &id, new, &topic, 0, &["new"]).await?;
    expect("EndTxn of the new one", end(session, 3, &id, new, true).await?, 0)?;
    session.await_committed(&topic, &["new"]).await
}

pub(super) async fn a_producer_bumps_its_own_epoch(session: &mut Session) -> Result<(), CheckError> {
    let id = session.name("transaction");
    let first = init(session, &id).await?;
    let second = try_init(session, 4, &id, TIMEOUT_MS, Some(first)).await?;
    let found = (second.error_code, second.producer_id.0, second.producer_epoch);
    expect(
        "InitProducerId with the current epoch",
        found,
        (0, first.id, first.epoch + 1),
    )?;
    let again = try_init(session, 4, &id, TIMEOUT_MS, Some(first)).await?;
    let found = (again.error_code, again.producer_epoch);
    expect("the same request again", found, (0, first.epoch + 1))?;
    let third = init(session, &id).await?;
    expect("InitProducerId without an epoch", third.epoch, first.epoch + 2)?;
    let fenced = [
        (4, ResponseError::ProducerFenced),
        (3, ResponseError::InvalidProducerEpoch),
    ];
    for (version, error) in fenced {
        let stale = try_init(session, version, &id, TIMEOUT_MS, Some(first)).await?;
        expect(
            format!("InitProducerId v{version} with a stale epoch"),
            stale.error_code,
            error.code(),
        )?;
    }
    Ok(())
}

/// The epoch that an abort by the coordinator leaves behind is the one that the producer itself gets when it claims the
/// epoch before; everyone else gets a later one.
pub(super) async fn a_producer_starts_over_an_open_transaction(session: &mut Session) -> Result<(), CheckError> {
    let (topic, id) = (session.name("over"), session.name("transaction"));
    session.create_topic(&topic, 1).await?;
    for timeout_ms in [TIMEOUT_MS, 500] {
        let first = init_with(session, &id, timeout_ms).await?;
        begin(session, &id, first, &topic).await?;
        write(session, &id, first, &topic, 0, &["void"]).await?;
        let deadline = session.deadline();
        while timeout_ms != TIMEOUT_MS && describe(session, &id).await?.transaction_state != text("CompleteAbort") {
            session.pause(deadline, "a transaction of 500 ms expires").await?;
        }
        let mut second = try_init(session, 4, &id, TIMEOUT_MS, Some(first)).await?;
        let is_open = second.error_code == ResponseError::ConcurrentTransactions.code();
        expect(
            "InitProducerId finds an open transaction",
            is_open,
            timeout_ms == TIMEOUT_MS,
        )?;
        while is_passing(second.error_code) {
            session
                .pause(deadline, "InitProducerId over an open transaction")
                .await?;
            second = try_init(session, 4, &id, TIMEOUT_MS, Some(first)).await?;
        }
        let found = (second.error_code, second.producer_id.0, second.producer_epoch);
        expect("InitProducerId afterwards", found, (0, first.id, first.epoch + 1))?;
    }
    session.await_committed(&topic, &[]).await
}

pub(super) async fn only_added_partitions_take_records(session: &mut Session) -> Result<(), CheckError> {
    let (topic, other, id) = (
        session.name("added"),
        session.name("other"),
        session.name("transaction"),
    );
    session.create_topic(&topic, 1).await?;
    session.create_topic(&other, 1).await?;
    let producer = init(session, &id).await?;
    let invalid_state = ResponseError::InvalidTxnState.code();
    expect(
        "Produce before adding",
        try_write(session, &id, producer, &topic, 0, &["v"]).await?,
        invalid_state,
    )?;
    begin(session, &id, producer, &topic).await?;
    expect(
        "Produce elsewhere",
        try_write(session, &id, producer, &other, 0, &["v"]).await?,
        invalid_state,
    )?;
    write(session, &id, producer, &topic, 0, &["v"]).await?;

    let topics = [
        (&topic, ResponseError::OperationNotAttempted),
        (&session.name("missing"), ResponseError::UnknownTopicOrPartition),
    ];
    let requested = topics.map(|(name, _)| {
        AddPartitionsToTxnTopic::default()
            .with_name(topic_name(name))
            .with_partitions(vec![0])
    });
    let response = session
        .client
        .call(&add_request(&id, producer, requested.to_vec()), 3)
        .await?;
    for result in response.results_by_topic_v3_and_below {
        let expected = topics
            .iter()
            .find(|(name, _)| topic_name(name) == result.name)
            .map(|(_, error)| error.code());
        let found = only(result.results_by_partition, "AddPartitionsToTxn")?.partition_error_code;
        expect(
            format!("AddPartitionsToTxn {}", result.name.as_str()),
            Some(found),
            expected,
        )?;
    }
    expect("EndTxn", end(session, 3, &id, producer, true).await?, 0)?;
    session.await_committed(&topic, &["v"]).await?;
    let late = try_write(session, &id, producer, &topic, 1, &["late"]).await?;
    expect("Produce after the end", late, invalid_state)
}

pub(super) async fn transactions_time_out(session: &mut Session) -> Result<(), CheckError> {
    let (topic, id) = (session.name("expired"), session.name("transaction"));
    session.create_topic(&topic, 1).await?;
    for timeout_ms in [0, i32::MAX] {
        let refused = try_init(session, 4, &id, timeout_ms, None).await?;
        let expected = ResponseError::InvalidTransactionTimeout.code();
        expect(format!("a timeout of {timeout_ms} ms"), refused.error_code, expected)?;
    }
    let producer = init_with(session, &id, 500).await?;
    begin(session, &id, producer, &topic).await?;
    write(session, &id, producer, &topic, 0, &["void"]).await?;
    let deadline = session.deadline();
    // The record and the marker of its abort.
    while session
        .fetch(&topic, Reading::from(0).committed())
        .await?
        .last_stable_offset
        != 2
    {
        session.pause(deadline, "a transaction of 500 ms expires").await?;
    }
    session.await_committed(&topic, &[]).await?;
    let fenced = ResponseError::ProducerFenced.code();
    expect(
        "EndTxn commit after the timeout",
        end(session, 3, &id, producer, true).await?,
        fenced,
    )?;
    expect(
        "EndTxn abort after the timeout",
        end(session, 3, &id, producer, false).await?,
        fenced,
    )?;
    let described = describe(session, &id).await?;
    expect("it was aborted", described.transaction_state, text("CompleteAbort"))?;
    expect("with the next epoch", described.producer_epoch, producer.epoch + 1)
}

pub(super) async fn transactions_are_listed(session: &mut Session) -> Result<(), CheckError> {
    let (topic, id) = (session.name("listed"), session.name("transaction"));
    session.create_topic(&topic, 1).await?;
    let producer = init(session, &id).await?;
    begin(session, &id, producer, &topic).await?;

    let list = |states: &[&str], producers: &[i64]| {
        ListTransactionsRequest::default()
            .with_state_filters(states.iter().map(|state| text(state)).collect())
            .with_producer_id_filters(producers.iter().map(|&id| ProducerId(id)).collect())
    };
    let ours = Some((producer.id, "Ongoing".to_owned()));
    let cases = [
        (list(&[], &[]), true),
        (list(&["Ongoing"], &[]), true),
        (list(&["Empty", "CompleteAbort"], &[]), false),
        (list(&[], &[producer.id]), true),
        (list(&["Ongoing"], &[producer.id + 1_000_000]), false),
    ];
    for (request, is_listed) in cases {
        for version in [0, 1] {
            let response = session.client.call(&request, version).await?;
            expect("ListTransactions: error", response.error_code, 0)?;
            let found = response
                .transaction_states
                .into_iter()
                .find(|state| state.transactional_id.as_str() == id);
            let found = found.map(|state| (state.producer_id.0, state.transaction_state.to_string()));
            let what = format!("ListTransactions v{version} {:?}", request.state_filters);
            expect(what, found, if is_listed { ours.clone() } else { None })?;
        }
    }
    let unknown = session.client.call(&list(&["Nonsense"], &[]), 0).await?;
    expect(
        "unknown filters come back",
        unknown.unknown_state_filters,
        vec![text("Nonsense")],
    )?;
    let old = session
        .client
        .call(&list(&[], &[]).with_duration_filter(3_600_000), 1)
        .await?;
    let listed = old
        .transaction_states
        .iter()
        .any(|state| state.transactional_id.as_str() == id);
    expect("no transaction is an hour old", listed, false)?;

    let described = describe(session, &id).await?;
    expect(
        "DescribeTransactions: state",
        described.transaction_state,
        text("Ongoing"),
    )?;
    expect(
        "DescribeTransactions: timeout",
        described.transaction_timeout_ms,
        TIMEOUT_MS,
    )?;
    expect(
        "DescribeTransactions: has a start",
        described.transaction_start_time_ms > 0,
        true,
    )?;
    let found = (described.producer_id.0, described.producer_epoch);
    expect("DescribeTransactions: producer", found, (producer.id, producer.epoch))?;
    let partitions = only(described.topics, "DescribeTransactions")?;
    expect("DescribeTransactions: topic", partitions.topic, topic_name(&topic))?;
    expect("DescribeTransactions: partitions", partitions.partitions, vec![0])?;

    expect("EndTxn", end(session, 3, &id, producer, false).await?, 0)?;
    let missing = session.name("missing");
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional(&missing)]);
    let missing = only(
        session.client.call(&request, 0).await?.transaction_states,
        "DescribeTransactions",
    )?;
    expect(
        "an unknown id",
        missing.error_code,
        ResponseError::TransactionalIdNotFound.code(),
    )
}
