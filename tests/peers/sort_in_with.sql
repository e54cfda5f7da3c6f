-- so is that of a WITH query
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
WITH t AS (SELECT id, price FROM sales ORDER BY price DESC) SELECT id FROM t WHERE id < 4;
