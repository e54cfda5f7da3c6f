-- the same clicks in windows of 10 seconds that start every 5
-- deterministic: no
CREATE TABLE clicks (userId STRING, clicks INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT userId, SUM(clicks), COUNT(*), window_start, window_end, window_time FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time, userId;
