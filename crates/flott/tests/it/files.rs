//! Files from programs.

use crate::env;
use flott::prelude::*;
use flott_core::Options;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Lines of all files below a folder that readers see, by the folder of each, sorted.
fn seen(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                open.push(entry.path());
            } else if !name.starts_with('.') {
                let bucket = at.strip_prefix(folder).unwrap().display().to_string();
                let text = std::fs::read_to_string(entry.path()).unwrap();
                found.entry(bucket).or_default().extend(text.lines().map(str::to_owned));
            }
        }
    }
    found.values_mut().for_each(|lines| lines.sort());
    found
}

fn url(folder: &Path) -> String {
    folder.display().to_string()
}

#[test]
fn lines_go_to_buckets_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let env = env();
    let numbers = |n: &i64, out: &mut Vec<u8>| {
        out.extend_from_slice(n.to_string().as_bytes());
        Ok(())
    };
    let sink = FileSink::for_row_format(url(folder.path()), numbers)
        .with_bucket_assigner(|n: &i64| {
            if n % 2 == 0 {
                "even/ones".to_owned()
            } else {
                "odd".to_owned()
            }
        })
        .with_rolling_policy(DefaultRollingPolicy::builder().with_max_part_size(4).build())
        .build()
        .unwrap();
    env.from_sequence(1, 20).sink_to(sink);
    env.execute("write").unwrap();
    let buckets = seen(folder.path());
    let names: Vec<&str> = buckets.keys().map(String::as_str).collect();
    assert_eq!(names, ["even%2Fones", "odd"]);

    let source = FileSource::for_record_format(JsonDeserializationSchema::<i64>::new(), url(folder.path()));
    let read = crate::env().from_source(source.build().unwrap(), WatermarkStrategy::no_watermarks(), "files");
    assert_eq!(crate::sorted(read), (1..=20).collect::<Vec<_>>());
}

#[test]
fn lines_that_cannot_be_read_are_told_skipped_or_kept() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.txt");
    std::fs::write(&input, "1\ntwo\n3\n").unwrap();
    let read = |bad_rows: BadRows| {
        let source = FileSource::for_record_format(JsonDeserializationSchema::<i64>::new(), url(&input));
        let source = source.bad_rows(bad_rows).build().unwrap();
        env()
            .from_source(source, WatermarkStrategy::no_watermarks(), "numbers")
            .execute_and_collect("numbers")
    };
    let error = read(BadRows::Fail).unwrap_err().to_string();
    assert!(
        error.contains("in.txt") && error.contains("'two'") && error.contains("BadRows::Skip"),
        "{error}"
    );
    assert_eq!(read(BadRows::Skip).unwrap(), [1, 3]);
    let letters = folder.path().join("letters");
    assert_eq!(read(BadRows::Path(letters.clone())).unwrap(), [1, 3]);
    let kept = std::fs::read_to_string(letters.join("file-source-0.jsonl")).unwrap();
    assert!(kept.contains("\"row\":\"two\""), "{kept}");
    let wrong = FileSource::for_lines("ftp://x/y").build().unwrap_err().to_string();
    assert!(wrong.contains("ftp://x/y"), "{wrong}");
}

#[test]
fn a_killed_and_rescaled_job_writes_each_line_once() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output, checkpoints) = (
        folder.path().join("in"),
        folder.path().join("out"),
        folder.path().join("cp"),
    );
    std::fs::create_dir(&input).unwrap();
    let append = |file: usize, from: usize, count: usize| {
        let lines: String = (from..from + count).map(|n| format!("{n:05}\n")).collect();
        // Seen as a whole, since a file is read once.
        let hidden = input.join(format!(".{file}"));
        std::fs::write(&hidden, lines).unwrap();
        std::fs::rename(hidden, input.join(format!("{file}"))).unwrap();
    };
    let lines = |output: &Path| -> Vec<String> {
        let mut lines: Vec<String> = seen(output).into_values().flatten().collect();
        lines.sort();
        lines
    };
    let mut expected = 0;
    for (life, parallelism) in [1, 3, 2].into_iter().enumerate() {
        append(2 * life, expected, 200);
        expected += 200;
        let fails = Arc::new(AtomicBool::new(false));
        let job = {
            let (input, output, fails) = (url(&input), url(&output), fails.clone());
            let options: Options = [
                (
                    "execution.checkpointing.dir",
                    &*format!("file://{}", checkpoints.display()),
                ),
                ("execution.checkpointing.interval", "20 ms"),
                ("execution.state-recovery.path", "latest"),
                ("restart-strategy.type", "none"),
            ]
            .into_iter()
            .collect();
            std::thread::spawn(move || {
                let env = StreamExecutionEnvironment::create_local_environment(options);
                env.set_parallelism(parallelism);
                let source = FileSource::for_lines(input)
                    .monitor_continuously(Duration::from_millis(10))
                    .build()?;
                env.from_source(source, WatermarkStrategy::no_watermarks(), "in")
                    .uid("in")
                    .try_map(move |line: String| match fails.load(Ordering::Relaxed) {
                        true => Err("the power is cut"),
                        false => Ok(line),
                    })
                    .rebalance()
                    .map(|line| line)
                    .sink_to(FileSink::for_row_format(output, SimpleStringSchema).build()?)
                    .uid("out");
                env.execute("copy")
            })
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while lines(&output).len() < expected {
            assert!(
                Instant::now() < deadline && !job.is_finished(),
                "{} lines are committed",
                lines(&output).len()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        fails.store(true, Ordering::Relaxed);
        append(2 * life + 1, expected, 10);
        expected += 10;
        let error = job.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("the power is cut"), "{error}");
    }
    // The last file came when nobody lived to read it.
    let expected: Vec<String> = (0..expected - 10).map(|n| format!("{n:05}")).collect();
    assert_eq!(lines(&output), expected);
}
