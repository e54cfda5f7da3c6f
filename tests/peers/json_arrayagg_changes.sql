-- over changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, JSON_ARRAYAGG(amount), JSON_ARRAYAGG(amount NULL ON NULL) FROM changes GROUP BY shop;
