-- JSON arrays in legacy windows: SESSION
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, SESSION_START(ts, INTERVAL '4' SECOND), JSON_ARRAYAGG(v) FROM visits GROUP BY k, SESSION(ts, INTERVAL '4' SECOND);
