-- DISTINCT and FILTER
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(DISTINCT amount), SUM(DISTINCT amount), COUNT(*) FILTER (WHERE amount > 2), SUM(amount) FILTER (WHERE price > 8), COUNT(DISTINCT amount) FILTER (WHERE id > 2), MAX(price) FILTER (WHERE amount < 0) FROM sales GROUP BY shop;
