//! CSV records straight into columns.

use super::check_columns;
use crate::columns::Column;
use crate::convert::{Rules, Wrong, set_text};
use crate::decode::{Consumed, Decoder, LineLimits, SIZE_CHECK_ROWS};
use crate::error::{FormatError, RowError, RowErrorKind, excerpt};
use crate::gathered::Gathered;
use crate::options::CsvOptions;
use crate::scan::find_any;
use arrow_array::ArrayRef;
use flott_core::Options;
use flott_core::types::{Field, TypeKind};

/// Most bytes that one batch may gather.
const MAX_BATCH_BYTES: usize = 1 << 30;

/// Reads CSV messages and files.
pub(crate) struct CsvDecoder {
    gathered: Gathered,
    /// For each column of the table, where it goes.
    targets: Vec<Option<Target>>,
    names: Vec<String>,
    settings: Settings,
    /// Fields with doubled quotes or escapes.
    scratch: Vec<u8>,
}

/// Where a column of the table goes.
struct Target {
    /// Index among the projected columns.
    column: usize,
    /// For a ROW: for each of its fields, the index among the wanted ones.
    fields: Vec<Option<usize>>,
}

struct Settings {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    allow_comments: bool,
    ignore_parse_errors: bool,
    array_delimiter: String,
    null_literal: Option<Vec<u8>>,
    /// What ends an unquoted field: delimiter, line ends, and the escape character or the delimiter again.
    stops: [u8; 4],
}

/// Why a record could not be read.
struct Fault {
    kind: RowErrorKind,
    position: usize,
    field: Option<usize>,
    reason: String,
}

/// A field's text: a piece of the record, or the scratch buffer.
enum FieldText {
    Piece(std::ops::Range<usize>),
    Scratch,
}

impl CsvDecoder {
    pub(crate) fn new(options: &Options, physical: &[Field], projected: &[Field]) -> Result<Self, FormatError> {
        let options = CsvOptions::read(options)?;
        check_columns(physical)?;
        let target = |field: &Field| {
            let column = projected.iter().position(|p| p.name == field.name)?;
            let fields = match (&field.ty.kind, &projected[column].ty.kind) {
                (TypeKind::Row(all), TypeKind::Row(wanted)) => all
                    .iter()
                    .map(|f| wanted.iter().position(|w| w.name == f.name))
                    .collect(),
                _ => vec![],
            };
            Some(Target { column, fields })
        };
        if let Some(missing) = projected.iter().find(|p| !physical.iter().any(|f| f.name == p.name)) {
            return Err(FormatError::Columns {
                format: "csv",
                reason: format!("the table has no column '{}'", missing.name),
            });
        }
        Ok(Self {
            gathered: Gathered::new(projected),
            targets: physical.iter().map(target).collect(),
            names: physical.iter().map(|f| f.name.clone()).collect(),
            settings: Settings {
                stops: [
                    b'\n',
                    b'\r',
                    options.delimiter,
                    options.escape.unwrap_or(options.delimiter),
                ],
                delimiter: options.delimiter,
                quote: options.quote,
                escape: options.escape,
                allow_comments: options.allow_comments,
                ignore_parse_errors: options.ignore_parse_errors,
                array_delimiter: options.array_delimiter,
                null_literal: options.null_literal.map(String::into_bytes),
            },
            scratch: vec![],
        })
    }

    /// Reads the record that starts at `start` and says where the next one does; `None` if it goes on after the block.
    /// Its row is appended but not taken back on a fault.
    fn record(&mut self, text: &[u8], start: usize, last: bool) -> Result<Option<usize>, Fault> {
        let row = self.gathered.rows;
        let mut at = start;
        let mut index = 0;
        loop {
            let Some((field, end)) = self.field(text, at, index, last)? else {
                return Ok(None);
            };
            let stop = text.get(end).copied();
            let is_last = stop != Some(self.settings.delimiter);
            if stop == Some(b'\r') && end + 1 == text.len() && !last {
                // A line feed may follow, and belongs to this line end.
                return Ok(None);
            }
            match self.targets.get(index) {
                Some(Some(target)) => {
                    let value = match field {
                        FieldText::Piece(range) => &text[range],
                        FieldText::Scratch => self.scratch.as_slice(),
                    };
                    let column = &mut self.gathered.columns[target.column];
                    if let Err(wrong) = self.settings.set(column, target, row, value) {
                        column.truncate(row);
                        if !self.settings.ignore_parse_errors {
                            return Err(Fault {
                                kind: wrong.kind,
                                position: at,
                                field: Some(index),
                                reason: wrong.reason,
                            });
                        }
                    }
                }
                Some(None) => {}
                None => self.check_surplus(text, field, index, at, is_last)?,
            }
            index += 1;
            if !is_last {
                at = end + 1;
                continue;
            }
            if index < self.targets.len() && !self.settings.ignore_parse_errors {
                return Err(Fault {
                    kind: RowErrorKind::ColumnCount,
                    position: end,
                    field: None,
                    reason: format!("{} columns expected, {index} found", self.targets.len()),
                });
            }
            self.gathered.rows += 1;
            let crlf = stop == Some(b'\r') && text.get(end + 1) == Some(&b'\n');
            return Ok(Some((end + 1 + usize::from(crlf)).min(text.len())));
        }
    }

