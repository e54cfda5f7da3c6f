-- ignore-parse-errors: bad and missing fields are NULL, rows that cannot be read are dropped
CREATE TABLE bad (id INT, n INT, name STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/bad.csv', 'format' = 'csv', 'csv.ignore-parse-errors' = 'true');
SELECT * FROM bad;
