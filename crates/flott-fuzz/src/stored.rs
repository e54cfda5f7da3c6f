//! What lies in files or travels between processes: manifests, runs of state, frames of exchanges, plans.
//!
//! Checksums would stop every mutation, so they are made right here: a damaged file that passes them is what is asked
//! for.

use crate::schema;
use bytes::Bytes;
use flott_checkpoint::{ColumnType, Location, Manifest, RunKind, RunRef, TableDescriptor, restore_plan};
use flott_core::KeyGroupRange;
use flott_core::encoding::decode_rows;
use flott_plan::{JobGraph, Plan};
use flott_runtime::element::Element;
use flott_runtime::exchange::{RowsForm, frame};
use flott_state::{KeyedTable, LoadedRun, RestoredState};
use std::sync::Arc;

/// Key groups of the state's job.
const MAX_PARALLELISM: usize = 128;

/// A manifest as it stands, and its second line under a right checksum.
pub(crate) fn manifest(data: &[u8]) {
    if let Ok(read) = Manifest::decode(data, "manifest") {
        use_manifest(&read);
    }
    let head = format!(
        "{{\"format\":\"flott-checkpoint\",\"version\":1,\"crc32c\":\"{:08x}\",\"bytes\":{}}}\n",
        crc32c::crc32c(data),
        data.len()
    );
    if let Ok(read) = Manifest::decode(&[head.as_bytes(), data, b"\n"].concat(), "manifest") {
        use_manifest(&read);
    }
}

fn use_manifest(manifest: &Manifest) {
    let content = manifest.encode().expect("a manifest can be written");
    let again = Manifest::decode(&content, "manifest").expect("a manifest that we wrote");
    assert_eq!(*manifest, again);
    flott_checkpoint::describe::describe_manifest(manifest, "manifest");
    manifest.files();
    for operator in &manifest.operators {
        for parallelism in 1..=3 {
            if let Ok(plan) = restore_plan(operator, parallelism) {
                assert_eq!(plan.len(), parallelism);
            }
        }
    }
}

/// A run: the first line has the key's fields and, as options, the columns (`count=i64; sum=f64 null`); the run follows.
pub(crate) fn state_run(data: &[u8]) {
    let Some(input) = schema::read(data, "") else { return };
    let key: Vec<_> = input.columns.into_iter().map(|f| f.ty).collect();
    let mut descriptor = TableDescriptor::new("t", key);
    for (name, ty) in input.options.iter() {
        let (ty, null) = ty.split_once(' ').unwrap_or((ty, ""));
        let ty = match ty {
            "i64" => ColumnType::I64,
            "f64" => ColumnType::F64,
            "i128" => ColumnType::I128,
            "bool" => ColumnType::Bool,
            _ => ColumnType::Bytes,
        };
        descriptor = match null {
            "null" => descriptor.nullable(name, ty),
            _ => descriptor.column(name, ty),
        };
    }
    let descriptor = Arc::new(descriptor);
    let mut run = input.body.to_vec();
    let header_bytes = make_checksums_right(&mut run);
    let range = KeyGroupRange::all(MAX_PARALLELISM);
    let reference = RunRef {
        table: "t".to_owned(),
        namespace: None,
        kind: RunKind::Base,
        key_groups: range,
        within: None,
        rows: 0,
        tombstones: 0,
        header_bytes: header_bytes as u32,
        header_crc32c: crc32c::crc32c(&run[..header_bytes]),
        location: Location::Inline(flott_checkpoint::InlineBytes(Bytes::new())),
    };
    let loaded = LoadedRun {
        descriptor: Arc::clone(&descriptor),
        reference,
        header: run[..header_bytes].to_vec().into(),
        blocks: run[header_bytes..].to_vec().into(),
        blocks_from: header_bytes as u64,
        later: None,
    };
    let state = RestoredState::new(vec![loaded], vec![], vec![]);
    let mut table = KeyedTable::new(Arc::clone(&descriptor), MAX_PARALLELISM, range);
    if state.load_table(&mut table).is_ok() {
        let slots: Vec<u32> = table.live_slots().collect();
        assert_eq!(slots.len(), table.len());
        let keys = table.keys(&slots).expect("the keys that were read");
        schema::check_columns(&keys, slots.len());
    }
}

/// Writes the checksums of all blocks that are there, and gives the header's length, as far as it is there.
fn make_checksums_right(run: &mut [u8]) -> usize {
    let number = |run: &[u8], at: usize, length: usize| -> usize {
        let bytes = run.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0, |n, b| (n << 8) | usize::from(*b))
    };
    let columns = number(run, 8, 2);
    let lists = match number(run, 4, 2) {
        1 => 10 + 2 * columns,
        _ => 10 + 17 + 19 * columns,
    };
    let blocks = number(run, lists, 4);
    let header_bytes = (lists + 4).saturating_add(blocks.saturating_mul(22)).min(run.len());
    let mut start = header_bytes;
    for block in 0..blocks {
        let at = lists + 4 + 22 * block;
        if at + 22 > header_bytes {
            break;
        }
        let Some(end) = start
            .checked_add(number(run, at + 10, 8))
            .filter(|end| *end <= run.len())
        else {
            break;
        };
        let crc = crc32c::crc32c(&run[start..end]);
        run[at + 18..at + 22].copy_from_slice(&crc.to_le_bytes());
        start = end;
    }
    header_bytes
}

/// A frame between processes, of rows with the columns of the first line; the same bytes as a row of state.
pub(crate) fn exchange(data: &[u8]) {
    let Some(input) = schema::read(data, "") else { return };
    let types = RowsForm::Columns(input.columns.iter().map(|f| f.ty.to_arrow()).collect());
    if let Ok(element) = frame::decode(input.body, &types) {
        if let Element::Data(batch) = &element {
            schema::check_columns(batch.columns(), batch.num_rows());
        }
        let bytes = frame::encode(&element).expect("what was read can be written");
        let again = frame::decode(&bytes, &types).expect("what we wrote can be read");
        assert_eq!(frame::encode(&again).expect("as before"), bytes);
    }
    let types: Vec<_> = input.columns.into_iter().map(|f| f.ty).collect();
    if let Ok(columns) = decode_rows(&types, [input.body]) {
        schema::check_columns(&columns, 1);
    }
}

/// A plan's JSON: what is read can be chained, and is written alike.
pub(crate) fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(plan) = Plan::from_json(text) {
        let graph = JobGraph::of(&plan, true);
        assert!(graph.vertices.len() <= plan.nodes.len());
        JobGraph::of(&plan, false);
        let written = plan.to_json().expect("a plan can be written");
        let again = Plan::from_json(&written).expect("a plan that we wrote");
        assert_eq!(again.to_json().expect("a plan can be written"), written);
    }
}
