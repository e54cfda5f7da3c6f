-- where nested constraints are enforced it fails the job
SET 'table.exec.sink.nested-constraint-enforcer' = 'ROWS';
CREATE TABLE t (id INT, r ROW<a INT, b ROW<c STRING, d DECIMAL(10, 3)>>, ar ARRAY<ARRAY<INT>>, m MAP<STRING, MAP<STRING, INT>>, rs ARRAY<ROW<x INT, y STRING>>, ms MULTISET<STRING>, mr MAP<STRING, ROW<q INT>>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.json', 'format' = 'json');
CREATE TABLE o (id INT, r ROW<a INT NOT NULL, b STRING>) WITH ('connector' = 'print');
INSERT INTO o SELECT id, CAST(ROW(r.a, r.b.c) AS ROW<a INT, b STRING>) FROM t;
