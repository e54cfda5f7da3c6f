-- over changes: a value that is taken back gives way to the one before or behind it
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, FIRST_VALUE(amount), LAST_VALUE(amount), FIRST_VALUE(id), LAST_VALUE(DISTINCT amount) FROM changes GROUP BY shop;
