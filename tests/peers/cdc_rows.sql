-- Debezium's events as rows of their kinds
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT * FROM changes;
