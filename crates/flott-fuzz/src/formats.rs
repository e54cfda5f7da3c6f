//! The formats: bytes to columns, columns to bytes, and back.
//!
//! Rules, for every format: a column is whole; a projection gives the same columns; a block read in two pieces gives the
//! same rows and the same bad lines as in one; what was written reads back and is written alike. For JSON the model of
//! [`crate::json_model`] judges too.

use crate::json_model::{Verdict, judge, of_column};
use crate::schema::{self, Input, check_columns};
use arrow_array::ArrayRef;
use flott_core::{Options, TypeKind};
use flott_formats::{Decoder, EncodedRows, LineLimits, decoder, encoder};

/// Rows of a decoder.
struct Rows {
    columns: Vec<ArrayRef>,
    kinds: Option<Vec<u8>>,
    count: usize,
}

fn take(decoder: &mut dyn Decoder) -> Rows {
    let count = decoder.rows();
    let kinds = decoder.take_kinds();
    let columns = decoder.finish();
    assert!(kinds.as_ref().is_none_or(|k| k.len() == count), "a kind a row");
    assert_eq!(decoder.rows(), 0, "a finished decoder is empty");
    check_columns(&columns, count);
    Rows { columns, kinds, count }
}

fn is_on(options: &Options, key: &str) -> bool {
    options.get(key).is_some_and(|v| v.eq_ignore_ascii_case("true"))
}

/// Reads the body as one message, by the rules that all formats share.
fn message(format: &'static str, input: &Input<'_>) -> Option<(Result<usize, String>, Rows)> {
    let Input { columns, options, body } = input;
    let mut reader = decoder(format, options, columns, columns).ok()?;
    let read = reader.decode(body).map_err(|e| {
        assert!(e.excerpt.len() <= flott_formats::EXCERPT_BYTES, "a short excerpt");
        e.to_string()
    });
    let rows = take(reader.as_mut());
    assert_eq!(read.clone().unwrap_or(0), rows.count, "rows that decode promised");
    if read.is_ok() {
        let some: Vec<_> = columns.iter().step_by(2).cloned().collect();
        if let Ok(mut reader) = decoder(format, options, columns, &some) {
            let count = reader.decode(body).expect("what reads whole reads projected");
            let projected = take(reader.as_mut());
            assert_eq!(count, rows.count, "a projection has the same rows");
            for (one, other) in projected.columns.iter().zip(rows.columns.iter().step_by(2)) {
                assert_eq!(one.to_data(), other.to_data(), "a projection has the same values");
            }
        }
    }
    Some((read, rows))
}

/// Writes rows, reads them back and writes them again; `claims`: reading back must not fail.
fn round_trip(format: &'static str, input: &Input<'_>, rows: &Rows, claims: bool) {
    let Input { columns, options, .. } = input;
    let (Ok(mut writer), Ok(mut reader)) = (
        encoder(format, options, columns),
        decoder(format, options, columns, columns),
    ) else {
        return;
    };
    let mut first = EncodedRows::new();
    let kinds = rows.kinds.as_deref();
    if writer
        .encode_changes(&rows.columns, rows.count, kinds, &mut first)
        .is_err()
    {
        assert!(first.is_empty(), "a batch that cannot be written leaves nothing");
        return;
    }
    for text in first.iter() {
        let read = match text {
            Some(text) => reader.decode(text).map_err(|e| e.to_string()),
            None => Ok(reader.decode_absent()),
        };
        match read {
            Ok(_) => {}
            Err(e) => {
                assert!(!claims, "{format} cannot read what it wrote: {e}");
                return;
            }
        }
    }
    let again = take(reader.as_mut());
    let mut second = EncodedRows::new();
    writer
        .encode_changes(&again.columns, again.count, again.kinds.as_deref(), &mut second)
        .expect("what was written once can be written twice");
    let text = |rows: &EncodedRows| String::from_utf8_lossy(&rows.bytes).into_owned();
    assert_eq!(text(&first), text(&second), "{format} writes another text");
}

/// What reading a block gave.
#[derive(PartialEq, Debug, Default)]
struct Lines {
    bad: Vec<std::ops::Range<usize>>,
    dropped: u64,
    consumed: usize,
}

fn read_lines(reader: &mut dyn Decoder, block: &[u8], cut: Option<usize>) -> (Lines, Rows) {
    let mut lines = Lines::default();
    let ends = cut.into_iter().chain([block.len()]);
    for end in ends {
        let limits = LineLimits {
            rows: usize::MAX,
            bytes: usize::MAX,
            last: end == block.len(),
        };
        loop {
            let start = lines.consumed;
            let consumed = reader.decode_lines(&block[start..end], limits);
            lines.consumed += consumed.bytes;
            assert!(lines.consumed <= end, "no more is consumed than there is");
            match consumed.bad {
                Some((_, range)) => lines.bad.push(start + range.start..start + range.end),
                None => break,
            }
        }
    }
    assert_eq!(lines.consumed, block.len(), "the last block is read to its end");
    lines.dropped = reader.dropped_rows();
    (lines, take(reader))
}

