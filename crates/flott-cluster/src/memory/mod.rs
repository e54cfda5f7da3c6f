//! One number bounds a process: `taskmanager.memory.process.size` (or `jobmanager.…`), else what its control group allows.
//!
//! ```text
//! what grows with data        is bounded
//! exchanges, fetches, sinks   in bytes, each where it lies
//! state in RocksDB            by its slots' shares of this number: [`ManagedMemory`]
//! state of `hashmap`,         by nobody but the process as a whole: [`watch`] looks at it, and the job whose state is the largest
//! what functions keep         fails before the system ends the process, and all jobs with it
//! ```
//! An eighth is left for what the system counts besides, and for what comes between two looks.

pub mod system;

use flott_core::Options;
use flott_core::options::OptionError;
use std::io;
use std::time::Duration;

/// With less no process of a cluster works.
const MIN_BYTES: u64 = 64 << 20;
/// Flink's default of `taskmanager.memory.managed.fraction`.
const MANAGED_FRACTION: f64 = 0.4;
const MANAGED_SIZE: &str = "taskmanager.memory.managed.size";
const MANAGED_SHARE: &str = "taskmanager.memory.managed.fraction";

/// Between two looks, and between two where there is little left.
const LOOK: Duration = Duration::from_millis(100);
const CLOSE_LOOK: Duration = Duration::from_millis(10);

/// What a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// In bytes; 0: nobody knows.
    pub bytes: u64,
    said_by: SaidBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SaidBy {
    Option(&'static str),
    Group,
    Machine,
}

/// What the system has for this process.
#[derive(Debug, Clone, Copy)]
struct System {
    group: Option<u64>,
    machine: u64,
}

impl MemoryLimit {
    /// A TaskManager's.
    ///
    /// # Errors
    /// If the option is no size, or too small to work with.
    pub fn of_task_manager(options: &Options) -> Result<Self, OptionError> {
        let keys = ["taskmanager.memory.process.size", "taskmanager.memory.flink.size"];
        Self::of(options, keys, System::here())
    }

    /// A JobManager's.
    ///
    /// # Errors
    /// As [`Self::of_task_manager`].
    pub fn of_job_manager(options: &Options) -> Result<Self, OptionError> {
        let keys = ["jobmanager.memory.process.size", "jobmanager.memory.flink.size"];
        Self::of(options, keys, System::here())
    }

    fn of(options: &Options, keys: [&'static str; 2], system: System) -> Result<Self, OptionError> {
        let of_system = match system.group {
            Some(bytes) => Self {
                bytes,
                said_by: SaidBy::Group,
            },
            None => Self {
                bytes: system.machine,
                said_by: SaidBy::Machine,
            },
        };
        for key in keys {
            let Some(bytes) = options.memory_bytes(key)? else {
                continue;
            };
            if bytes < MIN_BYTES {
                let value = options.get(key).unwrap_or_default();
                return Err(OptionError::new(key, value, format!("{} mb at least", MIN_BYTES >> 20)));
            }
            if of_system.bytes > 0 && bytes > of_system.bytes {
                tracing::warn!("'{key}' is {bytes} bytes, and {of_system} has fewer: these bound the process");
                return Ok(of_system);
            }
            let said_by = SaidBy::Option(key);
            return Ok(Self { bytes, said_by });
        }
        Ok(of_system)
    }

    /// What a process that has some of this one's slots may use, in bytes: enough to work with, and otherwise their share. `None`: nobody has said how
    /// much this one may.
    pub fn share(&self, slots: usize, of: usize) -> Option<u64> {
        let is_said = self.bytes > 0 && self.said_by != SaidBy::Machine;
        is_said.then(|| (self.bytes / of.max(1) as u64 * slots as u64).clamp(MIN_BYTES, self.bytes.max(MIN_BYTES)))
    }

    /// What a process may come to before something must go.
    fn bar(&self) -> u64 {
        self.bytes / 8 * 7
    }

    /// What is bounded with it, as people say it.
    fn name(&self) -> String {
        match self.said_by {
            SaidBy::Option(key) => format!("'{key}'"),
            SaidBy::Group => "the control group of the process".to_owned(),
            SaidBy::Machine => "the machine".to_owned(),
        }
    }
}

impl std::fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} mb)", self.name(), self.bytes >> 20)
    }
}

impl System {
    fn here() -> Self {
        Self {
            group: system::group_bytes(),
            machine: system::machine_bytes(),
        }
    }
}

