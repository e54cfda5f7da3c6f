//! libFuzzer around one target of `flott_fuzz`, named by the variable `FLOTT_FUZZ_TARGET`.

#![no_main]

use flott_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

#[global_allocator]
static ALLOCATOR: flott_fuzz::memory::Counting = flott_fuzz::memory::Counting;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FLOTT_FUZZ_TARGET").unwrap_or_default();
    Target::named(&name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
        eprintln!("FLOTT_FUZZ_TARGET is '{name}'; targets are {}", names.join(", "));
        std::process::exit(1)
    })
});

fuzz_target!(|data: &[u8]| {
    TARGET.run(data);
});
