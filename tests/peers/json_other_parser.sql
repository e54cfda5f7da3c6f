-- Flink's older parser reads alike
CREATE TABLE events (id INT, name STRING, score DOUBLE, ok BOOLEAN, `at` TIMESTAMP(3), `day` DATE, price DECIMAL(8, 2), who ROW<city STRING, zip INT>, tags ARRAY<STRING>, attrs MAP<STRING, INT>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.json', 'format' = 'json', 'json.decode.json-parser.enabled' = 'false');
SELECT * FROM events;
