-- a window without other keys, with an offset, start and end as columns of the result type
CREATE TABLE clicks (userId STRING, clicks INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT window_start, window_end, COUNT(*), AVG(clicks), COUNT(DISTINCT userId), SUM(clicks) FILTER (WHERE userId = 'u1') FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
