-- what has no order has no extreme
CREATE TABLE t (id INT, a ROW<x INT, y STRING>, b ROW<x INT, y STRING>, c ARRAY<INT>, d ARRAY<INT>, e MAP<STRING, INT>, f MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/pairs.json', 'format' = 'json');
SELECT MIN(a) FROM t;
