-- wrong: TO_DATE with a format answers a date of the far future instead of NULL for text that is none
CREATE TABLE casts (id INT, n STRING, d STRING, ts STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/casts.csv', 'format' = 'csv');
SELECT id, TO_DATE(d, 'yyyy-MM-dd') FROM casts WHERE id = 6;
