//! `flink-2.2.1.txt`: what the format classes of Flink 2.2.1 (flink-json, flink-csv on Java 17, JSON parser enabled)
//! made of each case, recorded on 2026-11-21.
//!
//! A case is `mode<TAB>columns<TAB>options<TAB>text`, its answer `=> rows as JSON`, `=> <none>` or `=> ERROR`. Modes
//! `json` and `csv` read the text; `enc-json` and `enc-csv` write the row that the JSON text is. Where ours differs on
//! purpose, `~> answer` states ours, with the reason in a comment above the case.

use crate::types::columns;
use flott_core::Options;
use flott_formats::{EncodedRows, decoder, encoder};

const RECORDED: &str = include_str!("flink-2.2.1.txt");

/// The options of a case under their full names.
fn options(format: &str, short: &str) -> Options {
    let mut options = Options::new();
    for (key, value) in short.split(';').filter_map(|o| o.split_once('=')) {
        let name = match key {
            "ignore" => "ignore-parse-errors",
            "missing" => "fail-on-missing-field",
            "ts" => "timestamp-format.standard",
            "plain" => "encode.decimal-as-plain-number",
            "nonulls" => "encode.ignore-null-fields",
            "delim" => "field-delimiter",
            "comments" => "allow-comments",
            "arr" => "array-element-delimiter",
            "noquote" => "disable-quote-character",
            "quote" => "quote-character",
            "escape" => "escape-character",
            "null" => "null-literal",
            "sci" => "write-bigdecimal-in-scientific-notation",
            other => panic!("option {other}"),
        };
        let value = unescape(value);
        let value = if value == "1" { "true".to_owned() } else { value };
        options.set(format!("{format}.{name}"), value);
    }
    // The recorder's builder leaves this off by default, where the option of a table is on.
    if format == "csv" && !short.contains("sci=") {
        options.set("csv.write-bigdecimal-in-scientific-notation", "false");
    }
    options
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\r", "\r")
        .replace("\\0", "\0")
}

fn answer(mode: &str, declared: &str, short: &str, text: &str) -> String {
    let format = mode.trim_start_matches("enc-");
    let columns = columns(declared);
    let (reads, reading) = if mode == format {
        (format, options(format, short))
    } else {
        ("json", Options::new())
    };
    let mut decoder = match decoder(reads, &reading, &columns, &columns) {
        Ok(decoder) => decoder,
        Err(_) => return "ERROR".into(),
    };
    if decoder.decode(unescape(text).as_bytes()).is_err() {
        assert_eq!(decoder.rows(), 0, "a bad message left rows");
        return "ERROR".into();
    }
    let rows = decoder.rows();
    if rows == 0 {
        return "<none>".into();
    }
    let batch = decoder.finish();
    let (writes, writing) = if mode == format {
        let options = [("json.encode.decimal-as-plain-number", "true")];
        ("json", options.into_iter().collect())
    } else {
        (format, options(format, short))
    };
    let mut encoder = encoder(writes, &writing, &columns).unwrap();
    let mut out = EncodedRows::new();
    encoder.encode(&batch, rows, &mut out).unwrap();
    let texts: Vec<String> = out
        .iter()
        .map(|r| String::from_utf8(r.unwrap().to_vec()).unwrap())
        .collect();
    texts.join(" ").replace('\n', "\\n").replace('\r', "\\r")
}

#[test]
fn answers_are_those_of_flink() {
    let mut lines = RECORDED.lines().filter(|l| !l.starts_with('#')).peekable();
    let mut cases = 0;
    let mut wrong = vec![];
    while let Some(case) = lines.next() {
        let mut parts = case.splitn(4, '\t');
        let mut part = || parts.next().unwrap_or_else(|| panic!("malformed case: {case}"));
        let (mode, declared, short, text) = (part(), part(), part(), part());
        let mut want = lines
            .next()
            .and_then(|l| l.strip_prefix("=> "))
            .unwrap_or_else(|| panic!("no answer: {case}"));
        if let Some(ours) = lines.next_if(|l| l.starts_with("~> ")) {
            want = &ours[3..];
        }
        let got = answer(mode, declared, short, text);
        if got != want {
            wrong.push(format!("{case}\n  want {want}\n  got  {got}"));
        }
        cases += 1;
    }
    assert!(cases > 300, "only {cases} cases");
    assert!(
        wrong.is_empty(),
        "{} of {cases} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
