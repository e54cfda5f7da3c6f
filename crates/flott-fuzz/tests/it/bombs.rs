//! Inputs that want much of little: deep nesting, large numbers, long patterns, lengths out of all proportion, work that
//! grows with the square of the input. Each must end within the limits of memory and time, with an answer or an error.

use crate::replay::within_limits;
use std::fmt::Write;

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

#[test]
fn texts_of_expressions() {
    let long = "9".repeat(5000);
    all(
        "expression",
        vec![
            ("REPEAT", "REPEAT('abcdefghij', 2147483647)".into()),
            (
                "REPEAT in rows",
                "CHAR_LENGTH(REPEAT(s, i)), CONCAT(REPEAT(s, 100000000), s)".into(),
            ),
            ("REPEAT of nothing", "REPEAT('', 2147483647), REPEAT(v, -1)".into()),
            ("LPAD", "LPAD('a', 2147483647, 'é'), RPAD(s, 2147483647, 'x')".into()),
            (
                "REPLACE",
                "REPLACE(REPEAT('a', 100000), 'a', REPEAT('b', 100000))".into(),
            ),
            (
                "REPLACE of nothing",
                "REPLACE(REPEAT('a', 100000), '', REPEAT('b', 100000))".into(),
            ),
            (
                "REPLACE counted",
                "CHAR_LENGTH(REPLACE(s, 'a', REPEAT('b', 100000)))".into(),
            ),
            (
                "REGEXP_REPLACE",
                "REGEXP_REPLACE(REPEAT('a', 100000), 'a', REPEAT('b', 100000))".into(),
            ),
            (
                "TRANSLATE",
                "TRANSLATE(REPEAT('a', 100000), REPEAT('ab', 20000), REPEAT('cd', 20000))".into(),
            ),
            (
                "CHAR",
                "CAST('a' AS CHAR(2147483647)), CAST(s AS CHAR(2147483647))".into(),
            ),
            (
                "BINARY",
                "CAST(y AS BINARY(2147483647)), CAST(X'00' AS BINARY(2000000000))".into(),
            ),
            (
                "PRINTF",
                "PRINTF('%2147483647d %.2147483647f', i, d), PRINTF('%99999s%99999s', s, s)".into(),
            ),
            ("PRINTF often", format!("PRINTF('{}', s)", "%1$99999s".repeat(5000))),
            (
                "pattern",
                "REGEXP(s, '(a{1000}){1000}'), s SIMILAR TO '((((a*)*)*)*)*b'".into(),
            ),
            ("long pattern", format!("REGEXP(s, '{}')", "(a|b)*".repeat(2000))),
            ("LIKE", format!("REPEAT('a', 20000) LIKE '{}%b'", "%a".repeat(500))),
            (
                "numbers of texts",
                format!(
                    "CAST('{long}' AS DECIMAL(38, 0)), CAST('1e999999999' AS DECIMAL(38, 18)), CAST('1e2147483647' AS DOUBLE)"
                ),
            ),
            ("numbers", format!("1{long}, 0.{long}, 1e{}", "9".repeat(100))),
            (
                "times",
                format!(
                    "DATE_FORMAT(ts, '{}'), TO_TIMESTAMP(s, '{}')",
                    "y".repeat(20_000),
                    "S".repeat(5000)
                ),
            ),
            (
                "intervals",
                format!("ts + INTERVAL '{long}' DAY, INTERVAL '99999999' YEAR, INTERVAL '2147483647' DAY"),
            ),
            (
                "rounding",
                "ROUND(c, 2147483647), ROUND(d, -2147483648), TRUNCATE(d, 2147483647), POWER(10, 2147483647)".into(),
            ),
            (
                "JSON",
                format!(
                    "JSON_VALUE('{0}', '${1}'), '{0}' IS JSON",
                    "[".repeat(5000),
                    "[0]".repeat(5000)
                ),
            ),
            ("JSON path", format!("JSON_QUERY(s, '${}')", "..*".repeat(200))),
            (
                "SPLIT",
                "CARDINALITY(SPLIT(REPEAT('a,', 100000), ',')), STR_TO_MAP(REPEAT('a=1,', 20000))".into(),
            ),
            ("names", format!("`{}`, {}(1)", "x".repeat(20_000), "f".repeat(20_000))),
            ("many unknown names", listed(2000, |i| format!("`col{i}`"))),
        ],
    );
}

