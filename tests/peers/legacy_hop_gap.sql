-- GROUP BY HOP: a slide above the size leaves gaps
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(*), SUM(v), HOP_START(ts, INTERVAL '10' SECOND, INTERVAL '4' SECOND), HOP_END(ts, INTERVAL '10' SECOND, INTERVAL '4' SECOND), HOP_ROWTIME(ts, INTERVAL '10' SECOND, INTERVAL '4' SECOND) FROM visits GROUP BY HOP(ts, INTERVAL '10' SECOND, INTERVAL '4' SECOND);
