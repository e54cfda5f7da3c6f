-- sessions over TIMESTAMP_LTZ
-- deterministic: no
SET 'table.local-time-zone' = 'Asia/Shanghai';
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), l AS CAST(ts AS TIMESTAMP_LTZ(3)), WATERMARK FOR l AS l - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, COUNT(*), SUM(v), window_start, window_end FROM TABLE(SESSION(TABLE visits PARTITION BY k, DESCRIPTOR(l), INTERVAL '4' SECOND)) GROUP BY window_start, window_end, k;
