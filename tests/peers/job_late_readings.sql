-- rows behind the watermark are told apart, the others summed

CREATE TABLE late (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv', 'scan.watermark.emit.strategy' = 'on-event');
SET 'pipeline.auto-watermark-interval' = '0 ms';
SELECT k, CASE WHEN CURRENT_WATERMARK(ts) IS NOT NULL AND ts <= CURRENT_WATERMARK(ts) THEN 'late' ELSE 'in time' END AS verdict, COUNT(*) AS n, SUM(v) AS v FROM late GROUP BY k, CASE WHEN CURRENT_WATERMARK(ts) IS NOT NULL AND ts <= CURRENT_WATERMARK(ts) THEN 'late' ELSE 'in time' END;
