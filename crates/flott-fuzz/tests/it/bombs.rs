//! Inputs that want much of little: deep nesting, large numbers, long patterns, lengths out of all proportion, work that
//! grows with the square of the input. Each must end within the limits of memory and time, with an answer or an error.

use crate::replay::within_limits;

/// `before`, then `n` times `open`, `inside`, `n` times `close`, then `after`.
fn nested(before: &str, open: &str, inside: &str, close: &str, after: &str, n: usize) -> String {
    format!("{before}{}{inside}{}{after}", open.repeat(n), close.repeat(n))
}

/// Pieces for 0 to `n`, with commas between.
fn listed(n: usize, piece: impl Fn(usize) -> String) -> String {
    (0..n).map(piece).collect::<Vec<_>>().join(", ")
}

fn all(target: &str, bombs: Vec<(&str, String)>) {
    let inputs = bombs
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.into_bytes()));
    within_limits(target, inputs.collect());
}

#[test]
fn json() {
    let digits = "9".repeat(30_000);
    let repeated = "m MAP<STRING, INT>\n";
    let deep_map = nested("m ", "MAP<STRING, ", "INT", ">", "\n", 10);
    all(
        "json",
        vec![
            (
                "depth skipped",
                nested("a INT\n{\"z\":", "[", "", "]", ",\"a\":1}", 100_000),
            ),
            ("depth of text", format!("s STRING\n{{\"s\":{}", "[".repeat(100_000))),
            (
                "depth of objects",
                format!("s STRING\n{{\"s\":{}", "{\"a\":".repeat(100_000)),
            ),
            (
                "map of many keys",
                format!(
                    "{repeated}{{\"m\":{{{}}}}}",
                    listed(100_000, |i| format!("\"k{i}\":{i}"))
                ),
            ),
            (
                "map of repeated keys",
                format!(
                    "{repeated}{{\"m\":{{{}}}}}",
                    listed(100_000, |i| format!("\"k{}\":{i}", i % 40_000))
                ),
            ),
            (
                "maps of repeated keys in each other",
                nested(&format!("{deep_map}{{\"m\":"), "{\"a\":null,\"a\":", "1", "}", "}", 10),
            ),
            (
                "numbers",
                format!(
                    "d DOUBLE, c DECIMAL(38, 18), l BIGINT, f FLOAT\n\
                     {{\"d\":{digits},\"c\":{digits}.{digits},\"l\":1e999999999,\"f\":1e-999999999}}"
                ),
            ),
            (
                "exponents",
                "c DECIMAL(38, 18), e DECIMAL(10, 2), l BIGINT, i INT | ignore-parse-errors=true\n\
                 {\"c\":1e2147483647,\"e\":1e-2147483648,\"l\":1e99999999999999999999,\"i\":123456789e-5}"
                    .to_owned(),
            ),
            (
                "array of rows",
                format!(
                    "a ARRAY<ROW<x BIGINT, y STRING, z DOUBLE>>\n{{\"a\":[{}]}}",
                    listed(100_000, |_| "{}".into())
                ),
            ),
            (
                "many rows",
                format!(
                    "x BIGINT, y STRING, z DOUBLE, d DECIMAL(38, 2)\n[{}]",
                    listed(100_000, |_| "{}".into())
                ),
            ),
            (
                "many fields",
                format!("a INT\n{{{},\"a\":1}}", listed(50_000, |i| format!("\"q{i}\":{i}"))),
            ),
            (
                "escapes",
                format!("s STRING\n{{\"s\":\"{}\"}}", "\\u0041".repeat(100_000)),
            ),
        ],
    );
}

#[test]
fn csv() {
    let ones = "1".repeat(30_000);
    all(
        "csv",
        vec![
            ("quotes", format!("a STRING, n BIGINT\n{}", "\"".repeat(200_000))),
            ("fields", format!("a STRING, n BIGINT\n{}", ",".repeat(200_000))),
            ("array", format!("l ARRAY<INT>\n{}", ";".repeat(200_000))),
            ("open quotes", format!("a STRING, n BIGINT\n{}", "\"x\n".repeat(60_000))),
            (
                "comments",
                format!("a STRING, n BIGINT | allow-comments=true\n{}", "#\n".repeat(60_000)),
            ),
            (
                "numbers",
                format!("n BIGINT, d DOUBLE, c DECIMAL(38, 18)\n{ones},1e999999999,1e-999999999\n1,{ones},0.{ones}\n"),
            ),
        ],
    );
}

#[test]
fn documents_of_other_readers() {
    let deep = |before: &str| format!("{before}{}", "[".repeat(100_000));
    all("debezium", vec![("depth", deep("a BIGINT\n{\"source\":"))]);
    all("manifest", vec![("depth", deep("{\"job_name\":"))]);
    all("plan", vec![("depth", deep("{\"version\":1,\"name\":"))]);
    let rows = b"a BIGINT, s STRING, n ROW<x INT>\n\x01\x00\x01\x00\x00\x03\0\0\0\xff\xff\xff\xff".to_vec();
    within_limits("exchange", vec![("number of rows".to_owned(), rows)]);
}
