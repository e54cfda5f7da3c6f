-- in sessions, which are put together
-- deterministic: no
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv');
SELECT k, window_start, PERCENTILE(n, 0.5), PERCENTILE(n, ARRAY[0.25, 0.75], 2) FROM TABLE(SESSION(TABLE late PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY k, window_start, window_end;
