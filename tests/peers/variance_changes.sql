-- over changes
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, VAR_POP(CAST(amount AS DOUBLE)), VAR_SAMP(CAST(amount AS DOUBLE)), STDDEV_POP(amount) FROM changes GROUP BY shop;
