//! Events in, rows with kinds out, and back.

use crate::{EncodedRows, RowErrorKind, decoder, decoder_with_metadata, encoder, metadata};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use flott_core::types::{Field, LogicalType};
use flott_core::{Options, RowKind};
use std::sync::Arc;

fn fields() -> Vec<Field> {
    vec![
        Field::new("id", LogicalType::bigint()),
        Field::new("name", LogicalType::string()),
    ]
}

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().copied().collect()
}

/// Rows of messages, or why one was refused.
fn read(pairs: &[(&str, &str)], messages: &[&str]) -> Result<Vec<String>, String> {
    let mut decoder = decoder("debezium-json", &options(pairs), &fields(), &fields()).map_err(|e| e.to_string())?;
    for message in messages {
        let before = decoder.rows();
        let added = decoder.decode(message.as_bytes()).map_err(|e| e.to_string())?;
        assert_eq!(decoder.rows(), before + added);
    }
    let kinds = decoder.take_kinds().unwrap();
    let columns = decoder.finish();
    assert!(decoder.take_kinds().unwrap().is_empty());
    let (ids, names) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_string::<i32>());
    let row = |i: usize| {
        let kind = RowKind::from_u8(kinds[i]).unwrap().short();
        let name = if names.is_null(i) { "NULL" } else { names.value(i) };
        let id = if ids.is_null(i) {
            "NULL".to_owned()
        } else {
            ids.value(i).to_string()
        };
        format!("{kind} {id} {name}")
    };
    Ok((0..kinds.len()).map(row).collect())
}

const CREATED: &str = r#"{"before":null,"after":{"id":1,"name":"a"},"source":{"ts_ms":5,"db":"x"},"op":"c","ts_ms":7}"#;
const UPDATED: &str = r#"{"op":"u","before":{"id":1,"name":"a"},"after":{"id":1,"name":"b}\""}}"#;
const DELETED: &str = r#"{"before":{"id":1,"name":null},"after":null,"op":"d"}"#;

#[test]
fn events_become_rows_of_their_kinds() {
    let snapshot = r#" {"after":{"name":"s","id":"9","more":[1]},"op":"r"}"#;
    assert_eq!(
        read(&[], &[CREATED, UPDATED, "", DELETED, snapshot]).unwrap(),
        ["+I 1 a", "-U 1 a", "+U 1 b}\"", "-D 1 NULL", "+I 9 s"]
    );
}

#[test]
fn the_event_of_a_message_with_schema_is_its_payload() {
    let message = format!(r#"{{"schema":{{"op":"x"}},"payload":{CREATED}}}"#);
    let with_schema = [("debezium-json.schema-include", "true")];
    assert_eq!(read(&with_schema, &[&message]).unwrap(), ["+I 1 a"]);
    assert!(read(&with_schema, &[CREATED]).unwrap_err().contains("schema-include"));
}

#[test]
fn wrong_events_say_what_is_wrong_or_are_dropped_whole() {
    let half = r#"{"op":"u","before":{"id":1,"name":"a"},"after":{"id":"x","name":"b"}}"#;
    for (message, expected) in [
        (r#"{"before":null,"after":{"id":1},"op":"z"}"#, "'op' is none of"),
        (r#"{"before":null,"after":{"id":1}}"#, "no text 'op'"),
        (r#"{"before":null,"after":{"id":1},"op":"u"}"#, "REPLICA IDENTITY FULL"),
        (r#"{"before":null,"after":null,"op":"c"}"#, "no 'after'"),
        (r#"{"after":[1],"op":"c"}"#, "an object, or null"),
        (r#"{"after":{"id":1},"op":"c""#, "expected"),
        ("17", "expected an object"),
        (half, "'after.id'"),
    ] {
        let error = read(&[], &[CREATED, message]).unwrap_err();
        assert!(error.contains(expected) && error.contains("debezium-json"), "{error}");
    }
    let ignore = [("debezium-json.ignore-parse-errors", "true")];
    let messages = [
        r#"{"op":"u","before":null,"after":{"id":1}}"#,
        "nonsense",
        half,
        DELETED,
    ];
    assert_eq!(
        read(&ignore, &messages).unwrap(),
        ["-U 1 a", "+U NULL b", "-D 1 NULL"],
        "a wrong field is NULL"
    );
}

#[test]
fn a_refused_event_leaves_no_trace() {
    let mut decoder = decoder("debezium-json", &options(&[]), &fields(), &fields()).unwrap();
    decoder.decode(CREATED.as_bytes()).unwrap();
    let half = br#"{"op":"u","before":{"id":1,"name":"a"},"after":{"id":"x","name":"b"}}"#;
    assert_eq!(decoder.decode(half).unwrap_err().kind, RowErrorKind::Value);
    assert_eq!(decoder.rows(), 1);
    decoder.decode(DELETED.as_bytes()).unwrap();
    assert_eq!(
        decoder.take_kinds().unwrap(),
        [RowKind::Insert as u8, RowKind::Delete as u8]
    );
    assert_eq!(decoder.finish()[0].len(), 2);
}

#[test]
fn changes_are_written_as_creations_and_deletions() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)])),
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("d")])),
    ];
    let texts = |pairs: &[(&str, &str)], kinds: Option<&[u8]>| {
        let mut out = EncodedRows::new();
        let mut encoder = encoder("debezium-json", &options(pairs), &fields()).unwrap();
        encoder.encode_changes(&columns, 4, kinds, &mut out).unwrap();
        let text = |r: Option<&[u8]>| String::from_utf8(r.unwrap().to_vec()).unwrap();
        out.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&[], Some(&[0, 1, 2, 3])),
        [
            r#"{"before":null,"after":{"id":1,"name":"a"},"op":"c"}"#,
            r#"{"before":{"id":null,"name":"b"},"after":null,"op":"d"}"#,
            r#"{"before":null,"after":{"id":3,"name":null},"op":"c"}"#,
            r#"{"before":{"id":4,"name":"d"},"after":null,"op":"d"}"#,
        ]
    );
    let short = texts(&[("debezium-json.encode.ignore-null-fields", "true")], None);
    assert_eq!(short[1], r#"{"after":{"name":"b"},"op":"c"}"#);
}

