//! Prints what a keyed sum costs under each state backend: CPU of the whole process per event, resident memory, what a checkpoint
//! writes. Build with optimisation.
//!
//! `tiers BACKEND MEMORY KEYS EVENTS [hot]`, such as `tiers rocksdb 32mb 4000000 20000000 hot`: with `hot`, nine of ten events fall on a
//! tenth of the keys.

use arrow_array::{ArrayRef, Int64Array};
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType, Options};
use flott_state::{BackendSettings, ColumnType, RunMode, StateBackend, TableDescriptor};
use std::sync::Arc;

const BATCH_ROWS: usize = 8192;

/// CPU time of all threads, and the most memory so far, as Linux tells them.
fn cost() -> Option<(f64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(") ").next()?.split(' ').skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some((
        ticks / 100.0,
        peak.trim().split(' ').next()?.parse::<u64>().ok()? / 1024,
    ))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [backend, memory, keys, events, spread @ ..] = args.as_slice() else {
        return Err("usage: tiers BACKEND MEMORY KEYS EVENTS [hot]".into());
    };
    let (keys, events) = (keys.parse::<u64>()?, events.parse::<usize>()?);
    let options: Options = [
        ("state.backend.type", backend.as_str()),
        ("state.backend.rocksdb.memory.fixed-per-slot", memory.as_str()),
    ]
    .into_iter()
    .collect();
    let backend = StateBackend::new(&BackendSettings::from_options(&options)?, 1);
    let descriptor = TableDescriptor::new("sums", vec![LogicalType::bigint()]).column("sum", ColumnType::I64);
    let mut table = backend.table(descriptor, 128, KeyGroupRange::all(128))?;
    let mut random = 42u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut slots = vec![];
    let start = cost().unwrap_or_default();
    for _ in 0..events / BATCH_ROWS {
        let numbers = (0..BATCH_ROWS).map(|_| {
            let n = next();
            let among = if !spread.is_empty() && n % 10 > 0 {
                keys / 10
            } else {
                keys
            };
            (n >> 8) as i64 % among as i64
        });
        let values: Vec<i64> = numbers.collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(values.clone()))];
        let hashes = hash_columns(&columns, BATCH_ROWS)?;
        slots.clear();
        table.relieve()?;
        table.slots(&columns, &hashes, &mut slots)?;
        table.column_mut::<i64>(0).add(&slots, &values, None);
    }
    let end = cost().unwrap_or_default();
    println!(
        "{:.0} ns CPU an event, {} MiB resident at most, {} keys",
        (end.0 - start.0) * 1e9 / events as f64,
        end.1,
        table.len()
    );
    let (wall, capture) = (std::time::Instant::now(), table.capture(1));
    println!("capture: {:.1} ms", wall.elapsed().as_secs_f64() * 1e3);
    if !table.is_tiered() {
        println!(
            "a base run: {} MiB",
            capture.encode(RunMode::Full).map_or(0, |r| r.bytes.len() >> 20)
        );
    }
    Ok(())
}
