-- aggregates over changes, a deletion of what was never there among them
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, COUNT(*), SUM(amount), MIN(amount), MAX(amount), AVG(amount), COUNT(DISTINCT id) FROM changes GROUP BY shop;
