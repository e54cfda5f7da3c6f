//! Runs to tables.

use super::*;
use crate::column::Fixed;
use crate::data::ColumnData;
use crate::error::StateError;
use crate::keys::{self, KeyForm};
use crate::pack::Packing;
use crate::table::{KeyedTable, NO_SLOT};
use arrow_array::ArrayRef;
use flott_checkpoint::{ColumnDescriptor, InlineBytes, Location, RunKind, RunRef, TableDescriptor};
use flott_core::hash::hash_columns;
use flott_core::key_group::key_group_of;
use flott_core::{KeyGroup, KeyGroupRange};
use std::ops::Range;

/// The index of a run.
#[derive(Debug, Clone)]
pub struct RunHeader {
    keys: Packing,
    /// By column.
    columns: Vec<Packing>,
    blocks: Vec<BlockSpan>,
}

/// Where a block is, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSpan {
    /// Key group of all its rows.
    pub group: KeyGroup,
    /// Number of rows.
    pub rows: usize,
    /// Number of removed keys.
    pub tombstones: usize,
    /// Bytes of the run.
    pub bytes: Range<u64>,
    crc32c: u32,
}

/// Reads numbers from damaged bytes without panicking.
struct Cursor<'a> {
    bytes: &'a [u8],
}

struct Truncated;

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Byte strings of `count` rows: their lengths, then they themselves.
    fn blobs(&mut self, count: usize) -> Result<Vec<Option<&'a [u8]>>, Truncated> {
        let mut lengths = Cursor {
            bytes: self.take(count.checked_mul(4).ok_or(Truncated)?)?,
        };
        let mut blobs = Vec::with_capacity(count);
        for _ in 0..count {
            blobs.push(match lengths.u32()? {
                u32::MAX => None,
                length => Some(self.take(length as usize)?),
            });
        }
        Ok(blobs)
    }
}

/// A run of a table, ready to be applied block by block.
#[derive(Debug)]
pub struct RunReader<'a> {
    reference: &'a RunRef,
    descriptor: &'a TableDescriptor,
    /// File and first byte, for errors.
    place: String,
    header: RunHeader,
}

impl<'a> RunReader<'a> {
    /// Reads the header, which is the first [`RunRef::header_bytes`] bytes of the run; `descriptor` is that of the manifest.
    ///
    /// # Errors
    /// If the header is damaged, of a newer version or of another table.
    pub fn new(reference: &'a RunRef, descriptor: &'a TableDescriptor, header: &[u8]) -> Result<Self, StateError> {
        let place = match &reference.location {
            flott_checkpoint::Location::File { path, offset, .. } => format!("{path} at byte {offset}"),
            flott_checkpoint::Location::Inline(_) => "the manifest".to_owned(),
        };
        let damaged = |problem: String| StateError::DamagedRun {
            table: descriptor.name.clone(),
            place: place.clone(),
            problem,
        };
        if header.len() != reference.header_bytes as usize || crc32c::crc32c(header) != reference.header_crc32c {
            return Err(damaged("the checksum of its header does not match".to_owned()));
        }
        let header = parse_header(header, descriptor).map_err(damaged)?;
        Ok(Self {
            reference,
            descriptor,
            place,
            header,
        })
    }

    /// The blocks with key groups of `range`: they lie side by side.
    pub fn blocks_of(&self, range: KeyGroupRange) -> impl Iterator<Item = &BlockSpan> {
        self.header.blocks.iter().filter(move |b| range.contains(b.group))
    }

    /// Where the blocks of `range` are in the run, if there are any.
    pub fn bytes_of(&self, range: KeyGroupRange) -> Option<Range<u64>> {
        let mut blocks = self.blocks_of(range);
        let first = blocks.next()?;
        let end = blocks.last().unwrap_or(first).bytes.end;
        Some(first.bytes.start..end)
    }

