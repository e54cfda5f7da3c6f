-- a NULL event time fails the job
CREATE TABLE clicks (userId STRING, clicks INT, t STRING, ts AS TRY_CAST(t AS TIMESTAMP(3)), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${DATA}/bad.csv', 'format' = 'csv', 'csv.ignore-parse-errors' = 'true');
SELECT SUM(clicks), window_start FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end;
