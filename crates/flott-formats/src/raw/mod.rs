//! `raw`: a message is the value of the table's one column.
//!
//! | column | bytes |
//! |---|---|
//! | CHAR, VARCHAR | text in `raw.charset` (`UTF-8` by default; also US-ASCII, ISO-8859-1, UTF-16, UTF-16BE, UTF-16LE) |
//! | BINARY, VARBINARY | themselves |
//! | BOOLEAN | one byte, 0 or not |
//! | TINYINT, SMALLINT, INT, BIGINT | two's complement in `raw.endianness` |
//! | FLOAT, DOUBLE | IEEE 754 in `raw.endianness` |
//!
//! NULL is a message without a value, both ways. Text that is not of the charset is an error of the row, where Java would
//! put a replacement character; a number of another length is one too.

mod text;

use crate::cells::{Values, text_bytes};
use crate::columns::Column;
use crate::decode::Decoder;
use crate::encode::{EncodedRows, Encoder};
use crate::error::{FormatError, RowError, RowErrorKind, excerpt};
use crate::json::view;
use crate::options::RawOptions;
use arrow_array::ArrayRef;
use arrow_schema::DataType;
use flott_core::Options;
use flott_core::types::{Field, TypeKind};

/// The one column, checked.
fn one_column(columns: &[Field]) -> Result<&Field, FormatError> {
    let [column] = columns else {
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        return Err(FormatError::Columns {
            format: "raw",
            reason: format!(
                "the table needs exactly one physical column, not {} ({})",
                names.len(),
                names.join(", ")
            ),
        });
    };
    match column.ty.kind {
        TypeKind::Char(_)
        | TypeKind::Varchar(_)
        | TypeKind::Binary(_)
        | TypeKind::Varbinary(_)
        | TypeKind::Boolean
        | TypeKind::TinyInt
        | TypeKind::SmallInt
        | TypeKind::Int
        | TypeKind::BigInt
        | TypeKind::Float
        | TypeKind::Double => Ok(column),
        _ => Err(FormatError::UnsupportedType {
            format: "raw",
            column: column.name.clone(),
            ty: column.ty.to_string(),
            reason: "it carries strings, bytes, BOOLEAN, the integers, FLOAT and DOUBLE".into(),
        }),
    }
}

/// Reads raw messages.
pub(crate) struct RawDecoder {
    name: String,
    /// Nothing where the column is not wanted.
    column: Option<(Column, DataType)>,
    options: RawOptions,
    rows: usize,
}

impl RawDecoder {
    pub(crate) fn new(options: &Options, physical: &[Field], projected: &[Field]) -> Result<Self, FormatError> {
        let options = RawOptions::read(options)?;
        let field = one_column(physical)?;
        Ok(Self {
            name: field.name.clone(),
            column: (!projected.is_empty()).then(|| (Column::new(&field.ty), field.ty.to_arrow())),
            options,
            rows: 0,
        })
    }
}

/// The number of these bytes, if they are as many as it needs.
macro_rules! number {
    ($ty:ty, $message:expr, $little:expr) => {
        <[u8; size_of::<$ty>()]>::try_from($message)
            .map(|bytes| {
                if $little {
                    <$ty>::from_le_bytes(bytes)
                } else {
                    <$ty>::from_be_bytes(bytes)
                }
            })
            .map_err(|_| {
                (
                    0,
                    format!("{} bytes expected, {} found", size_of::<$ty>(), $message.len()),
                )
            })
    };
}

