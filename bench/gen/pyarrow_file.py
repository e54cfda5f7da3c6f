"""Write the file of other writers' types that flott-connectors' tests read: pyarrow_file.py OUT"""
import datetime as d, decimal, sys
import pyarrow as pa, pyarrow.parquet as pq

when = [d.datetime(2026, 3, 29, 0, 30, 0, 123456), None, d.datetime(1600, 1, 1)]
table = pa.table({
    "id": pa.array([1, 2, 3], pa.int64()),
    "small": pa.array([1, None, -3], pa.int16()),
    "unsigned": pa.array([1, 2, 4294967295], pa.uint32()),
    "word": pa.array(["a", None, "ü"], pa.large_string()).dictionary_encode(),
    "bytes": pa.array([b"\0\1", b"", None], pa.binary()),
    "fixed": pa.array([b"ab", b"cd", None], pa.binary(2)),
    "amount": pa.array([decimal.Decimal("1.20"), None, decimal.Decimal("-3.45")], pa.decimal128(5, 2)),
    "day": pa.array([d.date(2020, 2, 29), None, d.date(1969, 12, 31)], pa.date32()),
    "at": pa.array([d.time(1, 2, 3, 4000), None, d.time(23, 59, 59, 999999)], pa.time64("us")),
    "wall": pa.array(when, pa.timestamp("us")),
    "instant": pa.array(when, pa.timestamp("ms", tz="Europe/Berlin")),
    "list": pa.array([["x", None], [], None], pa.list_(pa.string())),
    "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32())),
    "row": pa.array([{"a": 1, "b": {"c": "deep", "d": 2.5}}, None, {"a": None, "b": None}],
                    pa.struct([("a", pa.int32()), ("b", pa.struct([("c", pa.string()), ("d", pa.float32())]))])),
})
int96 = sys.argv[2:] == ["int96"]
pq.write_table(table, sys.argv[1], compression="zstd", row_group_size=2, use_deprecated_int96_timestamps=int96, coerce_timestamps=None if int96 else "us", allow_truncated_timestamps=True)
