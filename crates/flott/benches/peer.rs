//! Programs whose twins for Apache Flink are in `bench/gen/StreamJobs.java`; `bench/streams.py` runs both and compares:
//! `cargo bench -p flott --no-default-features --features connectors,rocksdb --bench peer -- CASE EVENTS [KEY=VALUE…]`.
//!
//! Prints one JSON line. Keys: `kafka`, `topic` (instead of the generator), `keys`, `span` (its tenth root, less one), `hold` (after so many clicks says so and
//! makes but a few thousand a second), `until=first` (ends with the first result, and tells when that came); those with a dot are options of the job.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "inputs/mod.rs"]
mod inputs;

use flott::prelude::*;
use inputs::{cpu_time, line, reading};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: flott::Allocator = flott::Allocator;

fn mix(number: u64) -> u64 {
    let mut n = number;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        n = (n ^ (n >> 33)).wrapping_mul(factor);
    }
    n ^ (n >> 33)
}

/// A click of one of `keys` users: Zipf with exponent 0.9 by inversion of the continuous distribution, in operations that are
/// the same everywhere.
fn skewed(number: u64, keys: u64, span: f64) -> (i64, i64) {
    let uniform = (mix(number) >> 11) as f64 / (1u64 << 53) as f64;
    let t = 1.0 + uniform * span;
    let (t2, t4) = (t * t, t * t * (t * t));
    let (t8, keys) = (t4 * t4, keys as i64);
    (((t8 * t2) as i64).min(keys), (number % 17) as i64)
}

fn even(number: u64, keys: u64) -> (i64, i64) {
    ((mix(number) % keys) as i64, (number % 17) as i64)
}

/// Running clicks of a user; what comes out is by how much the square of its sum grew, so that the total does not hang on the
/// order.
#[derive(Clone, Default)]
struct Clicks {
    count: ValueState<i64>,
}

impl<K: Key + Hash> KeyedProcessFunction<K, (K, i64)> for Clicks {
    type Out = i64;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.count = ctx.value_state("clickCount")?;
        Ok(())
    }

    fn process_element(&mut self, click: (K, i64), ctx: &mut ProcessContext<'_, K, i64>) -> Result<(), BoxError> {
        let was = *self.count.value(ctx).unwrap_or(&0);
        let now = was + click.1;
        self.count.update(ctx, now);
        ctx.collect(now * now - was * was);
        Ok(())
    }
}

/// Behind so many clicks little more comes: for a state of a known size.
fn hold_at(number: u64, hold: u64) {
    if number == hold {
        eprintln!("held");
    }
    if number >= hold {
        sleep(Duration::from_micros(100));
    }
}

fn words(lines: &DataStream<String>) -> DataStream<i64> {
    lines
        .flat_map(|line: String, out| {
            line.split(' ')
                .for_each(|word| out.collect((CompactString::from(word), 1i64)));
        })
        .key_by(|count| count.0.clone())
        .sum(|count| &mut count.1)
        .map(|count| count.1 + count.0.len() as i64)
}

fn window_sum(readings: &DataStream<(i64, i64, i64)>) -> DataStream<i64> {
    let times = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|r: &(i64, i64, i64), _| r.2);
    readings
        .map(|(key, value, time_ms)| (key, value * 3 + 1, time_ms))
        .filter(|reading| reading.1 % 5 != 0)
        .assign_timestamps_and_watermarks(&times)
        .key_by(|reading| reading.0)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .sum(|reading| &mut reading.1)
        .map(|reading| (reading.0 + 1) * reading.1)
}

fn describe(
    env: &StreamExecutionEnvironment,
    case: &str,
    events: u64,
    options: &BTreeMap<&str, &str>,
) -> DataStream<i64> {
    let lines = options.get("kafka").map(|bootstrap| {
        let source = KafkaSource::builder()
            .bootstrap_servers(*bootstrap)
            .topics([options["topic"]])
            .starting_offsets(OffsetsInitializer::earliest())
            .bounded(OffsetsInitializer::latest())
            .value_only(SimpleStringSchema)
            .build()
            .unwrap();
        env.from_source(source, WatermarkStrategy::no_watermarks(), "kafka")
    });
    let keys: u64 = options.get("keys").map_or(20_000_000, |k| k.parse().unwrap());
    let hold: u64 = options.get("hold").map_or(u64::MAX, |h| h.parse().unwrap());
    match (case, lines) {
        ("words", None) => words(&env.from_generator(events, line)),
        ("words", Some(lines)) => words(&lines),
        ("clicks", None) => {
            let clicks = env
                .from_generator(events, reading)
                .map(|(user, clicks, _)| (user, clicks));
            clicks.key_by(|click| click.0).process(Clicks::default())
        }
        ("clicks", Some(lines)) => {
            let clicks = lines.map(|line| {
                let mut fields = line.split(',').skip(1);
                let mut field = || fields.next().unwrap_or_default();
                (field().to_owned(), field().parse::<i64>().unwrap())
            });
            clicks.key_by(|click| click.0.clone()).process(Clicks::default())
        }
        ("window-sum", None) => window_sum(&env.from_generator(events, reading)),
        ("zipf", None) => {
            let span: f64 = options["span"].parse().unwrap();
            let clicks = env.from_generator(events, move |number| {
                hold_at(number, hold);
                skewed(number, keys, span)
            });
            clicks.key_by(|click| click.0).process(Clicks::default())
        }
        ("uniform", None) => {
            let clicks = env.from_generator(events, move |number| {
                hold_at(number, hold);
                even(number, keys)
            });
            clicks.key_by(|click| click.0).process(Clicks::default())
        }
        _ => panic!("no such case: {case}"),
    }
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [case, events, options @ ..] = &arguments[..] else {
        panic!("expected: CASE EVENTS [KEY=VALUE...]");
    };
    let events: u64 = events.parse().unwrap();
    let options: BTreeMap<&str, &str> = options.iter().map(|o| o.split_once('=').unwrap()).collect();
    let env = StreamExecutionEnvironment::get_execution_environment();
    env.set_parallelism(1);
    for (key, value) in options.iter().filter(|(key, _)| key.contains('.')) {
        env.configure(*key, *value);
    }
    let sum = Arc::new(AtomicU64::new(0));
    let adds = sum.clone();
    let (since, cpu_before) = (Instant::now(), cpu_time());
    let is_until_first = options.contains_key("until");
    describe(&env, case, events, &options).for_each(move |grown| {
        if is_until_first {
            println!("{{\"first_s\": {:.3}}}", since.elapsed().as_secs_f64());
            std::process::exit(0);
        }
        // One thread adds: a plain load and store do.
        let sum = adds.load(Ordering::Relaxed).wrapping_add(grown as u64);
        adds.store(sum, Ordering::Relaxed);
    });
    env.execute(case).unwrap();
    println!(
        "{{\"case\": \"{case}\", \"wall_s\": {:.3}, \"cpu_s\": {:.3}, \"result\": {}, \"peak_mb\": {}}}",
        since.elapsed().as_secs_f64(),
        (cpu_time() - cpu_before).as_secs_f64(),
        sum.load(Ordering::Relaxed) as i64,
        peak_mb()
    );
}
