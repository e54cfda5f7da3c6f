-- functions of arrays and maps over columns
CREATE TABLE t (id INT, r ROW<a INT, b ROW<c STRING, d DECIMAL(10, 3)>>, ar ARRAY<ARRAY<INT>>, m MAP<STRING, MAP<STRING, INT>>, rs ARRAY<ROW<x INT, y STRING>>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.json', 'format' = 'json');
SELECT id, CARDINALITY(ar), ARRAY_CONTAINS(ar[1], 2), ARRAY_REVERSE(ar[1]), ARRAY_CONCAT(ar[1], ar[1]), ARRAY_DISTINCT(ar), ARRAY_MAX(ar[1]), ARRAY_APPEND(ar[1], id), ARRAY_POSITION(ar[1], 2), ARRAY_REMOVE(ar[1], 1), ARRAY_SLICE(ar, 1, 2), ARRAY_UNION(ar[1], ARRAY[9]), ARRAY_JOIN(ARRAY['a', r.b.c], '-'), MAP_KEYS(m), MAP_VALUES(m), MAP_ENTRIES(m['k']) FROM t;
