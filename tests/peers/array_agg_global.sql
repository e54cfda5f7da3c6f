-- without GROUP BY, filtered, of nothing
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT ARRAY_AGG(shop), ARRAY_AGG(amount) FILTER (WHERE amount > 2), ARRAY_AGG(amount) FILTER (WHERE id > 100), ARRAY_AGG(w > 1) FROM sales;
