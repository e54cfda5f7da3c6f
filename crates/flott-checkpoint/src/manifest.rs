//! What a checkpoint consists of: [`Manifest`], the one file that makes it exist.
//!
//! Format version 3, which knows rows in flight ([`InFlightRef`]); manifests without any are written as version 2, which knows runs of
//! which only some key groups count ([`RunRef::within`]), so that builds that know no more can read them. A manifest is text of two lines, so that a person can read it and a tool can tell damage:
//!
//! ```text
//! {"format":"flott-checkpoint","version":2,"crc32c":"9a2b01ff","bytes":1234}
//! {"job_name":"website traffic","job_id":"…","generation":3,"checkpoint_id":17, … }
//! ```
//!
//! The checksum is over the second line without its line end; `bytes` is that line's length. A reader that meets a higher
//! version refuses it by name; unknown fields of the second line are ignored, so that a newer writer of the same version may
//! add some.
//!
//! Trust goes down from here: a manifest holds the checksum of each run's header, a header those of its blocks. Paths are
//! relative to the folder of the job's checkpoints, or of the savepoint, with `/` between names.

use crate::descriptor::TableDescriptor;
use crate::error::CheckpointError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flott_core::{CheckpointId, Generation, JobId, KeyGroupRange, OperatorId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// Newest version that this module writes and reads.
pub const FORMAT_VERSION: u32 = 3;

/// Version of manifests without rows in flight.
const WITHOUT_IN_FLIGHT: u32 = 2;

const FORMAT_NAME: &str = "flott-checkpoint";

/// A completed checkpoint or savepoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The job's `pipeline.name`.
    pub job_name: String,
    /// The submission that took it.
    pub job_id: JobId,
    /// The leadership claim under which it was taken.
    pub generation: Generation,
    /// Its number, higher than all before it.
    pub checkpoint_id: CheckpointId,
    /// For recovery or for keeping.
    pub kind: SnapshotKind,
    /// When it was triggered, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// All operators that have state or committables.
    pub operators: Vec<OperatorManifest>,
    /// State of the coordinator itself (enumerators of sources, for example), by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coordinator: Vec<CoordinatorState>,
}

/// What a snapshot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotKind {
    /// Taken for recovery, owned and deleted by the job.
    Checkpoint,
    /// Taken on request, self-contained, owned by the user.
    Savepoint,
}

impl fmt::Display for SnapshotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoint => "checkpoint",
            Self::Savepoint => "savepoint",
        })
    }
}

/// Named bytes that the coordinator restores from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorState {
    /// The operator that it belongs to.
    pub operator: OperatorId,
    /// Name, unique within the operator.
    pub name: String,
    /// The bytes.
    pub state: InlineBytes,
}

/// State of one operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorManifest {
    /// What restore finds it by.
    pub id: OperatorId,
    /// Name for people.
    pub name: String,
    /// Kind of node.
    pub kind: String,
    /// The user's `uid`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Number of subtasks when it was taken.
    pub parallelism: usize,
    /// Number of key groups; fixed for the life of the state.
    pub max_parallelism: usize,
    /// What the keyed tables hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableDescriptor>,
    /// State by subtask.
    pub subtasks: Vec<SubtaskManifest>,
}

/// State of one subtask of an operator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SubtaskManifest {
    /// Which subtask.
    pub index: usize,
    /// Runs of keyed tables. Runs of one table and namespace are in the order in which they are applied: a base, then deltas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunRef>,
    /// Operator state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryRef>,
    /// What a sink prepared and must be committed once the checkpoint exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub committables: Vec<InlineBytes>,
    /// Rows on their way to the subtask, whose chain the operator is the first of, which the barrier has overtaken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<InFlightRef>,
}

/// Rows in flight that one subtask recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlightRef {
    /// Who recorded them.
    pub place: InFlightPlace,
    /// Checksum of the bytes.
    pub crc32c: u32,
    /// Where the bytes are, in a format of the runtime's own.
    pub location: Location,
}

/// At which end of an exchange rows in flight were recorded. What the writer recorded is behind what the reader did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InFlightPlace {
    /// By the reader: Flink's input channel state.
    Input,
    /// By the writer: Flink's result subpartition state.
    Output,
}

/// State of one subtask of an operator, as the subtask reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorPart {
    /// The operator.
    pub id: OperatorId,
    /// What its keyed tables hold.
    pub tables: Vec<TableDescriptor>,
    /// The subtask's state.
    pub subtask: SubtaskManifest,
}

