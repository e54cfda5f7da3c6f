//! What the benchmarks of programs read, and their clock. `bench/gen/StreamJobs.java` makes the same records.

use std::time::Duration;

const KEYS: u64 = 10_000;

/// A reading of event `number`: key, value, time in milliseconds (a million events a second).
pub fn reading(number: u64) -> (i64, i64, i64) {
    let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((key % KEYS) as i64, (number % 17) as i64, (number / 1000) as i64)
}

const WORDS: [&str; 16] = [
    "stream",
    "table",
    "window",
    "key",
    "state",
    "timer",
    "barrier",
    "source",
    "sink",
    "watermark",
    "slot",
    "event",
    "time",
    "late",
    "join",
    "checkpoint",
];

/// A line of eight words, of some thousand different ones.
pub fn line(number: u64) -> String {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut line = String::with_capacity(96);
    for place in 0..8 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if place > 0 {
            line.push(' ');
        }
        line.push_str(WORDS[(random % 16) as usize]);
        if random & 0x300 != 0 {
            line.push((b'a' + (random >> 16) as u8 % 16) as char);
            line.push((b'a' + (random >> 24) as u8 % 16) as char);
        }
    }
    line
}

/// CPU time of all threads of this process.
pub fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
