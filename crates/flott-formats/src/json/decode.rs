//! JSON text straight into columns.

use super::reader::{Fault, RawNumber, RawString, Read, Reader};
use super::string::unescape;
use super::tree;
use crate::columns::Column;
use crate::convert::{Rules, set_decimal, set_text};
use crate::decode::{Consumed, Decoder, LineLimits, decode_lines_with};
use crate::error::{FormatError, RowError, RowErrorKind, excerpt};
use crate::gathered::Gathered;
use crate::options::JsonOptions;
use crate::text::number::{cut_to_integer, parse_f32, parse_f64, parse_i64};
use arrow_array::ArrayRef;
use flott_core::Options;
use flott_core::types::{Field, LogicalType, TypeKind};
use std::collections::{HashMap, HashSet};

/// Most bytes that one batch may gather; Arrow's offsets end at 2 GiB, and a nested value's text can grow.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// Reads JSON messages.
pub(crate) struct JsonDecoder {
    gathered: Gathered,
    shape: Object,
    settings: Settings,
    /// Texts of strings with escapes.
    scratch: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Settings {
    fail_on_missing_field: bool,
    ignore_parse_errors: bool,
    rules: Rules,
    /// Whether the table has DECIMAL columns ([`tree::write_value`]).
    big_decimals: bool,
}

/// What a column's values look like below the column.
enum Shape {
    Scalar,
    Array(Box<Shape>),
    /// A map's values.
    Map(Box<Shape>),
    Row(Object),
}

/// An object with known fields.
struct Object {
    names: Vec<String>,
    shapes: Vec<Shape>,
    /// The keys in the order in which they were last seen.
    order: Vec<Key>,
}

/// A key that may come next.
struct Key {
    /// The key with its quotes and the colon right behind.
    pattern: Vec<u8>,
    /// Its first sixteen bytes, and which of their bits count.
    head: u128,
    mask: u128,
    /// The field of this name, if it is wanted.
    field: Option<usize>,
}

/// Most keys that an object remembers.
const MAX_KEYS: usize = 256;

impl JsonDecoder {
    pub(crate) fn new(options: &Options, physical: &[Field], projected: &[Field]) -> Result<Self, FormatError> {
        let options = JsonOptions::read(options)?;
        for field in projected {
            check_type(&field.name, &field.ty)?;
        }
        Ok(Self {
            gathered: Gathered::new(projected),
            shape: Object::new(projected),
            settings: Settings {
                fail_on_missing_field: options.fail_on_missing_field,
                ignore_parse_errors: options.ignore_parse_errors,
                rules: Rules::Json(options.timestamps),
                big_decimals: physical.iter().any(|f| has_decimal(&f.ty)),
            },
            scratch: vec![],
        })
    }

    /// Reads a message; rows are appended but not taken back on a fault.
    fn read(&mut self, text: &[u8], is_ascii: bool) -> Read<()> {
        if !is_ascii && let Err(e) = std::str::from_utf8(text) {
            return Err(Fault::new(RowErrorKind::Encoding, e.valid_up_to(), "not UTF-8"));
        }
        if !self.gathered.has_room(text.len(), MAX_BATCH_BYTES) {
            let reason = format!("more than {MAX_BATCH_BYTES} bytes in one batch");
            return Err(Fault::new(RowErrorKind::TooLarge, 0, reason));
        }
        let mut walk = Walk {
            reader: Reader::new(text),
            settings: self.settings,
            scratch: &mut self.scratch,
        };
        match walk.reader.skip_space() {
            b'{' => {
                walk.object(&mut self.shape, &mut self.gathered.columns, self.gathered.rows)?;
                self.gathered.rows += 1;
                Ok(())
            }
            b'[' => {
                walk.reader.enter()?;
                let mut byte = walk.reader.skip_space();
                while byte != b']' {
                    match byte {
                        b'{' => {
                            walk.object(&mut self.shape, &mut self.gathered.columns, self.gathered.rows)?;
                            self.gathered.rows += 1;
                        }
                        b'n' => walk.reader.literal("null")?,
                        _ => {
                            let wrong = walk.reader.expected("an object");
                            walk.reader.skip_value()?;
                            if !self.settings.ignore_parse_errors {
                                return Err(wrong);
                            }
                            self.gathered.dropped += 1;
                        }
                    }
                    byte = walk.reader.separator(b']', "',' or ']'")?;
                }
                Ok(())
            }
            _ => Err(walk.reader.expected("an object")),
        }
    }