    /// Where the blocks of `range` are in the run, in pieces of blocks side by side: each of one block, or of at most `most_bytes`.
    pub fn pieces_of(&self, range: KeyGroupRange, most_bytes: u64) -> Vec<Range<u64>> {
        let mut pieces: Vec<Range<u64>> = vec![];
        for block in self.blocks_of(range) {
            match pieces.last_mut() {
                Some(piece) if block.bytes.end - piece.start <= most_bytes => piece.end = block.bytes.end,
                _ => pieces.push(block.bytes.clone()),
            }
        }
        pieces
    }

    /// The blocks of `range` as a run of its own that lies in the manifest; `header` is this run's, `blocks` the bytes of those blocks.
    pub fn cut(&self, header: &[u8], range: KeyGroupRange, blocks: &[u8]) -> RunRef {
        let list = header.len() - self.header.blocks.len() * HEADER_BLOCK_BYTES;
        let before = self
            .header
            .blocks
            .iter()
            .take_while(|b| !range.contains(b.group))
            .count();
        let count = self.blocks_of(range).count();
        let entries = list + before * HEADER_BLOCK_BYTES..list + (before + count) * HEADER_BLOCK_BYTES;
        let mut bytes = header[..list - size_of::<u32>()].to_vec();
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
        bytes.extend_from_slice(&header[entries]);
        let (header_bytes, header_crc32c) = (bytes.len() as u32, crc32c::crc32c(&bytes));
        bytes.extend_from_slice(blocks);
        RunRef {
            key_groups: range,
            within: None,
            rows: self.blocks_of(range).map(|b| b.rows as u64).sum(),
            tombstones: self.blocks_of(range).map(|b| b.tombstones as u64).sum(),
            header_bytes,
            header_crc32c,
            location: Location::Inline(InlineBytes(bytes.into())),
            ..self.reference.clone()
        }
    }

    /// The blocks of `range` that lie in a piece of the run.
    fn blocks_in(&self, range: KeyGroupRange, piece: Range<u64>) -> impl Iterator<Item = &BlockSpan> {
        let is_inside = move |b: &&BlockSpan| piece.start <= b.bytes.start && b.bytes.end <= piece.end;
        self.blocks_of(range).filter(is_inside)
    }

    fn damaged(&self, problem: impl Into<String>) -> StateError {
        StateError::DamagedRun {
            table: self.descriptor.name.clone(),
            place: self.place.clone(),
            problem: problem.into(),
        }
    }

