//! Aggregates over keyed state: [`Aggregates`], the accumulators of one operator as columns of one table.
//!
//! ```text
//! batch ──slots(keys)──> slot per row ──accumulate──> state columns of the slots ──finish──> values
//!                                     └─merge (partial rows of a local phase)─┘  └─partials─> rows for a global phase
//! ```
//!
//! An aggregate is one or two state columns ([`crate::nodes::partial_columns`]: the same columns flow between the phases)
//! and a last step that turns them into its value ([`result`]). All work is per batch and column; nothing is boxed per
//! key. Rules, Flink's unless said otherwise:
//!
//! * COUNT of nothing is 0; SUM, AVG, MIN, MAX of nothing are NULL; NULLs and rows that FILTER rejects do not count.
//! * Integer sums wrap in the argument's type; AVG of integers is cut to a whole number; FLOAT is summed as FLOAT.
//! * A DECIMAL sum beyond 38 digits is NULL for good (Flink starts anew at the next row: [`fold::DECIMAL_OVERFLOW`]).
//! * Over input that retracts, SUM and AVG count their values, and are NULL again when none is left; MIN and MAX keep
//!   all values with their counts ([`distinct`]) in order ([`extreme`]); where rows leave in the order in which they came,
//!   only values that can still be the one that counts are kept, of FIRST_VALUE and LAST_VALUE too ([`sliding`]).
//! * DISTINCT aggregates of one argument share one set of values ([`distinct`]).
//! * Values that are as long as they like are told in pieces that have room ([`room`]).
//! * LISTAGG, ARRAY_AGG, COLLECT and the JSON aggregates keep their values one by one ([`collect`]); so do FIRST_VALUE and
//!   LAST_VALUE over input that retracts, and LAG.

pub(crate) mod argument;
mod bind;
pub(crate) mod collect;
pub(crate) mod distinct;
mod edges;
pub(crate) mod extreme;
pub(crate) mod fold;
pub(crate) mod list;
pub(crate) mod lists;
pub(crate) mod result;
pub(crate) mod reverse;
pub(crate) mod room;
pub(crate) mod sliding;

#[cfg(test)]
mod tests;

use self::argument::{Values, valid_rows};
use self::collect::{Collected, Form, encoded_fields, lists_of};
use self::distinct::{DistinctSpec, Offered, Passed};
use self::edges::{edge, extreme};
use self::extreme::OrderedValues;
use self::fold::{Trace, count, count_through, decimal_plus, float_plus, fold, gather_bytes, hidden, int64};
use self::list::Shape;
use self::result::{Finish, cast_storage, finish};
use self::sliding::{SlidingValues, Wanted};
use crate::nodes::{AggregateCall, SpecError, partial_columns};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BinaryArray, Decimal128Array, Float64Array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;
use arrow_select::take::take;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::{Field, LogicalType, TypeKind};
use flott_runtime::TaskError;
use flott_state::KeyedTable;
use std::sync::Arc;

/// Whether state columns hold a group's whole content or what one input batch adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The only or the second phase: content.
    Whole,
    /// The first of two phases: additions.
    Local,
    /// The content of frames: rows leave in the order in which they came.
    Frame,
}

/// Which kernel an aggregate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Count,
    /// Sum, with a counter behind it where it is `counted`.
    Sum {
        counted: bool,
    },
    Extreme {
        is_max: bool,
    },
    /// MIN or MAX over input that retracts: taken from the ordered values.
    RetractedExtreme {
        is_max: bool,
    },
    /// MIN, MAX, FIRST_VALUE or LAST_VALUE of frames: taken from what slides through them.
    Sliding {
        wanted: Wanted,
    },
    /// FIRST_VALUE or LAST_VALUE.
    Edge {
        is_last: bool,
    },
    /// The same over input that retracts: taken from the list behind it.
    RetractedEdge {
        is_last: bool,
    },
    Lag {
        offset: u64,
    },
    Collected(Form),
}

