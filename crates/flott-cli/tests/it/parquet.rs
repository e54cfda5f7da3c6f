//! Parquet files that Flott writes, read by another reader: pyarrow, by the interpreter that `FLOTT_PYARROW` names.

use crate::support::flott;
use std::process::Command;

const TABLE: &str = "CREATE TABLE out (
      id BIGINT NOT NULL, word STRING, price DECIMAL(10, 2), d DATE, t TIME, ts TIMESTAMP(3), ltz TIMESTAMP_LTZ(3),
      list ARRAY<INT>, m MAP<STRING, INT>, r ROW<a INT, b STRING>, part STRING
    ) PARTITIONED BY (part) WITH ('connector' = 'filesystem', 'path' = '${FOLDER}', 'format' = 'parquet', ${MORE});
    SET 'table.local-time-zone' = 'UTC';";

const ROWS: [&str; 2] = [
    "INSERT INTO out SELECT id, word, CAST(price AS DECIMAL(10, 2)), DATE '2020-02-29', TIME '01:02:03', TIMESTAMP '1999-12-31 23:59:59.123',
      CAST(TIMESTAMP '2026-01-01 00:00:00.5' AS TIMESTAMP_LTZ(3)), ARRAY[1, 2], MAP['k', 7], ROW(5, 'x'), word
      FROM (VALUES (1, 'a', 1.5), (2, 'b', 2.25)) AS v(id, word, price)",
    "INSERT INTO out SELECT 3, CAST(NULL AS STRING), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS DATE), CAST(NULL AS TIME), CAST(NULL AS TIMESTAMP(3)),
      CAST(NULL AS TIMESTAMP_LTZ(3)), CAST(NULL AS ARRAY<INT>), CAST(NULL AS MAP<STRING, INT>), CAST(NULL AS ROW<a INT, b STRING>), 'a'",
];

/// Prints the types of a file of the folder, and the rows of all.
const READ: &str = "
import json, sys, glob
import pyarrow.parquet as pq
files = sorted(glob.glob(sys.argv[1] + '/part=*/part-*'))
schema = pq.ParquetFile(files[0]).schema_arrow
print(' '.join(f'{f.name}:{f.type}' + ('' if f.nullable else '!') for f in schema))
rows = [r for f in files for r in pq.ParquetFile(f).read().to_pylist()]
for r in sorted(rows, key=lambda r: r['id']):
    print('|'.join(str(v) for v in r.values()))
";

#[test]
#[ignore = "needs pyarrow: .ci/run installs it"]
fn pyarrow_reads_what_is_written() {
    let python = std::env::var("FLOTT_PYARROW").expect("FLOTT_PYARROW names a Python with pyarrow");
    for more in [
        "'parquet.compression' = 'SNAPPY'",
        "'parquet.compression' = 'GZIP', 'parquet.writer.version' = 'v2'",
        "'parquet.compression' = 'ZSTD', 'parquet.enable.dictionary' = 'false'",
        "'parquet.compression' = 'LZ4', 'parquet.timestamp.time.unit' = 'nanos'",
        "'parquet.compression' = 'LZ4_RAW', 'parquet.timestamp.time.unit' = 'millis'",
        "'parquet.compression' = 'UNCOMPRESSED'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let table = TABLE.replace("${FOLDER}", path).replace("${MORE}", more);
        for rows in ROWS {
            flott(&["run", "-p", "1", "-e", &format!("{table}\n{rows}")]).expect(0);
        }
        let read = Command::new(&python).args(["-c", READ, path]).output().unwrap();
        let unit = if more.contains("nanos") {
            "ns"
        } else if more.contains("millis") {
            "ms"
        } else {
            "us"
        };
        let expected = format!(
            "id:int64! word:string price:decimal128(10, 2) d:date32[day] t:time32[ms] ts:timestamp[{unit}] ltz:timestamp[{unit}, tz=UTC] \
             list:list<element: int32> m:map<string, int32 ('m')> r:struct<a: int32, b: string>\n\
             1|a|1.50|2020-02-29|01:02:03|1999-12-31 23:59:59.123000|2026-01-01 00:00:00.500000+00:00|[1, 2]|[('k', 7)]|{{'a': 5, 'b': 'x'}}\n\
             2|b|2.25|2020-02-29|01:02:03|1999-12-31 23:59:59.123000|2026-01-01 00:00:00.500000+00:00|[1, 2]|[('k', 7)]|{{'a': 5, 'b': 'x'}}\n\
             3|None|None|None|None|None|None|None|None|None\n"
        );
        assert_eq!(
            String::from_utf8_lossy(&read.stdout),
            expected,
            "{more}: {}",
            String::from_utf8_lossy(&read.stderr)
        );
    }
}
