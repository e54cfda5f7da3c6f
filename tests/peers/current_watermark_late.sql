-- late rows alone
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3), l AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR l AS l - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv', 'scan.watermark.emit.strategy' = 'on-event');
SELECT k, n, l, CURRENT_WATERMARK(l) FROM late WHERE l <= CURRENT_WATERMARK(l);