    #[cold]
    fn bad(&mut self, message: &[u8], first_row: usize, fault: Fault) -> Result<usize, RowError> {
        self.gathered.truncate(first_row);
        let Fault {
            kind,
            position,
            reason,
            path,
        } = fault;
        if self.settings.ignore_parse_errors && kind != RowErrorKind::TooLarge {
            self.gathered.dropped += 1;
            return Ok(0);
        }
        let path: Vec<String> = path.into_iter().rev().collect();
        Err(RowError {
            kind,
            format: "json",
            field: (!path.is_empty()).then(|| path.join(".")),
            position,
            reason,
            excerpt: excerpt(message, position),
        })
    }
}

impl JsonDecoder {
    /// Appends the rows of a message of which it may be known that it is ASCII.
    #[inline]
    fn decode_message(&mut self, message: &[u8], is_ascii: bool) -> Result<usize, RowError> {
        if message.is_empty() {
            return Ok(0);
        }
        let text = if is_ascii {
            message
        } else {
            message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message)
        };
        let first_row = self.gathered.rows;
        match self.read(text, is_ascii) {
            Ok(()) => {
                self.gathered.add_message(message.len());
                Ok(self.gathered.rows - first_row)
            }
            Err(fault) => self.bad(text, first_row, *fault),
        }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, message: &[u8]) -> Result<usize, RowError> {
        self.decode_message(message, message.is_ascii())
    }

