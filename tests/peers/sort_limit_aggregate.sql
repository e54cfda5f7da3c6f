-- the top of a sum that may fall
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, SUM(amount) AS total FROM sales GROUP BY shop ORDER BY total DESC LIMIT 2;
