-- file: 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', 'json.encode.ignore-null-fields' = 'true', 'json.encode.decimal-as-plain-number' = 'true'
CREATE TABLE events (id INT, name STRING, score DOUBLE, ok BOOLEAN, `at` TIMESTAMP(3), `day` DATE, price DECIMAL(8, 2), who ROW<city STRING, zip INT>, tags ARRAY<STRING>, attrs MAP<STRING, INT>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.json', 'format' = 'json');
SELECT *, CAST(`at` AS TIMESTAMP_LTZ(3)) AS ltz, CAST(price AS DECIMAL(20, 8)) * 100000 AS wide FROM events;
