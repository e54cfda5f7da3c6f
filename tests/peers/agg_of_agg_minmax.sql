-- MIN and MAX over a changelog: the former value comes back when the extreme one goes
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT MIN(total), MAX(total), AVG(total) FROM (SELECT shop, SUM(amount) AS total FROM sales GROUP BY shop);
