-- GROUPING SETS beside a legacy window
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, COUNT(*) FROM visits GROUP BY GROUPING SETS ((TUMBLE(ts, INTERVAL '20' SECOND), k), (TUMBLE(ts, INTERVAL '20' SECOND)));
