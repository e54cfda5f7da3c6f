//! Captures to runs.

use super::*;
use crate::capture::TableCapture;
use crate::changes::{Tombstone, TombstoneKey};
use crate::data::ColumnPlan;
use crate::keys::{CapturedKeys, KeyForm};
use crate::order::Order;
use crate::pack::Packing;
use flott_checkpoint::{Location, RunKind, RunRef};
use flott_core::KeyGroup;
use std::ops::Range;

/// What the writer of a checkpoint wants of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// All rows: a savepoint, or checkpoints without increments.
    Full,
    /// What changed since the newest confirmed checkpoint, where that is worth it; see [`TableCapture::encode`].
    Incremental,
}

/// A run, not yet written.
#[derive(Debug)]
pub struct EncodedRun {
    /// What the manifest says of it; the location is empty until the bytes have one.
    pub reference: RunRef,
    /// Its bytes, header first.
    pub bytes: Vec<u8>,
}

/// Deltas may grow to this share of their base before all is written again.
const MAX_DELTA_SHARE: f64 = 0.5;
/// Deltas that a restore has to read of a key group at most, where its base is small.
const MAX_CHAIN: usize = 32;
/// A larger base may have one for each so many bytes: as many runs as it is written in itself. Else the whole of a state of a gigabyte would be
/// written again every half minute at a checkpoint a second.
const BASE_BYTES_A_DELTA: u64 = 4 << 20;
/// But no more than this.
const LONGEST_CHAIN: usize = 256;
/// Bytes of a chain's deltas that may lie in the manifest, which every checkpoint writes anew and every deployment carries.
const MAX_INLINE_BYTES: u64 = 1 << 20;

/// The most runs that one key group has: those of several subtasks before a rescale lie side by side.
fn depth(runs: &[RunRef]) -> usize {
    let at = |group| runs.iter().filter(|run| run.groups().contains(group)).count();
    runs.iter().map(|run| at(run.groups().start)).max().unwrap_or_default()
}

impl TableCapture {
    /// Whether [`RunMode::Incremental`] yields a delta: there is a confirmed chain to continue, neither its deltas nor the
    /// changes at hand pass half of its base, and it is not too long for any key group.
    pub fn is_delta_worth_it(&self) -> bool {
        let Some(increment) = &self.increment else {
            return false;
        };
        // What a table has elsewhere makes a base of several runs.
        let bases = increment.base.iter().take_while(|r| r.kind == RunKind::Base).count();
        let (base, deltas) = increment.base.split_at(bases);
        let bytes = |runs: &[RunRef]| runs.iter().map(RunRef::bytes).sum::<u64>() as f64;
        let marked: u64 = self.cold.iter().flatten().map(|c| c.markers).sum();
        let changed = increment.changed.len() as f64 + marked as f64;
        let base_bytes: u64 = base.iter().map(RunRef::bytes).sum();
        let max_chain = ((base_bytes / BASE_BYTES_A_DELTA) as usize).clamp(MAX_CHAIN, LONGEST_CHAIN);
        let inline = deltas.iter().filter(|run| run.location.path().is_none());
        let inline_bytes: u64 = inline.map(|run| run.location.len()).sum();
        !base.is_empty()
            && depth(deltas) + 1 < max_chain
            && inline_bytes <= MAX_INLINE_BYTES
            && bytes(deltas) <= MAX_DELTA_SHARE * bytes(base)
            && changed <= MAX_DELTA_SHARE * self.len() as f64
    }

