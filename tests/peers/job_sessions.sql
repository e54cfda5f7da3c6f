-- visits: pages until a minute of silence, with length and whether they bought
-- deterministic: no
CREATE TABLE weblog (ip STRING, url STRING, status INT, latency_ms INT, at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_weblog.csv', 'format' = 'csv', 'csv.null-literal' = '');

CREATE VIEW hits AS SELECT ip, PARSE_URL(url, 'PATH') AS page, status, ts FROM weblog WHERE url IS NOT NULL;
SELECT ip, window_start, TIMESTAMPDIFF(SECOND, window_start, window_end) - 40 AS seconds, COUNT(*) AS pages, COUNT(DISTINCT page) AS different, MIN(page) AS least, MAX(CASE WHEN page = '/checkout' AND status = 200 THEN 1 ELSE 0 END) AS bought
FROM TABLE(SESSION(TABLE hits PARTITION BY ip, DESCRIPTOR(ts), INTERVAL '40' SECOND)) GROUP BY ip, window_start, window_end;
