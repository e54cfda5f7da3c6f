//! Characters, numbers and bytes in other notations: `ASCII`, `CHR`, `HEX`, `UNHEX`, `BIN`, Base64, charsets.

use super::text::{rows_of_text, text_bytes};
use super::{always, entry};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Bytes, Primitives, Strings};
use arrow_array::Int32Array;
use arrow_array::builder::BinaryBuilder;
use arrow_array::types::Int64Type;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use std::fmt::Write;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("ASCII", "ASCII(STRING)", infer_ascii, build_ascii),
    entry("CHR", "CHR(INTEGER)", infer_chr, build_chr),
    entry("HEX", "HEX(INTEGER|STRING)", infer_hex, build_hex),
    entry("UNHEX", "UNHEX(STRING)", infer_unhex, build_unhex),
    entry("BIN", "BIN(INTEGER)", infer_bin, build_bin),
    entry("TO_BASE64", "TO_BASE64(STRING|BYTES)", infer_base64, build_to_base64),
    entry(
        "FROM_BASE64",
        "FROM_BASE64(STRING|BYTES)",
        infer_base64,
        build_from_base64,
    )
    .failing(always),
    entry("ENCODE", "ENCODE(STRING, charset STRING)", infer_encode, build_encode).failing(always),
    entry("DECODE", "DECODE(BYTES, charset STRING)", infer_decode, build_decode).failing(always),
];

/// Base64 with or without padding when reading, with it when writing, as Java's.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Refuses unless argument `i` is an integer; it becomes BIGINT.
fn bigint(args: &mut Arguments, i: usize) -> Result<(), Refusal> {
    args.require(i, TypeKind::is_integer, TypeKind::BigInt)?;
    args.cast(i, &TypeKind::BigInt)
}

fn text(args: &Arguments) -> LogicalType {
    args.result(TypeKind::Varchar(MAX_LENGTH))
}

fn infer_ascii(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(args.result(TypeKind::Int))
}

fn build_ascii(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let bytes = Bytes::new(&args[0])?;
        // the first byte as Java's signed one
        let first = |row: usize| Some(bytes.get(row)?.first().map_or(0, |b| i32::from(*b as i8)));
        Ok(Arc::new((0..rows).map(first).collect::<Int32Array>()))
    }))
}

fn infer_chr(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    bigint(args, 0)?;
    Ok(LogicalType::string())
}

fn build_chr(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let codes = Primitives::<Int64Type>::new(&args[0])?;
        rows_of_text(rows, rows * 2, |row, out| {
            let code = codes.get(row)?;
            if code >= 0 {
                out.push(char::from((code & 0xff) as u8));
            }
            Some(())
        })
    }))
}

fn infer_hex(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    if args.kind(0).is_integer() {
        bigint(args, 0)?;
    } else {
        args.string(0)?;
    }
    Ok(text(args))
}

/// Appends two digits for each byte.
pub(super) fn push_hex(bytes: &[u8], digits: &[u8; 16], out: &mut String) {
    for byte in bytes {
        out.push(char::from(digits[usize::from(byte >> 4)]));
        out.push(char::from(digits[usize::from(byte & 15)]));
    }
}

fn build_hex(call: &Call<'_>) -> Result<Kernel, ExprError> {
    if call.args[0].ty().kind.is_string() {
        return Ok(Box::new(|args, rows| {
            let bytes = Bytes::new(&args[0])?;
            rows_of_text(rows, text_bytes(&args[0]) * 2, |row, out| {
                push_hex(bytes.get(row)?, b"0123456789ABCDEF", out);
                Some(())
            })
        }));
    }
    digits_of(|value, out| write!(out, "{value:X}"))
}

/// The digits of a BIGINT, two's complement where it is negative.
fn digits_of(write: fn(i64, &mut String) -> std::fmt::Result) -> Result<Kernel, ExprError> {
    Ok(Box::new(move |args, rows| {
        let values = Primitives::<Int64Type>::new(&args[0])?;
        rows_of_text(rows, rows * 16, |row, out| write(values.get(row)?, out).ok())
    }))
}

fn infer_bin(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    bigint(args, 0)?;
    Ok(text(args))
}

fn build_bin(_: &Call<'_>) -> Result<Kernel, ExprError> {
    digits_of(|value, out| write!(out, "{value:b}"))
}

fn infer_unhex(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(LogicalType::new(TypeKind::Varbinary(MAX_LENGTH)))
}

/// Appends the bytes of hexadecimal digits, of which the first stands alone where their number is odd.
fn unhex(digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let (first, pairs) = digits.split_at(digits.len() % 2);
    if let [alone] = first {
        out.push(digit(*alone)?);
    }
    for pair in pairs.chunks_exact(2) {
        out.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(())
}

/// One value of bytes a row: `write` appends it to the empty buffer, or says that it is NULL.
fn rows_of_bytes(
    rows: usize,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<Option<()>, ExprError>,
) -> Result<arrow_array::ArrayRef, ExprError> {
    let mut out = BinaryBuilder::with_capacity(rows, rows * 16);
    let mut buffer = vec![];
    for row in 0..rows {
        buffer.clear();
        match write(row, &mut buffer)? {
            Some(()) => out.append_value(&buffer),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn build_unhex(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let digits = Bytes::new(&args[0])?;
        rows_of_bytes(rows, |row, out| Ok(digits.get(row).and_then(|d| unhex(d, out))))
    }))
}

fn infer_base64(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    if !args.kind(0).is_binary() {
        args.string(0)?;
    }
    Ok(text(args))
}

fn build_to_base64(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let bytes = Bytes::new(&args[0])?;
        rows_of_text(rows, text_bytes(&args[0]) * 4 / 3, |row, out| {
            BASE64.encode_string(bytes.get(row)?, out);
            Some(())
        })
    }))
}

