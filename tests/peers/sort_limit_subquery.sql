-- rows joined to the top
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(*) FROM (SELECT shop, price FROM sales ORDER BY price DESC LIMIT 4) AS t GROUP BY shop;
