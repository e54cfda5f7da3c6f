-- windows over LTZ, with rows out of order and late, and NULL beside
-- deterministic: no
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3), l AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR l AS l - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv', 'scan.watermark.emit.strategy' = 'on-event');
SELECT k, ROW(k, n) AS key_row, COUNT(*), window_start, window_end FROM TABLE(TUMBLE(TABLE late, DESCRIPTOR(l), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k, ROW(k, n);
