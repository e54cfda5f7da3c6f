//! `json`: one JSON object per message, or an array of them.
//!
//! # Reading
//! [`JsonDecoder`] walks the text once and writes each projected field where it stands; there is no tree. Objects of a
//! stream mostly have their fields in one order, so each ROW remembers the order that it saw and compares the text with
//! the key that should come next; a miss looks the key up and corrects the memory. What is not projected is checked
//! and skipped.
//!
//! The rules are those of Flink 2.2.1 with `json.decode.json-parser.enabled`, recorded from it in `tests/it`:
//! * text after the outermost object is not looked at; an empty message is no row; control characters may stand in
//!   strings; a byte order mark is skipped; nesting goes 1,000 deep;
//! * a missing field and `null` are NULL; numbers, booleans and their texts convert into each other; a fraction is cut
//!   off for INT and BIGINT but wrong for TINYINT and SMALLINT; a number outside its type is wrong; objects and arrays
//!   become their JSON text in a STRING; decimals round half up, and those too large are NULL;
//! * with `json.ignore-parse-errors` a wrong field is NULL and malformed JSON drops the row.
//!
//! Where that parser is at fault, this one does what Flink's documentation and its other parser say: the last of
//! duplicate keys wins without hiding other fields, and a nested value of the wrong shape spoils its own field only.
//! Fractions of a second beyond a timestamp's precision are cut off. An unpaired surrogate reads as `?`.
//!
//! # Writing
//! [`JsonEncoder`] writes Jackson's text: `Double.toString`, characters beyond the basic plane as `\uXXXX` pairs,
//! decimals without trailing zeros unless `json.encode.decimal-as-plain-number`.

mod decode;
mod encode;
mod reader;
mod string;
mod tree;

pub(crate) use decode::JsonDecoder;
pub(crate) use encode::{JsonEncoder, view};
pub(crate) use reader::{Fault, Read, Reader};
