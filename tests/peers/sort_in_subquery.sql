-- a sub-query's order is left out
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id FROM (SELECT id, price FROM sales ORDER BY price DESC) AS t WHERE id < 4;
