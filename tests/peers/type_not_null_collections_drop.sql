-- and elements of collections
SET 'table.exec.sink.nested-constraint-enforcer' = 'ROWS_AND_COLLECTIONS';
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE t (id INT, r ROW<a INT, b ROW<c STRING, d DECIMAL(10, 3)>>, ar ARRAY<ARRAY<INT>>, m MAP<STRING, MAP<STRING, INT>>, rs ARRAY<ROW<x INT, y STRING>>, ms MULTISET<STRING>, mr MAP<STRING, ROW<q INT>>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.json', 'format' = 'json');
CREATE TABLE o (id INT, a ARRAY<INT NOT NULL>) WITH ('connector' = 'print');
INSERT INTO o SELECT id, ar[4] FROM t;
