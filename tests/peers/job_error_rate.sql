-- share of errors in the last minute, every thirty seconds, where it is high
-- deterministic: no
CREATE TABLE weblog (ip STRING, url STRING, status INT, latency_ms INT, at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_weblog.csv', 'format' = 'csv', 'csv.null-literal' = '');

SELECT window_start, window_end, errors, requests, CAST(errors AS DECIMAL(10, 4)) / requests AS rate FROM (SELECT window_start, window_end, SUM(CASE WHEN status >= 400 THEN 1 ELSE 0 END) AS errors, COUNT(*) AS requests FROM TABLE(HOP(TABLE weblog, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end) WHERE errors * 4 >= requests;
