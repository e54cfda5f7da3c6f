//! Aggregates that keep values one by one: those whose value holds all of them ([`collect`], [`merge`]), FIRST_VALUE and
//! LAST_VALUE over input that retracts ([`retracted_edge`]), and LAG ([`lag`]).
//!
//! What a value's item ([`super::list`]) holds: a text as it is for LISTAGG and the JSON aggregates (whose arguments are JSON
//! already), a field of the row encoding for ARRAY_AGG and COLLECT, and the storage form for the others.

use super::argument::{Values, bytes_at};
use super::fold::Trace;
use super::list::{self, Entries, Shape, content_bytes, items};
use crate::operators::keyed_rows::row_encoder;
use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_buffer::NullBuffer;
use flott_core::encoding::RowEncoder;
use flott_runtime::TaskError;
use flott_state::KeyedTable;
use std::sync::Arc;

/// A list must not grow beyond: a row that holds it would not fit through any door.
const MAX_LIST_BYTES: usize = 256 * 1024 * 1024;
/// What JSON has for NULL.
const JSON_NULL: &[u8] = b"null";

/// How an aggregate keeps its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Texts: LISTAGG, JSON_ARRAYAGG.
    Texts,
    /// Any values: ARRAY_AGG.
    Fields,
    /// Any values with their counts: COLLECT.
    Bag,
    /// Pairs of texts: JSON_OBJECTAGG.
    Object,
}

impl Form {
    /// What the entries of its lists are.
    pub(crate) fn shape(self) -> Shape {
        match self {
            Self::Texts | Self::Fields => Shape::List,
            Self::Bag => Shape::Bag,
            Self::Object => Shape::Object,
        }
    }
}

/// The rows of one aggregate.
#[derive(Clone, Copy)]
pub(crate) struct Collected<'a> {
    /// Slot of each row.
    pub(crate) slots: &'a [u32],
    /// 1 or -1 a row; `None`: all rows add.
    pub(crate) signs: Option<&'a [i64]>,
    /// The first argument.
    pub(crate) values: &'a ArrayRef,
    /// The second one.
    pub(crate) others: Option<&'a ArrayRef>,
    /// Rows that count.
    pub(crate) valid: Option<&'a NullBuffer>,
}

impl Collected<'_> {
    fn counts(&self, row: usize) -> bool {
        self.valid.is_none_or(|v| v.is_valid(row))
    }

    fn is_added(&self, row: usize) -> bool {
        self.signs.is_none_or(|s| s[row] > 0)
    }
}

/// Makes items of a column.
enum ItemsOf<'a> {
    Texts(&'a ArrayRef),
    Fields(RowEncoder),
}

impl ItemsOf<'_> {
    fn item<'s>(&'s self, row: usize, out: &'s mut Vec<u8>) -> &'s [u8] {
        match self {
            Self::Texts(column) => text_at(column, row),
            Self::Fields(encoder) => {
                out.clear();
                encoder.encode(row, out);
                out
            }
        }
    }
}

fn text_at(column: &ArrayRef, row: usize) -> &[u8] {
    match column.is_null(row) {
        true => JSON_NULL,
        false => bytes_at(column, row),
    }
}

