//! What this process uses, and may use, of memory; only Linux tells.

use std::fs::read_to_string;

/// Memory of this process that is resident, in bytes; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let statm = read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Memory that this process may use, in bytes: its group's limit, else all of the machine's; 0 where the system does not tell.
pub fn available_bytes() -> u64 {
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limit = limits
        .iter()
        .find_map(|file| read_to_string(file).ok()?.trim().parse::<u64>().ok());
    let machine = read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let machine_kib = machine.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    let machine = machine_kib.unwrap_or(0) * 1024;
    limit.map_or(machine, |limit| limit.min(machine))
}
