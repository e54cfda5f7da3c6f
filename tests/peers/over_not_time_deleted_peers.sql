-- rows that go from among their peers
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, amount, SUM(id) OVER (ORDER BY amount) AS s FROM changes WHERE amount > 4;
