-- deterministic: no
-- the time attribute can be used again
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE VIEW x AS SELECT k, ts, COUNT(*) OVER (PARTITION BY k ORDER BY ts) AS s FROM v;
SELECT window_start, k, SUM(s) FROM TABLE(TUMBLE(TABLE x, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k;
