-- deterministic: no
-- a filter and a calculation over a windowed aggregate, and an aggregate of its rows per window
CREATE TABLE clicks (userId STRING, clicks INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT window_start, window_end, MAX(total), COUNT(*) FROM (SELECT userId, SUM(clicks) AS total, window_start, window_end FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY userId, window_start, window_end)
GROUP BY window_start, window_end;
