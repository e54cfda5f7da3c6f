-- events that come twice are told once where a primary key tells
CREATE TABLE changes (id INT, shop STRING, amount INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SET 'table.exec.source.cdc-events-duplicate' = 'true';
SELECT * FROM changes;
