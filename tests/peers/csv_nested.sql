-- rows and arrays of numbers in a field
CREATE TABLE t (n INT, r ROW<a STRING, b STRING>, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/nested.csv', 'format' = 'csv', 'csv.null-literal' = 'nil');
SELECT n, r.a, r.b, tags, CARDINALITY(tags) FROM t;
