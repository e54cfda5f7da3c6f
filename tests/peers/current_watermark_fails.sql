-- a column without a watermark
CREATE TABLE late (k STRING, n INT, ts TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv');
SELECT CURRENT_WATERMARK(ts) FROM late;
