-- rows that go, by ROWS
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, amount, SUM(id) OVER (ORDER BY amount ROWS UNBOUNDED PRECEDING) AS s FROM changes WHERE amount > 4;
