-- over changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, LISTAGG(CAST(amount AS STRING)), LISTAGG(CAST(amount AS STRING), '; '), LISTAGG(DISTINCT CAST(id AS STRING)) FROM changes GROUP BY shop;
