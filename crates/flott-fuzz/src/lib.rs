//! What Flott makes of bad input.
//!
//! A [`Target`] is a function of bytes that panics where a rule is broken: reading must not panic, what was read must
//! come back when it is written and read again, and a full parser must agree where there is one. [`Target::run`] also
//! measures memory, so that no input takes more than its limit.
//!
//! The same targets run twice: `fuzz/` (a workspace of its own, with libFuzzer) looks for new inputs, and this crate's
//! tests replay those that it kept (`fuzz/corpus`, `fuzz/seeds`) on stable Rust. `fuzz/README.md` says how to fuzz.
//!
//! ```text
//! bytes ─▶ Target::run ─▶ memory::measure ─▶ scripts | formats | files | kafka | stored | typed ─▶ the crates
//! ```

pub mod memory;

mod files;
mod formats;
mod json_model;
mod kafka;
mod schema;
mod scripts;
mod stored;
mod typed;

/// What reads bytes, and what it may take for them.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folders in `fuzz/corpus` and `fuzz/seeds`.
    pub name: &'static str,
    /// Reads the bytes; panics where a rule is broken.
    pub check: fn(&[u8]),
    /// Most memory that an input may hold at once.
    pub max_bytes: usize,
}

const MIB: usize = 1 << 20;

/// All targets.
pub const TARGETS: [Target; 18] = [
    Target::new("sql", scripts::script, 256 * MIB),
    // A column may have 256 MiB of text, whose room doubles beside what it was.
    Target::new("expression", scripts::expression, 800 * MIB),
    Target::new("json", formats::json, 128 * MIB),
    Target::new("csv", formats::csv, 128 * MIB),
    Target::new("raw", formats::raw, 64 * MIB),
    Target::new("debezium", formats::debezium, 128 * MIB),
    Target::new("kafka-records", kafka::records, 600 * MIB),
    Target::new("kafka-rows", kafka::rows, 128 * MIB),
    Target::new("kafka-requests", kafka::requests, usize::MAX),
    Target::new("kafka-answers", kafka::answers, usize::MAX),
    Target::new("manifest", stored::manifest, 64 * MIB),
    Target::new("state-run", stored::state_run, 64 * MIB),
    Target::new("exchange", stored::exchange, 64 * MIB),
    Target::new("typed-frames", typed::frames, 64 * MIB),
    Target::new("state-value", typed::state_value, 64 * MIB),
    Target::new("parquet", files::parquet, 512 * MIB),
    Target::new("partition-path", files::partition_path, 16 * MIB),
    Target::new("plan", stored::plan, 64 * MIB),
];

impl Target {
    const fn new(name: &'static str, check: fn(&[u8]), max_bytes: usize) -> Self {
        Self { name, check, max_bytes }
    }

    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|t| t.name == name)
    }

    /// Reads `data` and gives the most memory, in bytes, that was held at once; known only where
    /// [`memory::Counting`] is the allocator. One thread runs at a time.
    ///
    /// # Panics
    /// If a rule is broken or the limit is passed.
    pub fn run(&self, data: &[u8]) -> usize {
        let peak_bytes = memory::measure(|| (self.check)(data));
        assert!(
            peak_bytes <= self.max_bytes,
            "target '{}' took {peak_bytes} bytes of memory for an input of {} bytes",
            self.name,
            data.len()
        );
        peak_bytes
    }
}
