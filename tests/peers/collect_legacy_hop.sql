-- multisets in legacy windows: HOP
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND), COLLECT(k) FROM visits GROUP BY k, HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND);