#[test]
fn trees_of_expressions() {
    let n = 20_000;
    all(
        "expression",
        vec![
            ("sum", format!("i{}", " + i".repeat(n))),
            ("sum within the limit", format!("i{}", " + i".repeat(290))),
            ("AND", format!("b{}", " AND b".repeat(n))),
            ("AND within the limit", format!("b{}", " AND i = l".repeat(980))),
            ("IN of columns", format!("i IN ({})", listed(3000, |_| "l".into()))),
            (
                "OR",
                (0..n).fold("i = 0".to_owned(), |text, i| text + &format!(" OR i = {i}")),
            ),
            ("||", format!("s{}", " || s".repeat(n))),
            ("|| within the limit", format!("s{}", " || s".repeat(290))),
            ("NOT", format!("{}b", "NOT ".repeat(n))),
            ("minus", format!("{}i", "- ".repeat(n))),
            ("index", format!("a{}", "[1]".repeat(n))),
            ("field", format!("r{}", ".x".repeat(n))),
            ("IS", format!("b{}", " IS TRUE".repeat(n))),
            ("IS within the limit", format!("b{}", " IS TRUE".repeat(290))),
            ("BETWEEN", format!("{}3", "i BETWEEN 1 AND ".repeat(2000))),
            ("comparison", format!("i{}", " = i".repeat(n))),
            ("parentheses", nested("", "(", "i", ")", "", n)),
            ("calls", nested("", "ABS(", "i", ")", "", n)),
            ("CASE", nested("", "CASE WHEN b THEN ", "1", " ELSE 2 END", "", n)),
            (
                "CASE of many",
                format!(
                    "CASE {} END",
                    (0..3000).map(|i| format!("WHEN i = {i} THEN {i} ")).collect::<String>()
                ),
            ),
            ("CAST", nested("", "CAST(", "i", " AS BIGINT)", "", n)),
            ("ROW", nested("", "ROW(", "i", ")", "", n)),
            ("ARRAY", nested("", "ARRAY[", "i", "]", "", n)),
            (
                "IN",
                format!("i IN ({})", listed(8000, |i| (i * 7 % 10_007).to_string())),
            ),
            (
                "ROWs that are equal",
                format!("ROW({0}) = ROW({0})", listed(2000, |i| format!("i + {i}"))),
            ),
            ("long ARRAY", format!("ARRAY[{}]", listed(3000, |i| i.to_string()))),
            (
                "doubling",
                nested(
                    "SELECT x FROM (",
                    "SELECT x + x AS x FROM (",
                    "SELECT i AS x FROM t",
                    ")",
                    ")",
                    30,
                ),
            ),
            (
                "doubling texts",
                nested(
                    "SELECT CHAR_LENGTH(x) FROM (",
                    "SELECT x || x AS x FROM (",
                    "SELECT s AS x FROM t",
                    ")",
                    ")",
                    30,
                ),
            ),
        ],
    );
}

/// What sqlparser reads again as something else where it fails, in itself.
#[test]
fn errors_deep_inside() {
    let reread = [
        "SUBSTRING(",
        "SUBSTR(",
        "POSITION(",
        "FLOOR(",
        "CEIL(",
        "CEILING(",
        "OVERLAY(",
        "EXTRACT(",
        "CONVERT(",
        "TRIM(",
        "CASE (",
        "NOT (",
        "CAST(",
        "SAFE_CAST(",
        "LOCALTIME(",
        "CURRENT_DATE(",
        "INTERVAL ",
        "INTERVAL (",
        "ARRAY(",
        "ARRAY[",
        "MAP[",
        "EXISTS (",
        "i IN (VALUES (",
        "i IN (SELECT (",
        "i IN ((",
        "i BETWEEN (",
        "r.f(",
        "r.x[",
        "MAP(",
        "ROW(",
        "STRUCT(",
        "{fn f(",
        "JSON_VALUE(",
        "f(a => ",
        "(a, b) OVERLAPS (",
        "CASE WHEN ",
        "DATE (",
        "ARRAY<",
        "IF(",
        "CAST(x AS ROW<a ",
    ];
    let mut bombs = vec![];
    for open in reread {
        for inside in ["", "i FROM", "1 2", "* *"] {
            bombs.push((open, nested("SELECT ", open, inside, "", " FROM t", 60)));
            let closed = ")".repeat(open.matches('(').count());
            bombs.push((open, nested("SELECT ", open, inside, &closed, " FROM t", 60)));
        }
    }
    for open in [
        "((SELECT * FROM ",
        "(((SELECT * FROM ",
        "(WITH x AS ((SELECT * FROM ",
        "((VALUES (SELECT * FROM ",
        "(t JOIN ((SELECT * FROM ",
    ] {
        let closed = ")".repeat(open.matches('(').count());
        for n in [12, 60] {
            for inside in ["", "t", "t t t"] {
                bombs.push((open, nested("SELECT * FROM ", open, inside, "", "", n)));
                bombs.push((open, nested("SELECT * FROM ", open, inside, &closed, "", n)));
                let named = format!(" a CROSS JOIN t{closed}");
                bombs.push((open, nested("SELECT * FROM ", open, inside, &named, "", n)));
            }
        }
    }
    all("sql", bombs);
}

