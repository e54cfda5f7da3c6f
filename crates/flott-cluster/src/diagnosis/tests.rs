//! Staged facts, and what is found in them.

use super::*;
use crate::protocol::Peer;
use flott_core::time::NO_WATERMARK;
use flott_runtime::metrics::{SplitReading, SplitReadings, SplitTime};

const NOW_MS: i64 = 1_000_000;

fn subtask(records_in: f64, idle: f64) -> SubtaskFacts {
    SubtaskFacts {
        state: ExecutionState::Running,
        since_ms: 0,
        at: Some(Peer {
            id: "tm-1".into(),
            data_address: "host:6121".into(),
        }),
        records_in,
        records_out: records_in,
        idle,
        back_pressured: 0.0,
        blocked: 0.0,
        operators: vec![],
        hung: None,
        aligning: (0, 0),
        aligned: 0,
        captured: 0,
        splits: SplitReadings::default(),
        pending: 0,
    }
}

/// A source, a keyed counter and a sink, of two subtasks each, in which nothing is wrong.
fn healthy() -> Facts {
    let vertex = |index: usize, name: &str, operators: &[&str]| VertexFacts {
        name: name.into(),
        is_source: index == 0,
        is_sink: index == 2,
        keyed_by: (index == 1).then(|| "user".to_owned()),
        inputs: (index > 0).then(|| index - 1).into_iter().collect(),
        outputs: (index < 2).then_some(index + 1).into_iter().collect(),
        subtasks: (0..2)
            .map(|_| SubtaskFacts {
                operators: operators
                    .iter()
                    .map(|name| OperatorFacts {
                        name: (*name).to_owned(),
                        busy: 0.2,
                        blocked: 0.0,
                    })
                    .collect(),
                ..subtask(500.0, 0.8)
            })
            .collect(),
    };
    Facts {
        now_ms: NOW_MS,
        status: JobStatus::Running,
        measured_seconds: 10.0,
        restarts: RestartFacts::default(),
        slots: None,
        vertices: vec![
            vertex(0, "Source: clicks -> Calc", &["Source: clicks", "Calc"]),
            vertex(1, "Count", &["Count"]),
            vertex(2, "Calc -> Sink: out", &["Calc", "Sink: out"]),
        ],
        checkpoint: None,
        failed_checkpoints: vec![],
    }
}

fn kinds(facts: &Facts) -> Vec<FindingKind> {
    diagnose(facts).iter().map(|finding| finding.kind).collect()
}

fn press(facts: &mut Facts, vertex: usize) {
    for subtask in &mut facts.vertices[vertex].subtasks {
        (subtask.back_pressured, subtask.idle) = (0.9, 0.0);
    }
}

#[test]
fn a_healthy_job_is_told_so_with_its_rates() {
    let diagnosis = Diagnosis::of(&healthy());
    assert!(diagnosis.healthy && diagnosis.findings.is_empty(), "{diagnosis:?}");
    let flow = &diagnosis.flow[1];
    assert_eq!((flow.records_in_per_second, flow.running), (1_000.0, 2));
    assert!((flow.busy - 0.2).abs() < 1e-9, "{flow:?}");
}

#[test]
fn a_job_without_rates_is_too_young_to_be_called_healthy() {
    for measured_seconds in [0.0, 1.0] {
        let mut facts = Facts {
            measured_seconds,
            ..healthy()
        };
        press(&mut facts, 0);
        assert_eq!(kinds(&facts), [FindingKind::TooYoung]);
        assert!(!Diagnosis::of(&facts).healthy);
    }
}

