//! Two operators of a job: a source with splits, and counts by key and window.

use arrow_array::{Array, ArrayRef, StringArray};
use bytes::Bytes;
use flott_checkpoint::{Manifest, OperatorManifest, OperatorPart, SnapshotKind};
use flott_core::hash::hash_columns;
use flott_core::key_group::{key_group_of, subtask_of};
use flott_core::{JobId, KeyGroupRange, LogicalType, OperatorId};
use flott_state::*;
use std::collections::BTreeMap;

pub const MAX_PARALLELISM: usize = 128;

pub fn source() -> OperatorId {
    OperatorId::of("source")
}

pub fn aggregate() -> OperatorId {
    OperatorId::of("aggregate")
}

pub fn descriptor() -> TableDescriptor {
    TableDescriptor::new("counts", vec![LogicalType::string()])
        .column("count", ColumnType::I64)
        .nullable("total", ColumnType::I128)
        .nullable("average", ColumnType::F64)
        .column("seen", ColumnType::Bool)
        .column("last", ColumnType::Bytes)
}

pub fn windows(parallelism: usize, subtask: usize) -> WindowTables {
    let range = KeyGroupRange::of_subtask(MAX_PARALLELISM, parallelism, subtask);
    WindowTables::new(descriptor(), MAX_PARALLELISM, range)
}

/// Counts one more of each key that belongs to the table's key groups.
pub fn count(windows: &mut WindowTables, slice_end: i64, keys: &[&str]) {
    let all: ArrayRef = std::sync::Arc::new(StringArray::from(keys.to_vec()));
    let hashes = hash_columns(&[all], keys.len()).unwrap();
    let table = windows.table_mut(slice_end);
    let range = table.key_group_range();
    let own: Vec<usize> = (0..keys.len())
        .filter(|i| range.contains(key_group_of(hashes[*i], MAX_PARALLELISM)))
        .collect();
    let column: ArrayRef = std::sync::Arc::new(StringArray::from_iter_values(own.iter().map(|i| keys[*i])));
    let hashes: Vec<u64> = own.iter().map(|i| hashes[*i]).collect();
    let mut slots = vec![];
    table.slots(&[column], &hashes, &mut slots).unwrap();
    table.column_mut::<i64>(0).add(&slots, &vec![1; slots.len()], None);
    for (i, slot) in own.iter().zip(&slots) {
        let length = keys[*i].len() as i64;
        table
            .column_mut::<i128>(1)
            .set_value(*slot, (length % 2 == 0).then_some(i128::from(length) << 64));
        table
            .column_mut::<f64>(2)
            .set_value(*slot, (length % 3 == 0).then_some(length as f64 / 8.0));
        table.column_mut::<bool>(3).set(*slot, length % 5 == 0);
        table.bytes_column_mut(4).set(*slot, Some(keys[*i].as_bytes()));
    }
}

pub type Row = (i64, Option<i128>, Option<f64>, bool, Option<Vec<u8>>);

pub fn dump(windows: &WindowTables) -> BTreeMap<(i64, String), Row> {
    let mut rows = BTreeMap::new();
    for slice_end in windows.slices() {
        let table = windows.get(slice_end).unwrap();
        let slots: Vec<u32> = table.live_slots().collect();
        let keys = table.keys(&slots).unwrap();
        let keys = keys[0].as_any().downcast_ref::<StringArray>().unwrap();
        for (i, slot) in slots.iter().enumerate() {
            let row = (
                table.column::<i64>(0).get(*slot),
                table.column::<i128>(1).value(*slot),
                table.column::<f64>(2).value(*slot),
                table.column::<bool>(3).get(*slot),
                table.bytes_column(4).get(*slot).map(<[u8]>::to_vec),
            );
            rows.insert((slice_end, keys.value(i).to_owned()), row);
        }
    }
    rows
}

pub fn subtask_of_key(key: &str, parallelism: usize) -> usize {
    let group = key_group_of(flott_core::hash::hash_bytes(key.as_bytes()), MAX_PARALLELISM);
    subtask_of(group, MAX_PARALLELISM, parallelism)
}

pub fn manifest(generation: u64, checkpoint: u64, parallelism: usize, parts: Vec<OperatorPart>) -> Manifest {
    let operator = |id, name: &str, kind: &str| OperatorManifest {
        id,
        name: name.to_owned(),
        kind: kind.to_owned(),
        uid: None,
        parallelism,
        max_parallelism: MAX_PARALLELISM,
        tables: vec![],
        subtasks: vec![],
    };
    let mut operators = vec![
        operator(source(), "source", "kafka"),
        operator(aggregate(), "counts per website", "stream-exec-global-window-aggregate"),
    ];
    for part in parts {
        let operator = operators.iter_mut().find(|o| o.id == part.id).unwrap();
        operator.add(part);
    }
    Manifest {
        job_name: "website traffic".to_owned(),
        job_id: JobId::of("website traffic"),
        generation,
        checkpoint_id: checkpoint,
        kind: SnapshotKind::Checkpoint,
        timestamp_ms: 1_790_000_000_000,
        operators,
        coordinator: vec![],
    }
}

/// The snapshots of a subtask's chain.
pub fn snapshots(checkpoint: u64, subtask: usize, windows: &mut WindowTables) -> Vec<(OperatorId, OperatorSnapshot)> {
    let splits = OperatorSnapshot {
        operator_state: vec![OperatorEntry {
            name: "splits".to_owned(),
            bytes: Bytes::from(format!("split {subtask} at {checkpoint}")),
            redistribute: Redistribute::Split,
        }],
        ..OperatorSnapshot::default()
    };
    let counts = OperatorSnapshot {
        keyed: windows.capture(checkpoint),
        committables: vec![Bytes::from(format!("transaction {subtask}"))],
        ..OperatorSnapshot::default()
    };
    vec![(source(), splits), (aggregate(), counts)]
}
