//! Distinct values on their way from a local phase to a global one: [`Lists`], a list a group, and [`Entries`], what a
//! partial row's list says. The form is that of [`crate::nodes::set_columns`].

use super::distinct::DistinctSpec;
use crate::nodes::set_type;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, ListArray, StructArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use flott_runtime::TaskError;
use flott_state::KeyedTable;
use std::sync::Arc;

/// The entries of a first phase's set, by group.
#[derive(Debug)]
pub(crate) struct Lists {
    elements: Elements,
    /// Where each group's elements end.
    ends: Vec<usize>,
}

#[derive(Debug)]
struct Elements {
    values: ArrayRef,
    /// A bit a filter.
    filters: Vec<i64>,
    /// By how many a value came more often than it went; only over input that retracts.
    times: Vec<i64>,
}

/// What the lists of partial rows say, an entry each.
#[derive(Debug)]
pub(crate) struct Entries {
    /// The partial row.
    pub(crate) rows: UInt32Array,
    pub(crate) values: ArrayRef,
    /// For each filter, the entries that count.
    pub(crate) valid: Vec<Option<NullBuffer>>,
    /// As in [`super::distinct::Offered`].
    pub(crate) times: Option<Vec<i64>>,
}

impl Lists {
    /// Where the elements of a group end.
    pub(crate) fn end(&self, group: usize) -> usize {
        self.ends[group]
    }

    /// A column of lists, which hold the elements from `start` on up to the `ends`.
    ///
    /// # Errors
    /// If the elements are not of the set's type, which is a defect of ours.
    pub(crate) fn column(&self, set: &DistinctSpec, start: usize, ends: &[usize]) -> Result<ArrayRef, TaskError> {
        let end = ends.last().copied().unwrap_or(start);
        let elements = Elements {
            values: self.elements.values.slice(start, end - start),
            filters: self.elements.filters[start..end].to_vec(),
            times: self.elements.times.get(start..end).unwrap_or_default().to_vec(),
        };
        set.column_of(elements, ends.iter().map(|end| end - start))
    }
}