/// Puts values into the lists of their slots, or takes them out.
///
/// # Errors
/// If a list becomes too long, or an object gets a key twice or a NULL key.
pub(crate) fn collect(
    form: Form,
    table: &mut KeyedTable,
    column: usize,
    rows: Collected<'_>,
    mut trace: Option<&mut Trace>,
) -> Result<(), TaskError> {
    let source = match form {
        Form::Texts | Form::Object => ItemsOf::Texts(rows.values),
        Form::Fields | Form::Bag => ItemsOf::Fields(row_encoder(std::slice::from_ref(rows.values))?),
    };
    let (mut bytes, mut scratch) = (vec![], vec![]);
    for (row, &slot) in rows.slots.iter().enumerate() {
        if rows.counts(row) {
            let is_added = rows.is_added(row);
            if form == Form::Object && rows.values.is_null(row) {
                return Err(TaskError::data(
                    "JSON_OBJECTAGG got NULL as a key: leave such rows out with FILTER (WHERE key IS NOT NULL)",
                ));
            }
            let item = source.item(row, &mut bytes);
            let lists = table.bytes_column_mut(column);
            match (form, is_added) {
                (Form::Texts | Form::Fields, true) => list::push(lists, slot, item, &mut scratch),
                (Form::Texts | Form::Fields, false) => {
                    list::remove(lists, slot, item);
                }
                (Form::Bag, _) => list::count(lists, slot, item, if is_added { 1 } else { -1 }, &mut scratch),
                (Form::Object, true) => {
                    let value = rows.others.map_or(JSON_NULL, |others| text_at(others, row));
                    if !list::put(lists, slot, item, value, &mut scratch) {
                        return Err(duplicate(item));
                    }
                }
                (Form::Object, false) => list::take(lists, slot, item),
            }
            if is_added && lists.get(slot).is_some_and(|l| content_bytes(l) > MAX_LIST_BYTES) {
                return Err(too_long());
            }
        }
        if let Some(trace) = &mut trace {
            trace.note(table, column, slot);
        }
    }
    Ok(())
}

fn duplicate(key: &[u8]) -> TaskError {
    TaskError::data(format!(
        "JSON_OBJECTAGG got the key '{}' twice in one group: a JSON object has a key once, as in Flink; group by the key too, or \
         collect into JSON_ARRAYAGG",
        String::from_utf8_lossy(key)
    ))
}

pub(super) fn too_long() -> TaskError {
    TaskError::data(format!(
        "the values of one group exceed {} MiB: aggregate over less (a window, a narrower key, DISTINCT)",
        MAX_LIST_BYTES >> 20
    ))
}

/// Adds lists of partial rows to those of their slots.
///
/// # Errors
/// As [`collect`].
pub(crate) fn merge(
    form: Form,
    table: &mut KeyedTable,
    column: usize,
    slots: &[u32],
    partials: &BinaryArray,
) -> Result<(), TaskError> {
    let lists = table.bytes_column_mut(column);
    let mut scratch = vec![];
    for (row, &slot) in slots.iter().enumerate().filter(|(row, _)| partials.is_valid(*row)) {
        let partial = partials.value(row);
        let entries = Entries::of(Some(partial), form.shape());
        match form {
            Form::Texts | Form::Fields => list::join(lists, slot, partial, &mut scratch),
            Form::Bag => {
                for entry in entries {
                    list::count(lists, slot, entry.item, i64::from(entry.times), &mut scratch);
                }
            }
            Form::Object => {
                for entry in entries {
                    if !list::put(lists, slot, entry.item, entry.value, &mut scratch) {
                        return Err(duplicate(entry.item));
                    }
                }
            }
        }
        if lists.get(slot).is_some_and(|l| content_bytes(l) > MAX_LIST_BYTES) {
            return Err(too_long());
        }
    }
    Ok(())
}

/// FIRST_VALUE or LAST_VALUE over input that retracts: column `first` is kept at the edge of the list behind it.
pub(crate) fn retracted_edge(
    is_last: bool,
    table: &mut KeyedTable,
    first: usize,
    rows: Collected<'_>,
    mut trace: Option<&mut Trace>,
) {
    let values = Values::of(rows.values);
    let (mut item, mut scratch) = (vec![], vec![]);
    for (row, &slot) in rows.slots.iter().enumerate() {
        if rows.counts(row) {
            item.clear();
            store_item(&values, row, &mut item);
            if rows.is_added(row) {
                let is_alone = table.bytes_column(first + 1).get(slot).is_none();
                list::push(table.bytes_column_mut(first + 1), slot, &item, &mut scratch);
                if is_last || is_alone {
                    set_from_item(table, first, slot, &values, Some(&item));
                }
            } else if list::remove(table.bytes_column_mut(first + 1), slot, &item) {
                set_edge(is_last, table, first, slot, &values);
            }
        }
        if let Some(trace) = &mut trace {
            trace.note(table, first, slot);
        }
    }
}

