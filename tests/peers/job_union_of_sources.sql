-- two sources made alike, in one stream of windows
-- deterministic: no
CREATE TABLE readings (device STRING NOT NULL, temp DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_sensors.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE weblog (ip STRING, url STRING, status INT, latency_ms INT, at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_weblog.csv', 'format' = 'csv', 'csv.null-literal' = '');

CREATE VIEW events AS SELECT 'sensor' AS source, device AS who, CAST(ts AS TIMESTAMP(3)) AS moment, temp AS v FROM readings UNION ALL SELECT 'web', ip, CAST(ts AS TIMESTAMP(3)), CAST(latency_ms AS DOUBLE) FROM weblog WHERE status < 400;
SELECT source, CAST(FLOOR(moment TO HOUR) AS STRING) AS hour_of_it, COUNT(*) AS events, COUNT(DISTINCT who) AS whos, MAX(v) AS top, SUM(v) AS total FROM events GROUP BY source, FLOOR(moment TO HOUR);
