-- over changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, COLLECT(shop), COLLECT(amount) FILTER (WHERE amount = 9) FROM changes GROUP BY shop;