/// A run: rows of a keyed table, ordered by key group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRef {
    /// Name of the table.
    pub table: String,
    /// End of the window slice that the table belongs to, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<i64>,
    /// Whether it stands alone.
    pub kind: RunKind,
    /// Key groups in it: those of the subtask that wrote it, or fewer.
    pub key_groups: KeyGroupRange,
    /// The part of it that is read; none: all. Subtasks that took over a part each, since the parallelism changed, refer to one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<RunPart>,
    /// Rows in it.
    pub rows: u64,
    /// Removed keys in it.
    #[serde(default)]
    pub tombstones: u64,
    /// Length of its header, with which it begins.
    pub header_bytes: u32,
    /// Checksum of the header.
    pub header_crc32c: u32,
    /// Where its bytes are.
    pub location: Location,
}

/// Key groups of a run that are read, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPart {
    /// The groups.
    pub key_groups: KeyGroupRange,
    /// Their rows.
    pub rows: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
}

impl RunRef {
    /// The key groups for which it is read.
    pub fn groups(&self) -> KeyGroupRange {
        self.within.map_or(self.key_groups, |part| part.key_groups)
    }

    /// The run as it is read for those of its groups that lie in `range`; `None` if none does. What they hold is an estimate until the run's
    /// header was read.
    pub fn clipped(&self, range: &KeyGroupRange) -> Option<Self> {
        let of = self.groups();
        let key_groups = of.intersection(range)?;
        if key_groups == of {
            return Some(self.clone());
        }
        let share_of = |whole: u64| (whole as f64 * key_groups.len() as f64 / of.len() as f64) as u64;
        Some(Self {
            within: Some(RunPart {
                key_groups,
                rows: share_of(self.row_count()),
                bytes: share_of(self.bytes()),
            }),
            ..self.clone()
        })
    }

    /// Bytes of what is read.
    pub fn bytes(&self) -> u64 {
        self.within.map_or(self.location.len(), |part| part.bytes)
    }

    /// Rows of what is read.
    pub fn row_count(&self) -> u64 {
        self.within.map_or(self.rows, |part| part.rows)
    }
}

/// Whether a run holds all rows or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// All rows.
    Base,
    /// Changed rows and removed keys since the run before it.
    Delta,
}

/// Where bytes of state are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// A part of a file.
    File {
        /// Path, relative to the manifest's root.
        path: String,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// In the manifest itself.
    Inline(InlineBytes),
}

/// An entry of operator state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRef {
    /// Name of the state.
    pub name: String,
    /// How entries are given out on restore.
    pub redistribute: Redistribute,
    /// Checksum of the bytes.
    pub crc32c: u32,
    /// Where the bytes are.
    pub location: Location,
}

/// How entries of operator state are given to the subtasks on restore: Flink's three modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redistribute {
    /// Each entry to one subtask, in turn.
    Split,
    /// All entries to every subtask.
    Union,
    /// One subtask's entries, which are everywhere the same, to every subtask.
    Broadcast,
}

/// Bytes that a manifest holds as base64.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InlineBytes(pub Bytes);

impl Serialize for InlineBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for InlineBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(|bytes| Self(bytes.into()))
            .map_err(serde::de::Error::custom)
    }
}

impl Location {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::File { length, .. } => *length,
            Self::Inline(bytes) => bytes.0.len() as u64,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file, if it is in one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Inline(_) => None,
        }
    }
}

impl SubtaskManifest {
    pub(crate) fn locations(&self) -> impl Iterator<Item = &Location> {
        self.runs
            .iter()
            .map(|r| &r.location)
            .chain(self.entries.iter().map(|e| &e.location))
            .chain(self.in_flight.iter().map(|r| &r.location))
    }

    /// Whether there is anything to restore or to commit.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.entries.is_empty() && self.committables.is_empty() && self.in_flight.is_empty()
    }

    /// Bytes of its state.
    pub fn state_bytes(&self) -> u64 {
        let entries = self.entries.iter().map(|e| e.location.len());
        self.runs.iter().map(RunRef::bytes).chain(entries).sum::<u64>() + self.in_flight_bytes()
    }

    /// Bytes of rows in flight.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight.iter().map(|r| r.location.len()).sum()
    }

    pub(crate) fn locations_mut(&mut self) -> impl Iterator<Item = &mut Location> {
        self.runs
            .iter_mut()
            .map(|r| &mut r.location)
            .chain(self.entries.iter_mut().map(|e| &mut e.location))
            .chain(self.in_flight.iter_mut().map(|r| &mut r.location))
    }
}

