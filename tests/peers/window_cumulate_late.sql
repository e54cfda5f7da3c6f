-- a late row counts for the growing windows that are still open
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SET 'pipeline.auto-watermark-interval' = '0 ms';
SELECT k, COUNT(*), SUM(v), window_start, window_end FROM TABLE(CUMULATE(TABLE visits, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end, k;