#[test]
fn back_pressure_is_the_fault_of_the_last_one_that_has_it_in_front() {
    let mut facts = healthy();
    press(&mut facts, 0);
    press(&mut facts, 1);
    let slow = &mut facts.vertices[2].subtasks[1];
    (slow.idle, slow.operators[0].busy) = (0.0, 0.9);
    let findings = diagnose(&facts);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = &findings[0];
    assert_eq!(finding.kind, FindingKind::Bottleneck);
    assert_eq!(finding.places[0].to_string(), "Calc (2/2) at tm-1 (host:6121)");
    assert!(finding.summary.contains("busy 100 %"), "{}", finding.summary);
    assert!(
        finding
            .summary
            .ends_with("back-pressured by it: Source: clicks -> Calc, Count"),
        "{}",
        finding.summary
    );
}

#[test]
fn of_those_behind_a_fork_the_one_is_named_that_has_work() {
    let mut facts = healthy();
    // Both are behind the source, and keyed.
    facts.vertices[0].outputs = vec![1, 2];
    facts.vertices[1].outputs = vec![];
    (facts.vertices[2].inputs, facts.vertices[2].keyed_by) = (vec![0], Some("user".to_owned()));
    press(&mut facts, 0);
    facts.vertices[1].subtasks[0].idle = 0.0;
    let named = |facts: &Facts| -> Vec<(FindingKind, String)> {
        let findings = diagnose(facts).into_iter();
        findings
            .map(|finding| (finding.kind, finding.places[0].vertex.clone()))
            .collect()
    };
    let slow = (FindingKind::Bottleneck, "Count".to_owned());
    assert_eq!(named(&facts), std::slice::from_ref(&slow));
    // Nor is the other one to blame if what little it gets is of one key.
    let sink = &mut facts.vertices[2].subtasks;
    (sink[0].records_in, sink[1].records_in) = (1.0, 90.0);
    assert_eq!(named(&facts), [slow]);
}

#[test]
fn a_sink_that_waits_for_its_system_is_slow_whoever_waits_for_it() {
    let mut facts = healthy();
    let sink = &mut facts.vertices[2].subtasks[0];
    (sink.blocked, sink.idle, sink.operators[1].blocked) = (0.97, 0.0, 0.97);
    assert_eq!(kinds(&facts), [FindingKind::SlowSink]);
    press(&mut facts, 1);
    let findings = diagnose(&facts);
    assert_eq!(findings[0].kind, FindingKind::SlowSink);
    assert_eq!(findings[0].places[0].operator.as_deref(), Some("Sink: out"));
    assert!(
        findings[0].summary.contains("97 %") && findings[0].summary.contains("Count"),
        "{findings:?}"
    );
    // An operator before it that waits is none.
    let chain = &mut facts.vertices[2].subtasks[0].operators;
    (chain[0].blocked, chain[1].blocked) = (0.97, 0.0);
    assert_eq!(kinds(&facts), [FindingKind::WaitsOutside]);
}

#[test]
fn a_hot_subtask_is_skew_and_names_the_key() {
    let mut facts = healthy();
    press(&mut facts, 0);
    let counter = &mut facts.vertices[1].subtasks;
    (counter[0].records_in, counter[1].records_in, counter[1].idle) = (50.0, 950.0, 0.0);
    let findings = diagnose(&facts);
    assert_eq!(
        (findings[0].kind, findings[0].severity),
        (FindingKind::SkewedKey, Severity::Problem)
    );
    assert_eq!(findings[0].places[0].subtask, Some(1));
    assert!(
        findings[0].summary.contains("950 of 1000 records/s, 19.0 times"),
        "{}",
        findings[0].summary
    );
    assert!(findings[0].summary.contains("(user)"), "{}", findings[0].summary);
    // Nobody waits for it: it is worth a note.
    press(&mut facts, 0);
    facts.vertices[0]
        .subtasks
        .iter_mut()
        .for_each(|s| s.back_pressured = 0.0);
    facts.vertices[1].subtasks[1].idle = 0.5;
    assert_eq!(diagnose(&facts)[0].severity, Severity::Note);
    // Another one that works all the time, with less to do, does not make it a problem.
    facts.vertices[1].subtasks[0].idle = 0.0;
    assert_eq!(diagnose(&facts)[0].severity, Severity::Note);
    facts.vertices[1].subtasks[1].idle = 0.0;
    assert_eq!(diagnose(&facts)[0].severity, Severity::Problem);
    // Of a trickle it is worth none.
    let counter = &mut facts.vertices[1].subtasks;
    (counter[0].records_in, counter[1].records_in) = (1.0, 90.0);
    assert_eq!(kinds(&facts), []);
    // Evenly spread work that is too much is no skew.
    press(&mut facts, 0);
    facts.vertices[1]
        .subtasks
        .iter_mut()
        .for_each(|s| (s.records_in, s.idle) = (500.0, 0.0));
    assert_eq!(kinds(&facts), [FindingKind::Bottleneck]);
}