fn build_from_base64(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let bytes = Bytes::new(&args[0])?;
        let (mut decoded, mut failure) = (vec![], None);
        let result = rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            decoded.clear();
            if let Err(e) = BASE64.decode_vec(bytes.get(row)?, &mut decoded) {
                failure.get_or_insert_with(|| ExprError::Value {
                    function: "FROM_BASE64",
                    problem: format!("not Base64: {e}"),
                });
            }
            out.push_str(&String::from_utf8_lossy(&decoded));
            Some(())
        })?;
        failure.map_or(Ok(result), Err)
    }))
}

/// Charsets that every Java has, and UTF-32.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    /// Big-endian; a byte order mark is written, and read.
    Utf16,
    Utf16Be,
    Utf16Le,
    Utf32,
    Latin1,
    Ascii,
}

impl Charset {
    fn of(function: &'static str, name: &str) -> Result<Self, ExprError> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Self::Utf8,
            "UTF-16" | "UTF16" | "UTF_16" => Self::Utf16,
            "UTF-16BE" | "UTF_16BE" => Self::Utf16Be,
            "UTF-16LE" | "UTF_16LE" => Self::Utf16Le,
            "UTF-32" | "UTF32" | "UTF_32" | "UTF-32BE" => Self::Utf32,
            "ISO-8859-1" | "ISO8859_1" | "LATIN1" => Self::Latin1,
            "US-ASCII" | "ASCII" => Self::Ascii,
            _ => {
                let known = [
                    "UTF-8",
                    "UTF-16",
                    "UTF-16BE",
                    "UTF-16LE",
                    "UTF-32",
                    "ISO-8859-1",
                    "US-ASCII",
                ];
                let hint = flott_core::suggest::hint(name, known);
                return Err(ExprError::Value {
                    function,
                    problem: format!("unknown charset '{name}'{hint}; one of {}", known.join(", ")),
                });
            }
        })
    }

    fn encode(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Utf16 | Self::Utf16Be => {
                if self == Self::Utf16 && !text.is_empty() {
                    out.extend_from_slice(&[0xfe, 0xff]);
                }
                text.encode_utf16()
                    .for_each(|u| out.extend_from_slice(&u.to_be_bytes()));
            }
            Self::Utf16Le => text
                .encode_utf16()
                .for_each(|u| out.extend_from_slice(&u.to_le_bytes())),
            Self::Utf32 => text
                .chars()
                .for_each(|c| out.extend_from_slice(&u32::from(c).to_be_bytes())),
            Self::Latin1 => out.extend(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))),
            Self::Ascii => out.extend(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' })),
        }
    }

    fn decode(self, bytes: &[u8], out: &mut String) {
        let units = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
            let units = bytes.chunks(2).map(|c| match c {
                [a, b] => read([*a, *b]),
                // half a unit
                _ => 0xfffd,
            });
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect::<String>()
        };
        match self {
            Self::Utf8 => out.push_str(&String::from_utf8_lossy(bytes)),
            Self::Utf16 => match bytes {
                [0xff, 0xfe, rest @ ..] => out.push_str(&units(rest, u16::from_le_bytes)),
                [0xfe, 0xff, rest @ ..] => out.push_str(&units(rest, u16::from_be_bytes)),
                _ => out.push_str(&units(bytes, u16::from_be_bytes)),
            },
            Self::Utf16Be => out.push_str(&units(bytes, u16::from_be_bytes)),
            Self::Utf16Le => out.push_str(&units(bytes, u16::from_le_bytes)),
            Self::Utf32 => out.extend(bytes.chunks(4).map(|c| {
                <[u8; 4]>::try_from(c)
                    .ok()
                    .and_then(|c| char::from_u32(u32::from_be_bytes(c)))
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            })),
            Self::Latin1 => out.extend(bytes.iter().map(|b| char::from(*b))),
            Self::Ascii => out.extend(bytes.iter().map(|b| {
                if b.is_ascii() {
                    char::from(*b)
                } else {
                    char::REPLACEMENT_CHARACTER
                }
            })),
        }
    }
}

fn infer_encode(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    args.string(0)?;
    args.string(1)?;
    Ok(args.result(TypeKind::Varbinary(MAX_LENGTH)))
}

fn build_encode(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (texts, charsets) = (Strings::new(&args[0])?, Strings::new(&args[1])?);
        rows_of_bytes(rows, |row, out| {
            let (Some(text), Some(charset)) = (texts.get(row), charsets.get(row)) else {
                return Ok(None);
            };
            Charset::of("ENCODE", charset)?.encode(text, out);
            Ok(Some(()))
        })
    }))
}

fn infer_decode(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    args.require(0, TypeKind::is_binary, TypeKind::Varbinary(MAX_LENGTH))?;
    args.string(1)?;
    Ok(text(args))
}

fn build_decode(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (bytes, charsets) = (Bytes::new(&args[0])?, Strings::new(&args[1])?);
        let mut failure = None;
        let result = rows_of_text(rows, rows * 16, |row, out| {
            let (bytes, charset) = (bytes.get(row)?, charsets.get(row)?);
            match Charset::of("DECODE", charset) {
                Ok(charset) => charset.decode(bytes, out),
                Err(e) => failure = Some(e),
            }
            Some(())
        })?;
        failure.map_or(Ok(result), Err)
    }))
}
