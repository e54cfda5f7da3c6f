-- without GROUP BY, of nothing, distinct
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COLLECT(amount) FILTER (WHERE amount = 5), COLLECT(DISTINCT amount) FILTER (WHERE amount = 5), COLLECT(amount) FILTER (WHERE id > 100) FROM sales;
