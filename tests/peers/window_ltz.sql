-- event time as TIMESTAMP_LTZ: window_start and window_end are TIMESTAMP(3) in the session's time zone
CREATE TABLE clicks (userId STRING, clicks INT, ts TIMESTAMP(3), l AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR l AS l - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT userId, SUM(clicks), window_start, window_end, window_time, DATE_FORMAT(window_start, 'yyyy-MM-dd HH:mm:ss') FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(l), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, window_time, userId;
