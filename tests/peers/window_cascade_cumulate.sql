-- growing windows over the window_time of windows
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE VIEW small AS SELECT k, SUM(v) AS s, window_time AS rt FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY k, window_start, window_end, window_time;
SELECT k, window_start, window_end, COUNT(*), SUM(s) FROM TABLE(CUMULATE(TABLE small, DESCRIPTOR(rt), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY k, window_start, window_end;
