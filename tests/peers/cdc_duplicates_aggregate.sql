-- and aggregates count them once
CREATE TABLE changes (id INT, shop STRING, amount INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SET 'table.exec.source.cdc-events-duplicate' = 'true';
SELECT shop, COUNT(*), SUM(amount) FROM changes GROUP BY shop;
