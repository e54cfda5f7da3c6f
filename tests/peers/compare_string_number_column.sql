-- a number compared with a string column
CREATE TABLE casts (id INT, n STRING, d STRING, ts STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/casts.csv', 'format' = 'csv');
SELECT id, n = id, n > 3 FROM casts WHERE id = 3;
