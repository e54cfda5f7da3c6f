-- differences of moments, with every unit that may be named
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv');
SELECT k, (ts - TIMESTAMP '2025-12-31 22:30:15.5') DAY TO HOUR, (TIMESTAMP '2025-12-31 22:30:15' - ts) DAY TO SECOND, (ts - TIMESTAMP '2024-02-29 00:00:00') YEAR TO MONTH, (ts - TIMESTAMP '2024-02-29 00:00:00') MONTH, (ts - ts) MINUTE TO SECOND, ts - (ts - TIMESTAMP '2026-01-01 00:00:00') DAY(3) TO SECOND(3), (CAST(ts AS DATE) - DATE '2024-02-29') DAY FROM late;
