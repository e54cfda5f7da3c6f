-- legacy windows of TIMESTAMP_LTZ are cut in the session's zone
-- deterministic: no
SET 'table.local-time-zone' = 'Asia/Shanghai';
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), l AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR l AS l - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(*), TUMBLE_START(l, INTERVAL '1' DAY), TUMBLE_END(l, INTERVAL '1' DAY), TUMBLE_ROWTIME(l, INTERVAL '1' DAY) FROM visits GROUP BY TUMBLE(l, INTERVAL '1' DAY);
