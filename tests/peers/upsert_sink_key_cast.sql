-- a CAST that loses nothing keeps the key
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE o (amount BIGINT, n BIGINT, PRIMARY KEY (amount) NOT ENFORCED) WITH ('connector' = 'print');
INSERT INTO o SELECT amount, COUNT(*) FROM sales GROUP BY amount;