/// Sets row `row`; the error is a position and a reason.
fn set(column: &mut Column, options: RawOptions, row: usize, message: &[u8]) -> Result<(), (usize, String)> {
    let little = options.little_endian;
    match column {
        Column::Text(values) => {
            if let Err(wrong) = text::read(options.charset, message, values.data_at(row)) {
                values.abandon();
                return Err(wrong);
            }
            values.close();
        }
        Column::Binary(values) => values.set(row, message),
        Column::Boolean(values) => values.set(row, number!(i8, message, little)? != 0),
        Column::Int8(values) => values.set(row, number!(i8, message, little)?),
        Column::Int16(values) => values.set(row, number!(i16, message, little)?),
        Column::Int32(values) => values.set(row, number!(i32, message, little)?),
        Column::Int64(values) => values.set(row, number!(i64, message, little)?),
        Column::Float32(values) => values.set(row, number!(f32, message, little)?),
        Column::Float64(values) => values.set(row, number!(f64, message, little)?),
        _ => {}
    }
    Ok(())
}

/// Most bytes that one batch may gather.
const MAX_BATCH_BYTES: usize = 1 << 30;

impl Decoder for RawDecoder {
    fn decode(&mut self, message: &[u8]) -> Result<usize, RowError> {
        if let Some((column, _)) = &mut self.column {
            let room = MAX_BATCH_BYTES.saturating_sub(column.bytes());
            let read = if message.len() > room {
                Err((
                    RowErrorKind::TooLarge,
                    (0, format!("more than {MAX_BATCH_BYTES} bytes in one batch")),
                ))
            } else {
                set(column, self.options, self.rows, message).map_err(|wrong| (RowErrorKind::Encoding, wrong))
            };
            if let Err((kind, (position, reason))) = read {
                column.truncate(self.rows);
                return Err(RowError {
                    kind,
                    format: "raw",
                    field: Some(self.name.clone()),
                    position,
                    reason,
                    excerpt: excerpt(message, position),
                });
            }
        }
        self.rows += 1;
        Ok(1)
    }

    fn decode_absent(&mut self) -> usize {
        self.rows += 1;
        1
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.column.iter_mut().for_each(|(c, _)| c.truncate(rows));
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.column.as_ref().map_or(0, |(column, _)| column.bytes())
    }

    fn dropped_rows(&self) -> u64 {
        0
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        self.column
            .iter_mut()
            .map(|(column, ty)| column.finish(rows, ty))
            .collect()
    }
}

/// Writes raw messages.
pub(crate) struct RawEncoder {
    column: Vec<Field>,
    options: RawOptions,
}

impl RawEncoder {
    pub(crate) fn new(options: &Options, columns: &[Field]) -> Result<Self, FormatError> {
        let options = RawOptions::read(options)?;
        Ok(Self {
            column: vec![one_column(columns)?.clone()],
            options,
        })
    }
}

impl Encoder for RawEncoder {
    fn encode(&mut self, columns: &[ArrayRef], rows: usize, out: &mut EncodedRows) -> Result<(), FormatError> {
        let cells = view(&self.column, columns, "raw")?;
        let Some(cells) = cells.first() else { return Ok(()) };
        let before = out.len();
        let little = self.options.little_endian;
        macro_rules! put {
            ($value:expr) => {
                out.bytes.extend_from_slice(&if little {
                    $value.to_le_bytes()
                } else {
                    $value.to_be_bytes()
                })
            };
        }
        for row in 0..rows {
            if cells.is_null(row) {
                out.push_absent();
                continue;
            }
            match &cells.values {
                Values::Text(v) => {
                    if let Err(reason) = text::write(self.options.charset, text_bytes(v, row), &mut out.bytes) {
                        out.truncate(before);
                        return Err(FormatError::Value {
                            format: "raw",
                            row,
                            reason: format!("column '{}': {reason}", self.column[0].name),
                        });
                    }
                }
                Values::Binary(v) => out.bytes.extend_from_slice(v.value(row)),
                Values::Boolean(v) => out.bytes.push(v.value(row).into()),
                Values::Int8(v) => put!(v[row]),
                Values::Int16(v) => put!(v[row]),
                Values::Int32(v) => put!(v[row]),
                Values::Int64(v) => put!(v[row]),
                Values::Float32(v) => put!(v[row]),
                Values::Float64(v) => put!(v[row]),
                _ => {}
            }
            out.end_row();
        }
        Ok(())
    }
}
