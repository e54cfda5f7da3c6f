-- many groups fall on one primary key: the youngest that is left wins
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE o (shop STRING, n BIGINT, total INT, PRIMARY KEY (shop) NOT ENFORCED) WITH ('connector' = 'print');
INSERT INTO o SELECT shop, n, total FROM (SELECT shop, amount, COUNT(*) AS n, SUM(id) AS total FROM sales GROUP BY shop, amount);
