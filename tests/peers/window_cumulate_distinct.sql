-- distinct values count once in a growing window
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(DISTINCT v), COUNT(DISTINCT v) FILTER (WHERE k = 'a'), SUM(DISTINCT v), MAX(v), window_start, window_end FROM TABLE(CUMULATE(TABLE visits, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '40' SECOND)) GROUP BY window_start, window_end;
