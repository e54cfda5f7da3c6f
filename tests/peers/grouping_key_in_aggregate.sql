-- a key that is an aggregate's argument too
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, v, SUM(v), COUNT(v), COUNT(DISTINCT k) FROM visits GROUP BY GROUPING SETS ((k), (v), ());
