-- a condition on changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, shop FROM changes WHERE amount > 5;