/// A block read at once, and cut at its middle.
fn blocks(format: &'static str, input: &Input<'_>) {
    let Input { columns, options, body } = input;
    let (Ok(mut one), Ok(mut two)) = (
        decoder(format, options, columns, columns),
        decoder(format, options, columns, columns),
    ) else {
        return;
    };
    let (whole, whole_rows) = read_lines(one.as_mut(), body, None);
    let (cut, cut_rows) = read_lines(two.as_mut(), body, Some(body.len() / 2));
    assert_eq!(whole, cut, "{format}: lines do not depend on blocks");
    assert_eq!(
        whole_rows.count, cut_rows.count,
        "{format}: rows do not depend on blocks"
    );
    for (a, b) in whole_rows.columns.iter().zip(&cut_rows.columns) {
        assert_eq!(a.to_data(), b.to_data(), "{format}: values do not depend on blocks");
    }
}

/// `json`.
pub(crate) fn json(data: &[u8]) {
    let Some(input) = schema::read(data, "json.") else {
        return;
    };
    let Some((read, rows)) = message("json", &input) else {
        return;
    };
    let fails_on_missing = is_on(&input.options, "json.fail-on-missing-field");
    if !fails_on_missing && !input.body.is_empty() {
        compare(&input, &read, &rows);
    }
    round_trip("json", &input, &rows, !fails_on_missing);
    blocks("json", &input);
}

fn compare(input: &Input<'_>, read: &Result<usize, String>, rows: &Rows) {
    let ignores = is_on(&input.options, "json.ignore-parse-errors");
    let sql_timestamps = input
        .options
        .get("json.timestamp-format.standard")
        .is_none_or(|s| s == "SQL");
    match judge(input.body, &input.columns, ignores, sql_timestamps) {
        Verdict::Unknown => {}
        Verdict::Refused if ignores => assert_eq!(*read, Ok(0), "a bad message is dropped"),
        Verdict::Refused => assert!(read.is_err(), "a message that must be refused was read"),
        Verdict::Rows(wanted) => {
            if let Err(e) = read {
                let certain = wanted.iter().flatten().all(|v| v.is_certain());
                assert!(!certain, "a good message was refused: {e}");
                return;
            }
            if ignores && rows.count == 0 && !wanted.iter().flatten().all(|v| v.is_certain()) {
                return;
            }
            assert_eq!(wanted.len(), rows.count, "another number of rows than the model's");
            for (row, wanted) in wanted.iter().enumerate() {
                for ((column, field), wanted) in rows.columns.iter().zip(&input.columns).zip(wanted) {
                    let got = of_column(column, &field.ty, row);
                    assert!(
                        wanted.allows(&got),
                        "column {}: {got:?} instead of {wanted:?}",
                        field.name
                    );
                }
            }
        }
    }
}

/// `csv`.
pub(crate) fn csv(data: &[u8]) {
    let Some(input) = schema::read(data, "csv.") else {
        return;
    };
    let Some((_, rows)) = message("csv", &input) else {
        return;
    };
    blocks("csv", &input);
    // NULL is an empty field unless it has a text, and nested values are written without quotes.
    let is_plain = input.columns.iter().all(|c| {
        c.ty.kind.is_string() || c.ty.kind.is_integer() || matches!(c.ty.kind, TypeKind::Boolean | TypeKind::Double)
    });
    let null_is_told = input.options.get("csv.null-literal").is_some_and(|n| n == "\\N");
    let is_quoted = !is_on(&input.options, "csv.disable-quote-character");
    let is_usual = input.options.len() <= 1;
    if is_quoted && (is_plain && null_is_told && is_usual) {
        round_trip("csv", &input, &rows, true);
    } else {
        written("csv", &input, &rows);
    }
}

/// Writes rows, whatever comes of it.
fn written(format: &'static str, input: &Input<'_>, rows: &Rows) {
    if let Ok(mut writer) = encoder(format, &input.options, &input.columns) {
        let mut out = EncodedRows::new();
        let written = writer.encode_changes(&rows.columns, rows.count, rows.kinds.as_deref(), &mut out);
        assert_eq!(
            out.len(),
            if written.is_ok() { rows.count } else { 0 },
            "all rows or none"
        );
    }
}

/// `raw`.
pub(crate) fn raw(data: &[u8]) {
    let Some(input) = schema::read(data, "raw.") else {
        return;
    };
    let Some((_, rows)) = message("raw", &input) else {
        return;
    };
    round_trip("raw", &input, &rows, true);
    blocks("raw", &input);
}

/// `debezium-json`.
pub(crate) fn debezium(data: &[u8]) {
    let Some(input) = schema::read(data, "debezium-json.") else {
        return;
    };
    let Some((_, rows)) = message("debezium-json", &input) else {
        return;
    };
    round_trip("debezium-json", &input, &rows, true);
    blocks("debezium-json", &input);
}