/// One aggregate, bound to columns.
#[derive(Debug)]
struct Bound {
    kernel: Kernel,
    arg: Option<usize>,
    second: Option<usize>,
    /// The argument whose NULLs do not count.
    counted: Option<usize>,
    /// The argument is a ROW or a collection, which goes as the bytes of a field.
    is_nested: bool,
    filter: Option<usize>,
    /// Which set of values it is computed from, and which of the set's filters: index into [`Aggregates::distinct`].
    distinct: Option<(usize, usize)>,
    /// Which ordered values a [`Kernel::RetractedExtreme`] takes its value from.
    ordered: Option<usize>,
    /// FLOAT, which is summed in its own precision.
    is_float: bool,
    /// First state column.
    first: usize,
    /// State columns.
    width: usize,
    finish: Finish,
    ty: LogicalType,
}

impl Bound {
    /// Which of many values counts.
    fn wanted(&self) -> Wanted {
        match self.kernel {
            Kernel::Sliding { wanted } => wanted,
            Kernel::RetractedExtreme { is_max: true } => Wanted::Max,
            _ => Wanted::Min,
        }
    }

    /// FIRST_VALUE or LAST_VALUE of frames, behind which other plans have a list.
    fn is_sliding_edge(&self) -> bool {
        matches!(self.kernel, Kernel::Sliding { .. }) && self.width == 2
    }
}

/// A state column's storage.
#[derive(Debug, Clone)]
struct Stored {
    name: String,
    ty: ColumnType,
    nullable: bool,
    /// Type of the partial column.
    partial: LogicalType,
    /// No value is made of it.
    is_hidden: bool,
}

/// The rows of one batch on their way into a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Slot of each row.
    pub(crate) slots: &'a [u32],
    /// The batch's columns.
    pub(crate) columns: &'a [ArrayRef],
    /// 1 or -1 a row; `None`: all rows add.
    pub(crate) signs: Option<&'a [i64]>,
    /// For each distinct set, what passed it.
    pub(crate) passed: &'a [Passed],
}

/// The rows of one aggregate.
#[derive(Clone, Copy)]
struct Input<'a> {
    slots: &'a [u32],
    signs: Option<&'a [i64]>,
    arg: Option<&'a ArrayRef>,
    second: Option<&'a ArrayRef>,
    valid: Option<&'a NullBuffer>,
}

/// The accumulators of an operator.
#[derive(Debug)]
pub(crate) struct Aggregates {
    bound: Vec<Bound>,
    stored: Vec<Stored>,
    /// State columns that flow between the phases: all but the row counter of a phase whose state expires.
    partial_width: usize,
    distinct: Vec<DistinctSpec>,
    /// State column that counts the rows of a group, over input that retracts or expires.
    row_count: Option<usize>,
    phase: Phase,
}

impl Aggregates {
    /// Binds `calls` over rows of `input`. `counts_rows`: whether the number of rows of a group must be known, because the
    /// input retracts or state expires; `input_retracts`: whether rows can be taken back.
    ///
    /// # Errors
    /// If a call cannot run in this phase.
    pub(crate) fn new(
        input: &[Field],
        calls: &[AggregateCall],
        input_retracts: bool,
        counts_rows: bool,
        phase: Phase,
    ) -> Result<Self, SpecError> {
        let mut this = Self {
            bound: vec![],
            stored: vec![],
            partial_width: 0,
            distinct: vec![],
            row_count: None,
            phase,
        };
        let partial = partial_columns(input, calls, input_retracts);
        this.partial_width = partial.len();
        let mut column = 0;
        for call in calls {
            let bound = this.bind(input, call, input_retracts, column)?;
            column += bound.width;
            this.bound.push(bound);
        }
        for p in &partial {
            this.stored.push(stored(&p.name, &p.ty));
        }
        for bound in &this.bound {
            let has_list = matches!(bound.kernel, Kernel::RetractedEdge { .. } | Kernel::Lag { .. });
            if has_list || bound.is_sliding_edge() {
                this.stored[bound.first + 1].is_hidden = true;
            }
        }
        if counts_rows {
            let of_call = calls
                .iter()
                .position(AggregateCall::is_row_count)
                .map(|i| this.bound[i].first);
            if of_call.is_none() && !input_retracts {
                this.stored
                    .push(stored("count1", &LogicalType::not_null(TypeKind::BigInt)));
            }
            this.row_count = Some(of_call.unwrap_or(this.stored.len() - 1));
        }
        Ok(this)
    }

