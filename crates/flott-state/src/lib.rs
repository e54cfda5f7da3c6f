//! Keyed and operator state: tables of typed columns, their captures, runs and restore.
//!
//! An operator keeps [`KeyedTable`]s (or [`WindowTables`], one per slice), captures them at a barrier into an
//! [`OperatorSnapshot`] and returns to its rows; the capture is encoded and written elsewhere. Read in this order:
//! [`table`] (slots and columns), [`column`], [`blob`] and [`value`] (values and their kernels), [`chunk`] (why a capture is cheap),
//! [`changes`] (what an increment holds), [`capture`], [`run`] (the file format), [`snapshot`], [`persist`] (files and
//! back).

pub mod backend;
pub mod bitmap;
pub mod blob;
pub mod capture;
pub mod changes;
pub mod chunk;
pub mod cold;
pub mod column;
pub mod data;
pub mod derived;
pub mod error;
pub mod index;
mod keys;
mod order;
pub mod pack;
pub mod persist;
pub mod preload;
pub mod run;
pub mod snapshot;
pub mod table;
pub mod timer_queue;
pub mod value;
pub mod windows;

pub use backend::{BackendSettings, StateBackend};
pub use blob::BytesColumn;
pub use capture::TableCapture;
pub use column::Column;
pub use data::Stored;
pub use error::StateError;
pub use flott_checkpoint::{
    CheckpointError, ColumnDescriptor, ColumnType, InFlightPlace, IoCause, Redistribute, TableDescriptor,
};
pub use persist::{
    ConfirmationTicket, EncodedSnapshots, WrittenSnapshots, encode_snapshots, load_beyond, load_operator, load_subtask,
};
pub use preload::PreloadedState;
pub use run::{EncodedRun, RunMode};
pub use snapshot::{
    InFlightBytes, LaterBlocks, LoadedRun, OperatorEntry, OperatorSnapshot, RestoredInFlight, RestoredState,
};
pub use table::{KeyedTable, LastPages, Moves, NO_SLOT, TableCursor};
pub use timer_queue::{DueTimers, TimerQueue};
pub use value::{StateValue, ValuesColumn};
pub use windows::WindowTables;
