//! Restoring by path, savepoints, damaged checkpoints, folders that cannot be written.

use crate::support::{JOB, manifest, operator, read_all, take};
use bytes::Bytes;
use flott_checkpoint::*;
use flott_core::{JobId, KeyGroupRange, OperatorId, Options};
use std::path::Path;

async fn open(dir: &Path) -> CheckpointStore {
    CheckpointStore::open(dir.to_str().unwrap(), JOB, &Options::new())
        .await
        .unwrap()
}

async fn at(path: &str) -> Result<Snapshot, CheckpointError> {
    Snapshot::open(path, &Options::new()).await
}

#[tokio::test]
async fn a_damaged_newest_checkpoint_is_skipped_for_the_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    assert!(store.latest().await.unwrap().is_none());
    let leader = store.claim("test").await.unwrap();
    assert_eq!(leader.start_from(None).await.unwrap(), 1);
    let (_, first) = take(&leader, 1, &[]).await.unwrap();
    let (second, files) = take(&leader, 2, &[]).await.unwrap();
    assert_eq!(store.latest().await.unwrap().unwrap().id, Some(second.id));
    let job = dir.path().join(flott_checkpoint::layout::job_folder(JOB));

    std::fs::write(job.join(&files[0]), "short").unwrap();
    assert_eq!(store.latest().await.unwrap().unwrap().manifest.checkpoint_id, 1);
    std::fs::write(job.join(&files[0]), "0000000002").unwrap();
    let path = job.join("chk-2/manifest-g1");
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in [
        "",
        "{}",
        &good[..good.len() / 2],
        &good.replace("aggregate", "aggregatE"),
    ] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(store.latest().await.unwrap().unwrap().manifest.checkpoint_id, 1);
    }
    std::fs::write(&path, good.replace("\"version\":2", "\"version\":9")).unwrap();
    let error = store.latest().await.unwrap_err();
    assert!(error.to_string().contains("format version 9"), "{error}");
    std::fs::write(&path, "").unwrap();
    std::fs::remove_file(job.join(&first[0])).unwrap();
    let error = store.latest().await.unwrap_err();
    assert!(matches!(error, CheckpointError::AllDamaged { .. }), "{error}");
}

#[tokio::test]
async fn checkpoints_are_found_by_folder_file_and_job() {
    let dir = tempfile::tempdir().unwrap();
    let leader = open(dir.path()).await.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let (first, _) = take(&leader, 1, &[]).await.unwrap();
    let _ = take(&leader, 2, &[]).await.unwrap();
    let job = dir.path().join(flott_checkpoint::layout::job_folder(JOB));
    // Moved with all its job's checkpoints.
    let moved = dir.path().join("moved");
    std::fs::rename(&job, &moved).unwrap();
    assert!(at(&first.path).await.is_err());
    for (path, number) in [
        ("chk-1", 1),
        ("chk-1/", 1),
        ("chk-1/manifest-g1", 1),
        ("chk-2", 2),
        ("", 2),
    ] {
        let snapshot = at(moved.join(path).to_str().unwrap()).await.unwrap();
        assert_eq!((snapshot.manifest.checkpoint_id, snapshot.id), (number, None), "{path}");
        read_all(&snapshot).await.unwrap();
    }
    let error = at(dir.path().to_str().unwrap()).await.unwrap_err();
    assert!(matches!(error, CheckpointError::NotFound { .. }), "{error}");
    assert!(at("/no/such/folder").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_savepoint_holds_all_it_needs_and_can_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let savepoints = dir.path().join("savepoints");
    let savepoints = savepoints.to_str().unwrap();
    let store = open(&dir.path().join("checkpoints")).await;
    let leader = store.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let (_, files) = take(&leader, 1, &[]).await.unwrap();
    let _ = take(&leader, 2, &files).await.unwrap();

    let create = || async {
        let options = Options::new();
        Savepoint::create(savepoints, JobId::of(JOB), &options).await.unwrap()
    };
    let (savepoint, other) = (create().await, create().await);
    assert_ne!(savepoint.path(), other.path());
    assert!(at(&savepoint.path()).await.is_err(), "not completed yet");
    let checkpoint = store.latest().await.unwrap().unwrap();
    savepoint.complete_from(&checkpoint).await.unwrap();
    // The checkpoint's folder is gone afterwards, before another copy.
    std::fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
    assert!(other.complete_from(&checkpoint).await.is_err());
    assert!(at(&other.path()).await.is_err(), "a file was missing");

    let moved = dir.path().join("moved");
    std::fs::rename(savepoint.path(), &moved).unwrap();
    for path in [moved.clone(), moved.join("_metadata")] {
        let snapshot = at(path.to_str().unwrap()).await.unwrap();
        assert_eq!(snapshot.manifest.kind, SnapshotKind::Savepoint);
        assert_eq!(snapshot.manifest.files().len(), 2);
        read_all(&snapshot).await.unwrap();
    }
}

#[tokio::test]
async fn a_fresh_start_spares_what_an_earlier_run_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let earlier = store.claim("test").await.unwrap();
    earlier.start_from(None).await.unwrap();
    let (kept, _) = take(&earlier, 1, &[]).await.unwrap();
    let fresh = store.claim("test").await.unwrap();
    assert_eq!(fresh.start_from(None).await.unwrap(), 2);
    for checkpoint in 2..6 {
        let (permit, _) = take(&fresh, checkpoint, &[]).await.unwrap();
        fresh.mark_committed(permit.id).await.unwrap();
        fresh.delete_superseded(2).await.unwrap();
    }
    let facts = store.facts().await.unwrap();
    let numbers: Vec<u64> = facts.candidates().iter().map(|c| c.checkpoint).collect();
    assert_eq!(numbers, [5, 4, 1]);
    read_all(&store.load(kept.id, &facts).await.unwrap()).await.unwrap();
    assert!(store.latest().await.unwrap().unwrap().is_committed);
    assert!(matches!(
        take(&earlier, 9, &[]).await,
        Err(CheckpointError::Fenced { ours: 1, newest: 2, .. })
    ));
}

