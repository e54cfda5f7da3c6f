//! What programs say before a deployment: whether their jobs can start from a savepoint.

use flott::prelude::*;
use flott_testing::MiniCluster;
use std::process::Command;
use std::time::Duration;

/// A program whose sums are found by their uid.
fn describe(env: &StreamExecutionEnvironment, numbers: DataStream<i64>, uid: &str) {
    env.set_parallelism(2);
    let sums = numbers
        .uid("numbers")
        .key_by(|n| n % 3)
        .reduce(i64::wrapping_add)
        .uid(uid);
    sums.for_each(drop).uid("end");
}

fn savepoint(cluster: &MiniCluster) -> String {
    let env = cluster.environment();
    env.enable_checkpointing(Duration::from_millis(10));
    describe(&env, env.from_sequence(0, i64::MAX), "sums");
    let mut job = cluster.start(&env, "sums").unwrap();
    job.wait_for_checkpoints(1).unwrap();
    job.stop_with_savepoint().unwrap()
}

#[test]
fn a_program_says_what_becomes_of_each_state() {
    let cluster = MiniCluster::with_slots(2).unwrap();
    let path = savepoint(&cluster);
    let check = |uid: &str| {
        let env = StreamExecutionEnvironment::create_local_environment(flott::Options::new());
        describe(&env, env.from_sequence(0, i64::MAX), uid);
        env.check_state("sums", &path).unwrap()
    };
    let same = check("sums");
    assert_eq!((same.misfits(false), same.job_name.as_str()), (0, "sums"));
    let text = same.to_string();
    assert!(
        text.contains("Keyed Reduce") && text.contains("restored: 3 rows"),
        "{text}"
    );
    let renamed = check("totals");
    assert_eq!((renamed.misfits(false), renamed.misfits(true)), (1, 0));
    let text = renamed.to_string();
    assert!(text.contains("starts empty") && text.contains("left behind"), "{text}");
    let env = StreamExecutionEnvironment::create_local_environment(flott::Options::new());
    describe(&env, env.from_sequence(0, 9), "sums");
    let error = env.check_state("sums", "/no/such/savepoint").unwrap_err().to_string();
    assert!(error.contains("/no/such/savepoint"), "{error}");
}

/// The program that the next test starts in a process of its own; here it runs its job.
#[test]
fn the_checked_program() {
    let env = StreamExecutionEnvironment::get_execution_environment();
    let uid = std::env::var("TEST_UID").unwrap_or("sums".to_owned());
    describe(&env, env.from_sequence(0, 99), &uid);
    env.execute("sums").unwrap();
}

#[test]
fn a_program_that_is_started_for_a_check_ends_with_its_answer() {
    let cluster = MiniCluster::with_slots(2).unwrap();
    let path = savepoint(&cluster);
    for (path, uid, code, said) in [
        (path.as_str(), "sums", 0, "restored: 3 rows"),
        (path.as_str(), "totals", 1, "1 operator(s) do not fit"),
        ("/no/such/savepoint", "sums", 1, "'sums' cannot be checked"),
    ] {
        let program = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "checks::the_checked_program", "--nocapture"])
            .envs([("FLOTT_CHECK_STATE", path), ("TEST_UID", uid)])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[program.stdout, program.stderr].concat()).into_owned();
        assert_eq!(program.status.code(), Some(code), "{text}");
        assert!(text.contains(said), "{said}: {text}");
    }
}