    /// The table that holds the state of these aggregates by keys of these types.
    pub(crate) fn descriptor(&self, name: &str, key: Vec<LogicalType>) -> TableDescriptor {
        self.stored
            .iter()
            .fold(TableDescriptor::new(name, key), |table, column| {
                if column.nullable {
                    table.nullable(&column.name, column.ty)
                } else {
                    table.column(&column.name, column.ty)
                }
            })
    }

    /// The sets of distinct values that the aggregates share.
    pub(crate) fn distinct(&self) -> &[DistinctSpec] {
        &self.distinct
    }

    /// The partial columns of aggregates that are not computed from distinct values.
    pub(crate) fn plain_columns(&self) -> Vec<usize> {
        let plain = self.bound.iter().filter(|b| b.distinct.is_none());
        plain.flat_map(|b| b.first..b.first + b.width).collect()
    }

    /// The state column that counts the rows of a group, if they are counted.
    pub(crate) fn row_count(&self) -> Option<usize> {
        self.row_count
    }

    /// Empty ordered values for each MIN and MAX over input that retracts; `input` gives the arguments' types.
    pub(crate) fn ordered(&self, input: &[Field]) -> Vec<OrderedValues> {
        let ordered = self.bound.iter().filter(|b| b.ordered.is_some());
        let empty = |b: &Bound| match b.arg {
            Some(arg) if !b.is_nested => Values::of(&arrow_array::new_empty_array(&input[arg].ty.to_arrow())),
            _ => Values::of(&arrow_array::new_empty_array(&DataType::Binary)),
        };
        ordered
            .map(|b| match b.kernel {
                Kernel::Sliding { .. } => OrderedValues::Sliding(SlidingValues::like(&empty(b))),
                _ => OrderedValues::like(&empty(b)),
            })
            .collect()
    }

    /// Fills the ordered values of frames from their rows, in the order in which they came.
    ///
    /// # Errors
    /// If values of an argument have no row encoding, which is a defect of ours.
    pub(crate) fn load_frames(
        &self,
        ordered: &mut [OrderedValues],
        slots: &[u32],
        columns: &[ArrayRef],
    ) -> Result<(), TaskError> {
        for bound in &self.bound {
            if let (Kernel::Sliding { wanted }, Some(arg), Some(place)) = (bound.kernel, bound.arg, bound.ordered)
                && let OrderedValues::Sliding(values) = &mut ordered[place]
            {
                let valid = valid_rows(Some(&columns[arg]), bound.filter.map(|f| &columns[f]));
                let argument = match bound.is_nested {
                    true => encoded_fields(&columns[arg])?,
                    false => columns[arg].clone(),
                };
                values.load(slots, &argument, valid.as_ref(), wanted);
            }
        }
        Ok(())
    }

    /// Whether values of set `set` are ordered.
    pub(crate) fn has_ordered(&self, set: usize) -> bool {
        let is_of_set = |b: &Bound| b.ordered.is_some() && b.distinct.is_some_and(|(of, _)| of == set);
        self.bound.iter().any(is_of_set)
    }

    /// Fills ordered values from entries of set `set`: the groups' slots, the values, and which are there by filter.
    pub(crate) fn load_ordered(
        &self,
        ordered: &mut [OrderedValues],
        set: usize,
        slots: &[u32],
        values: &ArrayRef,
        present: &[NullBuffer],
    ) {
        for bound in &self.bound {
            if let (Some(place), Some((of, filter))) = (bound.ordered, bound.distinct)
                && of == set
            {
                ordered[place].load(slots, values, &present[filter]);
            }
        }
    }

    /// An empty trace a state column; those of bytes note the content behind `noted` rows only (`None`: behind all).
    pub(crate) fn traces(&self, rows: usize, noted: Option<&BooleanBuffer>) -> Vec<Trace> {
        let trace = |c: &Stored| match c.ty {
            _ if c.is_hidden => Trace::Hidden,
            ColumnType::F64 => Trace::f64(rows),
            ColumnType::I128 => Trace::i128(rows),
            ColumnType::Bytes => Trace::bytes(noted),
            ColumnType::I64 | ColumnType::Bool => Trace::i64(rows),
        };
        self.stored.iter().map(trace).collect()
    }