#[tokio::test]
async fn a_leader_that_was_paused_takes_nothing_from_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let of = |cluster: &str, epoch| ClusterEpoch {
        cluster: cluster.to_owned(),
        epoch,
    };
    store.claim("a job of its own").await.unwrap();
    let later = store.claim_in("next", Some(&of("ours", 4))).await.unwrap();
    let late = store.claim_in("paused", Some(&of("ours", 3))).await.unwrap_err();
    assert!(late.is_fenced() && late.to_string().contains("epoch 4"), "{late}");
    later.start_from(None).await.unwrap();
    let _ = take(&later, 1, &[]).await.unwrap();
    // It may start its job anew itself; another cluster's leaders are counted by themselves, and who has none takes over as ever.
    let again = store.claim_in("again", Some(&of("ours", 4))).await.unwrap();
    let other = store.claim_in("other", Some(&of("theirs", 1))).await.unwrap();
    let last = store.claim("none").await.unwrap();
    assert_eq!([again.generation(), other.generation(), last.generation()], [3, 4, 5]);
}

#[tokio::test]
async fn files_that_an_earlier_process_needs_for_a_retained_checkpoint_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let earlier = store.claim("test").await.unwrap();
    earlier.start_from(None).await.unwrap();
    let (_, base) = take(&earlier, 1, &[]).await.unwrap();
    let _ = take(&earlier, 2, &base).await.unwrap();
    let (third, _) = take(&earlier, 3, &base).await.unwrap();
    let _ = take(&earlier, 4, &[]).await.unwrap();
    let later = store.claim("test").await.unwrap();
    let newest = store.latest().await.unwrap().unwrap();
    later.start_from(Some(&newest)).await.unwrap();
    for checkpoint in 5..7 {
        let _ = take(&later, checkpoint, &[]).await.unwrap();
        later.delete_superseded(4).await.unwrap();
    }
    let facts = store.facts().await.unwrap();
    let numbers: Vec<u64> = facts.candidates().iter().map(|c| c.checkpoint).collect();
    assert_eq!(numbers, [6, 5, 4, 3]);
    read_all(&store.load(third.id, &facts).await.unwrap()).await.unwrap();
    // With the last checkpoint that needs them they go.
    for checkpoint in 7..9 {
        let _ = take(&later, checkpoint, &[]).await.unwrap();
        later.delete_superseded(4).await.unwrap();
    }
    let files = store.facts().await.unwrap().files;
    assert!(base.iter().all(|path| !files.contains_key(path)), "{files:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    // A folder below a file cannot be made by anybody; one without the write bit can be by root, who runs some test machines.
    let error = CheckpointStore::open("/proc/checkpoints", JOB, &Options::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/proc/checkpoints"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = std::fs::write(dir.path().join("x"), "x").is_ok();
    let opened = CheckpointStore::open(dir.path().to_str().unwrap(), JOB, &Options::new()).await;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    if !is_root {
        let error = opened.unwrap_err().to_string();
        assert!(
            error.contains("execution.checkpointing.dir") && error.contains("writable"),
            "{error}"
        );
    }
}

#[test]
fn state_goes_to_new_subtasks_by_key_group_and_by_mode() {
    let entry = |name: &str, subtask: u8, redistribute| EntryRef {
        name: name.to_owned(),
        redistribute,
        crc32c: 0,
        location: Location::Inline(InlineBytes(Bytes::from(vec![subtask]))),
    };
    let mut operator = manifest(1, 1, &[]).operators.remove(0);
    operator.parallelism = 2;
    operator.subtasks = vec![];
    for index in 0..2u8 {
        let mut run = manifest(1, 1, &[format!("f{index}")]).operators[0].subtasks[0]
            .runs
            .remove(0);
        run.key_groups = KeyGroupRange::of_subtask(128, 2, usize::from(index));
        operator.add(OperatorPart {
            id: OperatorId::of("operator"),
            tables: vec![],
            subtask: SubtaskManifest {
                index: usize::from(index),
                runs: vec![run],
                entries: vec![
                    entry("offsets", index, Redistribute::Split),
                    entry("offsets", index + 10, Redistribute::Split),
                    entry("all", index, Redistribute::Union),
                    entry("rules", index, Redistribute::Broadcast),
                ],
                committables: vec![InlineBytes(Bytes::from(vec![index]))],
                in_flight: vec![],
            },
        });
    }
    let names = |plan: &SubtaskRestore, name: &str| -> Vec<u8> {
        let of_name = plan.entries.iter().filter(|e| e.name == name);
        of_name
            .map(|e| match &e.location {
                Location::Inline(bytes) => bytes.0[0],
                Location::File { .. } => unreachable!(),
            })
            .collect()
    };
    let same = restore_plan(&operator, 2).unwrap();
    assert_eq!(
        (names(&same[0], "offsets"), names(&same[1], "offsets")),
        (vec![0, 10], vec![1, 11])
    );
    let three = restore_plan(&operator, 3).unwrap();
    let files = |s: &SubtaskRestore| {
        s.runs
            .iter()
            .filter_map(|r| r.location.path().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(files(&three[0]), ["f0"]);
    assert_eq!(files(&three[1]), ["f0", "f1"]);
    assert_eq!(files(&three[2]), ["f1"]);
    // What two read of one run has no group in common, and nothing is read by nobody.
    let groups = |s: &SubtaskRestore| {
        s.runs
            .iter()
            .map(|r| (r.groups().start, r.groups().end))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        three.iter().map(groups).collect::<Vec<_>>(),
        [vec![(0, 42)], vec![(43, 63), (64, 85)], vec![(86, 127)]]
    );
    let (whole, part) = (&operator.subtasks[0].runs[0], &three[1].runs[0]);
    assert_eq!(
        (whole.bytes(), part.bytes()),
        (whole.location.len(), whole.location.len() * 21 / 64)
    );
    assert_eq!(
        part.clipped(&KeyGroupRange { start: 60, end: 70 }).unwrap().groups(),
        KeyGroupRange { start: 60, end: 63 }
    );
    assert_eq!(part.clipped(&KeyGroupRange { start: 0, end: 42 }), None);
    let offsets: Vec<Vec<u8>> = three.iter().map(|s| names(s, "offsets")).collect();
    assert_eq!(offsets, [vec![0, 11], vec![10], vec![1]]);
    for subtask in &three {
        assert_eq!(names(subtask, "all"), [0, 1]);
        assert_eq!(names(subtask, "rules"), [0]);
    }
    assert_eq!(three.iter().map(|s| s.committables.len()).sum::<usize>(), 2);
    let error = restore_plan(&operator, 129).unwrap_err();
    assert!(error.to_string().contains("maximum parallelism 128"), "{error}");
}

fn in_flight(subtask: usize, place: InFlightPlace) -> OperatorPart {
    OperatorPart {
        id: operator(),
        tables: vec![],
        subtask: SubtaskManifest {
            index: subtask,
            in_flight: vec![InFlightRef {
                place,
                crc32c: 0,
                location: Location::Inline(InlineBytes(Bytes::from_static(b"rows"))),
            }],
            ..SubtaskManifest::default()
        },
    }
}

#[test]
fn rows_in_flight_stay_with_their_subtask_or_are_looked_through_by_all_new_ones() {
    let mut operator = manifest(1, 1, &[]).operators.remove(0);
    operator.parallelism = 2;
    // A writer reports what is on its way to another subtask, before or behind that.
    operator.add(in_flight(1, InFlightPlace::Output));
    operator.add(in_flight(1, InFlightPlace::Input));
    assert_eq!(operator.subtasks.len(), 2);
    assert_eq!(operator.subtasks[1].in_flight_bytes(), 8);
    let counts = |parallelism| -> Vec<usize> {
        let plan = restore_plan(&operator, parallelism).unwrap();
        plan.iter().map(|s| s.in_flight.len()).collect()
    };
    assert_eq!((counts(2), counts(3)), (vec![0, 2], vec![2, 2, 2]));
}

#[test]
fn only_a_manifest_with_rows_in_flight_needs_a_build_that_knows_them() {
    let version = |manifest: &Manifest| -> u64 {
        let content = manifest.encode().unwrap();
        assert_eq!(&Manifest::decode(&content, "it").unwrap(), manifest);
        let first = content.split(|byte| *byte == b'\n').next().unwrap();
        serde_json::from_slice::<serde_json::Value>(first).unwrap()["version"]
            .as_u64()
            .unwrap()
    };
    let mut manifest = manifest(1, 1, &[]);
    assert_eq!(version(&manifest), 2);
    manifest.operators[0].add(in_flight(0, InFlightPlace::Input));
    assert_eq!(version(&manifest), 3);
    let newer = String::from_utf8(manifest.encode().unwrap().to_vec()).unwrap();
    let newer = newer.replacen("\"version\":3", "\"version\":4", 1);
    let error = Manifest::decode(newer.as_bytes(), "it").unwrap_err().to_string();
    assert!(error.contains('4') && error.contains('3'), "{error}");
}
