-- a string beside a number: what is cast to what
CREATE TABLE casts (id INT, n STRING, d STRING, ts STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/casts.csv', 'format' = 'csv');
SELECT id, n = '-7', d = DATE '2024-02-29', id = '2' FROM casts WHERE id < 3;
