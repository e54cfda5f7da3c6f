-- partitions by both zeros and NaN
-- deterministic: no
CREATE TABLE clicks (u STRING NOT NULL, n INT NOT NULL, ts TIMESTAMP(3), z AS CAST(COALESCE(SPLIT_INDEX('-0.0,NaN', ',', n - 2), '0.0') AS DOUBLE), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT z, n, SUM(n) OVER (PARTITION BY z ORDER BY ts) AS s FROM clicks;
