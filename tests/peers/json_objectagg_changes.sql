-- over changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, JSON_OBJECTAGG(KEY CAST(id AS STRING) VALUE amount ABSENT ON NULL) FROM changes WHERE id = 1 OR id = 4 GROUP BY shop;
