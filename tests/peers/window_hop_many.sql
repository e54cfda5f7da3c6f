-- a window of many slices: sums, averages and extremes, NULLs among them
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, COUNT(*), COUNT(v), SUM(v), AVG(v), MIN(v), MAX(v), MAX(g), SUM(CAST(v AS DOUBLE)), SUM(CAST(v AS DECIMAL(10, 2))), window_start, window_end FROM TABLE(HOP(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '30' SECOND)) GROUP BY k, window_start, window_end;
