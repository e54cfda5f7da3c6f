-- rows are compared with the watermark that has come before them
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv', 'scan.watermark.emit.strategy' = 'on-event');
SELECT k, n, ts, CURRENT_WATERMARK(ts), CURRENT_WATERMARK(ts) IS NULL OR ts > CURRENT_WATERMARK(ts) FROM late;
