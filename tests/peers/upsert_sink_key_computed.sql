-- the key of the changelog is not a column any more: equal rows are told apart by all columns
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE o (name STRING, n BIGINT, PRIMARY KEY (name) NOT ENFORCED) WITH ('connector' = 'print');
INSERT INTO o SELECT SUBSTRING(shop, 1, 1), COUNT(*) FROM sales GROUP BY shop;
