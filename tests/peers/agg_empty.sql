-- a global aggregate over no rows gives no row in a stream
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(*), SUM(amount) FROM sales WHERE id > 100;
