-- ignore-parse-errors: a bad field is NULL, an unreadable row is dropped
CREATE TABLE bad (id INT, n INT, name STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/bad.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
SELECT * FROM bad;
