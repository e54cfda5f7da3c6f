//! The producer's state, step by step, without a broker.

use super::*;
use crate::kafka::client::config::KafkaProperties;

const SECOND: Duration = Duration::from_secs(1);

fn config(entries: &[(&str, &str)]) -> ProducerConfig {
    ProducerConfig::from_properties(&KafkaProperties::new(entries.iter().copied())).unwrap()
}

fn send(state: &mut State, config: &ProducerConfig, partition: usize, now: Instant, bytes: usize) {
    let value = vec![b'x'; bytes];
    let record = RecordRef {
        timestamp_ms: 1,
        key: None,
        value: Some(&value),
        headers: &[],
    };
    state.append(config, partition, now, record).unwrap();
}

fn planned(state: &mut State, config: &ProducerConfig, now: Instant) -> Vec<Outgoing> {
    match state.plan_send(7, config, now) {
        Plan::Do(mut out) => {
            for o in &mut out {
                if let Some((encoder, stamp)) = o.encode.take() {
                    o.bytes = encoder.finish(config.codec, stamp).unwrap();
                    state.encoded(o.partition, o.number, &o.bytes);
                }
            }
            out
        }
        Plan::Wait(_) => Vec::new(),
        Plan::Close => panic!("closed"),
    }
}

fn ready(config: &ProducerConfig, partitions: i32) -> State {
    let mut state = State::new(config, false);
    for p in 0..partitions {
        let index = state.partition(&TopicPartition::new("t", p));
        assert_eq!(state.lead(index, 7), p == 0);
    }
    state.identified(ProducerIdentity {
        producer_id: 9,
        producer_epoch: 0,
    });
    state
}

fn sequence(o: &Outgoing) -> i32 {
    i32::from_be_bytes(o.bytes[53..57].try_into().unwrap())
}

/// Sends and acknowledges one batch, so that several may be in flight.
fn introduce(state: &mut State, config: &ProducerConfig, partition: usize, now: Instant) {
    send(state, config, partition, now, 1);
    state.seal();
    for out in planned(state, config, now) {
        state.acknowledged(out.partition, out.number);
    }
}

fn lost() -> KafkaError {
    KafkaError::Disconnected {
        broker: "b".into(),
        reason: "gone".into(),
    }
}

#[test]
fn batches_leave_when_full_ripe_or_sealed() {
    let config = config(&[("batch.size", "300"), ("linger.ms", "1000")]);
    let now = Instant::now();
    let mut state = ready(&config, 1);
    introduce(&mut state, &config, 0, now);
    send(&mut state, &config, 0, now, 100);
    assert!(planned(&mut state, &config, now).is_empty(), "lingers");
    assert_eq!(planned(&mut state, &config, now + SECOND).len(), 1, "ripe");
    send(&mut state, &config, 0, now, 100);
    send(&mut state, &config, 0, now, 150);
    assert_eq!(planned(&mut state, &config, now).len(), 1, "the first is full");
    assert!(planned(&mut state, &config, now).is_empty());
    let target = state.seal();
    assert_eq!(planned(&mut state, &config, now).len(), 1, "sealed");
    assert!(!state.is_flushed(target));
    for number in 2..=4 {
        state.acknowledged(0, number);
    }
    assert!(state.is_flushed(target) && state.buffered_bytes() == 0);
}

