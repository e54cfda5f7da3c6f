-- a control character as delimiter, arrays with an empty element
CREATE TABLE t (n INT, s STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/unit.csv', 'format' = 'csv', 'csv.field-delimiter' = U&'\0001');
SELECT n, s, tags, CARDINALITY(tags) FROM t;
