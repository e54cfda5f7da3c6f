-- HAVING and expressions over the bounds of a legacy window
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT DATE_FORMAT(TUMBLE_START(ts, INTERVAL '10' SECOND), 'mm:ss') AS m, k, SUM(v) + 1 FROM visits GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), k HAVING COUNT(*) > 1;