    /// The bytes of a block, whose checksum matches; `bytes` are those of the run from `from` on.
    fn block<'b>(&self, span: &BlockSpan, bytes: &'b [u8], from: u64) -> Result<&'b [u8], StateError> {
        let within = |at: u64| at.checked_sub(from).and_then(|at| usize::try_from(at).ok());
        let block = within(span.bytes.start)
            .zip(within(span.bytes.end))
            .and_then(|(start, end)| bytes.get(start..end))
            .ok_or_else(|| self.damaged("it has been cut off"))?;
        if crc32c::crc32c(block) != span.crc32c {
            return Err(self.damaged(format!(
                "the checksum of the block of key group {} does not match",
                span.group
            )));
        }
        Ok(block)
    }

    /// Checks the blocks of `range`; `bytes` are those of the run from `from` on.
    ///
    /// # Errors
    /// If a block is damaged or missing.
    pub fn verify(&self, bytes: &[u8], from: u64, range: KeyGroupRange) -> Result<(), StateError> {
        self.blocks_of(range)
            .try_for_each(|span| self.block(span, bytes, from).map(drop))
    }

    /// Checks the blocks of `range` in a piece of the run, of which `bytes` are.
    ///
    /// # Errors
    /// If a block is damaged or missing.
    pub fn verify_piece(&self, bytes: &[u8], piece: Range<u64>, range: KeyGroupRange) -> Result<(), StateError> {
        let from = piece.start;
        self.blocks_in(range, piece)
            .try_for_each(|span| self.block(span, bytes, from).map(drop))
    }

    /// Applies all blocks of the table's key groups for which the run is read; `bytes` are those of the run from `from` on.
    ///
    /// # Errors
    /// If a block is damaged, or was written for a table of another shape.
    pub fn apply(&self, bytes: &[u8], from: u64, table: &mut KeyedTable) -> Result<(), StateError> {
        self.apply_blocks(bytes, from, 0..u64::MAX, table)
    }

    /// Applies those that lie in a piece of the run, of which `bytes` are; pieces are applied in their order, all of them.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_piece(&self, bytes: &[u8], piece: Range<u64>, table: &mut KeyedTable) -> Result<(), StateError> {
        self.apply_blocks(bytes, piece.start, piece, table)
    }

    fn apply_blocks(
        &self,
        bytes: &[u8],
        from: u64,
        piece: Range<u64>,
        table: &mut KeyedTable,
    ) -> Result<(), StateError> {
        self.check_fit(table)?;
        let Some(range) = table.key_group_range().intersection(&self.reference.groups()) else {
            return Ok(());
        };
        // Bases of a table have no key in common, and nothing else comes before them.
        let before = table.expect_new_keys(self.reference.kind == RunKind::Base);
        let applied = self.blocks_in(range, piece).try_for_each(|span| {
            self.apply_block(span, self.block(span, bytes, from)?, table)?;
            table.relieve()
        });
        table.expect_new_keys(before);
        applied
    }

    fn apply_block(&self, span: &BlockSpan, block: &[u8], table: &mut KeyedTable) -> Result<(), StateError> {
        let mut cursor = Cursor { bytes: block };

        let removed = self.read_keys(&mut cursor, span.tombstones, Packing::plain(8))?;
        if span.tombstones > 0 {
            let (hashes, _) = self.hashes(&removed, span.tombstones)?;
            let mut slots = Vec::with_capacity(span.tombstones);
            table.find(&removed, &hashes, &mut slots)?;
            slots.retain(|s| *s != NO_SLOT);
            table.remove(&slots);
        }

        let keys = self.read_keys(&mut cursor, span.rows, self.header.keys)?;
        let (hashes, placement) = self.hashes(&keys, span.rows)?;
        let wanted = usize::from(span.group);
        let max_parallelism = table.max_parallelism();
        if placement
            .iter()
            .any(|h| usize::from(key_group_of(*h, max_parallelism)) != wanted)
        {
            return Err(StateError::Incompatible {
                table: self.descriptor.name.clone(),
                problem: format!("its keys are not of key group {wanted} of {max_parallelism}"),
            });
        }
        let mut slots = Vec::with_capacity(span.rows);
        table.slots_with_placement(&keys, &hashes, &placement, &mut slots)?;
        for (column, packing) in self.descriptor.columns.iter().zip(&self.header.columns) {
            let index = table.descriptor().columns.iter().position(|c| c.name == column.name);
            let target = index.map(|i| table.column_data_mut(i));
            read_column(&mut cursor, column, *packing, &slots, target)
                .map_err(|e| self.damaged(format!("the block of key group {} {e}", span.group)))?;
        }
        if !cursor.bytes.is_empty() {
            return Err(self.damaged(format!("the block of key group {} is too long", span.group)));
        }
        Ok(())
    }

    /// What the manifest says of the run.
    pub fn reference(&self) -> &RunRef {
        self.reference
    }

    fn check_fit(&self, target: &mut KeyedTable) -> Result<(), StateError> {
        let table = target.descriptor().clone();
        let incompatible = |problem: String| StateError::Incompatible {
            table: table.name.clone(),
            problem,
        };
        let storage = |d: &TableDescriptor| d.key.iter().map(|k| k.to_arrow()).collect::<Vec<_>>();
        if storage(&table) != storage(self.descriptor) || table.placement_fields != self.descriptor.placement_fields {
            let list = |d: &TableDescriptor| {
                let fields: Vec<String> = d.key.iter().map(|k| k.to_string()).collect();
                format!("({}), placed by {} fields", fields.join(", "), d.placement_fields)
            };
            return Err(incompatible(format!(
                "its key was {}, and is now {}",
                list(self.descriptor),
                list(&table)
            )));
        }
        for column in &self.descriptor.columns {
            if let Some(now) = table.columns.iter().find(|c| c.name == column.name)
                && now.ty != column.ty
            {
                return Err(incompatible(format!(
                    "its column '{}' was {}, and is now {}",
                    column.name, column.ty, now.ty
                )));
            }
            let index = table.columns.iter().position(|c| c.name == column.name);
            if let Some(ColumnData::Values(values)) = index.map(|i| target.column_data_mut(i)) {
                let stored = column.value.as_ref();
                let fits = stored.map_or(Err("its values have no type".to_owned()), |stored| {
                    values.0.check(stored)
                });
                fits.map_err(|e| incompatible(format!("column '{}': {e}", column.name)))?;
            }
        }
        Ok(())
    }

    fn read_keys(&self, cursor: &mut Cursor<'_>, count: usize, packing: Packing) -> Result<Vec<ArrayRef>, StateError> {
        let truncated = |Truncated| self.damaged("a block is too short for its keys");
        match KeyForm::of(&self.descriptor.key) {
            KeyForm::Number => {
                let null = cursor.u32().map_err(truncated)?;
                let width = usize::from(packing.width);
                if width == 0 && count > 2 {
                    // Without bytes all numbers are equal: one key, and NULL.
                    return Err(self.damaged(format!("a block says that {count} keys are the same")));
                }
                let numbers = cursor.take(count.saturating_mul(width)).map_err(truncated)?;
                let values = (0..count)
                    .map(|i| i64::unpack(&numbers[i * width..(i + 1) * width], packing.base))
                    .collect();
                let nulls =
                    (null != NO_NULL).then(|| (0..count).map(|i| i != null as usize).collect::<Vec<_>>().into());
                Ok(vec![keys::numbers_to_column(
                    values,
                    nulls,
                    &self.descriptor.key[0].to_arrow(),
                )])
            }
            form @ (KeyForm::Text | KeyForm::Binary | KeyForm::Encoded) => {
                let blobs = cursor.blobs(count).map_err(truncated)?;
                keys::blobs_to_columns(self.descriptor, form, blobs.into_iter())
            }
        }
    }

    /// Index and placement hashes of keys.
    fn hashes(&self, keys: &[ArrayRef], rows: usize) -> Result<(Vec<u64>, Vec<u64>), StateError> {
        let of = |columns: &[ArrayRef]| {
            hash_columns(columns, rows).map_err(|source| StateError::Hash {
                table: self.descriptor.name.clone(),
                source,
            })
        };
        let index = of(keys)?;
        let fields = self.descriptor.placement_fields;
        let placement = if fields == keys.len() {
            index.clone()
        } else {
            of(keys.get(..fields).unwrap_or(keys))?
        };
        Ok((index, placement))
    }
}

