-- ranks of rows that are taken back
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, amount FROM changes ORDER BY amount LIMIT 2 OFFSET 1;
