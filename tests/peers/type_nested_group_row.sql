-- a nested row as the key of a group
CREATE TABLE t (id INT, r ROW<a INT, b ROW<c STRING, d DECIMAL(10, 3)>>, ar ARRAY<ARRAY<INT>>, m MAP<STRING, MAP<STRING, INT>>, rs ARRAY<ROW<x INT, y STRING>>, ms MULTISET<STRING>, mr MAP<STRING, ROW<q INT>>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.json', 'format' = 'json');
SELECT r, COUNT(*), MAX(id) FROM t GROUP BY r;
