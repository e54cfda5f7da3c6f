//! A snapshot for people: what `flott state show` prints.

use crate::descriptor::ColumnDescriptor;
use crate::error::CheckpointError;
use crate::manifest::{Manifest, OperatorManifest, Redistribute, RunRef, SnapshotKind};
use crate::snapshot::Snapshot;
use flott_core::{KeyGroupRange, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// Under what name rows in flight are described.
const IN_FLIGHT: &str = "rows in flight";

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
        let ty = |c: &ColumnDescriptor| c.value.as_ref().map_or_else(|| c.ty.to_string(), ToString::to_string);
        let columns: Vec<String> = table.columns.iter().map(|c| format!("{} {}", c.name, ty(c))).collect();
        let mut key_groups: Vec<KeyGroupRange> = Vec::new();
        for run in runs() {
            if !key_groups.contains(&run.groups()) {
                key_groups.push(run.groups());
            }
        }
        StateDescription {
            name: table.name.clone(),
            types: format!("({}) -> ({})", key.join(", "), columns.join(", ")),
            rows: runs().map(RunRef::row_count).sum(),
            bytes: runs().map(RunRef::bytes).sum(),
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
    for rows in operator.subtasks.iter().flat_map(|s| &s.in_flight) {
        let state = entries.entry(IN_FLIGHT).or_insert_with(|| StateDescription {
            name: IN_FLIGHT.to_owned(),
            types: "on their way to the operator, overtaken by the barrier".to_owned(),
            rows: 0,
            bytes: 0,
            slices: 0,
            key_groups: Vec::new(),
            files: 0,
        });
        state.rows += 1;
        state.bytes += rows.location.len();
        state.files += usize::from(rows.location.path().is_some());
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

impl SnapshotDescription {
    /// What there is to say beside its operators; `day` says in words when it was triggered.
    pub fn heading(&self, day: Option<&str>) -> String {
        let Self {
            kind,
            checkpoint_id: id,
            job_name: job,
            job_id,
            ..
        } = self;
        let in_ms = format!("{} ms since the epoch", self.timestamp_ms);
        let triggered = day.map_or_else(|| in_ms.clone(), |day| format!("{day} ({in_ms})"));
        format!(
            "{kind} {id} of '{job}' (job {job_id})\n  path        {}\n  triggered   {triggered}\n  generation  {}\n  state       {} bytes\n",
            self.path, self.generation, self.state_bytes
        )
    }
}

impl fmt::Display for SnapshotDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.heading(None))?;
        self.operators.iter().try_for_each(|operator| write!(f, "{operator}"))
    }
}

impl OperatorDescription {
    /// What there is to say beside its states: lines that begin with its name.
    pub fn heading(&self) -> String {
        let uid = self.uid.as_ref().map(|u| format!(", uid '{u}'")).unwrap_or_default();
        let mut text = format!(
            "operator {} ({})\n  id {}{uid}, parallelism {} of {} key groups\n",
            self.name, self.kind, self.id, self.parallelism, self.max_parallelism
        );
        if self.committables > 0 {
            let _ = writeln!(text, "  {} prepared commits", self.committables);
        }
        text
    }
}

impl fmt::Display for OperatorDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.heading())?;
        self.states.iter().try_for_each(|state| write!(f, "{state}"))
    }
}

impl fmt::Display for StateDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut more = String::new();
        if self.slices > 0 {
            write!(more, ", {} window slices", self.slices)?;
        }
        if !self.key_groups.is_empty() {
            let groups = self.key_groups.iter().map(|g| format!("{}-{}", g.start, g.end));
            write!(more, ", key groups {}", groups.collect::<Vec<_>>().join(" "))?;
        }
        if self.files > 0 {
            write!(more, ", {} files", self.files)?;
        }
        writeln!(f, "  state '{}' {}", self.name, self.types)?;
        writeln!(f, "    {} rows, {} bytes{more}", self.rows, self.bytes)
    }
}
