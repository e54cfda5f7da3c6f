-- a WITH query hides a table of its name
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
WITH sales AS (SELECT 1 AS id) SELECT id FROM sales;
