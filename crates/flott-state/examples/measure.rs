//! Prints what state costs: look-ups, kernels, captures, encoding, restore. Build with optimisation.

use arrow_array::{ArrayRef, Int64Array, StringArray};
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType};
use flott_state::{ColumnType, KeyedTable, LoadedRun, RestoredState, RunMode, TableDescriptor};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BATCH_ROWS: usize = 8192;

/// CPU time of this thread where Linux tells it, so that a busy machine does not matter; wall time elsewhere.
struct Timer {
    cpu: Option<u64>,
    wall: Instant,
}

fn cpu_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

impl Timer {
    fn now() -> Self {
        // Leaves the processor, which is when Linux brings the count up to date.
        std::thread::sleep(Duration::from_micros(50));
        Self {
            cpu: cpu_ns(),
            wall: Instant::now(),
        }
    }

    fn elapsed(&self) -> Duration {
        let wall = self.wall.elapsed();
        std::thread::sleep(Duration::from_micros(50));
        match (self.cpu, cpu_ns()) {
            (Some(start), Some(end)) => Duration::from_nanos(end - start),
            _ => wall,
        }
    }
}

/// Key batches of `keys` different keys, in a random order, with their hashes.
fn batches(keys: u64, is_text: bool) -> Vec<(Vec<ArrayRef>, Vec<u64>)> {
    let mut random = 42u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % keys
    };
    let count = (4 * keys as usize / BATCH_ROWS).clamp(100, 500);
    (0..count)
        .map(|_| {
            let numbers = (0..BATCH_ROWS).map(|_| next() as i64);
            let column: ArrayRef = if is_text {
                Arc::new(StringArray::from_iter_values(numbers.map(|n| format!("site-{n}"))))
            } else {
                Arc::new(Int64Array::from_iter_values(numbers))
            };
            let hashes =
                hash_columns(std::slice::from_ref(&column), BATCH_ROWS).expect("strings and numbers have hashes");
            (vec![column], hashes)
        })
        .collect()
}

fn report(what: &str, taken: Duration, rows: usize) {
    let per_row = taken.as_nanos() as f64 / rows.max(1) as f64;
    println!(
        "  {what:<28} {:>9.2} ms {per_row:>8.1} ns a row",
        taken.as_secs_f64() * 1e3
    );
}

fn measure(keys: u64, key_type: LogicalType, is_text: bool) -> Result<(), flott_state::StateError> {
    println!("{keys} keys of {key_type}");
    let batches = batches(keys, is_text);
    let rows = batches.len() * BATCH_ROWS;
    let descriptor = Arc::new(
        TableDescriptor::new("t", vec![key_type])
            .column("count", ColumnType::I64)
            .nullable("sum", ColumnType::I64),
    );
    let mut table = KeyedTable::new(Arc::clone(&descriptor), 128, KeyGroupRange::all(128));
    let mut slots = Vec::new();
    let values = vec![1i64; BATCH_ROWS];
    for round in ["slots, keys are made", "slots, keys are there"] {
        let start = Timer::now();
        for (keys, hashes) in &batches {
            slots.clear();
            table.slots(keys, hashes, &mut slots)?;
        }
        report(round, start.elapsed(), rows);
    }
    let start = Timer::now();
    for _ in &batches {
        table.column_mut::<i64>(0).add(&slots, &values, None);
        table.column_mut::<i64>(1).add(&slots, &values, None);
    }
    report("two sums", start.elapsed(), rows);
    let start = Timer::now();
    let capture = table.capture(1);
    println!("  {:<28} {:>9.3} ms", "capture", start.elapsed().as_secs_f64() * 1e3);
    let start = Timer::now();
    let run = capture.encode(RunMode::Full);
    report("encode in full", start.elapsed(), table.len());
    let Some(run) = run else { return Ok(()) };
    println!(
        "  {:<28} {:>9} bytes, table {} bytes",
        "run",
        run.bytes.len(),
        table.bytes()
    );
    drop(capture);
    let capture = table.capture(2);
    let start = Timer::now();
    for (keys, hashes) in &batches {
        slots.clear();
        table.slots(keys, hashes, &mut slots)?;
        table.column_mut::<i64>(0).add(&slots, &values, None);
        table.column_mut::<i64>(1).add(&slots, &values, None);
    }
    report("all, with a capture held", start.elapsed(), rows);
    drop(capture);
    let header_bytes = run.reference.header_bytes as usize;
    let bytes = bytes::Bytes::from(run.bytes);
    let start = Timer::now();
    let mut restored = KeyedTable::new(Arc::clone(&descriptor), 128, KeyGroupRange::all(128));
    let loaded = LoadedRun {
        descriptor,
        reference: run.reference,
        header: bytes.slice(..header_bytes),
        blocks: bytes.slice(header_bytes..),
        blocks_from: header_bytes as u64,
        later: None,
    };
    RestoredState::new(vec![loaded], vec![], vec![]).load_table(&mut restored)?;
    report("restore", start.elapsed(), restored.len());
    Ok(())
}

fn main() -> Result<(), flott_state::StateError> {
    for keys in [1_000, 100_000, 1_000_000] {
        measure(keys, LogicalType::bigint(), false)?;
        measure(keys, LogicalType::string(), true)?;
    }
    Ok(())
}
