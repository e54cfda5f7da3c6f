-- a changelog by key: +I, then -U and +U in input order
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(*), SUM(amount), MIN(price), MAX(price) FROM sales GROUP BY shop;
