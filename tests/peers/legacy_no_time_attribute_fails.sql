-- a legacy window over an ordinary column
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(*) FROM visits GROUP BY TUMBLE(CAST(ts AS TIMESTAMP(3)), INTERVAL '10' SECOND);
