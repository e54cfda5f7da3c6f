-- the top behind a view
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE VIEW top AS SELECT id, price FROM sales ORDER BY price DESC LIMIT 2;
SELECT * FROM top;
