-- a view's order goes when it is read
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE VIEW sorted AS SELECT id, price FROM sales ORDER BY price DESC;
SELECT * FROM sorted;
