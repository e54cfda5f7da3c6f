//! Every type that streams have, with its extremes and with NULL in every position, through everything that holds values:
//! encoded exchanges, checkpoints of keyed state (as a key and as a value), and files of each format.
//!
//! Each type stands in the table once, as text of SQL; tests make columns of it, of arrays, maps and rows of it, and of
//! maps that have it as their key. What comes out is compared with what one statement prints that only computes them.

use crate::goldens::Golden;
use crate::harness::{Engine, Run, StoppedBy, Stops, Variation, final_rows};
use crate::snapshot::report;
use std::path::Path;

/// Types that go through the same formats.
struct Family {
    name: &'static str,
    /// Type, two values.
    types: &'static [(&'static str, [&'static str; 2])],
    /// Options of the parquet file that keeps them; `None`: parquet has no such type.
    parquet: Option<&'static str>,
    /// Whether a csv file keeps them.
    csv: bool,
    /// Rows of a json file, where SQL has no way to write the values.
    json_rows: Option<&'static str>,
}

const MICROS: Option<&str> = Some("'parquet.timestamp.time.unit' = 'micros'");
const NANOS: Option<&str> = Some("'parquet.timestamp.time.unit' = 'nanos'");

const FAMILIES: &[Family] = &[
    Family {
        name: "numbers",
        types: &[
            ("BOOLEAN", ["TRUE", "FALSE"]),
            ("TINYINT", ["-128", "127"]),
            ("SMALLINT", ["-32768", "32767"]),
            ("INT", ["'-2147483648'", "2147483647"]),
            ("BIGINT", ["'-9223372036854775808'", "9223372036854775807"]),
            ("FLOAT", ["'-3.4028235E38'", "'1.4E-45'"]),
            ("DOUBLE", ["'1.7976931348623157E308'", "'-4.9E-324'"]),
        ],
        parquet: MICROS,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "decimals",
        types: &[
            ("DECIMAL(1, 0)", ["'-9'", "'0'"]),
            ("DECIMAL(1, 1)", ["'0.9'", "'-0.1'"]),
            ("DECIMAL(9, 2)", ["'-9999999.99'", "'0.01'"]),
            ("DECIMAL(18, 18)", ["'0.999999999999999999'", "'-0.000000000000000001'"]),
            ("DECIMAL(19, 1)", ["'-999999999999999999.9'", "'0.1'"]),
            (
                "DECIMAL(38, 0)",
                [
                    "'99999999999999999999999999999999999999'",
                    "'-99999999999999999999999999999999999999'",
                ],
            ),
            (
                "DECIMAL(38, 38)",
                [
                    "'0.99999999999999999999999999999999999999'",
                    "'-0.00000000000000000000000000000000000001'",
                ],
            ),
        ],
        parquet: MICROS,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "texts",
        types: &[
            ("CHAR(1)", ["'a'", "'😀'"]),
            ("CHAR(3)", ["'ü,\"'", "'  x'"]),
            ("VARCHAR(1)", ["''", "'€'"]),
            ("VARCHAR(5)", ["'a\\b'", "'12345'"]),
            (
                "STRING",
                ["'null'", "'𝒳 and a long text that no short form of a string can hold'"],
            ),
        ],
        parquet: MICROS,
        csv: false,
        json_rows: None,
    },
    Family {
        name: "bytes",
        types: &[
            ("BINARY(1)", ["x'00'", "x'ff'"]),
            ("BINARY(3)", ["x'0001ff'", "x'616263'"]),
            ("VARBINARY(2)", ["x''", "x'00'"]),
            ("BYTES", ["x'00ff00ff00ff00ff00ff00ff00ff00ff'", "x'7f'"]),
        ],
        parquet: MICROS,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "dates and times of day",
        types: &[
            ("DATE", ["'0001-01-01'", "'9999-12-31'"]),
            // Flink knows TIME(0) only, and reads others as that.
            ("TIME", ["'00:00:00'", "'23:59:59'"]),
            ("TIME(0)", ["'12:00:00'", "'23:59:59'"]),
            ("TIME(9)", ["'12:00:00.000000001'", "'23:59:59.999999999'"]),
        ],
        parquet: MICROS,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "timestamps",
        types: &[
            ("TIMESTAMP(0)", ["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
            ("TIMESTAMP(1)", ["'0001-01-01 00:00:00.1'", "'9999-12-31 23:59:59.9'"]),
            ("TIMESTAMP(2)", ["'0001-01-01 00:00:00.01'", "'9999-12-31 23:59:59.99'"]),
            (
                "TIMESTAMP(3)",
                ["'0001-01-01 00:00:00.001'", "'9999-12-31 23:59:59.999'"],
            ),
            (
                "TIMESTAMP(4)",
                ["'0001-01-01 00:00:00.0001'", "'9999-12-31 23:59:59.9999'"],
            ),
            (
                "TIMESTAMP(5)",
                ["'1969-12-31 23:59:59.99999'", "'9999-12-31 23:59:59.99999'"],
            ),
            (
                "TIMESTAMP",
                ["'1969-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'"],
            ),
        ],
        parquet: MICROS,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "instants",
        types: &[
            ("TIMESTAMP_LTZ(0)", ["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
            (
                "TIMESTAMP_LTZ(1)",
                ["'0001-01-01 00:00:00.1'", "'9999-12-31 23:59:59.9'"],
            ),
            (
                "TIMESTAMP_LTZ(2)",
                ["'0001-01-01 00:00:00.01'", "'9999-12-31 23:59:59.99'"],
            ),
            (
                "TIMESTAMP_LTZ(3)",
                ["'0001-01-01 00:00:00.001'", "'9999-12-31 23:59:59.999'"],
            ),
            (
                "TIMESTAMP_LTZ(4)",
                ["'0001-01-01 00:00:00.0001'", "'9999-12-31 23:59:59.9999'"],
            ),
            (
                "TIMESTAMP_LTZ(5)",
                ["'1969-12-31 23:59:59.99999'", "'9999-12-31 23:59:59.99999'"],
            ),
            (
                "TIMESTAMP_LTZ",
                ["'1969-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'"],
            ),
        ],
        parquet: MICROS,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "nanoseconds",
        types: &[
            (
                "TIMESTAMP(7)",
                ["'1677-09-22 00:00:00.0000001'", "'2262-04-11 23:47:16.8547758'"],
            ),
            (
                "TIMESTAMP(8)",
                ["'1677-09-22 00:00:00.00000001'", "'2262-04-11 23:47:16.85477580'"],
            ),
            (
                "TIMESTAMP(9)",
                ["'1677-09-22 00:00:00.000000001'", "'2262-04-11 23:47:16.854775807'"],
            ),
            (
                "TIMESTAMP_LTZ(7)",
                ["'1677-09-22 00:00:00.0000001'", "'2262-04-11 23:47:16.8547758'"],
            ),
            (
                "TIMESTAMP_LTZ(8)",
                ["'1677-09-22 00:00:00.00000001'", "'2262-04-11 23:47:16.85477580'"],
            ),
            (
                "TIMESTAMP_LTZ(9)",
                ["'1677-09-22 00:00:00.000000001'", "'2262-04-11 23:47:16.854775807'"],
            ),
        ],
        parquet: NANOS,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "intervals",
        types: &[
            (
                "INTERVAL YEAR TO MONTH",
                ["INTERVAL '99-11' YEAR TO MONTH", "INTERVAL '-1' MONTH"],
            ),
            (
                "INTERVAL DAY TO SECOND(3)",
                ["INTERVAL '99 23:59:59.999' DAY TO SECOND", "INTERVAL '-0.001' SECOND"],
            ),
        ],
        parquet: None,
        csv: true,
        json_rows: None,
    },
    Family {
        name: "collections of collections",
        types: &[
            (
                "ROW<a INT, b ROW<c STRING, d ARRAY<INT>>>",
                [
                    "ROW(1, ROW('x', ARRAY[1, CAST(NULL AS INT)]))",
                    "ROW(CAST(NULL AS INT), ROW(CAST(NULL AS STRING), ARRAY[2]))",
                ],
            ),
            (
                "ARRAY<ARRAY<STRING>>",
                [
                    "ARRAY[ARRAY['a', CAST(NULL AS STRING)], CAST(NULL AS ARRAY<STRING>)]",
                    "ARRAY[ARRAY['']]",
                ],
            ),
            (
                "ARRAY<ROW<a INT, b TIMESTAMP(9)>>",
                [
                    "ARRAY[ROW(1, TIMESTAMP '2024-02-29 12:00:00.123456789')]",
                    "ARRAY[CAST(NULL AS ROW<a INT, b TIMESTAMP(9)>)]",
                ],
            ),
            (
                "MAP<STRING, MAP<STRING, DECIMAL(38, 2)>>",
                [
                    "MAP['k', MAP['p', CAST(1.25 AS DECIMAL(38, 2))]]",
                    "MAP['n', CAST(NULL AS MAP<STRING, DECIMAL(38, 2)>)]",
                ],
            ),
        ],
        parquet: NANOS,
        csv: false,
        json_rows: None,
    },
    Family {
        name: "multisets",
        types: &[("MULTISET<STRING>", ["", ""])],
        parquet: MICROS,
        csv: false,
        json_rows: Some(
            r#"{"id":0,"c0":{"a":2,"":1},"a0":[{"b":3},null],"r0":{"v":{"c":1},"n":null}}
{"id":1,"c0":{},"a0":[],"r0":{"v":null,"n":null}}
{"id":2,"c0":null,"a0":null,"r0":null}
{"id":3,"c0":{"a":2,"":1},"a0":[{"b":3},null],"r0":{"v":{"c":1},"n":null}}
{"id":4,"c0":{},"a0":[],"r0":{"v":null,"n":null}}
{"id":5,"c0":null,"a0":null,"r0":null}"#,
        ),
    },
];

/// Different rows of each script; each comes twice, with ids this far apart.
const ROWS: usize = 3;

/// What is made of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Array,
    Map,
    Row,
    Key,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "c",
            Self::Array => "a",
            Self::Map => "m",
            Self::Row => "r",
            Self::Key => "k",
        }
    }

    fn of(self, ty: &str) -> String {
        match self {
            Self::Plain => ty.to_owned(),
            Self::Array => format!("ARRAY<{ty}>"),
            Self::Map => format!("MAP<STRING, {ty}>"),
            Self::Row => format!("ROW<v {ty}, n {ty}>"),
            Self::Key => format!("MAP<{ty}, INT>"),
        }
    }

    fn value(self, ty: &str, value: &str) -> String {
        let (value, null) = (format!("CAST({value} AS {ty})"), format!("CAST(NULL AS {ty})"));
        match self {
            Self::Plain => value,
            Self::Array => format!("ARRAY[{value}, {null}]"),
            Self::Map => format!("MAP['v', {value}, 'n', {null}]"),
            Self::Row => format!("ROW({value}, {null})"),
            Self::Key => format!("MAP[{value}, 1]"),
        }
    }
}

const ALL: &[Shape] = &[Shape::Plain, Shape::Array, Shape::Map, Shape::Row, Shape::Key];
const IN_MULTISETS: &[Shape] = &[Shape::Plain, Shape::Array, Shape::Row];
/// JSON has texts as keys only.
const IN_JSON: &[Shape] = &[Shape::Plain, Shape::Array, Shape::Map, Shape::Row];
const IN_CSV: &[Shape] = &[Shape::Plain];

impl Family {
    /// Names, types, and the position of the type in the table.
    fn columns(&self, shapes: &[Shape]) -> Vec<(String, String)> {
        let names = self.types.iter().enumerate();
        let shaped = |(i, (ty, _)): (usize, &(&str, _))| {
            let column = |s: &Shape| (format!("{}{i}", s.name()), s.of(ty));
            shapes.iter().map(column).collect::<Vec<_>>()
        };
        names.flat_map(shaped).collect()
    }

    fn shapes<'a>(&self, shapes: &'a [Shape]) -> &'a [Shape] {
        match self.json_rows {
            Some(_) => IN_MULTISETS,
            None => shapes,
        }
    }

