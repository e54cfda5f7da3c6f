-- rows, ordered by what is no time
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, shop, amount, SUM(amount) OVER (PARTITION BY shop ORDER BY amount ROWS UNBOUNDED PRECEDING) AS s FROM sales;
