-- values in an array, NULLs among them
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, ARRAY_AGG(amount), ARRAY_AGG(price), ARRAY_AGG(id) FROM sales GROUP BY shop;