/// Memory of a TaskManager that bounded state shares, in bytes: of each slot the same part.
///
/// # Errors
/// If an option of it is wrong.
pub fn managed_per_slot(options: &Options, limit: &MemoryLimit, slots: usize) -> Result<Option<u64>, OptionError> {
    let value = |key: &str| options.get(key).unwrap_or_default().to_owned();
    let managed = match (options.memory_bytes(MANAGED_SIZE)?, options.float(MANAGED_SHARE)?) {
        (Some(bytes), _) if limit.bytes > 0 && bytes >= limit.bytes => {
            let allowed = format!("less than {limit} has");
            return Err(OptionError::new(MANAGED_SIZE, &value(MANAGED_SIZE), allowed));
        }
        (Some(bytes), _) => bytes,
        (None, Some(share)) if !(0.0..1.0).contains(&share) => {
            let allowed = "a share from 0 to below 1";
            return Err(OptionError::new(MANAGED_SHARE, &value(MANAGED_SHARE), allowed));
        }
        (None, share) if share.is_some() || limit.said_by != SaidBy::Machine => {
            (limit.bytes as f64 * share.unwrap_or(MANAGED_FRACTION)) as u64
        }
        // All of a machine that others use, too, is nobody's word.
        (None, _) => return Ok(None),
    };
    Ok(Some(managed / slots.max(1) as u64))
}

/// Looks at this process as long as it lives, and calls `relieve` with what it uses, in bytes, at each look at which that is too much.
///
/// # Errors
/// If the system gives no thread.
pub fn watch(limit: MemoryLimit, mut relieve: impl FnMut(u64) + Send + 'static) -> io::Result<()> {
    if limit.bytes == 0 {
        return Ok(());
    }
    let look = move || {
        loop {
            let used = system::anonymous_bytes();
            if used > limit.bar() {
                relieve(used);
            }
            let is_near = used > limit.bytes / 4 * 3;
            std::thread::sleep(if is_near { CLOSE_LOOK } else { LOOK });
        }
    };
    std::thread::Builder::new()
        .name("memory".to_owned())
        .spawn(look)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: System = System {
        group: None,
        machine: 8 << 30,
    };

    fn limit(options: &[(&str, &str)], system: System) -> Result<MemoryLimit, String> {
        let keys = ["taskmanager.memory.process.size", "taskmanager.memory.flink.size"];
        let options = options.iter().copied().collect();
        MemoryLimit::of(&options, keys, system).map_err(|e| e.to_string())
    }

    fn managed(options: &[(&str, &str)], limit: &MemoryLimit) -> Result<Option<u64>, String> {
        managed_per_slot(&options.iter().copied().collect(), limit, 2).map_err(|e| e.to_string())
    }

    #[test]
    fn the_smallest_word_counts() {
        let group = System {
            group: Some(1 << 30),
            ..MACHINE
        };
        assert_eq!(limit(&[], MACHINE).unwrap().to_string(), "the machine (8192 mb)");
        assert_eq!(limit(&[], group).unwrap().bytes, 1 << 30);
        let told = limit(&[("taskmanager.memory.process.size", "512m")], group).unwrap();
        assert_eq!(told.to_string(), "'taskmanager.memory.process.size' (512 mb)");
        let old = limit(&[("taskmanager.memory.flink.size", "512m")], group).unwrap();
        assert_eq!(old.bytes, 512 << 20);
        let too_much = limit(&[("taskmanager.memory.process.size", "2g")], group).unwrap();
        assert_eq!(too_much.to_string(), "the control group of the process (1024 mb)");
        let error = limit(&[("taskmanager.memory.process.size", "10m")], group).unwrap_err();
        assert!(
            error.contains("taskmanager.memory.process.size") && error.contains("64 mb"),
            "{error}"
        );
    }

    #[test]
    fn slots_share_what_is_managed() {
        let machine = limit(&[], MACHINE).unwrap();
        let told = limit(&[("taskmanager.memory.process.size", "1000m")], MACHINE).unwrap();
        assert_eq!(managed(&[], &machine).unwrap(), None);
        assert_eq!(managed(&[], &told).unwrap(), Some(200 << 20));
        assert_eq!(managed(&[(MANAGED_SHARE, "0.2")], &told).unwrap(), Some(100 << 20));
        assert_eq!(managed(&[(MANAGED_SIZE, "64m")], &machine).unwrap(), Some(32 << 20));
        for wrong in [(MANAGED_SIZE, "1g"), (MANAGED_SHARE, "1.5"), (MANAGED_SHARE, "-1")] {
            let error = managed(&[wrong], &told).unwrap_err();
            assert!(error.contains(wrong.0) && error.contains(wrong.1), "{error}");
        }
    }
}