    fn decode_lines(&mut self, block: &[u8], limits: LineLimits) -> Consumed {
        // One look at the block is cheaper than one at each line.
        let is_ascii = block.is_ascii();
        decode_lines_with(self, block, limits, |decoder, line| {
            decoder.decode_message(line, is_ascii || line.is_ascii())
        })
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

/// One message being read.
struct Walk<'a, 'b> {
    reader: Reader<'a>,
    settings: Settings,
    scratch: &'b mut Vec<u8>,
}

impl<'a> Walk<'a, '_> {
    /// Reads the object at the position into row `row` of `columns`.
    fn object(&mut self, object: &mut Object, columns: &mut [Column], row: usize) -> Read<()> {
        self.reader.enter()?;
        let mut seen = self.settings.fail_on_missing_field.then(|| vec![false; columns.len()]);
        let mut byte = self.reader.skip_space();
        let mut index = 0;
        while byte != b'}' {
            match self.field(object, index)? {
                Some(field) => {
                    if let Some(seen) = &mut seen {
                        seen[field] = true;
                    }
                    let value = self.value(&mut object.shapes[field], &mut columns[field], row);
                    if let Err(mut fault) = value {
                        fault.path.push(object.names[field].clone());
                        return Err(fault);
                    }
                }
                None => self.reader.skip_value()?,
            }
            index += 1;
            byte = self.reader.separator(b'}', "',' or '}'")?;
        }
        if let Some(missing) = seen.and_then(|seen| seen.iter().position(|s| !s)) {
            let mut fault = Fault::new(RowErrorKind::MissingField, self.reader.at, "the field is missing");
            fault.path.push(object.names[missing].clone());
            return Err(fault);
        }
        self.reader.leave();
        Ok(())
    }

    /// Reads the key at the position, expected to be the `index`th one, and moves to its value; gives the field.
    #[inline(always)]
    fn field(&mut self, object: &mut Object, index: usize) -> Read<Option<usize>> {
        if let Some(key) = object.order.get(index)
            && key.is_at(self.reader.text, self.reader.at)
        {
            self.reader.at += key.pattern.len();
            self.reader.skip_space();
            return Ok(key.field);
        }
        self.unexpected_field(object, index)
    }

    #[inline(never)]
    fn unexpected_field(&mut self, object: &mut Object, index: usize) -> Read<Option<usize>> {
        let raw = self.reader.key()?;
        if raw.escaped {
            self.unescape(raw);
            return Ok(object
                .names
                .iter()
                .position(|n| n.as_bytes() == self.scratch.as_slice()));
        }
        Ok(object.learn(raw.inside, index))
    }

    /// The text of an escaped string, in the scratch buffer.
    fn unescape(&mut self, raw: RawString<'_>) {
        self.scratch.clear();
        unescape(raw.inside, self.scratch).expect("the reader has checked the escapes of a string");
    }

    /// Reads the value at the position into row `row` of `column`; NULL is what an unset row is.
    #[inline]
    fn value(&mut self, shape: &mut Shape, column: &mut Column, row: usize) -> Read<()> {
        let start = self.reader.at;
        // The commonest pairs of column and text first.
        match (self.reader.peek(), &mut *column) {
            (b'n', _) => {
                self.reader.null()?;
                column.truncate(row);
                return Ok(());
            }
            (b'"', Column::Text(text)) => {
                let raw = self.reader.string()?;
                if raw.escaped {
                    unescape(raw.inside, text.data_at(row)).expect("the reader has checked the escapes of a string");
                    text.close();
                } else {
                    text.set(row, raw.inside);
                }
                return Ok(());
            }
            (b'1'..=b'9', Column::Int64(values)) => {
                if let Some(value) = self.short_integer() {
                    values.set(row, value);
                    return Ok(());
                }
            }
            _ => {}
        }
        match self.convert(shape, column, row)? {
            Ok(()) => Ok(()),
            Err(wrong) => {
                column.truncate(row);
                if self.settings.ignore_parse_errors {
                    return Ok(());
                }
                let end = self.reader.at.min(start + 40);
                let shown = String::from_utf8_lossy(&self.reader.text[start..end]);
                Err(Fault::new(RowErrorKind::Value, start, format!("{shown} is no {wrong}")))
            }
        }
    }

    /// A number of at most 18 digits and nothing else before `,` or `}`; the position stays if it is another.
    #[inline(always)]
    fn short_integer(&mut self) -> Option<i64> {
        let text = &self.reader.text[self.reader.at..];
        let mut value = 0i64;
        for (length, byte) in text.iter().take(19).enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return matches!(byte, b',' | b'}').then(|| {
                    self.reader.at += length;
                    value
                });
            }
            if length == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
        }
        None
    }

    /// Reads any value into any column. The outer result is about syntax, the inner one about the value, with the name
    /// of the type that it is not.
    fn convert(&mut self, shape: &mut Shape, column: &mut Column, row: usize) -> Read<Result<(), &'static str>> {
        match (self.reader.peek(), shape) {
            (b'{', Shape::Row(object)) => {
                if let Column::Row(rows) = column {
                    rows.open(row);
                    self.object(object, &mut rows.fields, row)?;
                }
                Ok(Ok(()))
            }
            (b'[', Shape::Array(element)) => self.array(element, column, row).map(Ok),
            (b'{', Shape::Map(value)) => self.map(value, column, row).map(Ok),
            (b'{' | b'[', Shape::Scalar) => self.nested_text(column, row),
            (b'"', Shape::Scalar) => {
                let raw = self.reader.string()?;
                let rules = self.settings.rules;
                if raw.escaped {
                    self.unescape(raw);
                    return Ok(set_text(column, row, self.scratch, rules));
                }
                Ok(set_text(column, row, raw.inside, rules))
            }
            (b'-' | b'0'..=b'9', Shape::Scalar) => {
                let number = self.reader.number()?;
                Ok(set_number(column, row, number, self.settings.rules))
            }
            (b't', Shape::Scalar) => {
                self.reader.literal("true")?;
                Ok(set_literal(column, row, b"true", self.settings.rules))
            }
            (b'f', Shape::Scalar) => {
                self.reader.literal("false")?;
                Ok(set_literal(column, row, b"false", self.settings.rules))
            }
            (_, shape) => {
                let wanted = match shape {
                    Shape::Scalar => "value",
                    Shape::Array(_) => "ARRAY",
                    Shape::Map(_) => "MAP",
                    Shape::Row(_) => "ROW",
                };
                self.reader.skip_value()?;
                Ok(Err(wanted))
            }
        }
    }

    /// An object or array in a column of a plain type.
    fn nested_text(&mut self, column: &mut Column, row: usize) -> Read<Result<(), &'static str>> {
        match column {
            Column::Text(text) => {
                if let Err(fault) = tree::write_value(&mut self.reader, self.settings.big_decimals, text.data_at(row)) {
                    text.abandon();
                    return Err(fault);
                }
                text.close();
                Ok(Ok(()))
            }
            Column::Boolean(values) => {
                self.reader.skip_value()?;
                values.set(row, false);
                Ok(Ok(()))
            }
            Column::Null(_) => self.reader.skip_value().map(Ok),
            _ => {
                self.reader.skip_value()?;
                Ok(Err("value of its plain type"))
            }
        }
    }

    fn array(&mut self, element: &mut Shape, column: &mut Column, row: usize) -> Read<()> {
        let Column::List(list) = column else {
            return self.reader.skip_value();
        };
        self.reader.enter()?;
        let mut entry = list.open(row);
        let mut byte = self.reader.skip_space();
        while byte != b']' {
            self.value(element, &mut list.entries, entry)?;
            entry += 1;
            byte = self.reader.separator(b']', "',' or ']'")?;
        }
        list.close(entry);
        self.reader.leave();
        Ok(())
    }

    fn map(&mut self, shape: &mut Shape, column: &mut Column, row: usize) -> Read<()> {
        let Column::Map(map) = column else {
            return self.reader.skip_value();
        };
        self.reader.enter()?;
        let first = map.open(row);
        let mut end = first;
        let mut byte = self.reader.skip_space();
        let mut keys: Vec<Vec<u8>> = vec![];
        let start = self.reader.at;
        while byte != b'}' {
            let raw = self.reader.key()?;
            self.unescape(raw);
            keys.push(self.scratch.clone());
            if let Column::Text(names) = &mut map.entries.keys {
                names.set(end, self.scratch);
            }
            self.value(shape, &mut map.entries.values, end)?;
            end += 1;
            byte = self.reader.separator(b'}', "',' or '}'")?;
        }
        if repeats(&keys) {
            // The last of equal keys wins: read again, leaving out those that come once more.
            end = self.map_again(shape, map, first, start, &keys)?;
        }
        map.close(end);
        self.reader.leave();
        Ok(())
    }

    #[cold]
    fn map_again(
        &mut self,
        shape: &mut Shape,
        map: &mut crate::columns::Lists<crate::columns::Entries>,
        first: usize,
        start: usize,
        keys: &[Vec<u8>],
    ) -> Read<usize> {
        self.reader.at = start;
        map.entries.keys.truncate(first);
        map.entries.values.truncate(first);
        let mut end = first;
        let last: HashMap<&[u8], usize> = keys.iter().enumerate().map(|(i, key)| (key.as_slice(), i)).collect();
        for (i, key) in keys.iter().enumerate() {
            self.reader.key()?;
            if last.get(key.as_slice()) != Some(&i) {
                self.reader.skip_value()?;
            } else {
                if let Column::Text(names) = &mut map.entries.keys {
                    names.set(end, key);
                }
                self.value(shape, &mut map.entries.values, end)?;
                end += 1;
            }
            self.reader.separator(b'}', "',' or '}'")?;
        }
        Ok(end)
    }
}

