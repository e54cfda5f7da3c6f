//! Names of files: where everything of a job lies.
//!
//! ```text
//! <execution.checkpointing.dir>/
//!   website-traffic-1f0c9a7e/            one folder per pipeline.name: its safe form and a hash of it
//!     gen-00000000000000000003           who leads: claimed by put-if-absent, the highest leads
//!     base-00000000000000000003-g2-16    the checkpoint that this generation restored: 16 of generation 2
//!     claimed-00000000000000000003       the checkpoint or savepoint that this generation has made its own
//!     chk-17/
//!       g3-a1-5cd2e07b-0.state           state files: generation, attempt, operator or task, subtask
//!       manifest-g3                      makes the checkpoint exist
//!       committed-g3                     its sinks have committed
//! <savepoint directory>/
//!   savepoint-5cd2e0-9b1f3c7a2d44/       short job id and a random number
//!     _metadata                          the manifest
//!     committed                          its sinks have committed
//!     g3-a1-5cd2e07b-0.state
//! ```
//!
//! Numbers of claims are padded so that they sort. No name is ever used twice.

use flott_core::{CheckpointId, Generation, JobId, OperatorId};

/// Name of a savepoint's manifest.
pub const SAVEPOINT_MANIFEST: &str = "_metadata";

/// Name of the note in a savepoint's folder that its sinks have committed.
pub const SAVEPOINT_COMMITTED: &str = "committed";

/// What a name within a job's folder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A claim of leadership.
    Claim(Generation),
    /// What a generation restored: a checkpoint of another.
    Base(Generation, Generation, CheckpointId),
    /// The note of what a generation has claimed.
    Claimed(Generation),
    /// A manifest.
    Manifest(Generation, CheckpointId),
    /// Commits are done.
    Committed(Generation, CheckpointId),
    /// Anything else in a checkpoint's folder: state files, and what a crash left of one.
    State(CheckpointId),
    /// Not a name of ours.
    Unknown,
}

/// Folder of a job's checkpoints: readable, safe on every store, and different for different names.
pub fn job_folder(job_name: &str) -> String {
    let mut safe = String::new();
    for c in job_name.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            safe.push(c);
        } else if !safe.is_empty() && !safe.ends_with('-') {
            safe.push('-');
        }
        if safe.len() == 40 {
            break;
        }
    }
    let safe = safe.trim_end_matches('-');
    let safe = if safe.is_empty() { "job" } else { safe };
    let hash = JobId::of(job_name).to_string();
    format!("{safe}-{}", &hash[..8])
}

/// Name of a claim.
pub fn claim(generation: Generation) -> String {
    format!("gen-{generation:020}")
}

/// Name of the note of what a generation restored.
pub fn base(generation: Generation, of: Generation, checkpoint: CheckpointId) -> String {
    format!("base-{generation:020}-g{of}-{checkpoint}")
}

/// Name of the note of the checkpoint or savepoint that a generation has claimed.
pub fn claimed(generation: Generation) -> String {
    format!("claimed-{generation:020}")
}

/// Folder of a checkpoint.
pub fn checkpoint_folder(checkpoint: CheckpointId) -> String {
    format!("chk-{checkpoint}")
}

/// Path of a manifest.
pub fn manifest(generation: Generation, checkpoint: CheckpointId) -> String {
    format!("{}/manifest-g{generation}", checkpoint_folder(checkpoint))
}

/// Path of a commit marker.
pub fn committed(generation: Generation, checkpoint: CheckpointId) -> String {
    format!("{}/committed-g{generation}", checkpoint_folder(checkpoint))
}

/// Name of a state file of an attempt of a subtask.
pub fn state_file(generation: Generation, attempt: u64, owner: OperatorId, subtask: usize) -> String {
    let owner = owner.to_string();
    format!("g{generation}-a{attempt}-{}-{subtask}.state", &owner[..8])
}

/// Name of a further state file of an attempt of a subtask, whose state is large.
pub fn state_part_file(generation: Generation, attempt: u64, owner: OperatorId, subtask: usize, part: usize) -> String {
    let owner = owner.to_string();
    format!("g{generation}-a{attempt}-{}-{subtask}-{part}.state", &owner[..8])
}

/// Folder of a savepoint.
pub fn savepoint_folder(job: JobId, random: u64) -> String {
    let job = job.to_string();
    format!("savepoint-{}-{:012x}", &job[..6], random & 0xffff_ffff_ffff)
}

/// Reads a path relative to the job's folder.
pub fn parse(path: &str) -> Entry {
    if let Some(number) = path.strip_prefix("gen-").and_then(|n| n.parse().ok()) {
        return Entry::Claim(number);
    }
    if let Some(number) = path.strip_prefix("claimed-").and_then(|n| n.parse().ok()) {
        return Entry::Claimed(number);
    }
    if let Some(numbers) = path.strip_prefix("base-") {
        return parse_base(numbers).unwrap_or(Entry::Unknown);
    }
    let Some((folder, name)) = path.split_once('/') else {
        return Entry::Unknown;
    };
    let Some(checkpoint) = folder.strip_prefix("chk-").and_then(|n| n.parse().ok()) else {
        return Entry::Unknown;
    };
    let number = |prefix: &str| name.strip_prefix(prefix).and_then(|n| n.parse().ok());
    if let Some(generation) = number("manifest-g") {
        Entry::Manifest(generation, checkpoint)
    } else if let Some(generation) = number("committed-g") {
        Entry::Committed(generation, checkpoint)
    } else {
        Entry::State(checkpoint)
    }
}

fn parse_base(numbers: &str) -> Option<Entry> {
    let (generation, of) = numbers.split_once("-g")?;
    let (of, checkpoint) = of.split_once('-')?;
    Some(Entry::Base(
        generation.parse().ok()?,
        of.parse().ok()?,
        checkpoint.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert_eq!(parse(&claim(3)), Entry::Claim(3));
        assert_eq!(parse(&base(3, 2, 16)), Entry::Base(3, 2, 16));
        assert_eq!(parse(&claimed(3)), Entry::Claimed(3));
        assert_eq!(parse(&manifest(3, 17)), Entry::Manifest(3, 17));
        assert_eq!(parse(&committed(3, 17)), Entry::Committed(3, 17));
        let state = format!("chk-17/{}", state_file(3, 1, OperatorId::of("x"), 0));
        assert_eq!(parse(&state), Entry::State(17));
        assert_eq!(parse("chk-17/manifest-g3.tmp-1-2"), Entry::State(17));
        assert_eq!(parse("lost+found"), Entry::Unknown);
    }

    #[test]
    fn folders_of_jobs_are_safe_and_differ() {
        assert!(job_folder("Website Traffic!").starts_with("website-traffic-"));
        assert_ne!(job_folder("a b"), job_folder("a-b"));
        assert!(job_folder("../../etc").starts_with("etc-"));
        assert!(job_folder("ÄÖ").starts_with("job-"));
        assert!(job_folder(&"x".repeat(300)).len() < 60);
    }
}
