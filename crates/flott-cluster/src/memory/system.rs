//! What this process uses of memory, and may use at most; only Linux tells.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Memory of this process that is resident, in bytes; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let statm = read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// The part of it that the system cannot take back, as it can what it has read from files; 0 where it does not tell.
pub fn anonymous_bytes() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    ["RssAnon:", "RssShmem:"]
        .iter()
        .map(|name| kib(&status, name) * 1024)
        .sum()
}

/// Memory of the machine, in bytes; 0 where the system does not tell.
pub fn machine_bytes() -> u64 {
    kib(&read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:") * 1024
}

/// What the control group of this process, of either version, and those above it allow, in bytes; `None`: no bound.
pub fn group_bytes() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    files(&groups)
        .iter()
        .filter_map(|file| read_to_string(file).ok()?.trim().parse().ok())
        .min()
        // The first version says so where there is no bound.
        .filter(|bytes| *bytes < machine_bytes().max(1))
}

/// Files that may hold a bound, by the text of `/proc/self/cgroup`. In a container the path there may be one of the machine, and the bound lies at
/// the root.
fn files(groups: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => Some(("/sys/fs/cgroup", "memory.max", path.to_owned())),
            list if list.split(',').any(|c| c == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path.to_owned()))
            }
            _ => None,
        }
    };
    let of_group = |(root, file, path): (&str, &str, String)| {
        let path = Path::new(&path).strip_prefix("/").unwrap_or(Path::new("")).to_owned();
        let above: Vec<PathBuf> = path
            .ancestors()
            .map(|path| Path::new(root).join(path).join(file))
            .collect();
        above
    };
    groups.lines().filter_map(of_line).flat_map(of_group).collect()
}

/// The number behind `name` in a text of lines such as `VmRSS:  12 kB`.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok());
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_looked_for_in_all_groups_above() {
        let shown = |groups: &str| {
            files(groups)
                .iter()
                .map(|f| f.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown("5:cpu:/\n4:memory:/pods/one\n"),
            [
                "/sys/fs/cgroup/memory/pods/one/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/pods/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(
            shown("0::/a"),
            ["/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert!(shown("nothing of the kind").is_empty());
    }

    #[test]
    fn lines_tell_kibibytes() {
        assert_eq!(kib("Name:\tx\nRssAnon:\t   12 kB\n", "RssAnon:"), 12);
        assert_eq!(kib("", "RssAnon:"), 0);
        #[cfg(target_os = "linux")]
        assert!((1..=resident_bytes()).contains(&anonymous_bytes()));
    }
}
