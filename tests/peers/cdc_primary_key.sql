-- without the option the events are taken as they are
CREATE TABLE changes (id INT, shop STRING, amount INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT shop, SUM(amount) FROM changes GROUP BY shop;
