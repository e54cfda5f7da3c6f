-- expressions of calls, partitions and arguments
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT UPPER(k) || '!', n * 2 - MIN(n + 1) OVER (PARTITION BY CHAR_LENGTH(k), k ORDER BY ts) AS x, CASE WHEN COUNT(*) OVER (PARTITION BY CHAR_LENGTH(k), k ORDER BY ts) > 2 THEN 'many' ELSE 'few' END FROM v WHERE n > 1;
