-- PERCENT_RANK()
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, n, ts, PERCENT_RANK() OVER (PARTITION BY k ORDER BY ts) AS r FROM v;
