-- HAVING over GROUPING
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, g, SUM(v) FROM visits GROUP BY CUBE (k, g) HAVING GROUPING(k) = 1 AND SUM(v) > 3;
