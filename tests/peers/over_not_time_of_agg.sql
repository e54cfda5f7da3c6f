-- over an aggregation
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, total, SUM(total) OVER (ORDER BY shop) AS run_sum FROM (SELECT shop, SUM(amount) AS total FROM sales WHERE shop IS NOT NULL GROUP BY shop);