    /// One empty field may follow the last column.
    #[cold]
    fn check_surplus(
        &self,
        text: &[u8],
        field: FieldText,
        index: usize,
        at: usize,
        is_last: bool,
    ) -> Result<(), Fault> {
        let blank = match field {
            FieldText::Piece(range) => text[range].iter().all(|b| *b <= b' '),
            FieldText::Scratch => false,
        };
        if blank && is_last && index == self.targets.len() {
            return Ok(());
        }
        Err(Fault {
            kind: RowErrorKind::ColumnCount,
            position: at,
            field: None,
            reason: format!("more than the expected {} columns", self.targets.len()),
        })
    }

    /// Where the first record at or after `start` begins, the end if there is none; `None` if the block does not tell.
    #[inline]
    fn after_comments(&self, text: &[u8], mut start: usize, last: bool) -> Option<usize> {
        if !self.settings.allow_comments {
            return Some(start);
        }
        loop {
            let Some(blanks) = text[start..].iter().position(|b| !matches!(b, b' ' | b'\t')) else {
                return last.then_some(text.len());
            };
            let content = start + blanks;
            if text[content] != b'#' {
                return Some(start);
            }
            start = match memchr::memchr(b'\n', &text[content..]) {
                Some(length) => content + length + 1,
                None if last => return Some(text.len()),
                None => return None,
            };
            if start == text.len() {
                return Some(start);
            }
        }
    }

    /// Reads the field at `at`: its text and where it ended (at a delimiter, a line end or the end). `None` if it goes
    /// on after the block.
    #[inline]
    fn field(&mut self, text: &[u8], at: usize, index: usize, last: bool) -> Result<Option<(FieldText, usize)>, Fault> {
        if self.settings.quote.is_some() && text.get(at).copied() == self.settings.quote {
            return self.quoted_field(text, at, index, last);
        }
        let end = find_any(text, at, self.settings.stops);
        match text.get(end) {
            None if !last => Ok(None),
            Some(byte) if Some(*byte) == self.settings.escape => self.escaped_field(text, at, end, index, last),
            _ => Ok(Some((FieldText::Piece(at..end), end))),
        }
    }

