//! Each sample, from its bundled input to its end.

use flott::prelude::*;
use flott_examples::kafka::KAFKA_SAMPLES;
use flott_examples::samples::SAMPLES;
use std::process::Command;

fn sorted<'a>(rows: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut rows: Vec<&str> = rows.into_iter().collect();
    rows.sort_unstable();
    rows
}

#[test]
fn samples_give_their_golden_rows() {
    for sample in SAMPLES {
        let parallelisms: &[usize] = if sample.needs_order { &[1] } else { &[1, 3] };
        for &parallelism in parallelisms {
            let options = [("execution.exchange.encoded", "true"), ("execution.batch-rows", "3")];
            let env = StreamExecutionEnvironment::create_local_environment(options.into_iter().collect());
            env.set_parallelism(parallelism);
            let lines = env.from_collection(sample.input.lines().map(str::to_owned));
            let rows = (sample.describe)(&lines).unwrap();
            let rows = rows.execute_and_collect(sample.name).unwrap();
            let rows = sorted(rows.iter().map(String::as_str));
            assert_eq!(rows, sorted(sample.golden.lines()), "{} at {parallelism}", sample.name);
        }
    }
}

/// One subtask keeps the order, and the command prints it.
#[test]
fn the_command_prints_in_order() {
    for name in ["times-two", "word-count", "running-clicks", "fraud-detection"] {
        let sample = SAMPLES.iter().find(|s| s.name == name).unwrap();
        let ran = Command::new(env!("CARGO_BIN_EXE_flott-examples"))
            .arg(name)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), sample.golden, "{name}");
    }
}

#[test]
fn the_command_lists_what_there_is() {
    let listed = Command::new(env!("CARGO_BIN_EXE_flott-examples")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), SAMPLES.len() + KAFKA_SAMPLES.len());
    let wrong = Command::new(env!("CARGO_BIN_EXE_flott-examples"))
        .arg("wordcount")
        .output()
        .unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        said.contains("there is no sample 'wordcount'; there are: times-two, word-count"),
        "{said}"
    );
}
