//! DataStream jobs beside loops written by hand that do the same on one thread, both in this process:
//! `cargo bench -p flott --no-default-features --bench datastream -- [CASE…] [--events MILLIONS] [--runs N]`.
//!
//! A loop has the functions of the job, called one after the other, and for state a hash map with the hash of keys that Flott has. Results are compared; of
//! several runs the fastest counts. CPU seconds are those of all threads.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "inputs/mod.rs"]
mod inputs;

use flott::prelude::*;
use inputs::{cpu_time, line, reading};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: flott::Allocator = flott::Allocator;

/// The mix of 64 bits that is in most fast hash maps.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, n: u64) {
        let product = u128::from(self.0 ^ n) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

fn scaled((key, value, time_ms): (i64, i64, i64)) -> (i64, i64, i64) {
    (key, value * 3 + 1, time_ms)
}

fn is_wanted(reading: &(i64, i64, i64)) -> bool {
    reading.1 % 5 != 0
}

/// What a run took, and a number that stands for its results.
struct Ran {
    wall: Duration,
    cpu: Duration,
    result: u64,
}

fn timed(run: impl Fn() -> u64) -> Ran {
    let (since, cpu_before) = (Instant::now(), cpu_time());
    let result = run();
    Ran {
        wall: since.elapsed(),
        cpu: cpu_time() - cpu_before,
        result,
    }
}

fn fastest(runs: usize, run: impl Fn() -> u64) -> Ran {
    let runs = (0..runs).map(|_| timed(&run));
    runs.min_by_key(|ran| ran.wall).unwrap()
}

/// Runs a job whose records are added up.
fn job(describe: impl FnOnce(&StreamExecutionEnvironment, Arc<AtomicU64>)) -> u64 {
    let env = StreamExecutionEnvironment::get_execution_environment();
    env.set_parallelism(1);
    let sum = Arc::new(AtomicU64::new(0));
    describe(&env, sum.clone());
    env.execute("benchmark").unwrap();
    sum.load(Ordering::Relaxed)
}

/// Adds what a stream gives to a number that all subtasks share.
fn add_up<T: Data>(
    stream: &DataStream<T>,
    sum: Arc<AtomicU64>,
    of: impl Fn(&T) -> u64 + Clone + Send + Sync + 'static,
) {
    stream.for_each(move |record| {
        // One thread adds: a plain load and store do.
        sum.store(sum.load(Ordering::Relaxed).wrapping_add(of(&record)), Ordering::Relaxed);
    });
}

fn window_sum(events: u64) -> u64 {
    job(|env, sum| {
        let strategy =
            WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|r: &(i64, i64, i64), _| r.2);
        let sums = env
            .from_generator(events, reading)
            .map(scaled)
            .filter(is_wanted)
            .assign_timestamps_and_watermarks(&strategy)
            .key_by(|reading| reading.0)
            .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
            .sum(|reading| &mut reading.1);
        add_up(&sums, sum, |reading| (reading.0 as u64 + 1) * reading.1 as u64);
    })
}

fn window_sum_by_hand(events: u64) -> u64 {
    let mut sums: Map<i64, i64> = Map::default();
    let mut result = 0u64;
    let mut end_ms = 0;
    let mut fire = |sums: &mut Map<i64, i64>| {
        for (key, sum) in sums.drain() {
            result = result.wrapping_add((key as u64 + 1) * sum as u64);
        }
    };
    for number in 0..events {
        let reading = scaled(reading(number));
        if !is_wanted(&reading) {
            continue;
        }
        if reading.2 >= end_ms {
            fire(&mut sums);
            end_ms = (reading.2 / 1000 + 1) * 1000;
        }
        *sums.entry(reading.0).or_default() += reading.1;
    }
    fire(&mut sums);
    result
}

fn word_count(events: u64) -> u64 {
    job(|env, sum| {
        let counts = env
            .from_generator(events, line)
            .flat_map(|line: String, out| line.split(' ').for_each(|word| out.collect((word.to_owned(), 1i64))))
            .key_by(|count| count.0.clone())
            .sum(|count| &mut count.1);
        add_up(&counts, sum, |count| count.1 as u64 + count.0.len() as u64);
    })
}

