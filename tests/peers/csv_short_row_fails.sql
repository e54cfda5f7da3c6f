CREATE TABLE s (a STRING, b STRING, c STRING, d STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT * FROM s;