/// Maps up to this many keys are compared pair by pair, which is cheaper than hashing.
const FEW_KEYS: usize = 16;

/// Whether a key comes twice.
fn repeats(keys: &[Vec<u8>]) -> bool {
    if keys.len() <= FEW_KEYS {
        return keys.iter().enumerate().any(|(i, key)| keys[..i].contains(key));
    }
    let mut seen = HashSet::with_capacity(keys.len());
    !keys.iter().all(|key| seen.insert(key.as_slice()))
}

/// `true` or `false` in a column of a plain type.
fn set_literal(column: &mut Column, row: usize, text: &[u8], rules: Rules) -> Result<(), &'static str> {
    match column {
        Column::Binary(_) => Err("BYTES in base64"),
        _ => set_text(column, row, text, rules),
    }
}

/// A number in a column of a plain type.
fn set_number(column: &mut Column, row: usize, number: RawNumber<'_>, rules: Rules) -> Result<(), &'static str> {
    let RawNumber { text, whole } = number;
    let integer = |min: i64, max: i64, cut: bool| {
        if whole {
            parse_i64(text).filter(|v| (min..=max).contains(v))
        } else if cut {
            cut_to_integer(text, min, max)
        } else {
            None
        }
    };
    match column {
        Column::Int8(c) => c.set(
            row,
            integer(i8::MIN.into(), i8::MAX.into(), false).ok_or("TINYINT")? as i8,
        ),
        Column::Int16(c) => c.set(
            row,
            integer(i16::MIN.into(), i16::MAX.into(), false).ok_or("SMALLINT")? as i16,
        ),
        Column::Int32(c) => c.set(
            row,
            integer(i32::MIN.into(), i32::MAX.into(), true).ok_or("INT")? as i32,
        ),
        Column::Int64(c) => c.set(row, integer(i64::MIN, i64::MAX, true).ok_or("BIGINT")?),
        Column::Float32(c) => c.set(row, parse_f32(text).ok_or("FLOAT")?),
        Column::Float64(c) => c.set(row, parse_f64(text).ok_or("DOUBLE")?),
        Column::Decimal { .. } => {
            // A key given twice: a number too large is NULL, not the value before it.
            column.truncate(row);
            set_decimal(column, row, text)?;
        }
        Column::Binary(_) => return Err("BYTES in base64"),
        _ => set_text(column, row, text, rules)?,
    }
    Ok(())
}

impl Object {
    fn new(fields: &[Field]) -> Self {
        let names: Vec<String> = fields.iter().map(|f| f.name.clone()).collect();
        // Keys that need escapes are found by name only.
        let plain = |name: &str| !name.bytes().any(|b| matches!(b, b'"' | b'\\'));
        let keys = names.iter().enumerate().filter(|(_, name)| plain(name));
        let order = keys.map(|(i, name)| Key::new(name.as_bytes(), Some(i))).collect();
        Self {
            shapes: fields.iter().map(|f| Shape::new(&f.ty)).collect(),
            names,
            order,
        }
    }

    /// Finds the field of a key and remembers that it came as the `index`th.
    fn learn(&mut self, key: &[u8], index: usize) -> Option<usize> {
        let known = self.order.iter().position(|k| k.name() == key);
        match known {
            Some(at) => {
                let field = self.order[at].field;
                if index < self.order.len() {
                    self.order.swap(at, index);
                }
                field
            }
            None => {
                let field = self.names.iter().position(|n| n.as_bytes() == key);
                if self.order.len() < MAX_KEYS {
                    let index = index.min(self.order.len());
                    self.order.insert(index, Key::new(key, field));
                }
                field
            }
        }
    }
}

impl Shape {
    fn new(ty: &LogicalType) -> Self {
        match &ty.kind {
            TypeKind::Array(element) => Self::Array(Box::new(Self::new(element))),
            TypeKind::Map(_, value) => Self::Map(Box::new(Self::new(value))),
            TypeKind::Multiset(_) => Self::Map(Box::new(Self::Scalar)),
            TypeKind::Row(fields) => Self::Row(Object::new(fields)),
            _ => Self::Scalar,
        }
    }
}

impl Key {
    fn new(name: &[u8], field: Option<usize>) -> Self {
        let pattern: Vec<u8> = [b"\"", name, b"\":"].concat();
        let mut head = [0; 16];
        let mut mask = [0; 16];
        let length = pattern.len().min(16);
        head[..length].copy_from_slice(&pattern[..length]);
        mask[..length].fill(0xFF);
        Self {
            pattern,
            head: u128::from_le_bytes(head),
            mask: u128::from_le_bytes(mask),
            field,
        }
    }

    fn name(&self) -> &[u8] {
        &self.pattern[1..self.pattern.len() - 2]
    }

    #[inline(always)]
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        match text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(chunk) => {
                (u128::from_le_bytes(*chunk) ^ self.head) & self.mask == 0
                    && (self.pattern.len() <= 16 || text[at + 16..].starts_with(&self.pattern[16..]))
            }
            None => text[at..].starts_with(&self.pattern),
        }
    }
}

fn has_decimal(ty: &LogicalType) -> bool {
    match &ty.kind {
        TypeKind::Decimal(..) => true,
        TypeKind::Array(e) | TypeKind::Multiset(e) => has_decimal(e),
        TypeKind::Map(k, v) => has_decimal(k) || has_decimal(v),
        TypeKind::Row(fields) => fields.iter().any(|f| has_decimal(&f.ty)),
        _ => false,
    }
}

/// Refuses maps whose keys are not strings; used for reading and writing.
pub(super) fn check_type(column: &str, ty: &LogicalType) -> Result<(), FormatError> {
    match &ty.kind {
        TypeKind::Map(key, _) | TypeKind::Multiset(key) if !key.kind.is_string() => Err(FormatError::UnsupportedType {
            format: "json",
            column: column.to_owned(),
            ty: ty.to_string(),
            reason: "the keys of a JSON object are strings; use STRING as key type".into(),
        }),
        TypeKind::Map(_, value) => check_type(column, value),
        TypeKind::Array(element) => check_type(column, element),
        TypeKind::Row(fields) => fields
            .iter()
            .try_for_each(|f| check_type(&format!("{column}.{}", f.name), &f.ty)),
        _ => Ok(()),
    }
}