fn word_count_by_hand(events: u64) -> u64 {
    let mut counts: Map<String, i64> = Map::default();
    let mut result = 0u64;
    for number in 0..events {
        for word in line(number).split(' ') {
            let word = word.to_owned();
            let length = word.len() as u64;
            let count = counts.entry(word).or_default();
            *count += 1;
            result = result.wrapping_add(*count as u64 + length);
        }
    }
    result
}

#[derive(Clone, Default)]
struct ClickCount {
    count: ValueState<i64>,
}

impl KeyedProcessFunction<i64, (i64, i64, i64)> for ClickCount {
    type Out = (i64, i64);

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.count = ctx.value_state("clickCount")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        click: (i64, i64, i64),
        ctx: &mut ProcessContext<'_, i64, (i64, i64)>,
    ) -> Result<(), BoxError> {
        let count = self.count.value(ctx).unwrap_or(&0) + click.1;
        self.count.update(ctx, count);
        ctx.collect((click.0, count));
        Ok(())
    }
}

fn running_clicks(events: u64) -> u64 {
    job(|env, sum| {
        let counts = env
            .from_generator(events, reading)
            .key_by(|click| click.0)
            .process(ClickCount::default());
        add_up(&counts, sum, |count| count.1 as u64);
    })
}

fn running_clicks_by_hand(events: u64) -> u64 {
    let mut counts: Map<i64, i64> = Map::default();
    let mut result = 0u64;
    for number in 0..events {
        let click = reading(number);
        let count = counts.entry(click.0).or_default();
        *count += click.1;
        result = result.wrapping_add(*count as u64);
    }
    result
}

/// A chain of so many maps; the last filter drops nearly all.
fn chain<const MAPS: usize>(events: u64) -> u64 {
    job(|env, sum| {
        let mut numbers = env.from_generator(events, |number| number as i64);
        for _ in 0..MAPS {
            numbers = numbers.map(|n| black_box(n + 1));
        }
        add_up(&numbers.filter(|n| n % 1024 == 0), sum, |_| 1);
    })
}

type Case = (&'static str, u64, fn(u64) -> u64, fn(u64) -> u64);

/// Name, events per million asked for, the job, the loop.
const CASES: [Case; 3] = [
    ("window-sum", 1_000_000, window_sum, window_sum_by_hand),
    ("running-clicks", 1_000_000, running_clicks, running_clicks_by_hand),
    ("word-count", 125_000, word_count, word_count_by_hand),
];

fn main() {
    let (mut cases, mut millions, mut runs) = (vec![], 20, 3);
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--events" => millions = arguments.next().unwrap().parse().unwrap(),
            "--runs" => runs = arguments.next().unwrap().parse().unwrap(),
            _ => cases.push(argument),
        }
    }
    let is_asked = |name: &str| cases.is_empty() || cases.iter().any(|case| case == name);
    println!("| case | events | M/s | M per CPU s | loop M/s | of the loop, by time | by CPU |");
    println!("|---|---|---|---|---|---|---|");
    for (name, events_per_million, job, by_hand) in CASES.into_iter().filter(|case| is_asked(case.0)) {
        let events = millions * events_per_million;
        let by_hand = fastest(runs, || by_hand(black_box(events)));
        let job = fastest(runs, || job(events));
        assert_eq!(job.result, by_hand.result, "{name}: both must compute the same");
        let rate = |time: Duration| events as f64 / time.as_secs_f64() / 1e6;
        println!(
            "| {name} | {events} | {:.1} | {:.1} | {:.1} | {:.0} % | {:.0} % |",
            rate(job.wall),
            rate(job.cpu),
            rate(by_hand.wall),
            rate(job.wall) / rate(by_hand.wall) * 100.0,
            rate(job.cpu) / rate(by_hand.wall) * 100.0,
        );
    }
    if is_asked("hop") {
        let events = millions * 1_000_000;
        let short = fastest(runs, || chain::<1>(events));
        let long = fastest(runs, || chain::<17>(events));
        let hop = (long.cpu.as_secs_f64() - short.cpu.as_secs_f64()) / events as f64 / 16.0;
        println!("\na hop inside a chain: {:.2} ns a record", hop * 1e9);
    }
}
