-- silent devices: more than a minute since the reading before
-- deterministic: no
CREATE TABLE readings (device STRING NOT NULL, temp DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_sensors.csv', 'format' = 'csv', 'csv.null-literal' = '');

SELECT device, before_ts, ts, TIMESTAMPDIFF(SECOND, before_ts, ts) AS silent FROM (SELECT device, ts, LAG(ts) OVER (PARTITION BY device ORDER BY ts) AS before_ts FROM readings) WHERE TIMESTAMPDIFF(SECOND, before_ts, ts) > 60;
