-- what equals itself, with NULL inside
CREATE TABLE t (id INT, a ROW<x INT, y STRING>, b ROW<x INT, y STRING>, c ARRAY<INT>, d ARRAY<INT>, e MAP<STRING, INT>, f MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/pairs.json', 'format' = 'json');
SELECT id, a = a, a <> a, c = c, c <> c, e = e, e <> e, ARRAY[c[1], c[2]] = ARRAY[d[1], d[2]], ARRAY[c[1], c[2]] = ARRAY[c[1], c[2]] FROM t;