#[test]
fn options_are_checked() {
    let wrong = |pairs: &[(&str, &str)]| match decoder("debezium-json", &options(pairs), &fields(), &fields()) {
        Ok(_) => String::new(),
        Err(e) => e.to_string(),
    };
    assert!(wrong(&[("debezium-json.schema-includ", "true")]).contains("did you mean 'debezium-json.schema-include'"));
    assert!(wrong(&[("debezium-json.timestamp-format.standard", "x")]).contains("debezium-json.timestamp-format"));
    let schema = options(&[("debezium-json.schema-include", "true")]);
    assert!(encoder("debezium-json", &schema, &fields()).is_err());
}

const TOLD: &str = r#"{"before":null,"after":{"id":1},"op":"c","ts_ms":7,"source":{"ts_ms":5,"db":"shop","table":"t","n":{"a": 1},"no":null}}"#;

/// Of each row, the metadata asked for.
fn told(pairs: &[(&str, &str)], names: &[&str], messages: &[&str]) -> Result<Vec<String>, String> {
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let mut decoder = decoder_with_metadata("debezium-json", &options(pairs), &fields(), &fields(), &names)
        .map_err(|e| e.to_string())?;
    for message in messages {
        decoder.decode(message.as_bytes()).map_err(|e| e.to_string())?;
    }
    let rows = decoder.rows();
    let columns = &decoder.finish()[fields().len()..];
    assert_eq!(columns.len(), names.len());
    let text = |column: &ArrayRef, row: usize| -> String {
        if column.is_null(row) {
            return "NULL".to_owned();
        }
        if let Some(times) = column.as_primitive_opt::<TimestampMillisecondType>() {
            return times.value(row).to_string();
        }
        if let Some(maps) = column.as_map_opt() {
            let entries = maps.value(row);
            let (keys, values) = (
                entries.column(0).as_string::<i32>(),
                entries.column(1).as_string::<i32>(),
            );
            return keys
                .iter()
                .flatten()
                .zip(values)
                .map(|(k, v)| format!("{k}={} ", v.unwrap_or("NULL")))
                .collect();
        }
        column.as_string::<i32>().value(row).to_owned()
    };
    let of_row = |row: usize| columns.iter().map(|c| text(c, row)).collect::<Vec<_>>().join("|");
    assert_eq!(decoder.finish().len(), fields().len() + names.len(), "empty now");
    Ok((0..rows).map(of_row).collect())
}

#[test]
fn events_tell_of_themselves() {
    let names: Vec<String> = metadata("debezium-json").into_iter().map(|f| f.name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bare = r#"{"before":{"id":1},"after":{"id":2},"op":"u","source":null}"#;
    let properties = r#"ts_ms=5 db=shop table=t n={"a":1} no=NULL "#;
    assert_eq!(
        told(&[], &names, &[TOLD, bare, TOLD]).unwrap(),
        [
            &format!("NULL|7|5|shop|NULL|t|{properties}"),
            "NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            "NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            &format!("NULL|7|5|shop|NULL|t|{properties}"),
        ]
    );
    let message = format!(r#" {{"schema": {{"type": "struct", "n": [1, 2.50e0]}},"payload":{TOLD}}}"#);
    let with_schema = [("debezium-json.schema-include", "true")];
    assert_eq!(
        told(
            &with_schema,
            &["source.table", "schema", "ingestion-timestamp"],
            &[&message]
        )
        .unwrap(),
        [r#"t|{"type":"struct","n":[1,2.5]}|7"#]
    );
    let error = told(&[], &["source.tabel"], &[]).unwrap_err();
    assert!(error.contains("'source.tabel'; did you mean 'source.table'"), "{error}");
}

#[test]
fn metadata_that_cannot_be_read_fails_its_event_and_leaves_no_trace() {
    let late = TOLD.replace(r#""ts_ms":5"#, r#""ts_ms":"late""#);
    for (names, message, expected) in [
        (["source.timestamp", "source.table"], late.as_str(), "source.ts_ms"),
        (
            ["source.table", "ingestion-timestamp"],
            r#"{"op":"c","after":{"id":1},"source":[1]}"#,
            "'source'",
        ),
        (
            ["ingestion-timestamp", "source.table"],
            r#"{"op":"c","after":{"id":1},"ts_ms":"x"}"#,
            "'ts_ms'",
        ),
    ] {
        let error = told(&[], &names, &[TOLD, message]).unwrap_err();
        assert!(error.contains(expected), "{error}");
        let ignore = [("debezium-json.ignore-parse-errors", "true")];
        let told = told(&ignore, &names, &[TOLD, message, TOLD]).unwrap();
        assert_eq!(told.first(), told.last(), "{told:?}");
    }
}
