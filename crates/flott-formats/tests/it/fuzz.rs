//! Random and mutated input, from fixed seeds: no panic, and the same judgement as a full parser's.

use crate::types::columns;
use flott_core::Options;
use flott_formats::{Decoder, EncodedRows, decoder, encoder};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Xorshift: enough for choosing mutations, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn mutate(random: &mut Random, seeds: &[&str], tokens: &[&str]) -> Vec<u8> {
    let mut text = random.pick(seeds).as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(text.len() + 1);
        match random.below(6) {
            0 if at < text.len() => text[at] = random.next() as u8,
            1 if at < text.len() => {
                text.remove(at);
            }
            2 => text.truncate(at),
            3 => {
                let other = random.pick(seeds).as_bytes();
                let from = random.below(other.len());
                let to = from + random.below(other.len() - from);
                text.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let token = random.pick(tokens).as_bytes();
                text.splice(at..at, token.iter().copied());
            }
        }
    }
    text
}

const JSON: [&str; 7] = [
    r#"{"a":1,"s":"text","d":1.5,"r":{"x":1,"y":"z"},"l":["p","q"],"b":true}"#,
    r#"{"r":{"y":"\u00e9\n","x":-7},"s":"","a":9223372036854775807,"zz":[{"q":[1,2,{"a":null}]}]}"#,
    r#" { "a" : null , "s" : "sixteen bytes or so of text" , "d" : 1e-7 } "#,
    r#"{"b":false,"l":[],"d":-0.0,"s":"é😀\"\\","a":-1,"unknown":"\uD83D\uDE00"}"#,
    r#"{"l":[null,"x"],"r":null,"s":"0123456789abcdef0123456789abcdef"}"#,
    r#"{}"#,
    r#"{"a":1,"a":2,"r":{"x":1},"r":{"y":"only"},"l":["1"],"l":[]}"#,
];

const JSON_TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "1",
    "-",
    "0",
    ".",
    "e5",
    " ",
    "\n",
    "\"a\":",
    "\"s\":\"t\",",
    "\\u12",
    "é",
    "{\"a\":",
    "\u{1}",
    "E",
];

const COLUMNS: &str = "a BIGINT, s STRING, d DOUBLE, r ROW<x INT, y STRING>, l ARRAY<STRING>, b BOOLEAN";

/// The row that Flink's rules make of a parsed object, or nothing if a value is wrong for its column; only for values
/// whose conversion is plain.
fn expected(value: &Value) -> Option<Value> {
    let object = value.as_object()?;
    let get = |name: &str| object.get(name).unwrap_or(&Value::Null);
    let plain_text = |v: &Value| v.is_string() || v.is_null();
    let integer = |v: &Value| v.is_null() || v.is_i64();
    let row = match get("r") {
        Value::Null => Value::Null,
        Value::Object(r) => {
            let x = r.get("x").unwrap_or(&Value::Null);
            let y = r.get("y").unwrap_or(&Value::Null);
            if !integer(x) || x.as_i64().is_some_and(|x| i32::try_from(x).is_err()) || !plain_text(y) {
                return None;
            }
            serde_json::json!({"x": x, "y": y})
        }
        _ => return None,
    };
    let list = get("l");
    let plain_list = list.is_null() || list.as_array().is_some_and(|l| l.iter().all(plain_text));
    let (a, s, d, b) = (get("a"), get("s"), get("d"), get("b"));
    if !integer(a) || !plain_text(s) || !(d.is_null() || d.is_f64()) || !(b.is_null() || b.is_boolean()) || !plain_list
    {
        return None;
    }
    Some(serde_json::json!({"a": a, "s": s, "d": d, "r": row, "l": list, "b": b}))
}

/// The first value of the text as serde reads it, or nothing if it is malformed; `None` outside where the two parsers
/// differ by design (control characters in strings, unpaired surrogates, numbers beyond f64, depth).
fn serde_judgement(text: &[u8]) -> Option<Option<Value>> {
    if text.iter().any(|b| *b < 0x20) || text.windows(2).any(|w| w.eq_ignore_ascii_case(b"ud")) {
        return None;
    }
    let first = serde_json::Deserializer::from_slice(text).into_iter::<Value>().next();
    match first {
        Some(Err(e)) if e.to_string().contains("number out of range") => None,
        Some(Ok(value)) => Some(Some(value)),
        Some(Err(_)) | None => Some(None),
    }
}

