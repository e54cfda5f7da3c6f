-- the first and the last value; NULLs do not count
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, FIRST_VALUE(amount), LAST_VALUE(amount), FIRST_VALUE(price), LAST_VALUE(price), LAST_VALUE(w), FIRST_VALUE(id) FROM sales GROUP BY shop;
