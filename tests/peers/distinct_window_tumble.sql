-- DISTINCT aggregates of a TUMBLE in two phases
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, COUNT(DISTINCT v), COUNT(DISTINCT g) FILTER (WHERE v > 1), COUNT(DISTINCT g), SUM(DISTINCT v), MAX(v), COUNT(*), window_end FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY k, window_start, window_end;