fn parse_header(header: &[u8], descriptor: &TableDescriptor) -> Result<RunHeader, String> {
    let short = |Truncated| "its header is too short".to_owned();
    let mut cursor = Cursor { bytes: header };
    if cursor.take(4).map_err(short)? != MAGIC {
        return Err("it is no run of state".to_owned());
    }
    let version = cursor.u16().map_err(short)?;
    if !(OLDEST_VERSION..=RUN_VERSION).contains(&version) {
        return Err(format!(
            "it has format version {version}, and this program reads versions {OLDEST_VERSION} to {RUN_VERSION}"
        ));
    }
    let _kind = cursor.u8().map_err(short)?;
    if cursor.u8().map_err(short)? != KeyForm::of(&descriptor.key).code() {
        return Err("its keys are of another form than the manifest says".to_owned());
    }
    let column_count = cursor.u16().map_err(short)?;
    let packing = |cursor: &mut Cursor<'_>, widest: usize| {
        if version < PACKED_VERSION {
            return Ok(Packing::plain(widest));
        }
        let packing = Packing {
            width: cursor.u8().map_err(short)?,
            base: i128::from_le_bytes(cursor.array().map_err(short)?),
        };
        match packing.is_valid(widest) {
            true => Ok(packing),
            false => Err(format!("it has numbers of {} bytes", packing.width)),
        }
    };
    let keys = packing(&mut cursor, 8)?;
    let (mut columns, mut packings) = (Vec::new(), Vec::new());
    for i in 0..usize::from(column_count) {
        columns.push((cursor.u8().map_err(short)?, cursor.u8().map_err(short)?));
        packings.push(packing(
            &mut cursor,
            descriptor.columns.get(i).map_or(0, |c| width_of(c.ty)),
        )?);
    }
    let described = descriptor
        .columns
        .iter()
        .map(|c| (type_code(c.ty), u8::from(c.nullable)));
    if !described.eq(columns) {
        return Err("its columns are not those that the manifest says".to_owned());
    }
    let count = cursor.u32().map_err(short)?;
    let mut blocks = Vec::new();
    let mut start = header.len() as u64;
    for _ in 0..count {
        let group = cursor.u16().map_err(short)?;
        let rows = cursor.u32().map_err(short)? as usize;
        let tombstones = cursor.u32().map_err(short)? as usize;
        let end = start
            .checked_add(cursor.u64().map_err(short)?)
            .ok_or("a block has an impossible length")?;
        let crc32c = cursor.u32().map_err(short)?;
        blocks.push(BlockSpan {
            group,
            rows,
            tombstones,
            bytes: start..end,
            crc32c,
        });
        start = end;
    }
    Ok(RunHeader {
        keys,
        columns: packings,
        blocks,
    })
}

