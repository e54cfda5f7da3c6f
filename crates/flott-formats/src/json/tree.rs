//! A nested value as text, for a STRING column: what Jackson's tree prints.

use super::reader::{Read, Reader};
use super::string::{unescape, write_string};
use crate::text::decimal::write_java;
use crate::text::number::{parse_f64, parse_i64, write_f64};

/// A value of which the last of duplicate keys has won, at the place of the first.
enum Tree {
    Text(Vec<u8>),
    Array(Vec<Tree>),
    Object(Vec<(Vec<u8>, Tree)>),
}

/// Reads the value at the position and appends its text. With `big_decimals` (Flink's choice where a table has DECIMAL
/// columns) numbers with a fraction print as `BigDecimal`s, otherwise as `double`s.
pub(crate) fn write_value(reader: &mut Reader<'_>, big_decimals: bool, out: &mut Vec<u8>) -> Read<()> {
    let tree = read(reader, big_decimals)?;
    write(&tree, out);
    Ok(())
}

fn read(reader: &mut Reader<'_>, big_decimals: bool) -> Read<Tree> {
    let start = reader.at;
    match reader.peek() {
        b'{' => {
            reader.enter()?;
            let mut members: Vec<(Vec<u8>, Tree)> = vec![];
            let mut byte = reader.skip_space();
            while byte != b'}' {
                let raw = reader.key()?;
                let key = plain(raw.inside);
                let value = read(reader, big_decimals)?;
                match members.iter_mut().find(|(name, _)| *name == key) {
                    Some((_, old)) => *old = value,
                    None => members.push((key, value)),
                }
                byte = reader.separator(b'}', "',' or '}'")?;
            }
            reader.leave();
            Ok(Tree::Object(members))
        }
        b'[' => {
            reader.enter()?;
            let mut elements = vec![];
            let mut byte = reader.skip_space();
            while byte != b']' {
                elements.push(read(reader, big_decimals)?);
                byte = reader.separator(b']', "',' or ']'")?;
            }
            reader.leave();
            Ok(Tree::Array(elements))
        }
        b'"' => {
            let raw = reader.string()?;
            let mut text = vec![];
            write_string(&mut text, &plain(raw.inside), false);
            Ok(Tree::Text(text))
        }
        b'-' | b'0'..=b'9' => {
            let number = reader.number()?;
            let mut text = vec![];
            if number.whole {
                text.extend_from_slice(if number.text == b"-0" { b"0" } else { number.text });
            } else if big_decimals {
                write_big_decimal(&mut text, number.text);
            } else {
                write_double(&mut text, number.text);
            }
            Ok(Tree::Text(text))
        }
        _ => {
            reader.skip_value()?;
            Ok(Tree::Text(reader.text[start..reader.at].to_vec()))
        }
    }
}

/// The inside of a string whose escapes the reader has checked.
fn plain(inside: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(inside.len());
    if unescape(inside, &mut text).is_err() {
        text.clear();
    }
    text
}

fn write_double(out: &mut Vec<u8>, number: &[u8]) {
    let value = parse_f64(number).unwrap_or(f64::NAN);
    if value.is_finite() {
        write_f64(out, value);
    } else {
        // Jackson quotes what is no JSON number.
        out.push(b'"');
        write_f64(out, value);
        out.push(b'"');
    }
}

/// The number as a `BigDecimal` without trailing zeros.
fn write_big_decimal(out: &mut Vec<u8>, number: &[u8]) {
    let (mantissa, exponent) = match number.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&number[..at], parse_i64(&number[at + 1..]).unwrap_or(i64::MAX)),
        None => (number, 0),
    };
    let negative = mantissa.first() == Some(&b'-');
    let fraction = mantissa
        .iter()
        .position(|b| *b == b'.')
        .map_or(0, |at| mantissa.len() - at - 1);
    let digits: String = mantissa
        .iter()
        .filter(|b| b.is_ascii_digit())
        .map(|b| char::from(*b))
        .collect();
    let significant = digits.trim_start_matches('0');
    let stripped = significant.trim_end_matches('0');
    if stripped.is_empty() {
        return out.push(b'0');
    }
    let zeros = (significant.len() - stripped.len()) as i64;
    match i32::try_from((fraction as i64 - zeros).saturating_sub(exponent)) {
        Ok(scale) => write_java(out, negative, stripped, scale),
        // No BigDecimal has such an exponent; the text stays as it is.
        Err(_) => out.extend_from_slice(number),
    }
}

fn write(tree: &Tree, out: &mut Vec<u8>) {
    match tree {
        Tree::Text(text) => out.extend_from_slice(text),
        Tree::Array(elements) => {
            out.push(b'[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(element, out);
            }
            out.push(b']');
        }
        Tree::Object(members) => {
            out.push(b'{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(out, key, false);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}
