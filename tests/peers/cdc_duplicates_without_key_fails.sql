-- without a primary key nothing tells events apart
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SET 'table.exec.source.cdc-events-duplicate' = 'true';
SELECT * FROM changes;
