-- without NULLs, written behind
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, ARRAY_AGG(amount) IGNORE NULLS, ARRAY_AGG(price) RESPECT NULLS FROM sales GROUP BY shop;
