-- in windows that grow, with rows out of order
-- deterministic: no
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv');
SELECT k, window_start, PERCENTILE(n, 0.5), PERCENTILE(n, ARRAY[0.25, 0.75]), PERCENTILE(DISTINCT n, 0.5) FROM TABLE(CUMULATE(TABLE late, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;
