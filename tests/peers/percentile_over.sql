-- over the rows before
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv');
SELECT k, n, PERCENTILE(n, 0.5) OVER w, PERCENTILE(n, ARRAY[0.0, 1.0]) OVER w FROM late WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
