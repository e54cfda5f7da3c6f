-- the top of rows that are taken back
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, shop, amount FROM changes ORDER BY amount DESC, id LIMIT 2;
