-- deterministic: no
-- the updates of a union have no key
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE o (shop STRING, n BIGINT, PRIMARY KEY (shop) NOT ENFORCED) WITH ('connector' = 'print');
INSERT INTO o SELECT shop, COUNT(*) FROM sales GROUP BY shop UNION ALL SELECT CAST(amount AS STRING), SUM(id) FROM sales GROUP BY amount;
