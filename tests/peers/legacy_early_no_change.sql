-- early fire where the value does not change
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SET 'table.exec.emit.early-fire.enabled' = 'true';
SET 'table.exec.emit.early-fire.delay' = '0 ms';
SELECT k, MAX(v), TUMBLE_START(ts, INTERVAL '10' SECOND) FROM visits GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND);
