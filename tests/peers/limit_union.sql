-- a limit of a union, and one of its parts
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
(SELECT id FROM sales LIMIT 2) UNION ALL (SELECT id + 100 FROM sales) LIMIT 4;
