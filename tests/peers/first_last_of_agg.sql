-- over the changelog of another aggregation
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT FIRST_VALUE(total), LAST_VALUE(total), FIRST_VALUE(shop), LAST_VALUE(shop) FROM (SELECT shop, SUM(amount) AS total FROM sales GROUP BY shop);