impl OperatorManifest {
    /// Adds what a subtask reports, or what others report of rows on their way to it; subtasks are kept in order.
    pub fn add(&mut self, part: OperatorPart) {
        for table in part.tables {
            if !self.tables.iter().any(|t| t.name == table.name) {
                self.tables.push(table);
            }
        }
        let subtask = part.subtask;
        let place = self.subtasks.partition_point(|s| s.index < subtask.index);
        match self.subtasks.get_mut(place).filter(|s| s.index == subtask.index) {
            Some(same) => {
                same.runs.extend(subtask.runs);
                same.entries.extend(subtask.entries);
                same.committables.extend(subtask.committables);
                same.in_flight.extend(subtask.in_flight);
            }
            None => self.subtasks.insert(place, subtask),
        }
    }

    /// Bytes of all its state.
    pub fn state_bytes(&self) -> u64 {
        self.subtasks.iter().map(SubtaskManifest::state_bytes).sum()
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Preamble {
    format: String,
    version: u32,
    #[serde(default)]
    crc32c: String,
    #[serde(default)]
    bytes: usize,
}

impl Manifest {
    /// The file's content.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which is a defect of ours.
    pub fn encode(&self) -> Result<Bytes, CheckpointError> {
        let broken = |source| CheckpointError::EncodeManifest { source };
        let body = serde_json::to_string(self).map_err(broken)?;
        let preamble = Preamble {
            format: FORMAT_NAME.to_owned(),
            version: match self.has_in_flight() {
                true => FORMAT_VERSION,
                false => WITHOUT_IN_FLIGHT,
            },
            crc32c: format!("{:08x}", crc32c::crc32c(body.as_bytes())),
            bytes: body.len(),
        };
        let preamble = serde_json::to_string(&preamble).map_err(broken)?;
        Ok(format!("{preamble}\n{body}\n").into())
    }

    /// Reads a file's content; `path` is for errors.
    ///
    /// # Errors
    /// If it is no manifest, of a newer version, or damaged.
    pub fn decode(content: &[u8], path: &str) -> Result<Self, CheckpointError> {
        let damaged = |problem: String| CheckpointError::DamagedManifest {
            path: path.to_owned(),
            problem,
        };
        let end = content
            .iter()
            .position(|b| *b == b'\n')
            .ok_or_else(|| damaged("it has no first line".to_owned()))?;
        let preamble: Preamble = serde_json::from_slice(&content[..end])
            .map_err(|e| damaged(format!("its first line is not that of a manifest ({e})")))?;
        if preamble.format != FORMAT_NAME {
            return Err(damaged(format!("its format is '{}'", preamble.format)));
        }
        if preamble.version > FORMAT_VERSION || preamble.version == 0 {
            return Err(CheckpointError::UnknownVersion {
                path: path.to_owned(),
                version: preamble.version,
                newest: FORMAT_VERSION,
            });
        }
        let body = content
            .get(end + 1..)
            .and_then(|rest| rest.get(..preamble.bytes))
            .ok_or_else(|| damaged("it has been cut off".to_owned()))?;
        if format!("{:08x}", crc32c::crc32c(body)) != preamble.crc32c {
            return Err(damaged("its checksum does not match".to_owned()));
        }
        serde_json::from_slice(body).map_err(|e| damaged(e.to_string()))
    }

    /// Paths of all files that it refers to.
    pub fn files(&self) -> BTreeSet<String> {
        self.operators
            .iter()
            .flat_map(|o| &o.subtasks)
            .flat_map(SubtaskManifest::locations)
            .filter_map(|l| l.path().map(str::to_owned))
            .collect()
    }

    /// Whether a sink has something to commit.
    pub fn has_committables(&self) -> bool {
        self.operators
            .iter()
            .flat_map(|o| &o.subtasks)
            .any(|s| !s.committables.is_empty())
    }

    /// Whether there are rows in flight.
    pub fn has_in_flight(&self) -> bool {
        let mut subtasks = self.operators.iter().flat_map(|o| &o.subtasks);
        subtasks.any(|s| !s.in_flight.is_empty())
    }

    /// Bytes of all state.
    pub fn state_bytes(&self) -> u64 {
        self.operators.iter().map(OperatorManifest::state_bytes).sum()
    }

    /// The operator with this id.
    pub fn operator(&self, id: OperatorId) -> Option<&OperatorManifest> {
        self.operators.iter().find(|o| o.id == id)
    }
}
