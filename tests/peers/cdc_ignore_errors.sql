-- wrong fields are NULL and events that make no sense are dropped
CREATE TABLE changes (id INT, shop STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes_bad.json', 'format' = 'debezium-json', 'debezium-json.ignore-parse-errors' = 'true');
SELECT * FROM changes;
