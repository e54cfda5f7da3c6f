CREATE TABLE clicks (userId STRING) WITH ('connector' = 'kafkaa', 'topic' = 'x');
SELECT * FROM clicks;