fn repeats_a_key(text: &str) -> bool {
    ["a", "s", "d", "r", "l", "b", "x", "y"]
        .iter()
        .any(|name| text.matches(&format!("\"{name}\"")).count() > 1)
}

fn decode_one(decoder: &mut dyn Decoder, text: &[u8]) -> Result<Vec<Value>, String> {
    decoder.decode(text).map_err(|e| e.to_string())?;
    let rows = decoder.rows();
    let batch = decoder.finish();
    let mut out = EncodedRows::new();
    encoder("json", &Options::new(), &columns(COLUMNS))
        .unwrap()
        .encode(&batch, rows, &mut out)
        .unwrap();
    Ok(out
        .iter()
        .map(|row| serde_json::from_slice(row.unwrap()).unwrap())
        .collect())
}

#[test]
fn json_is_judged_and_read_as_by_serde() {
    let mut random = Random(0x5EED_0001);
    let all = columns(COLUMNS);
    let mut decoder = decoder("json", &Options::new(), &all, &all).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..60_000 {
        if Instant::now() > end {
            break;
        }
        let text = mutate(&mut random, &JSON, &JSON_TOKENS);
        let shown = String::from_utf8_lossy(&text).into_owned();
        let got = decode_one(decoder.as_mut(), &text);
        if std::str::from_utf8(&text).is_err() {
            assert!(got.is_err(), "not UTF-8, but read: {shown:?}");
            continue;
        }
        match serde_judgement(&text) {
            Some(Some(value)) if value.is_object() => {
                // An earlier value of a repeated key is judged too, which serde does not show.
                if got.is_err() && repeats_a_key(&shown) {
                    continue;
                }
                if let Some(mut want) = expected(&value) {
                    let mut row = got.unwrap_or_else(|e| panic!("{shown:?}: {e}")).remove(0);
                    // serde_json rounds some numbers to a neighbour of the nearest double.
                    let (ours, theirs) = (row["d"].take(), want["d"].take());
                    assert_eq!(ours.is_null(), theirs.is_null(), "{shown:?}");
                    if let (Some(ours), Some(theirs)) = (ours.as_f64(), theirs.as_f64()) {
                        assert!(
                            (ours - theirs).abs() <= theirs.abs() * 1e-15,
                            "{ours} {theirs} {shown:?}"
                        );
                    }
                    assert_eq!(row, want, "{shown:?}");
                    good += 1;
                }
            }
            Some(None) if !text.is_empty() && text[0] != 0xEF => {
                assert!(got.is_err(), "malformed, but read: {shown:?}");
                bad += 1;
            }
            _ => {}
        }
    }
    assert!(good > 300 && bad > 300, "{good} good, {bad} bad");
}

const CSV: [&str; 6] = [
    "x,1,y",
    "\"a,b\",22,\"say \"\"hi\"\"\"",
    "long field with more than sixteen bytes,-5,another one with more than sixteen",
    ",0,",
    "\"line\nbreak\",7,é",
    "x,1,y,",
];

const CSV_TOKENS: [&str; 10] = [",", "\"", "\"\"", "\n", "\r\n", " ", "1", "x", "é", "\\"];

/// One record by the rules of the module's page, a character at a time.
fn reference(text: &str) -> Option<Vec<String>> {
    let chars: Vec<char> = text.chars().collect();
    let mut fields = vec![];
    let mut at = 0;
    loop {
        let mut field = String::new();
        if chars.get(at) == Some(&'"') {
            at += 1;
            loop {
                match (chars.get(at)?, chars.get(at + 1)) {
                    ('"', Some('"')) => {
                        field.push('"');
                        at += 2;
                    }
                    ('"', _) => break,
                    (c, _) => {
                        field.push(*c);
                        at += 1;
                    }
                }
            }
            at += 1;
            while chars.get(at).is_some_and(|c| *c <= ' ' && !matches!(c, '\n' | '\r')) {
                at += 1;
            }
            if chars.get(at).is_some_and(|c| !matches!(c, ',' | '\n' | '\r')) {
                return None;
            }
        } else {
            while let Some(c) = chars.get(at).filter(|c| !matches!(c, ',' | '\n' | '\r')) {
                field.push(*c);
                at += 1;
            }
        }
        fields.push(field);
        match chars.get(at) {
            Some(',') => at += 1,
            _ => break,
        }
    }
    if fields.len() == 4 && fields[3].trim_matches(|c| c <= ' ').is_empty() {
        fields.pop();
    }
    let number = fields.get(1)?.trim_matches(|c| c <= ' ').parse::<i64>().ok()?;
    fields[1] = number.to_string();
    (fields.len() == 3).then_some(fields)
}

