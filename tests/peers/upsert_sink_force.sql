-- the materializer where it is not needed
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SET 'table.exec.sink.upsert-materialize' = 'FORCE';
CREATE TABLE o (shop STRING, n BIGINT, PRIMARY KEY (shop) NOT ENFORCED) WITH ('connector' = 'print');
INSERT INTO o SELECT shop, COUNT(*) FROM sales GROUP BY shop;
