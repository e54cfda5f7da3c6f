-- with keys in PARTITION BY and expressions
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, COUNT(*) + 1, MAX(COUNT(*) * 2) OVER (PARTITION BY UPPER(k) ORDER BY window_time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS m FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end, window_time HAVING COUNT(*) > 0;
