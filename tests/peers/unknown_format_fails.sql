CREATE TABLE clicks (userId STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'cvs');
SELECT * FROM clicks;
