-- types over columns that are never NULL, by processing time
-- deterministic: no
CREATE TABLE clicks (u STRING NOT NULL, n INT NOT NULL, ts TIMESTAMP(3) NOT NULL, p AS PROCTIME(), d AS CAST(n AS DECIMAL(6, 2)), f AS CAST(n AS DOUBLE), b AS CAST(n AS TINYINT), WATERMARK FOR ts AS ts - INTERVAL '20' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT u, SUM(n) OVER (PARTITION BY u ORDER BY p) AS s, MAX(n) OVER (PARTITION BY u ORDER BY p) AS m FROM clicks;
