CREATE TABLE t (a INT)
WITH ('connector' = 'filesystem', 'pth' = '/tmp/x',
  'path' = '/tmp/x', 'format' = 'csv');
SELECT * FROM t;
