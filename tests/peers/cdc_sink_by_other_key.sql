-- changes into a table keyed otherwise
CREATE TABLE changes (id INT, shop STRING, amount INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
CREATE TABLE o (id INT, shop STRING, amount INT, PRIMARY KEY (amount) NOT ENFORCED) WITH ('connector' = 'print');
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
INSERT INTO o SELECT id, shop, amount FROM changes;