impl DistinctSpec {
    /// The entries of a first phase's set as lists of `groups` groups, which are the slots from 0 on.
    ///
    /// # Errors
    /// If the table's keys are not a group and a value, which is a defect of ours.
    pub(crate) fn lists(&self, table: &KeyedTable, groups: usize) -> Result<Lists, TaskError> {
        let entries: Vec<u32> = table.live_slots().collect();
        let mut keys = table.keys(&entries)?;
        let (Some(values), Some(of_group)) = (keys.pop(), keys.pop()) else {
            return Err(TaskError::internal(
                "a set of a local phase is not keyed by group and value",
            ));
        };
        let of_group = of_group.as_primitive::<Int32Type>().values();
        let mut starts = vec![0usize; groups + 1];
        for &group in of_group {
            starts[group as usize + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut sorted = vec![0u32; entries.len()];
        let mut next = starts.clone();
        for (entry, &group) in of_group.iter().enumerate() {
            sorted[next[group as usize]] = entry as u32;
            next[group as usize] += 1;
        }
        let (mut picked, mut filters, mut times) = (Vec::with_capacity(sorted.len()), vec![], vec![]);
        let mut ends = Vec::with_capacity(groups);
        for group in 0..groups {
            for &entry in &sorted[starts[group]..starts[group + 1]] {
                let slot = entries[entry as usize];
                if self.retracts {
                    for (mask, n) in self.changes(table, slot) {
                        picked.push(entry);
                        filters.push(mask);
                        times.push(n);
                    }
                } else {
                    picked.push(entry);
                    filters.push(self.mask(|filter| table.column::<bool>(filter).get(slot)));
                }
            }
            ends.push(picked.len());
        }
        let values = arrow_select::take::take(values.as_ref(), &UInt32Array::from(picked), None)?;
        Ok(Lists {
            elements: Elements { values, filters, times },
            ends,
        })
    }

    /// Filters and by how many a value's counts have changed under them; most values have one such pair.
    fn changes(&self, table: &KeyedTable, slot: u32) -> Vec<(i64, i64)> {
        let mut changes: Vec<(i64, i64)> = vec![];
        for filter in 0..self.filters.len() {
            let n = table.column::<i64>(filter).get(slot);
            match changes.iter_mut().find(|(_, times)| *times == n) {
                Some((mask, _)) => *mask |= 1 << filter,
                None if n == 0 => {}
                None => changes.push((1 << filter, n)),
            }
        }
        changes
    }

    /// A bit for each filter that holds.
    fn mask(&self, holds: impl Fn(usize) -> bool) -> i64 {
        (0..self.filters.len()).fold(0, |mask, filter| mask | i64::from(holds(filter)) << filter)
    }

    /// The filters under which each row of a batch counts, a bit each.
    pub(crate) fn masks(&self, columns: &[ArrayRef], rows: usize) -> Vec<i64> {
        let valid = self.valid(columns);
        let is_valid = |row: usize, filter: usize| valid[filter].as_ref().is_none_or(|v| v.is_valid(row));
        (0..rows).map(|row| self.mask(|filter| is_valid(row, filter))).collect()
    }

    /// The same of entries of a first phase's set, over input that only adds.
    pub(crate) fn masks_of(&self, table: &KeyedTable, slots: &[u32]) -> Vec<i64> {
        let mask = |slot: &u32| self.mask(|filter| table.column::<bool>(filter).get(*slot));
        slots.iter().map(mask).collect()
    }

    /// For each filter, the entries that count by their bits; as in [`Entries::valid`].
    pub(crate) fn counting(&self, masks: &[i64]) -> Vec<Option<NullBuffer>> {
        let all = self.mask(|_| true);
        if masks.iter().all(|mask| *mask == all) {
            return vec![None; self.filters.len()];
        }
        let counting = |filter: usize| masks.iter().map(|mask| mask >> filter & 1 == 1).collect::<Vec<_>>();
        (0..self.filters.len())
            .map(|filter| Some(counting(filter).into()))
            .collect()
    }

    /// Each row of a batch as a list of at most one element, for rows that are passed on as they come.
    ///
    /// # Errors
    /// As [`Lists::column`].
    pub(crate) fn row_lists(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        signs: Option<&[i64]>,
    ) -> Result<ArrayRef, TaskError> {
        let (mut picked, mut filters, mut ends) = (vec![], vec![], Vec::with_capacity(rows));
        for (row, mask) in self.masks(columns, rows).into_iter().enumerate() {
            if mask != 0 {
                picked.push(row as u32);
                filters.push(mask);
            }
            ends.push(picked.len());
        }
        let times = match self.retracts {
            true => picked.iter().map(|row| signs.map_or(1, |s| s[*row as usize])).collect(),
            false => vec![],
        };
        let values = arrow_select::take::take(columns[self.arg].as_ref(), &UInt32Array::from(picked), None)?;
        self.column_of(Elements { values, filters, times }, ends.into_iter())
    }

    fn column_of(&self, elements: Elements, ends: impl Iterator<Item = usize>) -> Result<ArrayRef, TaskError> {
        let DataType::List(element) = set_type(&self.ty, self.retracts).to_arrow() else {
            return Err(TaskError::internal("a set between the phases is no list"));
        };
        let DataType::Struct(fields) = element.data_type() else {
            return Err(TaskError::internal("a set between the phases is no list of rows"));
        };
        let mut columns: Vec<ArrayRef> = vec![elements.values, Arc::new(Int64Array::from(elements.filters))];
        if self.retracts {
            columns.push(Arc::new(Int64Array::from(elements.times)));
        }
        let rows = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets: Vec<i32> = std::iter::once(0).chain(ends.map(|end| end as i32)).collect();
        let lists = ListArray::try_new(element, OffsetBuffer::new(offsets.into()), Arc::new(rows), None)?;
        Ok(Arc::new(lists))
    }

    /// The entries of a column of lists.
    pub(crate) fn entries(&self, lists: &ArrayRef) -> Entries {
        let lists = lists.as_list::<i32>();
        let offsets = lists.value_offsets();
        let (start, end) = (offsets[0] as usize, offsets[lists.len()] as usize);
        let elements = lists.values().slice(start, end - start);
        let elements = elements.as_struct();
        let of_row = |row: usize| std::iter::repeat_n(row as u32, (offsets[row + 1] - offsets[row]) as usize);
        Entries {
            rows: (0..lists.len()).flat_map(of_row).collect::<Vec<_>>().into(),
            values: elements.column(0).clone(),
            valid: self.counting(elements.column(1).as_primitive::<Int64Type>().values()),
            times: self
                .retracts
                .then(|| elements.column(2).as_primitive::<Int64Type>().values().to_vec()),
        }
    }
}
