-- readings far from the mean of the last three, with running extremes
-- deterministic: no
CREATE TABLE readings (device STRING NOT NULL, temp DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_sensors.csv', 'format' = 'csv', 'csv.null-literal' = '');

SELECT device, ts, temp, ROUND(mean, 2) AS mean, n, CASE WHEN ABS(temp - mean) > 5 THEN 'spike' WHEN temp IS NULL THEN 'missing' ELSE 'ok' END AS verdict FROM (SELECT device, ts, temp, AVG(temp) OVER w AS mean, COUNT(temp) OVER w AS n FROM readings WINDOW w AS (PARTITION BY device ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW));
