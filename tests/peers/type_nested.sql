-- nested rows, arrays, maps and a multiset from JSON, with NULL at every depth, and what lies in them
CREATE TABLE t (id INT, r ROW<a INT, b ROW<c STRING, d DECIMAL(10, 3)>>, ar ARRAY<ARRAY<INT>>, m MAP<STRING, MAP<STRING, INT>>, rs ARRAY<ROW<x INT, y STRING>>, ms MULTISET<STRING>, mr MAP<STRING, ROW<q INT>>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.json', 'format' = 'json');
SELECT *, r.b.c, r.b.d, ar[1][2], ar[4][1], m['k']['p'], m['l']['p'], rs[1].y, rs[2].y, rs[9].x, mr['z'].q, CARDINALITY(ar), CARDINALITY(m) FROM t;