    /// The rows as a run: in full or, in incremental mode and where [`Self::is_delta_worth_it`], as a delta. `None` where there
    /// is nothing to write: a delta without changes.
    ///
    /// Takes about 25 ns a row of a BIGINT key and two numbers; made for a thread of its own.
    pub fn encode(&self, mode: RunMode) -> Option<EncodedRun> {
        match &self.increment {
            Some(increment) if mode == RunMode::Incremental && self.is_delta_worth_it() => {
                let slots: Vec<u32> = increment.changed.iter().collect();
                let tombstones: Vec<&Tombstone> = increment.removed.iter().flat_map(|r| r.iter()).collect();
                if slots.is_empty() && tombstones.is_empty() {
                    return None;
                }
                Some(self.encode_rows(RunKind::Delta, slots, tombstones))
            }
            _ => {
                let slots: Vec<u32> = self.live.iter().collect();
                Some(self.encode_rows(RunKind::Base, slots, Vec::new()))
            }
        }
    }

    /// These rows and tombstones as a run.
    pub(crate) fn encode_rows(&self, kind: RunKind, slots: Vec<u32>, mut tombstones: Vec<&Tombstone>) -> EncodedRun {
        tombstones.sort_by_key(|t| t.group);
        // A block tells where NULL is among its numbers once: a second one would be read as the number that stands for it.
        let mut has_null = false;
        tombstones.retain(|t| t.key != TombstoneKey::Null || !std::mem::replace(&mut has_null, true));
        let group_of = |slot| self.groups.get(slot);
        let mut order = Order::by_group(slots, self.max_parallelism, MAX_BLOCK_ROWS, group_of);
        let spans = plan_blocks(&mut order, &tombstones, self.max_parallelism);
        let keys = self.keys.plan(&order);
        let plans: Vec<_> = self.columns.iter().map(|c| c.plan(&order)).collect();
        let null_row = self.null_slot.and_then(|slot| order.row_of(slot));
        let has_null_field = matches!(self.keys, CapturedKeys::Number(_));

        let header_bytes = HEADER_FIXED_BYTES
            + HEADER_PACKING_BYTES
            + self.columns.len() * HEADER_COLUMN_BYTES
            + 4
            + spans.len() * HEADER_BLOCK_BYTES;
        // Where each block begins, and where what is written next goes in it.
        let mut ends = vec![header_bytes];
        let mut starts = Vec::with_capacity(spans.len());
        let mut head = Vec::new();
        let mut heads = Vec::with_capacity(spans.len());
        for span in &spans {
            let from = head.len();
            self.encode_tombstones(&tombstones[span.tombstones.clone()], &mut head);
            if has_null_field {
                let null = null_row.filter(|row| span.rows.contains(row));
                let within = null.map_or(NO_NULL, |row| (row - span.rows.start) as u32);
                head.extend_from_slice(&within.to_le_bytes());
            }
            let values = std::iter::once(&keys)
                .chain(&plans)
                .map(|p| p.bytes_of(span.rows.clone()));
            let start = ends[ends.len() - 1];
            starts.push(start + head.len() - from);
            ends.push(start + head.len() - from + values.sum::<usize>());
            heads.push(from..head.len());
        }
        let mut bytes = vec![0; ends[spans.len()]];
        for (head_of, start) in heads.into_iter().zip(&ends) {
            bytes[*start..start + head_of.len()].copy_from_slice(&head[head_of]);
        }
        let rows: Vec<_> = spans.iter().map(|s| s.rows.clone()).collect();
        self.keys.write(&keys, &order, &rows, &mut starts, &mut bytes);
        for (column, plan) in self.columns.iter().zip(&plans) {
            column.write(plan, &order, &rows, &mut starts, &mut bytes);
        }
        debug_assert_eq!(starts[..], ends[1..]);

        let mut blocks = Vec::with_capacity(spans.len() * HEADER_BLOCK_BYTES);
        for (span, bounds) in spans.iter().zip(ends.windows(2)) {
            let block = &bytes[bounds[0]..bounds[1]];
            blocks.extend_from_slice(&span.group.to_le_bytes());
            blocks.extend_from_slice(&(span.rows.len() as u32).to_le_bytes());
            blocks.extend_from_slice(&(span.tombstones.len() as u32).to_le_bytes());
            blocks.extend_from_slice(&(block.len() as u64).to_le_bytes());
            blocks.extend_from_slice(&crc32c::crc32c(block).to_le_bytes());
        }
        let header = self.header(kind, keys.packing(), &plans, spans.len(), &blocks);
        debug_assert_eq!(header.len(), header_bytes);
        bytes[..header_bytes].copy_from_slice(&header);
        EncodedRun {
            reference: RunRef {
                table: self.descriptor.name.clone(),
                namespace: self.namespace,
                kind,
                key_groups: self.range,
                within: None,
                rows: order.len() as u64,
                tombstones: tombstones.len() as u64,
                header_bytes: header_bytes as u32,
                header_crc32c: crc32c::crc32c(&header),
                location: Location::Inline(Default::default()),
            },
            bytes,
        }
    }

