-- the first bad row fails the job
CREATE TABLE bad (id INT, n INT, name STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/bad.json', 'format' = 'json');
SELECT * FROM bad;
