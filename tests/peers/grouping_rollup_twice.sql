-- a set twice
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, COUNT(*), GROUP_ID() FROM visits GROUP BY GROUPING SETS ((k), (k), ());
