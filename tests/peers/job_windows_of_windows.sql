-- the busiest ten seconds of each minute: windows over windows
-- deterministic: no
CREATE TABLE weblog (ip STRING, url STRING, status INT, latency_ms INT, at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_weblog.csv', 'format' = 'csv', 'csv.null-literal' = '');

CREATE VIEW tens AS SELECT window_start AS ten, window_time AS rt, COUNT(*) AS n, MAX(latency_ms) AS slowest FROM TABLE(TUMBLE(TABLE weblog, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time;
SELECT window_start, COUNT(*) AS tens, SUM(n) AS requests, MAX(n) AS busiest, MAX(slowest) AS slowest FROM TABLE(TUMBLE(TABLE tens, DESCRIPTOR(rt), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
