-- over changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, ARRAY_AGG(amount), ARRAY_AGG(id), ARRAY_AGG(DISTINCT amount) FROM changes GROUP BY shop;
