-- rows below the watermark's window are dropped: the watermark is the highest time seen less two seconds, after every row
CREATE TABLE late (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv');
SET 'pipeline.auto-watermark-interval' = '0 ms';
SELECT k, SUM(v), COUNT(*), MIN(v), MAX(v), window_start, window_end FROM TABLE(TUMBLE(TABLE late, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;
