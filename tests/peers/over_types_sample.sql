-- types over columns that are never NULL: samples
CREATE TABLE clicks (u STRING NOT NULL, n INT NOT NULL, ts TIMESTAMP(3) NOT NULL, d AS CAST(n AS DECIMAL(6, 2)), f AS CAST(n AS DOUBLE), b AS CAST(n AS TINYINT), WATERMARK FOR ts AS ts - INTERVAL '20' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT u, STDDEV_SAMP(f) OVER w AS ss, VAR_SAMP(f) OVER w AS vs FROM clicks WINDOW w AS (PARTITION BY u ORDER BY ts);
