//! What every decoder and encoder promises.

use crate::types::columns;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use flott_core::Options;
use flott_formats::{Decoder, EXCERPT_BYTES, EncodedRows, LineLimits, RowErrorKind, decoder, encoder};

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().copied().collect()
}

fn make(format: &str, pairs: &[(&str, &str)], declared: &str) -> Box<dyn Decoder> {
    let columns = columns(declared);
    decoder(format, &options(pairs), &columns, &columns).unwrap()
}

fn lines(decoder: &mut dyn Decoder, columns: &[ArrayRef], declared: &str) -> Vec<String> {
    let _ = decoder;
    let mut encoder = encoder("json", &Options::new(), &crate::types::columns(declared)).unwrap();
    let mut out = EncodedRows::new();
    encoder.encode(columns, columns[0].len(), &mut out).unwrap();
    out.iter()
        .map(|r| String::from_utf8(r.unwrap().to_vec()).unwrap())
        .collect()
}

#[test]
fn a_bad_row_leaves_no_trace_in_any_column() {
    let declared = "a BIGINT, s STRING, l ARRAY<STRING>, m MAP<STRING, INT>, r ROW<x INT, y ROW<z STRING>>, b BYTES";
    let good = r#"{"a":1,"s":"t","l":["u",null],"m":{"k":1},"r":{"x":1,"y":{"z":"v"}},"b":"AQ=="}"#;
    let bad = [
        r#"{"a":2,"s":"tt","l":["uu"],"m":{"k":2},"r":{"x":2,"y":{"z":"vv"}},"b":"AgI=" "#,
        r#"{"a":2,"s":"tt","l":["uu"],"m":{"k":2},"r":{"x":2,"y":{"z":"vv"}},"b":"!"}"#,
        r#"{"a":2,"s":"tt","l":["uu"],"m":{"k":2},"r":{"x":2,"y":{"z":"vv"},}"#,
        r#"{"a":2,"s":"tt","l":["uu"],"m":{"k":"x"}}"#,
        r#"{"a":2,"s":"tt","l":["uu",{"#,
    ];
    let mut decoder = make("json", &[], declared);
    let mut clean = make("json", &[], declared);
    for bad in bad {
        decoder.decode(good.as_bytes()).unwrap();
        clean.decode(good.as_bytes()).unwrap();
        let before = decoder.rows();
        let error = decoder.decode(bad.as_bytes()).unwrap_err();
        assert!(
            error.excerpt.len() <= EXCERPT_BYTES && !error.reason.is_empty(),
            "{error}"
        );
        assert_eq!(decoder.rows(), before, "{bad}");
    }
    decoder.decode(b"{}").unwrap();
    clean.decode(b"{}").unwrap();
    let (got, want) = (decoder.finish(), clean.finish());
    assert_eq!(got, want);
    assert_eq!(decoder.rows(), 0);
    // The decoder goes on after finish.
    decoder.decode(good.as_bytes()).unwrap();
    let columns = decoder.finish();
    assert_eq!(lines(decoder.as_mut(), &columns, declared), [good]);
}

#[test]
fn errors_name_field_and_position() {
    let mut decoder = make("json", &[], "r ROW<x INT, y ROW<z INT>>");
    let error = decoder.decode(br#"{"r":{"y":{"z":"abc"}}}"#).unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref(), error.position),
        (RowErrorKind::Value, Some("r.y.z"), 15)
    );
    assert_eq!(
        error.to_string(),
        r#"malformed json at byte 15, field 'r.y.z': "abc" is no INT: {"r":{"y":{"z":"abc"}}}"#
    );
    let error = decoder.decode(b"{\"r\":\"\xff\"}").unwrap_err();
    assert_eq!((error.kind, error.position), (RowErrorKind::Encoding, 6));
    let mut decoder = make("json", &[("json.fail-on-missing-field", "true")], "a INT, b INT");
    let error = decoder.decode(br#"{"a":1}"#).unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (RowErrorKind::MissingField, Some("b"))
    );
    let mut decoder = make("csv", &[], "a STRING, b BIGINT");
    let error = decoder.decode(b"x,y").unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref(), error.position),
        (RowErrorKind::Value, Some("b"), 2)
    );
    assert_eq!(decoder.decode(b"x").unwrap_err().kind, RowErrorKind::ColumnCount);
}

