-- the value of rows before
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, n, ts, LAG(n) OVER w AS l1, LAG(n, 2) OVER w AS l2, LAG(k, 1, 'first') OVER w AS l3, LAG(d, 0) OVER w AS l0, LAG(k, 3, 'none') OVER w AS lk FROM v WINDOW w AS (PARTITION BY k ORDER BY ts);
