-- early fire of sliding windows
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SET 'table.exec.emit.early-fire.enabled' = 'true';
SET 'table.exec.emit.early-fire.delay' = '0 ms';
SELECT k, COUNT(*), HOP_END(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) FROM visits GROUP BY k, HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND);
