-- by an expression
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, SUM(amount) OVER (PARTITION BY shop ORDER BY id * 2) AS s FROM sales;
