//! Checkpoints and savepoints as files: what a manifest says, where files lie, and who may write and delete them.

pub mod descriptor;
pub mod error;
pub mod manifest;

pub use descriptor::{ColumnDescriptor, ColumnType, TableDescriptor};
pub use error::{CheckpointError, IoCause};
pub use manifest::{
    CoordinatorState, EntryRef, InlineBytes, Location, Manifest, OperatorManifest, Redistribute, RunKind, RunRef,
    SnapshotKind, SubtaskManifest,
};
