-- events in the payload of messages with schema
CREATE TABLE changes (id INT, shop STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes_schema.json', 'format' = 'debezium-json', 'debezium-json.schema-include' = 'true');
SELECT * FROM changes;
