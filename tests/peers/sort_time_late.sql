-- late rows
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), pt AS PROCTIME(), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '', 'scan.watermark.emit.strategy' = 'on-event');
SELECT k, n, ts FROM v ORDER BY ts, k;