    /// Makes `src`, which has each row twice.
    fn source(&self, shapes: &[Shape], folder: &Path) -> String {
        let columns = self.columns(shapes);
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(rows) = self.json_rows {
            let path = folder.join("rows.json");
            std::fs::write(&path, rows).unwrap();
            return self.table("src", &columns, "json", "", &path);
        }
        let row = |id: usize| {
            let of_type = |(ty, values): &(&str, [&str; 2])| {
                let value = |s: &Shape| match values.get(id % ROWS) {
                    Some(value) => format!("CAST({} AS {})", s.value(ty, value), s.of(ty)),
                    None => format!("CAST(NULL AS {})", s.of(ty)),
                };
                shapes.iter().map(value).collect::<Vec<_>>().join(", ")
            };
            let values: Vec<String> = self.types.iter().map(of_type).collect();
            format!("({id}, {})", values.join(", "))
        };
        let rows: Vec<String> = (0..2 * ROWS).map(row).collect();
        format!(
            "CREATE TEMPORARY VIEW src AS SELECT * FROM (VALUES {}) AS v(id, {});\n",
            rows.join(",\n"),
            names.join(", ")
        )
    }

    fn table(&self, name: &str, columns: &[(String, String)], format: &str, options: &str, path: &Path) -> String {
        let columns: Vec<String> = columns.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(", {options}")
        };
        format!(
            "CREATE TABLE {name} (id INT, {}) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = '{format}'{options});\n",
            columns.join(", "),
            path.display()
        )
    }
}