#[test]
fn csv_is_read_as_by_a_simple_parser() {
    let mut random = Random(0x5EED_0002);
    let all = columns("a STRING, n BIGINT, b STRING");
    let mut decoder = decoder("csv", &Options::new(), &all, &all).unwrap();
    let mut writer = encoder("json", &Options::new(), &all).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..60_000 {
        if Instant::now() > end {
            break;
        }
        let bytes = mutate(&mut random, &CSV, &CSV_TOKENS);
        let got = decoder.decode(&bytes);
        let rows = decoder.rows();
        let batch = decoder.finish();
        let Ok(text) = std::str::from_utf8(&bytes) else {
            assert!(got.is_err(), "not UTF-8, but read: {bytes:?}");
            continue;
        };
        if text.starts_with('\u{feff}') {
            continue;
        }
        match reference(text) {
            Some(fields) => {
                assert_eq!(got, Ok(1), "{text:?}");
                let mut out = EncodedRows::new();
                writer.encode(&batch, rows, &mut out).unwrap();
                let row: Value = serde_json::from_slice(out.get(0).unwrap()).unwrap();
                let number: i64 = fields[1].parse().unwrap();
                assert_eq!(
                    row,
                    serde_json::json!({"a": fields[0], "n": number, "b": fields[2]}),
                    "{text:?}"
                );
                good += 1;
            }
            None => {
                assert!(got.is_err(), "malformed, but read: {text:?}");
                bad += 1;
            }
        }
    }
    assert!(good > 300 && bad > 300, "{good} good, {bad} bad");
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let mut random = Random(0x5EED_0003);
    let declared = "a TINYINT, t TIMESTAMP(3), d DECIMAL(10, 2), e DATE, f TIME(3), g BYTES, h FLOAT, l ARRAY<INT>, \
                    r ROW<x TIMESTAMP_LTZ(9), y DECIMAL(38, 10)>";
    let seeds = [
        r#"{"a":1,"t":"2026-01-01 00:00:00.123","d":"1.5e3","e":"2026-01-01","f":"12:00:00","g":"AAAA","h":1e3,"l":[1],"r":{"x":"2026-01-01 00:00:00Z","y":1}}"#,
        "1,2026-01-01 00:00:00.123,1.5e3,2026-01-01,12:00:00,AAAA,1e3,1;2,2026-01-01 00:00:00Z;5",
    ];
    let all = columns(declared);
    let tokens = [
        JSON_TOKENS.as_slice(),
        CSV_TOKENS.as_slice(),
        &["9999999999", "-", ":", "Z", "2026", "+"],
    ]
    .concat();
    let mut decoders: Vec<Box<dyn Decoder>> = vec![];
    for (format, ignore) in [("json", "false"), ("json", "true"), ("csv", "false"), ("csv", "true")] {
        let mut options = Options::new();
        options.set(format!("{format}.ignore-parse-errors"), ignore);
        decoders.push(decoder(format, &options, &all, &all).unwrap());
    }
    let end = Instant::now() + Duration::from_secs(3);
    for i in 0..40_000 {
        if Instant::now() > end {
            break;
        }
        let text = mutate(&mut random, &seeds, &tokens);
        for decoder in &mut decoders {
            let _ = decoder.decode(&text);
            if i % 64 == 0 {
                let rows = decoder.rows();
                for column in decoder.finish() {
                    assert_eq!(column.len(), rows);
                    column.to_data().validate_full().unwrap();
                }
            }
        }
    }
}
