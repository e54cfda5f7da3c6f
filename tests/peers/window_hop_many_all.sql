-- the same without keys
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(*), SUM(v), MIN(v), MAX(g), window_end FROM TABLE(HOP(TABLE visits, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