fn stuck(missing: &[(usize, usize)]) -> Facts {
    Facts {
        checkpoint: Some(CheckpointFacts {
            id: 7,
            triggered_ms: NOW_MS - 12_000,
            timeout_ms: 600_000,
            typical_ms: Some(200),
            missing: missing.to_vec(),
        }),
        ..healthy()
    }
}

#[test]
fn a_stuck_checkpoint_names_the_subtask_and_the_step() {
    let mut facts = stuck(&[(1, 1)]);
    let told = |facts: &Facts| {
        let findings = diagnose(facts);
        assert_eq!(findings[0].kind, FindingKind::CheckpointStuck, "{findings:?}");
        (findings[0].summary.clone(), findings[0].places.clone())
    };
    let (summary, places) = told(&facts);
    assert!(
        summary.contains("checkpoint 7") && summary.contains("12.0 s") && summary.contains("1 of 6"),
        "{summary}"
    );
    assert!(summary.contains("no barrier"), "{summary}");
    assert_eq!((places.len(), places[0].subtask), (1, Some(1)));
    facts.vertices[1].subtasks[1].aligning = (7, NOW_MS - 9_000);
    assert!(
        told(&facts).0.contains("aligned since 9.0 s in: Count (2/2) at tm-1"),
        "{}",
        told(&facts).0
    );
    facts.vertices[1].subtasks[1].aligned = 7;
    assert!(told(&facts).0.contains("not captured"), "{}", told(&facts).0);
    facts.vertices[1].subtasks[1].captured = 7;
    assert!(told(&facts).0.contains("asynchronous part"), "{}", told(&facts).0);
}

