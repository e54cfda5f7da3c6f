-- SUM, AVG, MIN, MAX over DECIMAL and DOUBLE by key, final rows by hand of the changelog
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, SUM(price), AVG(price), SUM(w), AVG(w), MIN(w), MAX(w), AVG(amount), COUNT(price) FROM sales GROUP BY shop;