fn names_of(columns: &[(String, String)], wrap: impl Fn(&str) -> String) -> String {
    columns
        .iter()
        .map(|(name, _)| wrap(name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Without chaining every edge is an exchange, and every barrier ends a life.
const THROUGH_STATE: Variation = Variation {
    options: &[
        ("execution.exchange.encoded", "true"),
        ("pipeline.operator-chaining.enabled", "false"),
        ("execution.batch-rows", "1"),
    ],
    stops: Some(Stops {
        every_batches: 2,
        parallelisms: &[1, 2],
        by: StoppedBy::Stop,
    }),
};

/// What is different from the rows that are only computed.
fn compare(what: &str, run: &Run, expected: &[String]) -> Option<String> {
    let rows = final_rows(&run.rows);
    if let Some(failure) = &run.failure {
        return Some(format!("{what}: {failure}"));
    }
    let pairs = rows.iter().zip(expected).find(|(a, b)| a != b);
    match pairs {
        Some((row, expected)) => Some(format!("{what}:\n  is     {row}\n  should {expected}")),
        None if rows.len() != expected.len() => {
            Some(format!("{what}: {} rows instead of {}", rows.len(), expected.len()))
        }
        None => None,
    }
}

fn check(family: &Family) -> Vec<String> {
    let engine = Engine::new();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = vec![];
    let run = |text: String, variation: &Variation| engine.run(&Golden::new(family.name, text), variation);
    // What one statement computes, whole rows or those of the first ids.
    let computed = |shapes: &[Shape], wrong: &mut Vec<String>| {
        let names = names_of(&family.columns(shapes), str::to_owned);
        let text = format!("{}SELECT id, {names} FROM src;", family.source(shapes, folder.path()));
        let run = run(text, &Variation::default());
        if let Some(failure) = &run.failure {
            wrong.push(format!("{}: {failure}", family.name));
        }
        let rows = final_rows(&run.rows);
        assert!(
            !wrong.is_empty() || rows.len() == 2 * ROWS,
            "{}: {} rows",
            family.name,
            rows.len()
        );
        rows
    };

    let shapes = family.shapes(ALL);
    let columns = family.columns(shapes);
    let names = names_of(&columns, str::to_owned);
    let source = family.source(shapes, folder.path());
    let rows = computed(shapes, &mut wrong);
    let first = |line: &&String| (0..ROWS).any(|id| line.starts_with(&format!("[{id},")));
    let firsts: Vec<String> = rows.iter().filter(first).cloned().collect();
    for (what, query) in [
        ("as keys", format!("SELECT MIN(id), {names} FROM src GROUP BY {names}")),
        (
            "as values",
            format!(
                "SELECT id, {names} FROM (SELECT MOD(id, {ROWS}) AS id, {} FROM src GROUP BY MOD(id, {ROWS}))",
                names_of(&columns, |name| format!("LAST_VALUE({name}) AS {name}"))
            ),
        ),
    ] {
        let run = run(format!("{source}{query};"), &THROUGH_STATE);
        let what = format!("{} {what}", family.name);
        if run.failure.is_none() && (run.counts.restores == 0 || run.counts.frames == 0) {
            wrong.push(format!("{what}: nothing was restored or encoded: {:?}", run.counts));
        }
        wrong.extend(compare(&what, &run, &firsts));
    }

    let formats = [
        ("json", Some(("", IN_JSON))),
        ("csv", family.csv.then_some(("'csv.null-literal' = 'NULL'", IN_CSV))),
        ("parquet", family.parquet.map(|options| (options, ALL))),
    ];
    for (format, kept) in formats {
        let Some((options, shapes)) = kept else { continue };
        let shapes = family.shapes(shapes);
        let expected = computed(shapes, &mut wrong);
        let columns = family.columns(shapes);
        let names = names_of(&columns, str::to_owned);
        let table = family.table("kept", &columns, format, options, &folder.path().join(format));
        let source = family.source(shapes, folder.path());
        let text =
            format!("{source}{table}INSERT INTO kept SELECT id, {names} FROM src;\nSELECT id, {names} FROM kept;");
        let what = format!("{} in {format}", family.name);
        wrong.extend(compare(&what, &run(text, &Variation::default()), &expected));
    }
    wrong
}

#[test]
fn every_type_goes_through_exchanges_checkpoints_and_formats() {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let checks: Vec<_> = FAMILIES.iter().map(|family| scope.spawn(|| check(family))).collect();
        checks.into_iter().flat_map(|check| check.join().unwrap()).collect()
    });
    report(&wrong);
}
