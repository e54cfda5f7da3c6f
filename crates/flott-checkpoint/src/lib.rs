//! Checkpoints and savepoints as files: what a manifest says, where files lie, and who may write and delete them.
//!
//! ```text
//! CheckpointStore::open --claim--> Leader --start_from--> first number
//!        |                           |-- writer(n).write(file) per subtask
//!        | latest                    |-- complete(manifest) --> CommitPermit --> sinks commit --> mark_committed
//!        v                           `-- delete_superseded, sweep
//!     Snapshot --restore_plan--> files and entries per new subtask
//! ```
//!
//! Read in this order: [`layout`] (names), [`manifest`] (the file that makes a checkpoint exist), [`protocol`] (the rules, as
//! pure decisions), [`store`] (the I/O around them), [`snapshot`] (restoring by path, savepoints), [`restore`] (who gets what),
//! `claim` (a snapshot that its job owns), [`descriptor`] (what tables hold), [`describe`] (for people). [`root`] and [`local`] are the way to the bytes, [`copies`] a
//! shorter one.

mod claim;
pub mod copies;
pub mod describe;
pub mod descriptor;
pub mod error;
pub mod layout;
pub mod local;
pub mod local_folder;
pub mod manifest;
pub mod protocol;
pub mod restore;
pub mod root;
#[cfg(feature = "s3")]
pub mod s3;
pub mod snapshot;
pub mod store;
pub mod testing;
pub mod writer;

pub use copies::LocalCopies;
pub use describe::{OperatorDescription, SnapshotDescription, StateDescription, describe, describe_manifest};
pub use descriptor::{ColumnDescriptor, ColumnType, TableDescriptor};
pub use error::{CheckpointError, IoCause};
pub use local_folder::LocalFolder;
pub use manifest::{
    CoordinatorState, EntryRef, InFlightPlace, InFlightRef, InlineBytes, Location, Manifest, OperatorManifest,
    OperatorPart, Redistribute, RunKind, RunPart, RunRef, SnapshotKind, SubtaskManifest,
};
pub use object_store::PutPayload;
pub use protocol::{Facts, Leadership, SnapshotId};
pub use restore::{InFlightShare, SubtaskRestore, restore_plan};
pub use root::{ListedFile, Root};
pub use snapshot::{Savepoint, Snapshot};
pub use store::{CheckpointStore, ClusterEpoch, CommitPermit, Leader};
pub use writer::StateWriter;
