-- OVER a legacy window
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, SUM(v), SUM(SUM(v)) OVER (PARTITION BY k ORDER BY TUMBLE_ROWTIME(ts, INTERVAL '10' SECOND)) AS r FROM visits GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND);
