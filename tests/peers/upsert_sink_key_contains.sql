-- a primary key that holds the key of the changelog needs no materializer
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE o (shop STRING, n BIGINT, PRIMARY KEY (shop, n) NOT ENFORCED) WITH ('connector' = 'print');
INSERT INTO o SELECT shop, COUNT(*) FROM sales GROUP BY shop;