#[test]
fn a_resend_keeps_the_order() {
    let config = config(&[("batch.size", "1"), ("linger.ms", "0")]);
    let now = Instant::now();
    let mut state = ready(&config, 1);
    introduce(&mut state, &config, 0, now);
    (0..4).for_each(|_| send(&mut state, &config, 0, now, 10));
    let first: Vec<_> = (0..3).flat_map(|_| planned(&mut state, &config, now)).collect();
    assert_eq!(first.iter().map(sequence).collect::<Vec<_>>(), [1, 2, 3]);
    state.resend(0, first[0].number, lost(), false, now);
    assert!(
        planned(&mut state, &config, now).is_empty(),
        "waits for the other answers"
    );
    assert!(
        !state.is_oldest(0, first[1].number),
        "so its out-of-order answer is no failure"
    );
    state.resend(0, first[1].number, lost(), false, now);
    state.acknowledged(0, first[2].number);
    let again = planned(&mut state, &config, now);
    assert_eq!(again.iter().map(sequence).collect::<Vec<_>>(), [1]);
    assert_eq!(
        again[0].bytes, first[0].bytes,
        "byte for byte, as the broker tells duplicates by sequence"
    );
    assert!(planned(&mut state, &config, now).is_empty());
    state.acknowledged(0, again[0].number);
    assert_eq!(
        planned(&mut state, &config, now)
            .iter()
            .map(sequence)
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn the_first_batch_goes_alone() {
    let config = config(&[("batch.size", "1"), ("linger.ms", "0")]);
    let now = Instant::now();
    let mut state = ready(&config, 1);
    (0..3).for_each(|_| send(&mut state, &config, 0, now, 10));
    let first = planned(&mut state, &config, now);
    assert_eq!(first.len(), 1);
    assert!(planned(&mut state, &config, now).is_empty());
    state.acknowledged(0, first[0].number);
    assert_eq!(
        (0..2).map(|_| planned(&mut state, &config, now).len()).sum::<usize>(),
        2
    );
}

#[test]
fn in_flight_batches_and_requests_are_bounded() {
    let config = config(&[("batch.size", "1"), ("linger.ms", "0"), ("max.request.size", "250")]);
    let now = Instant::now();
    let mut state = ready(&config, 3);
    for p in 0..3 {
        introduce(&mut state, &config, p, now);
        (0..7).for_each(|_| send(&mut state, &config, p, now, 20));
    }
    assert_eq!(
        planned(&mut state, &config, now).len(),
        2,
        "the third exceeds max.request.size"
    );
    let sent = std::iter::from_fn(|| Some(planned(&mut state, &config, now)).filter(|o| !o.is_empty())).flatten();
    assert_eq!(sent.count() + 2, 15, "five a partition");
    let huge = vec![0; 300];
    let record = RecordRef {
        timestamp_ms: 0,
        key: None,
        value: Some(&huge),
        headers: &[],
    };
    let error = state.append(&config, 0, now, record).unwrap_err();
    assert!(matches!(error, KafkaError::RecordTooLarge { .. }));
}

#[test]
fn the_delivery_timeout_ends_it_with_the_last_reason() {
    let config = config(&[("linger.ms", "0")]);
    let now = Instant::now();
    let mut state = ready(&config, 1);
    send(&mut state, &config, 0, now, 10);
    let out = planned(&mut state, &config, now);
    state.resend(0, out[0].number, lost(), true, now);
    assert!(matches!(state.plan_chore(SECOND, now), Plan::Do(Chore::Lead(_))));
    assert!(matches!(state.plan_chore(SECOND, now + SECOND), Plan::Wait(None)));
    let error = state.check().unwrap_err().to_string();
    assert!(
        error.contains("delivery.timeout.ms") && error.contains("gone"),
        "{error}"
    );
}

#[test]
fn a_transaction_begins_with_its_first_record() {
    let config = config(&[("linger.ms", "0")]);
    let now = Instant::now();
    let mut state = State::new(&config, true);
    let index = state.partition(&TopicPartition::new("t", 0));
    state.lead(index, 7);
    state.begin("id-1".into());
    assert!(
        matches!(state.plan_chore(SECOND, now), Plan::Wait(None)),
        "nothing to write"
    );
    assert_eq!(state.take_transaction().unwrap(), None);

    state.begin("id-2".into());
    send(&mut state, &config, index, now, 10);
    let Plan::Do(Chore::Identify(Some(id))) = state.plan_chore(SECOND, now) else {
        panic!()
    };
    assert_eq!(id, "id-2");
    assert!(planned(&mut state, &config, now).is_empty());
    state.identified(ProducerIdentity {
        producer_id: 4,
        producer_epoch: 1,
    });
    assert_eq!(state.open_transactional_id().as_deref(), Some("id-2"));
    assert!(planned(&mut state, &config, now).is_empty(), "not registered yet");
    let Plan::Do(Chore::Register { partitions, .. }) = state.plan_chore(SECOND, now) else {
        panic!()
    };
    state.registered(&partitions);
    let out = planned(&mut state, &config, now);
    assert_eq!(out[0].bytes[22] & 0x10, 0x10, "transactional");
    assert!(matches!(state.take_transaction(), Err(KafkaError::Unflushed)));
    state.acknowledged(index, out[0].number);
    let taken = state.take_transaction().unwrap().unwrap();
    assert_eq!(
        (taken.transactional_id.as_str(), taken.producer_id, taken.producer_epoch),
        ("id-2", 4, 1)
    );
    assert_eq!(state.open_transactional_id(), None);

    send(&mut state, &config, index, now, 10);
    assert!(
        matches!(state.plan_chore(SECOND, now + SECOND), Plan::Wait(_)),
        "waits for a name"
    );
    state.begin("id-3".into());
    assert!(matches!(
        state.plan_chore(SECOND, now),
        Plan::Do(Chore::Identify(Some(_)))
    ));
}

#[test]
fn records_that_are_put_off_are_told_with_their_age_and_the_reason() {
    let config = config(&[]);
    let mut state = ready(&config, 2);
    let now = Instant::now();
    introduce(&mut state, &config, 1, now);
    send(&mut state, &config, 1, now, 10);
    state.seal();
    let out = planned(&mut state, &config, now);
    assert!(state.put_off_since(now).is_none(), "nothing has failed");
    let later = now + 3 * SECOND;
    state.resend(1, out[0].number, lost(), false, later + SECOND);
    let (key, since, error) = state.put_off_since(later).unwrap();
    assert_eq!((key, since), (TopicPartition::new("t", 1), now));
    assert_eq!(error.to_string(), lost().to_string());
    assert!(state.put_off_since(later + SECOND).is_none(), "it is tried now");
    state.acknowledged(1, out[0].number);
    assert!(state.put_off_since(later).is_none(), "no record waits");
}
