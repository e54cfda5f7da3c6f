//! What a local phase holds back until it is emitted as partial rows: [`Held`].

use super::aggregate::distinct::Offered;
use super::aggregate::lists::Lists;
use super::aggregate::{Aggregates, Rows};
use super::row_table::RowTable;
use super::{MAX_EMITTED_ROWS, group_slots};
use arrow_array::{ArrayRef, Int32Array};
use flott_checkpoint::TableDescriptor;
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::TaskError;
use flott_state::KeyedTable;
use std::sync::Arc;

/// Distinct values of a set that one call emits at most.
const MAX_EMITTED_VALUES: usize = MAX_EMITTED_ROWS;

/// The tables of a local phase: groups with their partial columns, and distinct values by group.
///
/// It lives in no checkpoint. Groups are emitted in the order in which they were first met; a group whose values do not
/// fit into one call goes on in further rows that add nothing else.
#[derive(Debug)]
pub(crate) struct Held {
    groups: KeyedTable,
    /// By the slot of the group and the value.
    sets: Vec<KeyedTable>,
    going: Going,
    scratch: Vec<u32>,
}

/// How far the emission has come.
#[derive(Debug, Default)]
struct Going {
    /// The next group.
    next: u32,
    /// Whether values of that group were emitted already.
    is_split: bool,
    /// The sets by group, made when the emission begins.
    lists: Vec<Lists>,
    /// The next value of each set.
    at: Vec<usize>,
}

/// Describes the tables of [`Held`].
#[derive(Debug, Clone)]
pub(crate) struct HeldState {
    groups: Arc<TableDescriptor>,
    sets: Vec<Arc<TableDescriptor>>,
}

impl HeldState {
    /// Tables of these aggregates for groups with keys of these types.
    pub(crate) fn new(aggregates: &Aggregates, name: &str, group: Vec<LogicalType>) -> Self {
        let slot = [LogicalType::not_null(TypeKind::Int)];
        let set = |(i, set): (usize, &super::aggregate::distinct::DistinctSpec)| {
            Arc::new(set.descriptor(format!("{name}-distinct-{i}"), &slot))
        };
        Self {
            groups: Arc::new(aggregates.descriptor(name, group)),
            sets: aggregates.distinct().iter().enumerate().map(set).collect(),
        }
    }
}

impl Held {
    /// Nothing yet.
    pub(crate) fn new(state: &HeldState) -> Self {
        // It lives in no checkpoint, so its key groups mean nothing.
        let table = |state: &Arc<TableDescriptor>| KeyedTable::new(Arc::clone(state), 1, KeyGroupRange::all(1));
        Self {
            groups: table(&state.groups),
            sets: state.sets.iter().map(table).collect(),
            going: Going::default(),
            scratch: vec![],
        }
    }

    /// Adds rows with these keys.
    ///
    /// # Errors
    /// If a table refuses the keys.
    pub(crate) fn add(
        &mut self,
        aggregates: &Aggregates,
        keys: &[ArrayRef],
        columns: &[ArrayRef],
        rows: usize,
        signs: Option<&[i64]>,
    ) -> Result<(), TaskError> {
        let hashes = hash_columns(keys, rows)?;
        let slots = &mut self.scratch;
        slots.clear();
        group_slots(&mut self.groups, keys, &hashes, slots)?;
        if !self.sets.is_empty() {
            let groups: ArrayRef = Arc::new(Int32Array::from_iter_values(slots.iter().map(|s| *s as i32)));
            for (set, table) in aggregates.distinct().iter().zip(&mut self.sets) {
                let valid = set.valid(columns);
                let offered = Offered {
                    keys: std::slice::from_ref(&groups),
                    hashes: &hashes,
                    values: &columns[set.arg],
                    valid: &valid,
                    signs,
                };
                set.add(table, offered)?;
            }
        }
        let rows = Rows {
            slots,
            columns,
            signs,
            passed: &[],
        };
        aggregates.accumulate(&mut self.groups, rows, &mut [], None)?;
        aggregates.count_rows(&mut self.groups, slots, signs);
        Ok(())
    }

    /// The next partial rows, at most `room` (keys, partial columns, distinct values); `None` when all are emitted.
    ///
    /// # Errors
    /// If the tables cannot be read, which is a defect of ours.
    pub(crate) fn emit(
        &mut self,
        aggregates: &Aggregates,
        row_table: &RowTable,
        room: usize,
    ) -> Result<Option<(Vec<ArrayRef>, usize)>, TaskError> {
        let groups = self.groups.len();
        if self.going.next as usize >= groups {
            return Ok(None);
        }
        let sets = aggregates.distinct();
        if self.going.lists.len() < sets.len() {
            let lists = sets.iter().zip(&self.sets).map(|(set, table)| set.lists(table, groups));
            self.going.lists = lists.collect::<Result<_, _>>()?;
            self.going.at = vec![0; sets.len()];
        }
        let is_rest = self.going.is_split;
        let starts = self.going.at.clone();
        let mut ends: Vec<Vec<usize>> = vec![vec![]; sets.len()];
        self.scratch.clear();
        while (self.going.next as usize) < groups && self.scratch.len() < room {
            self.scratch.push(self.going.next);
            let mut fits = true;
            for (set, lists) in self.going.lists.iter().enumerate() {
                let end = lists.end(self.going.next as usize);
                let cut = end.min(starts[set] + MAX_EMITTED_VALUES);
                fits &= cut == end;
                ends[set].push(cut);
                self.going.at[set] = cut;
            }
            self.going.is_split = !fits;
            if fits {
                self.going.next += 1;
            }
            // The rest of a group that was split stands alone: its partial columns are not added twice.
            if !fits || is_rest {
                break;
            }
        }
        let slots = &self.scratch;
        let mut columns = self.groups.keys(slots)?;
        match is_rest {
            true => columns.extend(row_table.nothing(aggregates, slots.len())?),
            false => columns.extend(aggregates.partials(&self.groups, slots)?),
        }
        for (set, ends) in ends.iter().enumerate() {
            columns.push(self.going.lists[set].column(&sets[set], starts[set], ends)?);
        }
        Ok(Some((columns, slots.len())))
    }

    /// Groups, or values of a set if those are more.
    pub(crate) fn len(&self) -> usize {
        let values = self.sets.iter().map(KeyedTable::len).max().unwrap_or(0);
        self.groups.len().max(values)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.groups.clear();
        self.sets.iter_mut().for_each(KeyedTable::clear);
        self.going = Going::default();
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.groups.bytes() + self.sets.iter().map(KeyedTable::bytes).sum::<usize>()
    }
}