    fn header(&self, kind: RunKind, keys: Packing, plans: &[ColumnPlan], block_count: usize, blocks: &[u8]) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&RUN_VERSION.to_le_bytes());
        header.push(match kind {
            RunKind::Base => 0,
            RunKind::Delta => 1,
        });
        header.push(KeyForm::of(&self.descriptor.key).code());
        header.extend_from_slice(&(self.columns.len() as u16).to_le_bytes());
        let put_packing = |header: &mut Vec<u8>, packing: Packing| {
            header.push(packing.width);
            header.extend_from_slice(&packing.base.to_le_bytes());
        };
        put_packing(&mut header, keys);
        for (column, plan) in self.descriptor.columns.iter().zip(plans) {
            header.push(type_code(column.ty));
            header.push(u8::from(column.nullable));
            put_packing(&mut header, plan.packing());
        }
        header.extend_from_slice(&(block_count as u32).to_le_bytes());
        header.extend_from_slice(blocks);
        header
    }

    fn encode_tombstones(&self, removed: &[&Tombstone], out: &mut Vec<u8>) {
        if matches!(self.keys, CapturedKeys::Number(_)) {
            let null = removed.iter().position(|t| t.key == TombstoneKey::Null);
            out.extend_from_slice(&null.map_or(NO_NULL, |n| n as u32).to_le_bytes());
            for tombstone in removed {
                let number = match &tombstone.key {
                    TombstoneKey::Number(number) => *number,
                    TombstoneKey::Null | TombstoneKey::Blob(_) => 0,
                };
                out.extend_from_slice(&number.to_le_bytes());
            }
            return;
        }
        let blob = |t: &Tombstone| match &t.key {
            TombstoneKey::Blob(bytes) => Some(bytes.clone()),
            TombstoneKey::Null | TombstoneKey::Number(_) => None,
        };
        for tombstone in removed {
            let length = blob(tombstone).map_or(u32::MAX, |b| b.len() as u32);
            out.extend_from_slice(&length.to_le_bytes());
        }
        for tombstone in removed {
            out.extend_from_slice(&blob(tombstone).unwrap_or_default());
        }
    }
}

struct Span {
    group: KeyGroup,
    rows: Range<usize>,
    tombstones: Range<usize>,
}

/// Cuts groups into blocks. All tombstones of a group are in its first block: they come before all its rows.
fn plan_blocks(order: &mut Order, tombstones: &[&Tombstone], groups: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut next_tombstone = 0;
    for group in 0..groups {
        let first_tombstone = next_tombstone;
        while tombstones
            .get(next_tombstone)
            .is_some_and(|t| usize::from(t.group) == group)
        {
            next_tombstone += 1;
        }
        let Range { mut start, end } = order.rows_of(group);
        order.begin_group(group, spans.len());
        let mut removed = first_tombstone..next_tombstone;
        while start < end || !removed.is_empty() {
            let stop = end.min(start + MAX_BLOCK_ROWS);
            spans.push(Span {
                group: group as KeyGroup,
                rows: start..stop,
                tombstones: std::mem::replace(&mut removed, next_tombstone..next_tombstone),
            });
            start = stop;
        }
    }
    spans
}
