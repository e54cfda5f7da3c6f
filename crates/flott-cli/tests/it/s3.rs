//! A job whose checkpoints and savepoints are on an S3-compatible server: killed and restored, each row once.
//!
//! `FLOTT_S3_ENDPOINT` is the address that `bench/s3-up.sh` prints; the bucket is `FLOTT_S3_BUCKET` (default `flott`).

use crate::partitions::{BY_CLOCK, BY_TIME, killed_at};
use crate::support::flott;
use crate::trial::{From, PATIENCE, Sink, Trial, oracle, without};

/// Trials whose checkpoints are in a folder of their own in the bucket; the folder.
fn on_s3(mut trial: Trial) -> (Trial, String) {
    let endpoint = std::env::var("FLOTT_S3_ENDPOINT").expect("FLOTT_S3_ENDPOINT names the server to test against");
    let bucket = std::env::var("FLOTT_S3_BUCKET").unwrap_or_else(|_| "flott".to_owned());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let folder = format!("s3://{bucket}/jobs/{}", now.unwrap().as_nanos());
    trial.checkpoints = format!("{folder}/checkpoints");
    trial.options = vec![
        format!("s3.endpoint={endpoint}"),
        "s3.access-key=test".to_owned(),
        "s3.secret-key=test".to_owned(),
        "s3.path.style.access=true".to_owned(),
    ];
    (trial, folder)
}

#[test]
#[ignore = "needs an S3 server: .ci/run starts it"]
fn a_job_is_killed_and_restored_from_s3() {
    let (trial, _) = on_s3(Trial::to_topic());
    for (phase, point) in [(0, "checkpoint-ack=kill@4"), (1, "checkpoint-complete=kill@1")] {
        let feeding = trial.feed(phase);
        let killed = trial.start("2", From::Latest, point).ended();
        assert_eq!(killed.code, None, "{killed:?}");
        feeding.join().unwrap();
    }
    let feeding = trial.feed(2);
    let job = trial.start("3", From::Latest, "");
    let settled = trial.finish(&oracle(), job, PATIENCE);
    feeding.join().unwrap();
    let ended = settled.unwrap();
    assert!(
        ended.err.contains(&format!("starts from {}", trial.checkpoints)),
        "it went on from what is there: {}",
        ended.err
    );
}

/// The rows are objects, the checkpoints on disk: killed before, within and after the commit of uploads.
#[test]
#[ignore = "needs an S3 server: .ci/run starts it"]
fn rows_in_a_bucket_come_once_however_the_job_is_killed() {
    for points in [
        ["checkpoint-ack=kill@2", "checkpoint-complete=kill@1"],
        ["sink-commit=kill@1", "checkpoint-commit=kill@0"],
    ] {
        let (mut trial, folder) = on_s3(Trial::to_topic());
        trial.checkpoints = format!("file://{}", trial.path("checkpoints"));
        trial.set_sink(Sink::Bucket(format!("{folder}/out")));
        for (phase, point) in points.into_iter().enumerate() {
            let feeding = trial.feed(phase as i64);
            let killed = trial.start(&(phase + 1).to_string(), From::Latest, point).ended();
            assert_eq!(killed.code, None, "{killed:?}");
            assert!(killed.err.contains("fail point"), "{}", killed.err);
            feeding.join().unwrap();
        }
        let feeding = trial.feed(2);
        let settled = trial.settle(From::Latest, "", PATIENCE);
        feeding.join().unwrap();
        assert_eq!(settled, Ok(()), "after kills at {points:?}");
    }
}

