-- the top of a minimum, without a value last
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT amount, MIN(price) AS least, COUNT(*) FROM sales GROUP BY amount ORDER BY least NULLS LAST LIMIT 3;
