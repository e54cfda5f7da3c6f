-- without GROUP BY
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT FIRST_VALUE(amount), LAST_VALUE(shop), LAST_VALUE(amount) FILTER (WHERE price < 8), FIRST_VALUE(DISTINCT shop), LAST_VALUE(DISTINCT shop) FROM sales;
