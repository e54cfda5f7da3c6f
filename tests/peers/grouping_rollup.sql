-- ROLLUP beside a key
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, g, MOD(v, 2) AS odd, COUNT(*), GROUPING_ID(g, MOD(v, 2)) FROM visits GROUP BY k, ROLLUP (g, MOD(v, 2));
