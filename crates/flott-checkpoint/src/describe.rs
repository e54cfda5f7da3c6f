//! A snapshot for people: what `flott state show` prints.

use crate::error::CheckpointError;
use crate::manifest::{Manifest, OperatorManifest, Redistribute, SnapshotKind};
use crate::snapshot::Snapshot;
use flott_core::{KeyGroupRange, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// A checkpoint or savepoint.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotDescription {
    /// Where it is.
    pub path: String,
    /// Checkpoint or savepoint.
    pub kind: SnapshotKind,
    /// The job's name.
    pub job_name: String,
    /// The submission.
    pub job_id: String,
    /// Its number.
    pub checkpoint_id: u64,
    /// The leadership claim.
    pub generation: u64,
    /// When it was triggered, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Bytes of all state.
    pub state_bytes: u64,
    /// The operators.
    pub operators: Vec<OperatorDescription>,
}

/// An operator's state.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorDescription {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its kind of node.
    pub kind: String,
    /// The user's `uid`.
    pub uid: Option<String>,
    /// Number of subtasks.
    pub parallelism: usize,
    /// Number of key groups.
    pub max_parallelism: usize,
    /// Transactions or files that sinks had prepared.
    pub committables: usize,
    /// Its states.
    pub states: Vec<StateDescription>,
}

/// One state of an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct StateDescription {
    /// Its name.
    pub name: String,
    /// Types of key and values, or how its entries are given out.
    pub types: String,
    /// Rows of keyed state (those of increments counted again), entries of operator state.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Window slices.
    pub slices: usize,
    /// Key groups of each subtask that has some.
    pub key_groups: Vec<KeyGroupRange>,
    /// Files.
    pub files: usize,
}

/// Describes the checkpoint or savepoint at `path`.
///
/// # Errors
/// If there is none, or it is damaged.
pub async fn describe(path: &str, options: &Options) -> Result<SnapshotDescription, CheckpointError> {
    let snapshot = Snapshot::open(path, options).await?;
    Ok(describe_manifest(&snapshot.manifest, &snapshot.path))
}

/// Describes a manifest that was read from `path`.
pub fn describe_manifest(manifest: &Manifest, path: &str) -> SnapshotDescription {
    SnapshotDescription {
        path: path.to_owned(),
        kind: manifest.kind,
        job_name: manifest.job_name.clone(),
        job_id: manifest.job_id.to_string(),
        checkpoint_id: manifest.checkpoint_id,
        generation: manifest.generation,
        timestamp_ms: manifest.timestamp_ms,
        state_bytes: manifest.state_bytes(),
        operators: manifest.operators.iter().map(describe_operator).collect(),
    }
}

fn describe_operator(operator: &OperatorManifest) -> OperatorDescription {
    let keyed = operator.tables.iter().map(|table| {
        let runs = || {
            let all = operator.subtasks.iter().flat_map(|s| &s.runs);
            all.filter(|r| r.table == table.name)
        };
        let key: Vec<String> = table.key.iter().map(ToString::to_string).collect();
        let columns: Vec<String> = table.columns.iter().map(|c| format!("{} {}", c.name, c.ty)).collect();
        let mut key_groups: Vec<KeyGroupRange> = Vec::new();
        for run in runs() {
            if !key_groups.contains(&run.key_groups) {
                key_groups.push(run.key_groups);
            }
        }
        StateDescription {
            name: table.name.clone(),
            types: format!("({}) -> ({})", key.join(", "), columns.join(", ")),
            rows: runs().map(|r| r.rows).sum(),
            bytes: runs().map(|r| r.location.len()).sum(),
            slices: runs().filter_map(|r| r.namespace).collect::<BTreeSet<_>>().len(),
            key_groups,
            files: runs().filter_map(|r| r.location.path()).collect::<BTreeSet<_>>().len(),
        }
    });
    let mut entries: BTreeMap<&str, StateDescription> = BTreeMap::new();
    for entry in operator.subtasks.iter().flat_map(|s| &s.entries) {
        let how = match entry.redistribute {
            Redistribute::Split => "split over subtasks",
            Redistribute::Union => "union for every subtask",
            Redistribute::Broadcast => "broadcast to every subtask",
        };
        let state = entries.entry(&entry.name).or_insert_with(|| StateDescription {
            name: entry.name.clone(),
            types: how.to_owned(),
            rows: 0,
            bytes: 0,
            slices: 0,
            key_groups: Vec::new(),
            files: 0,
        });
        state.rows += 1;
        state.bytes += entry.location.len();
        state.files += usize::from(entry.location.path().is_some());
    }
    OperatorDescription {
        id: operator.id.to_string(),
        name: operator.name.clone(),
        kind: operator.kind.clone(),
        uid: operator.uid.clone(),
        parallelism: operator.parallelism,
        max_parallelism: operator.max_parallelism,
        committables: operator.subtasks.iter().map(|s| s.committables.len()).sum(),
        states: keyed.chain(entries.into_values()).collect(),
    }
}

impl fmt::Display for SnapshotDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            SnapshotKind::Checkpoint => "checkpoint",
            SnapshotKind::Savepoint => "savepoint",
        };
        writeln!(
            f,
            "{kind} {} of '{}' (job {})",
            self.checkpoint_id, self.job_name, self.job_id
        )?;
        writeln!(f, "  path        {}", self.path)?;
        writeln!(f, "  triggered   {} ms since the epoch", self.timestamp_ms)?;
        writeln!(f, "  generation  {}", self.generation)?;
        writeln!(f, "  state       {} bytes", self.state_bytes)?;
        for operator in &self.operators {
            write!(f, "{operator}")?;
        }
        Ok(())
    }
}

impl fmt::Display for OperatorDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "operator {} ({})", self.name, self.kind)?;
        let uid = self.uid.as_ref().map(|u| format!(", uid '{u}'")).unwrap_or_default();
        writeln!(
            f,
            "  id {}{uid}, parallelism {} of {} key groups",
            self.id, self.parallelism, self.max_parallelism
        )?;
        if self.committables > 0 {
            writeln!(f, "  {} prepared commits", self.committables)?;
        }
        for state in &self.states {
            let mut more = String::new();
            if state.slices > 0 {
                write!(more, ", {} window slices", state.slices)?;
            }
            if !state.key_groups.is_empty() {
                let groups: Vec<String> = state
                    .key_groups
                    .iter()
                    .map(|g| format!("{}-{}", g.start, g.end))
                    .collect();
                write!(more, ", key groups {}", groups.join(" "))?;
            }
            if state.files > 0 {
                write!(more, ", {} files", state.files)?;
            }
            writeln!(f, "  state '{}' {}", state.name, state.types)?;
            writeln!(f, "    {} rows, {} bytes{more}", state.rows, state.bytes)?;
        }
        Ok(())
    }
}