    /// An unquoted field with an escape character at `escape`.
    fn escaped_field(
        &mut self,
        text: &[u8],
        at: usize,
        escape: usize,
        index: usize,
        last: bool,
    ) -> Result<Option<(FieldText, usize)>, Fault> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&text[at..escape]);
        let mut end = escape;
        while text.get(end).copied() == self.settings.escape {
            match text.get(end + 1) {
                Some(byte) => self.scratch.push(escaped(*byte)),
                None if last => return Err(unreadable(end, index, "an escape character at the end".into())),
                None => return Ok(None),
            }
            let next = find_any(text, end + 2, self.settings.stops);
            self.scratch.extend_from_slice(&text[end + 2..next]);
            end = next;
        }
        if end >= text.len() && !last {
            return Ok(None);
        }
        Ok(Some((FieldText::Scratch, end)))
    }

    fn quoted_field(
        &mut self,
        text: &[u8],
        at: usize,
        index: usize,
        last: bool,
    ) -> Result<Option<(FieldText, usize)>, Fault> {
        let quote = self.settings.quote.unwrap_or(b'"');
        let escape = self.settings.escape;
        let stops = [quote, escape.unwrap_or(quote), quote, quote];
        let start = at + 1;
        let mut end = find_any(text, start, stops);
        let mut copied = false;
        // Start of the piece not yet copied to the scratch buffer.
        let mut piece = start;
        loop {
            let Some(byte) = text.get(end).copied() else {
                if !last {
                    return Ok(None);
                }
                return Err(unreadable(at, index, "the closing quote is missing".into()));
            };
            let (plain, resume) = if byte == quote {
                if text.get(end + 1) != Some(&quote) {
                    break;
                }
                (quote, end + 2)
            } else {
                match text.get(end + 1) {
                    Some(byte) => (escaped(*byte), end + 2),
                    None if last => return Err(unreadable(end, index, "an escape character at the end".into())),
                    None => return Ok(None),
                }
            };
            if !copied {
                self.scratch.clear();
                copied = true;
            }
            self.scratch.extend_from_slice(&text[piece..end]);
            self.scratch.push(plain);
            piece = resume;
            end = find_any(text, resume, stops);
        }
        let field = if copied {
            self.scratch.extend_from_slice(&text[piece..end]);
            FieldText::Scratch
        } else {
            FieldText::Piece(start..end)
        };
        // Only spaces may stand between the closing quote and what ends the field.
        let mut after = end + 1;
        loop {
            match text.get(after) {
                None if !last => return Ok(None),
                None | Some(b'\n' | b'\r') => return Ok(Some((field, after))),
                Some(byte) if *byte == self.settings.delimiter => return Ok(Some((field, after))),
                Some(byte) if *byte <= b' ' => after += 1,
                Some(_) => {
                    let reason = format!(
                        "expected '{}' or the line's end after the closing quote",
                        char::from(self.settings.delimiter)
                    );
                    return Err(unreadable(after, index, reason));
                }
            }
        }
    }

    /// Takes back the row begun at `row` and makes the fault an error, or drops the record.
    #[cold]
    fn bad(&mut self, record: &[u8], start: usize, row: usize, fault: Fault) -> Result<usize, RowError> {
        self.gathered.truncate(row);
        if self.settings.ignore_parse_errors && fault.kind != RowErrorKind::TooLarge {
            self.gathered.dropped += 1;
            return Ok(0);
        }
        let position = fault.position.saturating_sub(start);
        Err(RowError {
            kind: fault.kind,
            format: "csv",
            field: fault.field.and_then(|i| self.names.get(i).cloned()),
            position,
            reason: fault.reason,
            excerpt: excerpt(record, position),
        })
    }

    fn check_size(&self, bytes: usize) -> Result<(), Fault> {
        if self.gathered.has_room(bytes, MAX_BATCH_BYTES) {
            return Ok(());
        }
        Err(Fault {
            kind: RowErrorKind::TooLarge,
            position: 0,
            field: None,
            reason: format!("more than {MAX_BATCH_BYTES} bytes in one batch"),
        })
    }
}

fn unreadable(position: usize, index: usize, reason: String) -> Fault {
    Fault {
        kind: RowErrorKind::Syntax,
        position,
        field: Some(index),
        reason,
    }
}

