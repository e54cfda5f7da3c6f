-- wrong: RANK and DENSE_RANK count the rows of one time one by one; in SQL rows of one time have one rank
-- rows by rank
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, n, RANK() OVER (PARTITION BY k ORDER BY ts) AS r, DENSE_RANK() OVER (PARTITION BY k ORDER BY ts) AS dr FROM v;
