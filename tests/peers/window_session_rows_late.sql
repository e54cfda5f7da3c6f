-- late rows of sessions as columns
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SET 'pipeline.auto-watermark-interval' = '0 ms';
SELECT k, v, ts, window_start, window_end FROM TABLE(SESSION(TABLE visits PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND));
