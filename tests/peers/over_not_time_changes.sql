-- over changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, shop, amount, SUM(amount) OVER (PARTITION BY shop ORDER BY id) AS s FROM changes;