/// As on disk (`partitions`): rows once, success files neither early nor missing.
#[test]
#[ignore = "needs an S3 server: .ci/run starts it"]
fn partitions_in_a_bucket_are_marked_however_the_job_is_killed() {
    for (options, points) in [
        (BY_TIME, ["partition-open", "partition-mark"]),
        (BY_TIME, ["partition-marked", "partition-marked"]),
        (BY_TIME, ["checkpoint-complete", "partition-due"]),
        (BY_CLOCK, ["partition-mark", "partition-marked"]),
    ] {
        let (mut trial, folder) = on_s3(Trial::to_topic());
        trial.checkpoints = format!("file://{}", trial.path("checkpoints"));
        let at = format!("{folder}/partitions");
        trial.set_sink(Sink::Partitions { at, options });
        killed_at(&trial, points, options == BY_TIME);
    }
}

#[test]
#[ignore = "needs an S3 server: .ci/run starts it"]
fn a_table_in_a_bucket_is_read_and_its_partitions_are_marked() {
    let (trial, folder) = on_s3(Trial::to_topic());
    let sql = "CREATE TABLE t (n BIGINT, word STRING, part STRING) PARTITIONED BY (part) WITH ('connector' = 'filesystem', 'path' = '${AT}',
          'format' = '${FORMAT}', 'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.delay' = '1 h');
        ";
    let write = "INSERT INTO t SELECT n, word, word FROM (VALUES (1, 'a'), (2, 'b/c'), (3, 'a')) AS v(n, word);";
    let read = "SELECT part, SUM(n) AS total FROM t GROUP BY part;";
    for format in ["parquet", "json"] {
        let at = format!("{folder}/{format}");
        let table = sql.replace("${AT}", &at).replace("${FORMAT}", format);
        let run = |statement: &str| {
            let sql = format!("{table}{statement}");
            let mut args = vec!["run", "-e", &sql];
            trial.options.iter().for_each(|o| args.extend(["-D", o]));
            flott(&args).expect(0)
        };
        run(write);
        let ended = run(read);
        let has = |part: &str, total: &str| {
            ended
                .out
                .lines()
                .any(|l| l.contains(&format!(" {part} |")) && l.contains(&format!(" {total} |")))
        };
        assert!(has("a", "4") && has("b/c", "2"), "{}", ended.out);
        let marks = crate::trial::objects(&format!("{at}/part=a"), &trial.options);
        assert!(marks.iter().any(|name| name == "_SUCCESS"), "{marks:?}");
    }
}

#[test]
#[ignore = "needs an S3 server: .ci/run starts it"]
fn a_savepoint_on_s3_is_shown_and_restored() {
    let (trial, folder) = on_s3(Trial::to_files());
    let feeding = trial.feed(0);
    let savepoints = format!("{folder}/savepoints");
    let mut job = trial.start_with("2", From::Nothing, "", &["--savepoint-on-stop", &savepoints]);
    trial.wait_for_rows(0, &mut job);
    job.terminate();
    let stopped = job.ended().expect(0);
    feeding.join().unwrap();
    let savepoint = stopped.err.lines().find_map(|l| l.strip_prefix("savepoint: ")).unwrap();
    assert!(savepoint.starts_with(&savepoints), "{savepoint}");
    let before = trial.rows();
    for phase in 1..3 {
        trial.feed(phase).join().unwrap();
    }
    let settled = trial.settle_at(&oracle(), From::Path(savepoint), "", PATIENCE);
    assert_eq!(settled, Ok(()));
    assert!(!without(&oracle(), &before).is_empty(), "something was left to do");

    let mut show = vec!["state", "show", savepoint];
    trial.options.iter().for_each(|o| show.extend(["-D", o]));
    let shown = flott(&show).expect(0);
    assert!(shown.out.contains("GlobalWindowAggregate"), "{}", shown.out);
}

#[test]
#[ignore = "needs an S3 server: .ci/run starts it"]
fn a_bucket_that_is_not_there_is_named() {
    let (mut trial, _) = on_s3(Trial::to_topic());
    trial.checkpoints = "s3://no-such-bucket/checkpoints".to_owned();
    let ended = trial.start("1", From::Nothing, "").ended().expect(1);
    assert!(ended.err.contains("s3://no-such-bucket/checkpoints"), "{}", ended.err);
}
