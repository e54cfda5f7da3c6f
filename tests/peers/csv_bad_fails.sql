CREATE TABLE bad (id INT, n INT, name STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/bad.csv', 'format' = 'csv');
SELECT * FROM bad;
