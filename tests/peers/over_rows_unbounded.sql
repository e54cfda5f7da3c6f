-- all rows up to the row
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, n, ts, COUNT(*) OVER w AS c, COUNT(n) OVER w AS cn, SUM(n) OVER w AS s, AVG(n) OVER w AS a, MIN(n) OVER w AS mi, MAX(n) OVER w AS ma, SUM(d) OVER w AS sd, AVG(d) OVER w AS ad FROM v WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);
