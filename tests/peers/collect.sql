-- a multiset
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COLLECT(amount), COLLECT(shop) FROM sales WHERE shop = 'oslo' AND id < 6 AND amount > 0 OR id IN (1, 3, 4, 6) GROUP BY shop;