    /// Adds rows of the input to the state. The row counter, if there is one, is the caller's (see [`Self::row_count`]).
    ///
    /// With `traces` (one a state column) the content after each row is noted, except the row counter's. A first phase
    /// leaves out what is computed from distinct values: they are not put together yet.
    ///
    /// # Errors
    /// If a value cannot be collected ([`collect::collect`]).
    pub(crate) fn accumulate(
        &self,
        table: &mut KeyedTable,
        rows: Rows<'_>,
        ordered: &mut [OrderedValues],
        mut traces: Option<&mut [Trace]>,
    ) -> Result<(), TaskError> {
        for bound in &self.bound {
            let is_left_out = self.phase == Phase::Local && bound.distinct.is_some();
            if self.row_count == Some(bound.first) || is_left_out {
                continue;
            }
            let (value_trace, count_trace) = match &mut traces {
                Some(traces) => {
                    let (head, tail) = traces.split_at_mut(bound.first + 1);
                    (head.last_mut(), tail.first_mut().filter(|_| bound.width == 2))
                }
                None => (None, None),
            };
            let arg = bound.arg.map(|a| &rows.columns[a]);
            let valid = match bound.distinct {
                Some((set, filter)) => Some(rows.passed[set].rows(filter).clone()),
                None => valid_rows(
                    bound.counted.map(|c| &rows.columns[c]),
                    bound.filter.map(|f| &rows.columns[f]),
                ),
            };
            let input = Input {
                slots: rows.slots,
                signs: rows.signs,
                arg,
                second: bound.second.map(|a| &rows.columns[a]),
                valid: valid.as_ref(),
            };
            self.accumulate_one(bound, table, input, ordered, value_trace, count_trace)?;
        }
        Ok(())
    }

    /// Adds values that passed distinct set `set` to the aggregates that are computed from it, and to no others; `signs`
    /// are 1 or -1 a value, as in [`Rows`].
    ///
    /// # Errors
    /// As [`Self::accumulate`].
    pub(crate) fn accumulate_distinct(
        &self,
        table: &mut KeyedTable,
        set: usize,
        slots: &[u32],
        values: &ArrayRef,
        signs: Option<&[i64]>,
        passed: &Passed,
    ) -> Result<(), TaskError> {
        for bound in &self.bound {
            if let Some((of, filter)) = bound.distinct
                && of == set
            {
                let input = Input {
                    slots,
                    signs,
                    arg: Some(values),
                    second: None,
                    valid: Some(passed.rows(filter)),
                };
                self.accumulate_one(bound, table, input, &mut [], None, None)?;
            }
        }
        Ok(())
    }

    /// Lets MIN and MAX over input that retracts meet the values of set `set` that are `present`, without taking any back:
    /// for windows, which ask for them once. [`Self::accumulate`] without ordered values leaves them alone.
    pub(crate) fn settle_extremes(
        &self,
        table: &mut KeyedTable,
        set: usize,
        slots: &[u32],
        values: &ArrayRef,
        present: &[NullBuffer],
    ) {
        for bound in &self.bound {
            if let (Kernel::RetractedExtreme { is_max }, Some((of, filter))) = (bound.kernel, bound.distinct)
                && of == set
            {
                let valid = Some(&present[filter]);
                extreme(table, bound.first, slots, &Values::of(values), valid, is_max, None);
            }
        }
    }

    /// Forgets MIN and MAX of `slots` that [`Self::settle_extremes`] has found, to find them anew.
    pub(crate) fn unsettle_extremes(&self, table: &mut KeyedTable, slots: &[u32]) {
        let retracted = |b: &&Bound| matches!(b.kernel, Kernel::RetractedExtreme { .. });
        for bound in self.bound.iter().filter(retracted) {
            slots.iter().for_each(|slot| self.unset(table, bound.first, *slot));
        }
    }

    /// Makes a state column of a slot NULL.
    pub(crate) fn unset(&self, table: &mut KeyedTable, column: usize, slot: u32) {
        match self.stored[column].ty {
            ColumnType::F64 => table.column_mut::<f64>(column).set_value(slot, None),
            ColumnType::I128 => table.column_mut::<i128>(column).set_value(slot, None),
            ColumnType::Bytes => table.bytes_column_mut(column).set(slot, None),
            ColumnType::I64 | ColumnType::Bool => table.column_mut::<i64>(column).set_value(slot, None),
        }
    }

