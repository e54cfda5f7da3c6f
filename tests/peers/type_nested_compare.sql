-- nested types compared
CREATE TABLE t (id INT, r ROW<a INT, b ROW<c STRING, d DECIMAL(10, 3)>>, ar ARRAY<ARRAY<INT>>, m MAP<STRING, MAP<STRING, INT>>, rs ARRAY<ROW<x INT, y STRING>>, ms MULTISET<STRING>, mr MAP<STRING, ROW<q INT>>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.json', 'format' = 'json');
SELECT id, r = r, r <> r, ar = ar, r = CAST(NULL AS ROW<a INT, b ROW<c STRING, d DECIMAL(10, 3)>>), r IS NULL, r.b IS NULL, ar IS NOT NULL, r IS DISTINCT FROM r, ar = ARRAY[ARRAY[1], ARRAY[2]] FROM t;