#[test]
fn only_projected_fields_are_read_and_in_any_order() {
    let physical = columns("a BIGINT, s STRING, r ROW<x INT, y STRING, z INT>, n INT");
    let projected = columns("n INT, r ROW<z INT>, a BIGINT");
    let mut json = decoder("json", &Options::new(), &physical, &projected).unwrap();
    json.decode(br#"{"a":1,"s":5,"r":{"x":"bad","y":[],"z":3},"n":4}"#)
        .unwrap();
    let mut csv = decoder("csv", &Options::new(), &physical, &projected).unwrap();
    csv.decode(b"1,s,bad;y;3,4").unwrap();
    for columns in [json.finish(), csv.finish()] {
        assert_eq!(columns[0].as_primitive::<Int32Type>().value(0), 4);
        assert_eq!(columns[1].as_struct().column(0).as_primitive::<Int32Type>().value(0), 3);
        assert_eq!(columns[2].as_primitive::<Int64Type>().value(0), 1);
    }
    // No column at all: rows are still counted.
    let mut none = decoder("csv", &Options::new(), &physical, &[]).unwrap();
    none.decode(b"1,2,3,4").unwrap();
    assert_eq!((none.rows(), none.finish().len()), (1, 0));
}

/// Feeds `text` in blocks of `size`, the rest of a block before the next one; gives rows and bad lines.
fn feed(decoder: &mut dyn Decoder, text: &[u8], size: usize, rows: usize) -> (usize, Vec<String>) {
    let (mut total, mut bad) = (0, vec![]);
    let (mut start, mut end) = (0, size.min(text.len()));
    loop {
        let last = end == text.len();
        let limits = LineLimits {
            rows,
            bytes: usize::MAX,
            last,
        };
        let consumed = decoder.decode_lines(&text[start..end], limits);
        if let Some((_, range)) = &consumed.bad {
            bad.push(String::from_utf8_lossy(&text[start..end][range.clone()]).into_owned());
        }
        start += consumed.bytes;
        if decoder.rows() >= rows {
            total += decoder.rows();
            decoder.finish();
        }
        if start == text.len() {
            return (total + decoder.rows(), bad);
        }
        if consumed.bytes == 0 {
            assert!(!last, "stuck at {start}");
            end = (end + size).min(text.len());
        }
    }
}

#[test]
fn lines_may_be_cut_anywhere() {
    let json = b"{\"a\":1}\n{\"a\":2}\r\n\n{\"a\":x}\n{\"a\":4}";
    let csv = b"1,x\n2,\"a\nb\"\r\n3,\"q\"\"\n\"\n4,y,z\n\"5\"6,u\n7,v";
    let block = json.len().max(csv.len());
    for size in 1..=block {
        for rows in [1, 2, 100] {
            let (n, bad) = feed(make("json", &[], "a BIGINT").as_mut(), json, size, rows);
            assert_eq!((n, bad.as_slice()), (3, &["{\"a\":x}".to_owned()][..]), "size {size}");
            let (n, bad) = feed(make("csv", &[], "a BIGINT, b STRING").as_mut(), csv, size, rows);
            assert_eq!(
                (n, bad.as_slice()),
                (4, &["4,y,z".to_owned(), "\"5\"6,u".to_owned()][..]),
                "size {size}"
            );
        }
    }
}

#[test]
fn comments_are_no_part_of_the_line_behind_them() {
    let text = b"# not \xff UTF-8\n1,x\n  # two\n# three\ny,z\n# four\n  ";
    for size in 1..=text.len() {
        let mut csv = make("csv", &[("csv.allow-comments", "true")], "a BIGINT, b STRING");
        let (rows, bad) = feed(csv.as_mut(), text, size, 100);
        assert_eq!((rows, bad), (1, vec!["y,z".to_owned()]), "size {size}");
    }
}

#[test]
fn ignored_rows_are_counted() {
    let mut csv = make("csv", &[("csv.ignore-parse-errors", "true")], "a STRING, b BIGINT");
    for (line, rows) in [("x,1", 1), ("x,y", 1), ("x", 1), ("x,1,2", 0), ("\"x", 0), ("", 0)] {
        assert_eq!(csv.decode(line.as_bytes()).unwrap(), rows, "{line}");
    }
    assert_eq!((csv.rows(), csv.dropped_rows()), (3, 3));
    let mut json = make("json", &[("json.ignore-parse-errors", "true")], "a BIGINT");
    for (line, rows) in [("{\"a\":\"x\"}", 1), ("{", 0), ("", 0), ("[{},{},3]", 2)] {
        assert_eq!(json.decode(line.as_bytes()).unwrap(), rows, "{line}");
    }
    assert_eq!((json.rows(), json.dropped_rows()), (3, 2));
}

#[test]
fn raw_carries_one_value_and_null_is_no_message() {
    for (ty, pairs, bytes, text) in [
        ("STRING", &[][..], &b"h\xc3\xa9"[..], r#"{"v":"hé"}"#),
        ("STRING", &[("raw.charset", "ISO-8859-1")], b"h\xe9", r#"{"v":"hé"}"#),
        (
            "STRING",
            &[("raw.charset", "UTF-16LE")],
            b"h\x00\xe9\x00",
            r#"{"v":"hé"}"#,
        ),
        ("BYTES", &[], b"\x00\xff", r#"{"v":"AP8="}"#),
        ("BOOLEAN", &[], b"\x01", r#"{"v":true}"#),
        ("TINYINT", &[], b"\xff", r#"{"v":-1}"#),
        ("SMALLINT", &[], b"\x01\x00", r#"{"v":256}"#),
        (
            "INT",
            &[("raw.endianness", "little-endian")],
            b"\x01\x00\x00\x00",
            r#"{"v":1}"#,
        ),
        ("BIGINT", &[], b"\x00\x00\x00\x00\x00\x00\x00\x02", r#"{"v":2}"#),
        ("FLOAT", &[], b"\x3f\x80\x00\x00", r#"{"v":1.0}"#),
        ("DOUBLE", &[], b"\x3f\xf0\x00\x00\x00\x00\x00\x00", r#"{"v":1.0}"#),
    ] {
        let declared = format!("v {ty}");
        let mut decoder = make("raw", pairs, &declared);
        assert_eq!(decoder.decode(bytes).unwrap(), 1);
        assert_eq!(decoder.decode_absent(), 1);
        let batch = decoder.finish();
        assert_eq!(lines(decoder.as_mut(), &batch, &declared), [text, r#"{"v":null}"#]);
        let mut out = EncodedRows::new();
        encoder("raw", &options(pairs), &columns(&declared))
            .unwrap()
            .encode(&batch, 2, &mut out)
            .unwrap();
        assert_eq!(out.iter().collect::<Vec<_>>(), [Some(bytes), None], "{ty}");
    }
    let mut decoder = make("raw", &[], "v INT");
    assert_eq!(decoder.decode(b"abc").unwrap_err().kind, RowErrorKind::Encoding);
    assert_eq!(decoder.rows(), 0);
}

#[test]
fn what_a_format_cannot_carry_is_refused_by_name() {
    let refused = |format: &str, declared: &str| {
        let columns = columns(declared);
        let error = decoder(format, &Options::new(), &columns, &columns)
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            encoder(format, &Options::new(), &columns).err().unwrap().to_string(),
            error
        );
        error
    };
    assert!(refused("csv", "a INT, m MAP<STRING, INT>").contains("column 'm' of type MAP<STRING, INT>"));
    assert!(refused("csv", "r ROW<x ARRAY<INT>>").contains("column 'r.x'"));
    assert!(refused("csv", "t TIME(6)").contains("TIME(0) to TIME(3)"));
    assert!(refused("json", "r ROW<m MAP<INT, INT>>").contains("column 'r.m'"));
    assert!(refused("raw", "a INT, b INT").contains("exactly one physical column, not 2 (a, b)"));
    assert!(refused("raw", "d DECIMAL(5, 2)").contains("column 'd'"));
    assert!(refused("jsn", "a INT").contains("did you mean 'json'"));
}

#[test]
fn null_keys_of_maps_follow_the_option() {
    use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    let column: ArrayRef = std::sync::Arc::new(map.finish());
    let declared = columns("m MAP<STRING, INT>");
    let mut out = EncodedRows::new();
    encoder("json", &Options::new(), &declared)
        .unwrap()
        .encode(&[column], 1, &mut out)
        .unwrap();
    assert_eq!(out.get(0), Some(&br#"{"m":{"k":1}}"#[..]));
}

#[test]
fn rows_can_be_taken_back() {
    let mut decoder = make("json", &[], "a BIGINT, s STRING");
    for i in 0..3 {
        decoder
            .decode(format!("{{\"a\":{i},\"s\":\"x{i}\"}}").as_bytes())
            .unwrap();
    }
    decoder.truncate(1);
    decoder.decode(b"{}").unwrap();
    let batch = decoder.finish();
    let texts = lines(decoder.as_mut(), &batch, "a BIGINT, s STRING");
    assert_eq!(texts, [r#"{"a":0,"s":"x0"}"#, r#"{"a":null,"s":null}"#]);
}

#[test]
fn rows_print_as_in_java() {
    let declared = "a STRING, b BIGINT, c DOUBLE, d DECIMAL(20, 10), e TIMESTAMP(3), f TIMESTAMP_LTZ(9), g DATE, h TIME(3), \
                    i BYTES, j ARRAY<INT>, k MAP<STRING, INT>, l ROW<x INT, y STRING>, m BOOLEAN, n STRING";
    let mut decoder = make("json", &[], declared);
    let row = r#"{"a":"x","b":1,"c":1e10,"d":1e-10,"e":"2026-01-01 10:00:00","f":"2026-01-01 10:00:00.12Z","g":"2026-01-01",
        "h":"10:00:05","i":"AP8=","j":[1,null],"k":{"p":2},"l":{"x":3},"m":true}"#;
    decoder.decode(row.as_bytes()).unwrap();
    let batch = flott_core::Batch::new(decoder.finish(), 1).with_kinds(Some(vec![3u8].into()));
    let printer = flott_formats::RowPrinter::new(columns(declared));
    let mut texts = vec![];
    printer
        .print(&batch, |line| texts.push(String::from_utf8(line.to_vec()).unwrap()))
        .unwrap();
    assert_eq!(
        texts,
        [
            "-D[x, 1, 1.0E10, 1E-10, 2026-01-01T10:00, 2026-01-01T10:00:00.120Z, 2026-01-01, 10:00:05, [0, -1], [1, null], \
          {p=2}, +I[3, null], true, null]"
        ]
    );
}