    fn accumulate_one(
        &self,
        bound: &Bound,
        table: &mut KeyedTable,
        input: Input<'_>,
        ordered: &mut [OrderedValues],
        trace: Option<&mut Trace>,
        count_trace: Option<&mut Trace>,
    ) -> Result<(), TaskError> {
        let Input {
            slots,
            signs,
            arg,
            second,
            valid,
        } = input;
        let nested = match arg {
            Some(arg) if bound.is_nested => Some(encoded_fields(arg)?),
            _ => None,
        };
        let arg = nested.as_ref().or(arg);
        let collected = arg.map(|values| Collected {
            slots,
            signs,
            values,
            others: second,
            valid,
        });
        match bound.kernel {
            Kernel::Count => {
                count(
                    table.column_mut::<i64>(bound.first),
                    slots,
                    signs,
                    valid,
                    trace.and_then(Trace::as_i64),
                );
            }
            Kernel::Sum { counted } => {
                let values = arg.map_or(Values::Absent, Values::of).signed(signs);
                let counts_after =
                    counted.then(|| count_through(table.column_mut::<i64>(bound.first + 1), slots, signs, valid));
                // Only content can become empty; an addition of nothing may be what a retraction leaves.
                let zeroes = counts_after
                    .as_deref()
                    .filter(|_| signs.is_some() && self.phase != Phase::Local);
                self.sum(bound, table, slots, &values, valid, zeroes, trace);
                if let (Some(Trace::I64(trace)), Some(counts)) = (count_trace, counts_after) {
                    trace.extend(counts);
                }
            }
            Kernel::Extreme { is_max } => {
                let values = arg.map_or(Values::Absent, Values::of);
                extreme(table, bound.first, slots, &values, valid, is_max, trace);
            }
            Kernel::RetractedExtreme { .. } | Kernel::Sliding { .. } => {
                if let (Some(arg), Some(ordered)) = (arg, bound.ordered.and_then(|place| ordered.get_mut(place))) {
                    ordered.apply(table, bound.first, slots, signs, arg, valid, bound.wanted(), trace);
                }
            }
            Kernel::Edge { is_last } => {
                let values = arg.map_or(Values::Absent, Values::of);
                edge(table, bound.first, slots, &values, valid, is_last, trace);
            }
            Kernel::RetractedEdge { is_last } => {
                if let Some(rows) = collected {
                    collect::retracted_edge(is_last, table, bound.first, rows, trace);
                }
            }
            Kernel::Lag { offset } => {
                if let Some(rows) = collected {
                    collect::lag(offset, table, bound.first, rows, trace);
                }
            }
            Kernel::Collected(form) => {
                if let Some(rows) = collected {
                    collect::collect(form, table, bound.first, rows, trace)?;
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "parallel slices of one kernel")]
    fn sum(
        &self,
        bound: &Bound,
        table: &mut KeyedTable,
        slots: &[u32],
        values: &Values,
        valid: Option<&NullBuffer>,
        zeroes: Option<&[i64]>,
        trace: Option<&mut Trace>,
    ) {
        match values {
            Values::I64(values) => {
                let column = table.column_mut::<i64>(bound.first);
                let trace = trace.and_then(Trace::as_i64);
                if trace.is_none() && zeroes.is_none() {
                    column.add(slots, values, valid);
                } else {
                    fold(column, slots, values, valid, zeroes, i64::wrapping_add, trace);
                }
            }
            Values::F64(values) => {
                let plus = if bound.is_float { float_plus } else { |a, b| a + b };
                let trace = trace.and_then(Trace::as_f64);
                fold(
                    table.column_mut::<f64>(bound.first),
                    slots,
                    values,
                    valid,
                    zeroes,
                    plus,
                    trace,
                );
            }
            Values::I128(values) => {
                let trace = trace.and_then(Trace::as_i128);
                fold(
                    table.column_mut::<i128>(bound.first),
                    slots,
                    values,
                    valid,
                    zeroes,
                    decimal_plus,
                    trace,
                );
            }
            Values::Bytes(_) | Values::Absent => {}
        }
    }

    /// Adds partial rows (columns in the order of [`Self::partials`]) to the state, the row counter included. Aggregates
    /// over distinct values are left out: their partial rows cannot be added up ([`Self::merge_lists`]).
    ///
    /// # Errors
    /// As [`Self::accumulate`], or if an aggregate's partial rows cannot be put together.
    pub(crate) fn merge(&self, table: &mut KeyedTable, slots: &[u32], partials: &[ArrayRef]) -> Result<(), TaskError> {
        for bound in self.bound.iter().filter(|b| b.distinct.is_none()) {
            let column = &partials[bound.first];
            let valid = column.nulls().filter(|n| n.null_count() > 0);
            match bound.kernel {
                Kernel::Count => add_counts(table, bound.first, slots, column),
                Kernel::Sum { counted } => {
                    let counts_after = counted.then(|| {
                        let deltas = partials[bound.first + 1].as_primitive::<Int64Type>();
                        count_through(
                            table.column_mut::<i64>(bound.first + 1),
                            slots,
                            Some(deltas.values()),
                            None,
                        )
                    });
                    self.sum(
                        bound,
                        table,
                        slots,
                        &Values::of(column),
                        valid,
                        counts_after.as_deref(),
                        None,
                    );
                }
                Kernel::Extreme { is_max } | Kernel::RetractedExtreme { is_max } => {
                    extreme(table, bound.first, slots, &Values::of(column), valid, is_max, None);
                }
                Kernel::Collected(form) => {
                    if let Some(lists) = lists_of(column) {
                        collect::merge(form, table, bound.first, slots, lists)?;
                    }
                }
                Kernel::Edge { .. } | Kernel::RetractedEdge { .. } | Kernel::Lag { .. } | Kernel::Sliding { .. } => {
                    return Err(TaskError::internal(
                        "FIRST_VALUE, LAST_VALUE and LAG have no partial rows, but the plan puts some together",
                    ));
                }
            }
        }
        if let Some(counter) = self.hidden_row_count() {
            match partials.get(counter).filter(|_| counter < self.partial_width) {
                Some(counts) => add_counts(table, counter, slots, counts),
                // Only whether there are rows matters where state expires.
                None => count(table.column_mut::<i64>(counter), slots, None, None, None),
            }
        }
        Ok(())
    }

    /// Puts the distinct values of partial rows (columns in the order of [`Self::partials`], then the lists) into the
    /// sets, and those that were not there into the state. `keys` and `hashes` are those of the rows' groups.
    ///
    /// # Errors
    /// If a set refuses the keys.
    pub(crate) fn merge_lists(
        &self,
        table: &mut KeyedTable,
        sets: &mut [&mut KeyedTable],
        slots: &[u32],
        (keys, hashes): (&[ArrayRef], &[u64]),
        partials: &[ArrayRef],
    ) -> Result<(), TaskError> {
        for (index, (set, of_set)) in self.distinct.iter().zip(sets).enumerate() {
            let entries = set.entries(&partials[self.partial_width + index]);
            if entries.rows.is_empty() {
                continue;
            }
            let rows = entries.rows.values();
            let keys = keys.iter().map(|key| take(key.as_ref(), &entries.rows, None));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            let hashes: Vec<u64> = rows.iter().map(|row| hashes[*row as usize]).collect();
            let offered = Offered {
                keys: &keys,
                hashes: &hashes,
                values: &entries.values,
                valid: &entries.valid,
                signs: entries.times.as_deref(),
            };
            let passed = set.pass(of_set, offered)?;
            let slots: Vec<u32> = rows.iter().map(|row| slots[*row as usize]).collect();
            let signs: Option<Vec<i64>> = entries.times.map(|t| t.iter().map(|t| t.signum()).collect());
            self.accumulate_distinct(table, index, &slots, &entries.values, signs.as_deref(), &passed)?;
        }
        Ok(())
    }

    /// The row counter that is no aggregate's own column.
    fn hidden_row_count(&self) -> Option<usize> {
        self.row_count.filter(|c| self.bound.iter().all(|b| b.first != *c))
    }

    /// Adds to the row counter of a local phase, or of a phase without changelog.
    pub(crate) fn count_rows(&self, table: &mut KeyedTable, slots: &[u32], signs: Option<&[i64]>) {
        if let Some(counter) = self.row_count {
            count(table.column_mut::<i64>(counter), slots, signs, None, None);
        }
    }

    /// The state columns of `slots` in storage form.
    ///
    /// # Errors
    /// If texts or lists are too large together.
    pub(crate) fn gather(&self, table: &KeyedTable, slots: &[u32]) -> Result<Vec<ArrayRef>, TaskError> {
        self.gather_columns(table, slots, false)
    }

    /// As [`Self::gather`], without what no value is made of: for [`Self::finish`].
    ///
    /// # Errors
    /// As [`Self::gather`].
    pub(crate) fn gather_shown(&self, table: &KeyedTable, slots: &[u32]) -> Result<Vec<ArrayRef>, TaskError> {
        self.gather_columns(table, slots, true)
    }

    fn gather_columns(&self, table: &KeyedTable, slots: &[u32], hides: bool) -> Result<Vec<ArrayRef>, TaskError> {
        let gather = |(i, stored): (usize, &Stored)| -> Result<ArrayRef, TaskError> {
            Ok(match stored.ty {
                _ if hides && stored.is_hidden => hidden(),
                ColumnType::F64 => {
                    let (values, nulls) = table.column::<f64>(i).gather(slots);
                    Arc::new(Float64Array::new(values.into(), nulls))
                }
                ColumnType::I128 => {
                    let (values, nulls) = table.column::<i128>(i).gather(slots);
                    Arc::new(Decimal128Array::new(values.into(), nulls))
                }
                ColumnType::Bytes => gather_bytes(table.bytes_column(i), slots)?,
                ColumnType::I64 | ColumnType::Bool => {
                    let (values, nulls) = table.column::<i64>(i).gather(slots);
                    int64(values, nulls)
                }
            })
        };
        self.stored.iter().enumerate().map(gather).collect()
    }

    /// The state columns of `slots` as the columns that flow between the phases: lists without what finds items in them.
    ///
    /// # Errors
    /// As [`Self::gather`].
    pub(crate) fn partials(&self, table: &KeyedTable, slots: &[u32]) -> Result<Vec<ArrayRef>, TaskError> {
        let mut state = self.gather(table, slots)?;
        for bound in &self.bound {
            if let Kernel::Collected(form) = bound.kernel {
                plain_lists(&mut state[bound.first], form.shape());
            }
        }
        let columns = state.iter().zip(&self.stored).take(self.partial_width);
        Ok(columns
            .map(|(column, s)| cast_storage(column, &s.partial.to_arrow()))
            .collect())
    }

    /// The aggregates' values, from state columns in storage form.
    ///
    /// # Errors
    /// If a text becomes too long, or all of them together.
    pub(crate) fn finish(&self, state: &[ArrayRef]) -> Result<Vec<ArrayRef>, TaskError> {
        let value = |b: &Bound| finish(&b.finish, &state[b.first..b.first + b.width], &b.ty);
        self.bound.iter().map(value).collect()
    }

    /// The aggregates' values of `slots`.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub(crate) fn values(&self, table: &KeyedTable, slots: &[u32]) -> Result<Vec<ArrayRef>, TaskError> {
        self.finish(&self.gather_shown(table, slots)?)
    }
}

/// Takes the indices out of a column of lists.
fn plain_lists(column: &mut ArrayRef, shape: Shape) {
    let Some(lists) = lists_of(column) else { return };
    let plain = |list: Option<&[u8]>| list.map(|list| list::plain(list, shape).unwrap_or_else(|| list.to_vec()));
    if lists.iter().flatten().any(list::is_indexed) {
        *column = Arc::new(lists.iter().map(plain).collect::<BinaryArray>());
    }
}

fn stored(name: &str, ty: &LogicalType) -> Stored {
    let storage = match &ty.kind {
        TypeKind::Double => ColumnType::F64,
        TypeKind::Decimal(..) => ColumnType::I128,
        t if t.is_string() || t.is_binary() => ColumnType::Bytes,
        _ => ColumnType::I64,
    };
    Stored {
        name: name.to_owned(),
        ty: storage,
        nullable: ty.nullable,
        partial: ty.clone(),
        is_hidden: false,
    }
}

fn add_counts(table: &mut KeyedTable, column: usize, slots: &[u32], deltas: &ArrayRef) {
    let deltas = deltas.as_primitive::<Int64Type>().values();
    table.column_mut::<i64>(column).add(slots, deltas, None);
}
