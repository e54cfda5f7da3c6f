-- devices per minute above limits that a list of values gives, and NULL readings
-- deterministic: no
CREATE TABLE readings (device STRING NOT NULL, temp DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_sensors.csv', 'format' = 'csv', 'csv.null-literal' = '');

SELECT device, window_start, CASE WHEN high > 30 THEN 3 WHEN high > 20.8 THEN 2 WHEN high IS NULL THEN NULL ELSE 1 END AS level, high - low AS spread, missing FROM (SELECT device, window_start, MAX(temp) AS high, MIN(temp) AS low, COUNT(*) - COUNT(temp) AS missing FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device, window_start, window_end) WHERE device IN ('s1', 's3') AND (high NOT BETWEEN -1 AND 1 OR missing > 0);
