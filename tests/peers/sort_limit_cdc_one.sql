-- the top row of rows that are taken back
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, amount FROM changes ORDER BY amount DESC LIMIT 1;