/// Bytes of an unpacked value; bytes have no width.
fn width_of(ty: ColumnType) -> usize {
    match ty {
        ColumnType::I64 | ColumnType::F64 => 8,
        ColumnType::I128 => 16,
        ColumnType::Bool => 1,
        ColumnType::Bytes => 0,
    }
}

/// A column of a block cannot be read.
#[derive(Debug, thiserror::Error)]
enum UnreadableColumn {
    #[error("is too short")]
    Short,
    #[error("holds a damaged value of '{0}'")]
    Value(String),
}

impl From<Truncated> for UnreadableColumn {
    fn from(_: Truncated) -> Self {
        Self::Short
    }
}

/// Reads a column of a block into `target`, or over it where the table has no such column any more.
fn read_column(
    cursor: &mut Cursor<'_>,
    column: &ColumnDescriptor,
    packing: Packing,
    slots: &[u32],
    target: Option<&mut ColumnData>,
) -> Result<(), UnreadableColumn> {
    let rows = slots.len();
    if column.ty == ColumnType::Bytes {
        let values = slots.iter().zip(cursor.blobs(rows)?);
        match (target, &column.value) {
            (Some(ColumnData::Bytes(target)), _) => values.for_each(|(slot, value)| target.set(*slot, value)),
            (Some(ColumnData::Values(target)), Some(stored)) => {
                for (slot, value) in values {
                    let loaded = target.0.load(*slot, stored, value);
                    loaded.map_err(|_| UnreadableColumn::Value(column.name.clone()))?;
                }
            }
            _ => {}
        }
        return Ok(());
    }
    let valid = if column.nullable {
        Some(cursor.take(rows)?)
    } else {
        None
    };
    let values = cursor.take(rows.checked_mul(packing.width.into()).ok_or(Truncated)?)?;
    match target {
        Some(ColumnData::I64(c)) => c.load(slots, valid, packing, values),
        Some(ColumnData::F64(c)) => c.load(slots, valid, packing, values),
        Some(ColumnData::I128(c)) => c.load(slots, valid, packing, values),
        Some(ColumnData::Bool(c)) => c.load(slots, valid, packing, values),
        Some(ColumnData::Bytes(_) | ColumnData::Values(_)) | None => {}
    }
    Ok(())
}
