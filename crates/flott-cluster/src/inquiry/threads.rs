//! The threads of this process, as the system tells them; only Linux does.

use super::InquiryError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Where the system tells them.
const TASKS: &str = "/proc/self/task";

/// Processor time is told in ticks of so many milliseconds.
const TICK_MS: u64 = 10;

/// Most threads that are told.
const THREADS: usize = 4_096;

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its number in the system.
    pub id: u64,
    /// Its name, of 15 bytes at most.
    pub name: String,
    /// The system's letter for what it does: R runs, S and D wait.
    pub state: char,
    /// Processor time that it has used, in milliseconds.
    pub cpu_ms: u64,
}

/// All threads by number.
///
/// # Errors
/// If the system does not tell them.
pub(super) fn all() -> Result<Vec<Thread>, InquiryError> {
    let entries = fs::read_dir(TASKS).map_err(|e| InquiryError::unreadable(TASKS, &e))?;
    // One that ends meanwhile is not told.
    let mut threads: Vec<Thread> = entries.flatten().filter_map(|entry| thread(&entry.path())).collect();
    threads.sort_by_key(|thread| thread.id);
    threads.truncate(THREADS);
    Ok(threads)
}

fn thread(folder: &Path) -> Option<Thread> {
    parse(&fs::read_to_string(folder.join("stat")).ok()?)
}

/// Reads a line such as `17 (a name) S 1 …`, of which the 14th and 15th words are processor time.
fn parse(stat: &str) -> Option<Thread> {
    let (id, rest) = stat.split_once(" (")?;
    // A name may have parentheses.
    let (name, rest) = rest.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| words.get(at)?.parse::<u64>().ok();
    Some(Thread {
        id: id.parse().ok()?,
        name: name.to_owned(),
        state: words.first()?.chars().next()?,
        cpu_ms: (ticks(11)? + ticks(12)?) * TICK_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name_is() {
        let read = parse("17 (map (1) of 2) S 1 2 3 0 -1 4194368 5 6 7 8 150 50 11 12 20 0 9").unwrap();
        assert_eq!((read.id, read.name.as_str(), read.state), (17, "map (1) of 2", 'S'));
        assert_eq!(read.cpu_ms, 2_000);
        for wrong in [
            "",
            "17",
            "17 (x",
            "17 (x) S 1 2",
            "x (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn this_thread_is_told() {
        let named = std::thread::Builder::new().name("told by test".into());
        let told = named.spawn(|| all().unwrap()).unwrap().join().unwrap();
        assert!(told.iter().any(|thread| thread.name == "told by test"), "{told:?}");
        assert!(told.is_sorted_by_key(|thread| thread.id));
    }
}
