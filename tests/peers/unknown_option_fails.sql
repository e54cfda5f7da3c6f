CREATE TABLE clicks (userId STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv', 'pth' = 'x');
SELECT * FROM clicks;
