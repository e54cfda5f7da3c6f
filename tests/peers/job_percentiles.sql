-- latency per minute: percentiles, spread and share of slow answers
-- deterministic: no
CREATE TABLE weblog (ip STRING, url STRING, status INT, latency_ms INT, at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_weblog.csv', 'format' = 'csv', 'csv.null-literal' = '');

SELECT window_start, window_end, COUNT(*) AS requests, PERCENTILE(latency_ms, 0.5) AS p50, PERCENTILE(latency_ms, ARRAY[0.9, 0.99]) AS p90_99, CAST(STDDEV_POP(CAST(latency_ms AS DOUBLE)) AS DECIMAL(10, 3)) AS spread, ROUND(SUM(IF(latency_ms > 200, 1.0, 0.0)) / COUNT(latency_ms), 3) AS slow, COUNT(DISTINCT status) AS codes
FROM TABLE(TUMBLE(TABLE weblog, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
