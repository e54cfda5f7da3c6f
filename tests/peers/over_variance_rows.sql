-- standard deviations and variances
CREATE TABLE v (k STRING, n INT, ts TIMESTAMP(3), d DECIMAL(6, 2), WATERMARK FOR ts AS ts - INTERVAL '40' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/over.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, n, ts, STDDEV_POP(CAST(n AS DOUBLE)) OVER w AS sp, STDDEV_SAMP(n) OVER w AS ss, VAR_POP(n) OVER w AS vp, VAR_SAMP(CAST(n AS DOUBLE)) OVER w AS vs, VARIANCE(d) OVER w AS vd FROM v WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