#[test]
fn who_only_waits_for_barriers_of_others_is_not_blamed() {
    let mut facts = stuck(&[(0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    let places = |facts: &Facts| diagnose(facts)[0].places.clone();
    let first = places(&facts);
    assert_eq!(first.len(), 1);
    assert_eq!(
        (first[0].vertex.as_str(), first[0].subtask),
        ("Source: clicks -> Calc", Some(1))
    );
    // It has its barrier, those behind it wait.
    let sink = &mut facts.vertices[2].subtasks[0];
    (sink.aligned, sink.captured) = (7, 7);
    facts.vertices[1].subtasks[0].aligned = 7;
    let draining = places(&facts);
    assert_eq!((draining.len(), draining[0].vertex.as_str()), (1, "Count"));
}

#[test]
fn a_checkpoint_that_takes_what_is_typical_is_not_stuck() {
    let mut facts = stuck(&[(1, 1)]);
    facts.checkpoint.as_mut().unwrap().typical_ms = Some(10_000);
    assert_eq!(kinds(&facts), []);
    facts.failed_checkpoints = vec!["too late".into(), "too late".into()];
    assert_eq!(kinds(&facts), [FindingKind::CheckpointsFail]);
}

fn split(id: &str, watermark: i64, last_record_ms: i64, state: SplitTime) -> SplitReading {
    SplitReading {
        id: id.into(),
        watermark,
        last_record_ms,
        has_records: watermark > NO_WATERMARK,
        state,
    }
}

fn splits(shown: Vec<SplitReading>) -> SplitReadings {
    let total = shown.len();
    SplitReadings { shown, total }
}

#[test]
fn a_silent_partition_is_named_with_what_it_holds_back() {
    let mut facts = healthy();
    let subtasks = &mut facts.vertices[0].subtasks;
    subtasks[0].splits = splits(vec![split("clicks-0", 90_000, NOW_MS - 100, SplitTime::Counts)]);
    subtasks[1].splits = splits(vec![
        split("clicks-1", 60_000, NOW_MS - 40_000, SplitTime::Counts),
        split("clicks-2", 50_000, NOW_MS - 50_000, SplitTime::Idle),
    ]);
    subtasks[1].splits.total = 70;
    let findings = diagnose(&facts);
    assert_eq!(kinds(&facts), [FindingKind::IdlePartition, FindingKind::IdleByTimeout]);
    let summary = &findings[0].summary;
    assert!(
        summary.starts_with("1 of 71 partitions") && summary.contains("by 30.0 s: clicks-1 (no record for 40.0 s)"),
        "{summary}"
    );
    assert_eq!(findings[0].places[0].subtask, Some(1));
    facts.vertices[0].subtasks[1].splits.shown[0] = split("clicks-1", NO_WATERMARK, NOW_MS - 40_000, SplitTime::Counts);
    let summary = diagnose(&facts)[0].summary.clone();
    assert!(
        summary.contains("altogether") && summary.contains("none at all"),
        "{summary}"
    );
    // Who has read its partitions to their ends waits for no records.
    facts.vertices[0].subtasks[1].state = ExecutionState::Finished;
    assert_eq!(kinds(&facts), []);
}

#[test]
fn partitions_that_are_all_silent_or_cannot_be_read_hold_nothing_back() {
    let mut facts = healthy();
    facts.vertices[0].subtasks[0].splits = splits(vec![
        split("clicks-0", 90_000, NOW_MS - 60_000, SplitTime::Counts),
        split("clicks-1", 60_000, NOW_MS - 61_000, SplitTime::Counts),
    ]);
    assert_eq!(kinds(&facts), []);
    facts.vertices[0].subtasks[0].splits.shown[0].last_record_ms = NOW_MS;
    assert_eq!(kinds(&facts), [FindingKind::IdlePartition]);
    press(&mut facts, 0);
    assert!(!kinds(&facts).contains(&FindingKind::IdlePartition));
}

#[test]
fn missing_slots_are_counted() {
    let mut facts = Facts {
        status: JobStatus::Created,
        slots: Some(SlotFacts {
            needed: 8,
            offered: 4,
            free: 3,
            task_managers: 2,
            since_ms: NOW_MS - 3_000,
        }),
        ..healthy()
    };
    let findings = diagnose(&facts);
    assert_eq!(findings[0].kind, FindingKind::WaitingForSlots);
    assert!(
        findings[0]
            .summary
            .ends_with("it needs 8; 3 of the 4 slots of 2 TaskManager(s) are free: 5 missing"),
        "{findings:?}"
    );
    facts.slots.as_mut().unwrap().free = 8;
    assert_eq!(kinds(&facts), []);
}

#[test]
fn a_restart_loop_tells_the_last_failure_and_its_place() {
    let mut facts = healthy();
    facts.restarts = RestartFacts {
        recent: 2,
        failure: Some("boom".into()),
        place: Some("Count (2/2) at tm-1 (host:6121)".into()),
        ..RestartFacts::default()
    };
    assert_eq!(kinds(&facts), []);
    facts.restarts.recent = 3;
    let findings = diagnose(&facts);
    assert_eq!(findings[0].kind, FindingKind::RestartLoop);
    assert!(
        findings[0].summary.contains("3 times") && findings[0].summary.ends_with("tm-1 (host:6121): boom"),
        "{findings:?}"
    );
    facts.status = JobStatus::Failed;
    assert_eq!(kinds(&facts), [FindingKind::JobFailed]);
}

#[test]
fn operators_that_do_not_open_are_named() {
    let mut facts = healthy();
    let late = &mut facts.vertices[1].subtasks[0];
    (late.state, late.since_ms) = (ExecutionState::Deploying, NOW_MS - 20_000);
    let findings = diagnose(&facts);
    assert_eq!(findings[0].kind, FindingKind::NotOpen);
    assert!(
        findings[0].summary.contains("up to 20.0 s")
            && findings[0].summary.ends_with("Count (1/2) at tm-1 (host:6121)"),
        "{findings:?}"
    );
}

#[test]
fn causes_come_before_what_follows_from_them_and_problems_before_notes() {
    let mut facts = stuck(&[(1, 0)]);
    press(&mut facts, 0);
    facts.vertices[1].subtasks[0].idle = 0.0;
    facts.vertices[0].subtasks[0].splits = splits(vec![split("clicks-2", 1, NOW_MS, SplitTime::Paused)]);
    facts.vertices[0].subtasks[0].back_pressured = 0.0;
    assert_eq!(
        kinds(&facts),
        [
            FindingKind::Bottleneck,
            FindingKind::CheckpointStuck,
            FindingKind::AheadOfGroup
        ]
    );
}

#[test]
fn a_source_without_records_is_no_problem() {
    let mut facts = healthy();
    for vertex in &mut facts.vertices {
        vertex
            .subtasks
            .iter_mut()
            .for_each(|s| (s.records_in, s.idle) = (0.0, 1.0));
    }
    assert_eq!(kinds(&facts), [FindingKind::NoInput]);
    assert!(Diagnosis::of(&facts).healthy);
}

#[test]
fn a_call_that_does_not_return_explains_what_waits_behind_it() {
    let mut facts = healthy();
    press(&mut facts, 0);
    let hung = &mut facts.vertices[1].subtasks[1];
    (hung.idle, hung.records_in) = (0.0, 0.0);
    hung.hung = Some(HungCall {
        operator: "Count".into(),
        ms: 42_000,
    });
    facts.checkpoint = Some(CheckpointFacts {
        id: 7,
        triggered_ms: NOW_MS - 30_000,
        timeout_ms: 600_000,
        typical_ms: None,
        missing: vec![(0, 0), (1, 0), (1, 1), (2, 1)],
    });
    let findings = diagnose(&facts);
    assert_eq!(
        kinds(&facts),
        [FindingKind::HungCall, FindingKind::CheckpointStuck],
        "{findings:#?}"
    );
    assert_eq!(
        findings[0].summary,
        "operator Count of subtask 2/2 at TaskManager tm-1 (host:6121) has been in one call of user code for 42.0 s; back-pressured by it: \
         Source: clicks -> Calc"
    );
    assert!(
        findings[1]
            .summary
            .ends_with("one call of user code has not returned for 42.0 s in: Count (2/2) at tm-1 (host:6121)"),
        "{}",
        findings[1].summary
    );
    assert!(!Diagnosis::of(&facts).healthy);
    // What it has captured already waits for the store, not for it.
    facts.vertices[1].subtasks[1].captured = 7;
    assert!(diagnose(&facts)[1].summary.contains("the asynchronous part"));
}

#[test]
fn a_record_that_fails_each_attempt_is_told_before_the_loop_of_restarts() {
    let mut facts = healthy();
    facts.restarts = RestartFacts {
        recent: 5,
        failure: Some("Count (1/2): no number: x".into()),
        poison: Some("Count has failed with the same cause in 5 attempts".into()),
        place: None,
    };
    let findings = diagnose(&facts);
    assert_eq!(kinds(&facts), [FindingKind::PoisonedRecord], "{findings:#?}");
    assert!(
        findings[0]
            .summary
            .ends_with("5 attempts; the last failure: Count (1/2): no number: x")
    );
    facts.restarts.poison = None;
    assert_eq!(kinds(&facts), [FindingKind::RestartLoop]);
}
