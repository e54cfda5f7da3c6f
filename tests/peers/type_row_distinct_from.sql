-- IS DISTINCT FROM over rows and arrays
CREATE TABLE t (id INT, a ROW<x INT, y STRING>, b ROW<x INT, y STRING>, c ARRAY<INT>, d ARRAY<INT>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/pairs.json', 'format' = 'json');
SELECT id, a IS DISTINCT FROM b, c IS DISTINCT FROM d, c IS NOT DISTINCT FROM d FROM t;
