//! Rows as Flink prints them: `+I[a, 1]`.
//!
//! The text of each type is that of its Java class: `Double.toString`, `BigDecimal.toString`, `LocalDateTime.toString`
//! (seconds left out where they are zero), `Instant.toString`, `Period` and `Duration`; bytes print as numbers, arrays
//! as `[a, b]`, maps as `{k=v}`, nested rows as `+I[a, b]`, NULL as `null`.

use crate::cells::{Cells, Values, entries, text_bytes};
use crate::error::FormatError;
use crate::json::view;
use crate::text::decimal::write_java;
use crate::text::number::{DIGIT_PAIRS, write_f32, write_f64, write_i64};
use crate::text::time::{split_timestamp, write_date};
use flott_core::types::{Field, TypeKind};
use flott_core::{Batch, RowKind};

/// Prints the rows of a table with these columns.
#[derive(Debug, Clone)]
pub struct RowPrinter {
    columns: Vec<Field>,
}

impl RowPrinter {
    /// A printer for these columns.
    pub fn new(columns: Vec<Field>) -> Self {
        Self { columns }
    }

    /// Hands the text of each row of `batch`, without a line end, to `line`.
    ///
    /// # Errors
    /// If the batch has other columns.
    pub fn print(&self, batch: &Batch, mut line: impl FnMut(&[u8])) -> Result<(), FormatError> {
        let cells = view(&self.columns, batch.columns(), "print")?;
        let kinds: Vec<&TypeKind> = self.columns.iter().map(|c| &c.ty.kind).collect();
        let mut text = vec![];
        for row in 0..batch.num_rows() {
            text.clear();
            write_row(&mut text, batch.kind(row), &cells, &kinds, row);
            line(&text);
        }
        Ok(())
    }
}

fn write_row(out: &mut Vec<u8>, kind: RowKind, cells: &[Cells<'_>], kinds: &[&TypeKind], row: usize) {
    out.extend_from_slice(kind.short().as_bytes());
    out.push(b'[');
    for (i, (cell, kind)) in cells.iter().zip(kinds).enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write_cell(out, cell, kind, row);
    }
    out.push(b']');
}

fn write_cell(out: &mut Vec<u8>, cell: &Cells<'_>, kind: &TypeKind, row: usize) {
    if cell.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    match (&cell.values, kind) {
        (Values::Null, _) => out.extend_from_slice(b"null"),
        (Values::Boolean(v), _) => out.extend_from_slice(if v.value(row) { b"true" } else { b"false" }),
        (Values::Int8(v), _) => write_i64(out, v[row].into()),
        (Values::Int16(v), _) => write_i64(out, v[row].into()),
        (Values::Int32(v), TypeKind::IntervalYearMonth) => write_period(out, v[row]),
        (Values::Int32(v), _) => write_i64(out, v[row].into()),
        (Values::Int64(v), TypeKind::IntervalDayTime) => write_duration(out, v[row]),
        (Values::Int64(v), _) => write_i64(out, v[row]),
        (Values::Float32(v), _) => write_f32(out, v[row]),
        (Values::Float64(v), _) => write_f64(out, v[row]),
        (Values::Decimal { unscaled, scale }, _) => {
            let value = unscaled[row];
            write_java(out, value < 0, &value.unsigned_abs().to_string(), i32::from(*scale));
        }
        (Values::Text(v), _) => out.extend_from_slice(text_bytes(v, row)),
        (Values::Binary(v), _) => {
            write_list(out, v.value(row).iter(), |out, byte| {
                write_i64(out, i64::from(*byte as i8))
            });
        }
        (Values::Date(v), _) => write_date(out, v[row].into()),
        (Values::Time(v), _) => write_clock(out, i64::from(v[row]) * 1_000_000, false),
        (Values::Timestamp { values, unit, zoned }, _) => {
            let (days, nanos) = split_timestamp(values[row], *unit);
            write_date(out, days);
            out.push(b'T');
            write_clock(out, nanos, *zoned);
            if *zoned {
                out.push(b'Z');
            }
        }
        (Values::List { offsets, element }, TypeKind::Array(ty)) => {
            write_list(out, entries(offsets, row), |out, entry| {
                write_cell(out, element, &ty.kind, entry)
            });
        }
        (Values::Map { offsets, keys, values }, TypeKind::Map(k, v)) => {
            write_map(out, entries(offsets, row), (keys, &k.kind), (values, &v.kind));
        }
        (Values::Map { offsets, keys, values }, TypeKind::Multiset(k)) => {
            write_map(out, entries(offsets, row), (keys, &k.kind), (values, &TypeKind::Int));
        }
        (Values::Row(cells), TypeKind::Row(fields)) => {
            let kinds: Vec<&TypeKind> = fields.iter().map(|f| &f.ty.kind).collect();
            write_row(out, RowKind::Insert, cells, &kinds, row);
        }
        // The view has checked that layout and type agree.
        (Values::List { .. } | Values::Map { .. } | Values::Row(_), _) => {}
    }
}

fn write_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write(out, item);
    }
    out.push(b']');
}

fn write_map(
    out: &mut Vec<u8>,
    entries: std::ops::Range<usize>,
    (keys, key_kind): (&Cells<'_>, &TypeKind),
    (values, value_kind): (&Cells<'_>, &TypeKind),
) {
    out.push(b'{');
    for (i, entry) in entries.enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write_cell(out, keys, key_kind, entry);
        out.push(b'=');
        write_cell(out, values, value_kind, entry);
    }
    out.push(b'}');
}

/// `HH:mm[:ss[.fraction]]`, the fraction in groups of three digits; seconds always where `full`.
fn write_clock(out: &mut Vec<u8>, nanos_of_day: i64, full: bool) {
    let seconds = nanos_of_day / 1_000_000_000;
    let nanos = nanos_of_day % 1_000_000_000;
    let mut pair = |value: i64, before: &[u8]| {
        let at = value as usize * 2;
        out.extend_from_slice(before);
        out.extend_from_slice(&DIGIT_PAIRS[at..at + 2]);
    };
    pair(seconds / 3600, b"");
    pair(seconds / 60 % 60, b":");
    if full || seconds % 60 != 0 || nanos != 0 {
        pair(seconds % 60, b":");
    }
    if nanos != 0 {
        let digits = format!(".{nanos:09}");
        let length = if nanos % 1_000_000 == 0 {
            4
        } else if nanos % 1_000 == 0 {
            7
        } else {
            10
        };
        out.extend_from_slice(&digits.as_bytes()[..length]);
    }
}

/// `java.time.Period` of months, which are not made into years.
fn write_period(out: &mut Vec<u8>, months: i32) {
    out.push(b'P');
    if months == 0 {
        return out.extend_from_slice(b"0D");
    }
    write_i64(out, months.into());
    out.push(b'M');
}

/// `java.time.Duration` of milliseconds.
fn write_duration(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(b"PT");
    if ms == 0 {
        return out.extend_from_slice(b"0S");
    }
    let (hours, minutes, rest_ms) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    for (value, unit) in [(hours, b'H'), (minutes, b'M')] {
        if value != 0 {
            write_i64(out, value);
            out.push(unit);
        }
    }
    if rest_ms != 0 {
        if rest_ms < 0 && rest_ms > -1000 {
            out.push(b'-');
        }
        write_i64(out, rest_ms / 1000);
        if rest_ms % 1000 != 0 {
            let digits = format!(".{:03}", (rest_ms % 1000).abs());
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
        out.push(b'S');
    }
}