/// Sets a slot to the first or last item of its list.
fn set_edge(is_last: bool, table: &mut KeyedTable, first: usize, slot: u32, values: &Values) {
    let edge = {
        let mut items = items(table.bytes_column(first + 1).get(slot));
        let edge = if is_last { items.last() } else { items.next() };
        edge.map(<[u8]>::to_vec)
    };
    set_from_item(table, first, slot, values, edge.as_deref());
}

/// LAG: column `first` is kept at the value so many rows back, or at the second argument of the row where there are fewer.
pub(crate) fn lag(
    offset: u64,
    table: &mut KeyedTable,
    first: usize,
    rows: Collected<'_>,
    mut trace: Option<&mut Trace>,
) {
    let values = Values::of(rows.values);
    let defaults = rows.others.map(Values::of);
    let held = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(1);
    let (mut item, mut scratch) = (vec![], vec![]);
    for (row, &slot) in rows.slots.iter().enumerate() {
        if rows.counts(row) {
            // A NULL is an empty item; others begin with a byte of their own.
            let of_row = |values: &Values, column: &ArrayRef, item: &mut Vec<u8>| {
                item.clear();
                if column.is_valid(row) {
                    item.push(1);
                    store_item(values, row, item);
                }
            };
            of_row(&values, rows.values, &mut item);
            let lists = table.bytes_column_mut(first + 1);
            list::push(lists, slot, &item, &mut scratch);
            let count = items(lists.get(slot)).count();
            if count > held {
                list::remove_first(lists, slot);
            }
            if count >= held {
                let earlier = items(table.bytes_column(first + 1).get(slot)).next();
                item = earlier.unwrap_or_default().to_vec();
            } else {
                match (&defaults, rows.others) {
                    (Some(defaults), Some(column)) => of_row(defaults, column, &mut item),
                    _ => item.clear(),
                }
            }
            set_from_item(table, first, slot, &values, item.get(1..));
        }
        if let Some(trace) = &mut trace {
            trace.note(table, first, slot);
        }
    }
}

/// Appends the storage form of a row's value.
fn store_item(values: &Values, row: usize, out: &mut Vec<u8>) {
    match values {
        Values::I64(v) => out.extend_from_slice(&v[row].to_le_bytes()),
        Values::F64(v) => out.extend_from_slice(&v[row].to_le_bytes()),
        Values::I128(v) => out.extend_from_slice(&v[row].to_le_bytes()),
        Values::Bytes(column) => out.extend_from_slice(bytes_at(column, row)),
        Values::Absent => {}
    }
}

/// Sets a state column to an item in storage form.
fn set_from_item(table: &mut KeyedTable, column: usize, slot: u32, form: &Values, item: Option<&[u8]>) {
    match form {
        Values::I64(_) => {
            let value = item.and_then(|b| b.try_into().ok()).map(i64::from_le_bytes);
            table.column_mut::<i64>(column).set_value(slot, value);
        }
        Values::F64(_) => {
            let value = item.and_then(|b| b.try_into().ok()).map(f64::from_le_bytes);
            table.column_mut::<f64>(column).set_value(slot, value);
        }
        Values::I128(_) => {
            let value = item.and_then(|b| b.try_into().ok()).map(i128::from_le_bytes);
            table.column_mut::<i128>(column).set_value(slot, value);
        }
        Values::Bytes(_) => table.bytes_column_mut(column).set(slot, item),
        Values::Absent => {}
    }
}

/// The values of a column as bytes of fields, NULL where they are.
///
/// # Errors
/// If values of this type have no row encoding, which is a defect of ours.
pub(crate) fn encoded_fields(column: &ArrayRef) -> Result<ArrayRef, TaskError> {
    let encoder = row_encoder(std::slice::from_ref(column))?;
    let mut builder = BinaryBuilder::new();
    let mut bytes = vec![];
    for row in 0..column.len() {
        bytes.clear();
        if column.is_valid(row) {
            encoder.encode(row, &mut bytes);
        }
        builder.append_option(column.is_valid(row).then_some(&bytes));
    }
    Ok(Arc::new(builder.finish()))
}

/// The lists of partial rows.
pub(crate) fn lists_of(column: &ArrayRef) -> Option<&BinaryArray> {
    column.as_binary_opt::<i32>()
}
