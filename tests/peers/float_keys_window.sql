-- windows of groups by both zeros and NaN, in two phases
-- deterministic: no
CREATE TABLE clicks (u STRING NOT NULL, n INT NOT NULL, ts TIMESTAMP(3), z AS CAST(COALESCE(SPLIT_INDEX('-0.0,NaN', ',', n - 2), '0.0') AS DOUBLE), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT z, window_start, SUM(n) AS s, COUNT(DISTINCT z) AS d FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY z, window_start, window_end;