#[test]
fn scripts() {
    let sink = "WITH ('connector' = 'print')";
    let chained = |first: &str, piece: &dyn Fn(usize) -> String| {
        (1..40).fold(first.to_owned(), |mut text, i| {
            let _ = write!(text, "{}", piece(i));
            text
        })
    };
    all(
        "sql",
        vec![
            ("parentheses", format!("SELECT {}", "(".repeat(100_000))),
            ("parentheses in FROM", format!("SELECT * FROM {}", "(".repeat(100_000))),
            ("closed parentheses in FROM", nested("SELECT * FROM ", "(", "t", ")", "", 40)),
            ("parentheses around a query", nested("", "(", "SELECT 1", ")", "", 20_000)),
            ("sub-queries", nested("SELECT * FROM ", "(SELECT * FROM ", "t", ")", "", 20_000)),
            ("sub-queries within the limit", nested("SELECT * FROM ", "(SELECT * FROM ", "t", ")", "", 20)),
            ("types", nested("CREATE TABLE x (a ", "ARRAY<", "INT", ">", &format!(") {sink}"), 100_000)),
            ("rows of types", nested("CREATE TABLE x (a ", "ROW<a ", "INT", ">", &format!(") {sink}"), 100_000)),
            ("types behind", format!("CREATE TABLE x (a INT{}) {sink}; SELECT * FROM x;", " ARRAY".repeat(100_000))),
            ("types within the limit", nested("CREATE TABLE x (a ", "ARRAY<", "INT", ">", &format!(") {sink}; INSERT INTO x SELECT * FROM x;"), 60)),
            ("UNION", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000))),
            ("UNION within the limit", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(290))),
            ("tables", format!("SELECT 1 FROM t{}", ", t".repeat(20_000))),
            ("joins", format!("SELECT 1 FROM t{}", " CROSS JOIN UNNEST(a)".repeat(20_000))),
            ("statements", "SET;".repeat(50_000)),
            ("semicolons", ";".repeat(200_000)),
            (
                "columns",
                format!(
                    "CREATE TABLE x ({}) {sink}; INSERT INTO x SELECT {};",
                    listed(3000, |i| format!("c{i} INT")),
                    listed(3000, |i| i.to_string())
                ),
            ),
            (
                "WITH queries that double",
                chained("WITH c0 AS (SELECT i FROM t)", &|i| {
                    format!(", c{i} AS (SELECT * FROM c{0} UNION ALL SELECT * FROM c{0})", i - 1)
                }) + " SELECT * FROM c39",
            ),
            (
                "views that double",
                chained("CREATE VIEW v0 AS SELECT i FROM t;", &|i| {
                    format!("CREATE VIEW v{i} AS SELECT * FROM v{0} UNION ALL SELECT * FROM v{0};", i - 1)
                }),
            ),
            ("CUBE", format!("SELECT COUNT(*) FROM t GROUP BY CUBE ({})", listed(30, |i| format!("i + {i}")))),
            ("grouping sets", format!("SELECT COUNT(*) FROM t GROUP BY GROUPING SETS ({})", listed(3000, |_| "(i)".into()))),
            ("VALUES", format!("INSERT INTO o VALUES {}", listed(3000, |i| format!("('k', {i})")))),
            ("open sub-queries", format!("SELECT {}", "(SELECT ".repeat(10_000))),
            ("open CASEs", format!("SELECT {}", "CASE ".repeat(10_000))),
            ("comments", "/*".repeat(100_000)),
            ("a long word", format!("SELECT {} FROM y", "x".repeat(200_000))),
            (
                "windows",
                "SELECT COUNT(*) FROM TABLE(CUMULATE(TABLE e, DESCRIPTOR(ts), INTERVAL '0.001' SECOND, INTERVAL '999' DAY)) \
                 GROUP BY window_start, window_end; SELECT COUNT(*) FROM TABLE(HOP(TABLE e, DESCRIPTOR(ts), INTERVAL '0.001' \
                 SECOND, INTERVAL '99' DAY)) GROUP BY window_start, window_end;"
                    .into(),
            ),
            ("topic-pattern", "CREATE TABLE g (a STRING) WITH ('connector' = 'kafka', 'format' = 'raw', 'properties.bootstrap.servers' = 'h:1', 'topic-pattern' = '((a{1000}){1000}){1000}'); SELECT * FROM g;".into()),
            ("a view of itself", "CREATE VIEW v AS SELECT 1; ALTER VIEW v AS SELECT * FROM v; SELECT * FROM v;".into()),
            ("statement set", nested("EXECUTE STATEMENT SET BEGIN ", "INSERT INTO o SELECT k, v FROM e; ", "", "", "END;", 300)),
            ("aggregates", format!("SELECT k, {} FROM e GROUP BY k", listed(300, |i| format!("SUM(v + {i})")))),
        ],
    );
}