/// What an escaped byte stands for.
fn escaped(byte: u8) -> u8 {
    match byte {
        b'0' => 0,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

fn check_utf8(record: &[u8], start: usize) -> Result<(), Fault> {
    if record.is_ascii() {
        return Ok(());
    }
    std::str::from_utf8(record).map(|_| ()).map_err(|e| Fault {
        kind: RowErrorKind::Encoding,
        position: start + e.valid_up_to(),
        field: None,
        reason: "not UTF-8".into(),
    })
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, message: &[u8]) -> Result<usize, RowError> {
        let text = message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message);
        let row = self.gathered.rows;
        let read = check_utf8(text, 0)
            .and_then(|()| self.check_size(text.len()))
            .and_then(|()| match self.after_comments(text, 0, true) {
                Some(start) if start < text.len() => self.record(text, start, true),
                _ => Ok(None),
            });
        match read {
            Ok(Some(_)) => {
                self.gathered.add_message(text.len());
                Ok(1)
            }
            Ok(None) => {
                let nothing = Fault {
                    kind: RowErrorKind::Syntax,
                    position: 0,
                    field: None,
                    reason: "no content".into(),
                };
                self.bad(text, 0, row, nothing)
            }
            Err(fault) => self.bad(text, 0, row, fault),
        }
    }

    fn decode_lines(&mut self, block: &[u8], limits: LineLimits) -> Consumed {
        let mut start = 0;
        let is_ascii = block.is_ascii();
        let mut size_check_row = self.gathered.rows + SIZE_CHECK_ROWS;
        while start < block.len() && self.gathered.rows < limits.rows {
            let row = self.gathered.rows;
            // Comments are no part of a record: what is wrong in them concerns nobody.
            match self.after_comments(block, start, limits.last) {
                Some(begin) => start = begin,
                None => break,
            }
            if start >= block.len() {
                break;
            }
            let fault = match self.record(block, start, limits.last) {
                Ok(None) => {
                    self.gathered.truncate(row);
                    break;
                }
                Ok(Some(end)) => {
                    let record = &block[start..end];
                    let utf8 = if is_ascii { Ok(()) } else { check_utf8(record, start) };
                    match utf8.and_then(|()| self.check_size(record.len())) {
                        Ok(()) => {
                            self.gathered.add_message(record.len());
                            start = end;
                            if self.gathered.rows >= size_check_row {
                                size_check_row = self.gathered.rows + SIZE_CHECK_ROWS;
                                if self.bytes() >= limits.bytes {
                                    break;
                                }
                            }
                            continue;
                        }
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            // A bad record ends with the line in which it went wrong.
            let from = fault.position.clamp(start, block.len());
            let end = match memchr::memchr(b'\n', &block[from..]) {
                Some(length) => from + length,
                None if limits.last => block.len(),
                None => {
                    self.gathered.truncate(row);
                    break;
                }
            };
            let range = start..end;
            start = (end + 1).min(block.len());
            if let Err(error) = self.bad(&block[range.clone()], range.start, row, fault) {
                return Consumed {
                    bytes: start,
                    bad: Some((error, range)),
                };
            }
        }
        Consumed {
            bytes: start,
            bad: None,
        }
    }

    fn splits_at_line_ends(&self) -> bool {
        self.settings.quote.is_none()
    }

    fn truncate(&mut self, rows: usize) {
        self.gathered.truncate(rows);
    }

    fn rows(&self) -> usize {
        self.gathered.rows
    }

    fn bytes(&self) -> usize {
        self.gathered.bytes()
    }

    fn dropped_rows(&self) -> u64 {
        self.gathered.dropped
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.gathered.finish()
    }
}

/// A field that is no value of its column.
struct WrongField {
    kind: RowErrorKind,
    reason: String,
}

fn wrong_value(text: &[u8], wrong: Wrong) -> WrongField {
    let shown = &text[..text.len().min(40)];
    WrongField {
        kind: RowErrorKind::Value,
        reason: format!("'{}' is no {wrong}", String::from_utf8_lossy(shown)),
    }
}

impl Settings {
    fn is_null(&self, text: &[u8]) -> bool {
        self.null_literal.as_deref() == Some(text)
    }

    #[inline]
    fn set(&self, column: &mut Column, target: &Target, row: usize, text: &[u8]) -> Result<(), WrongField> {
        match column {
            Column::List(_) | Column::Row(_) => self.set_nested(column, target, row, text),
            _ if self.is_null(text) => Ok(()),
            Column::Text(values) => {
                values.set(row, text);
                Ok(())
            }
            _ => set_text(column, row, text, Rules::Csv).map_err(|wrong| wrong_value(text, wrong)),
        }
    }

    fn elements<'a>(&self, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let delimiter = self.array_delimiter.as_bytes().to_vec();
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let text = rest?;
            match memchr::memmem::find(text, &delimiter).filter(|_| !delimiter.is_empty()) {
                Some(at) => {
                    rest = Some(&text[at + delimiter.len()..]);
                    Some(&text[..at])
                }
                None => {
                    rest = None;
                    Some(text)
                }
            }
        })
    }

    fn set_nested(&self, column: &mut Column, target: &Target, row: usize, text: &[u8]) -> Result<(), WrongField> {
        let blank = text.iter().all(|b| *b <= b' ');
        match column {
            Column::List(list) => {
                let mut entry = list.open(row);
                if !blank {
                    for element in self.elements(text) {
                        self.set_element(&mut list.entries, entry, element)?;
                        entry += 1;
                    }
                }
                list.close(entry);
                Ok(())
            }
            Column::Row(rows) => {
                if blank {
                    return Ok(());
                }
                rows.open(row);
                let mut found = 0;
                for (element, field) in self.elements(text).zip(&target.fields) {
                    if let Some(field) = field {
                        self.set_element(&mut rows.fields[*field], row, element)?;
                    }
                    found += 1;
                }
                if found < target.fields.len() && !self.ignore_parse_errors {
                    return Err(WrongField {
                        kind: RowErrorKind::ColumnCount,
                        reason: format!("the ROW needs {} elements, {found} found", target.fields.len()),
                    });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn set_element(&self, column: &mut Column, row: usize, text: &[u8]) -> Result<(), WrongField> {
        if self.is_null(text) {
            return Ok(());
        }
        match set_text(column, row, text, Rules::Csv) {
            Err(wrong) if !self.ignore_parse_errors => Err(wrong_value(text, wrong)),
            _ => Ok(()),
        }
    }
}
