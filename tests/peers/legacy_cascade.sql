-- a window over the rowtime of a window
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE VIEW small AS SELECT k, SUM(v) AS s, TUMBLE_ROWTIME(ts, INTERVAL '5' SECOND) AS rt FROM visits GROUP BY k, TUMBLE(ts, INTERVAL '5' SECOND);
SELECT COUNT(*), SUM(s), TUMBLE_START(rt, INTERVAL '20' SECOND), TUMBLE_END(rt, INTERVAL '20' SECOND) FROM small GROUP BY TUMBLE(rt, INTERVAL '20' SECOND);
