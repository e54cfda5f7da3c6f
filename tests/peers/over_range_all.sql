-- without PARTITION BY, by age
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, n, COUNT(*) OVER w AS c, COUNT(n) OVER w AS cn, SUM(n) OVER w AS s, AVG(n) OVER w AS a, MIN(n) OVER w AS mi, MAX(n) OVER w AS ma, SUM(d) OVER w AS sd, AVG(d) OVER w AS ad FROM v WINDOW w AS (ORDER BY ts RANGE BETWEEN INTERVAL '5' SECOND PRECEDING AND CURRENT ROW);
